"""Log-probabilities of translations that are given (teacher forcing)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.models.roles import Encoded, Seq2Seq

ROWS_AT_ONCE = 1024


@torch.inference_mode()
def forced_log_probabilities(
    model: Seq2Seq, encoded: Encoded, target: Int[Tensor, "B T"], labels: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Return the log-probability of each label, in float32; 0 where the label is negative (padding)."""
    states = model.decode(encoded, target)
    wanted = labels >= 0
    rows, gold = states[wanted], labels[wanted]
    pieces = [
        model.output(some).float().log_softmax(dim=-1).gather(1, gold_some.unsqueeze(1)).squeeze(1)
        for some, gold_some in zip(torch.split(rows, ROWS_AT_ONCE), torch.split(gold, ROWS_AT_ONCE), strict=True)
    ]
    result = torch.zeros(labels.shape, device=labels.device)
    result[wanted] = torch.cat(pieces) if pieces else rows.new_zeros(0).float()
    return result
