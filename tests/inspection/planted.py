"""A model with a head that copies: at each position it writes out the token before. The other heads write noise."""

import torch
from torch import Tensor, nn

from regard.attention.attend import Attention
from regard.attention.heads import SelfAttention
from regard.attention.patterns import Causal

VOCAB, LENGTH, HEADS = 7, 11, 4
WIDTH = HEADS * LENGTH  # a head is as wide as the text is long
COPIER = ("layers.1.attention", 2)


class PlantedCopy(nn.Module):
    """Two layers over tokens (the first axes), positions (the next), and what is written out (the last)."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.layers = nn.ModuleList([SelfAttention(WIDTH, HEADS, Attention()) for _ in range(2)])
        with torch.no_grad():
            for layer in self.layers:
                for projection in (layer.query_key_value, layer.output):
                    projection.weight.copy_(0.15 * torch.randn(projection.weight.shape, generator=generator))  # type: ignore[operator, union-attr, arg-type]
            plant(self.layers[1], COPIER[1])  # type: ignore[arg-type]
        self.double().eval()

    def forward(self, tokens: Tensor) -> Tensor:
        states = torch.zeros(*tokens.shape, WIDTH, dtype=torch.float64)
        states[..., :VOCAB] = nn.functional.one_hot(tokens, VOCAB)
        states[..., VOCAB : VOCAB + LENGTH] = torch.eye(LENGTH)[: tokens.shape[1]]
        for layer in self.layers:
            states = states + layer(states, mask=Causal())
        return 5 * states[..., -VOCAB:]


def plant(layer: SelfAttention, head: int) -> None:
    """Let a head look at the position before, and copy the token there."""
    rows = slice(head * LENGTH, (head + 1) * LENGTH)
    query, key, value = layer.query_key_value.weight.view(3, WIDTH, WIDTH)[:, rows]
    for part in (query, key, value):
        part.zero_()
    query[:, VOCAB : VOCAB + LENGTH] = 10 * torch.eye(LENGTH)
    key[:, VOCAB : VOCAB + LENGTH] = 10 * torch.eye(LENGTH).roll(1, dims=0)  # position j answers to j + 1
    value[:VOCAB, :VOCAB] = torch.eye(VOCAB)
    layer.output.weight[:, rows] = 0
    layer.output.weight[-VOCAB:, rows][:, :VOCAB] = torch.eye(VOCAB)


def texts(entries: int = 5) -> Tensor:
    return torch.randint(VOCAB, (entries, LENGTH), generator=torch.Generator().manual_seed(5))


def copy_loss(model: nn.Module, tokens: Tensor) -> Tensor:
    """The loss of writing out the token before, summed over the texts."""
    logits = model(tokens)[:, 1:]
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, :-1].flatten(), reduction="sum")
