"""What must go through torch.compile without a break. Run by `tests/test_compile.py` in a process of its own."""

import pytest
import torch

from regard.models.transformer import Transformer, TransformerConfig
from tests.attention.judge import assert_same

SOURCE = torch.tensor([[5, 3, 8, 1, 9, 7, 2], [4, 6, 2, 0, 0, 0, 0]])
TARGET = torch.tensor([[1, 14, 15, 9, 2], [1, 6, 5, 3, 5]])


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("training", [True, False])
def test_the_transformer_compiles_without_a_break(norm: str, training: bool) -> None:
    torch._dynamo.reset()
    torch.manual_seed(1)
    config = TransformerConfig(
        model_dim=12, feed_forward_dim=19, num_heads=3, encoder_layers=1, decoder_layers=1, dropout=0.0,
        norm="pre" if norm == "pre" else "post",
    )  # fmt: skip
    model = Transformer(config, source_vocab=23, target_vocab=23).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for lengths in (torch.tensor([7, 3]), torch.tensor([7, 7])):
        assert_same(compiled(SOURCE, lengths, TARGET), model(SOURCE, lengths, TARGET))
