"""The lens over compiled models: they are compiled anew, captured, and agree with the eager run."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.inspection.lens import lens
from tests.inspection.test_lens import batch, transformer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # torch.compile warns of itself


class Block(nn.Module):
    """Self-attention as image models write it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        query, key, value = self.qkv(states).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        context = functional.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.proj(context.transpose(1, 2).flatten(2))
        return states + mixed


def model() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(Block(6, 3), Block(6, 3)).eval()


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_compiled_model_is_captured_and_agrees(ran_before: bool) -> None:
    torch.compiler.reset()
    plain = model()
    compiled: Any = torch.compile(plain, backend="eager")
    states = torch.randn(2, 7, 6)
    if ran_before:
        compiled(states)
    with lens(plain) as judged:
        output = plain(states)
    with lens(compiled) as seen:
        watched = compiled(states)
    assert torch.allclose(output, watched, atol=1e-6)
    assert list(seen) == ["0", "1"]
    for name in seen:
        assert torch.allclose(seen[name].weights(), judged[name].weights(), atol=1e-6)
    assert torch.allclose(compiled(states), output, atol=1e-6)


def test_what_was_compiled_under_the_lens_is_whole_again_afterwards() -> None:
    torch.compiler.reset()
    function = functional.scaled_dot_product_attention
    states = torch.randn(2, 3, 5, 7)
    plain = model()
    with lens(plain):
        held = functional.scaled_dot_product_attention
        broken = torch.compile(held, backend="eager")
        broken(states, states, states)
    whole = torch.compile(held, backend="eager", fullgraph=True)
    assert torch.equal(whole(states, states, states), function(states, states, states))


class Attention(Block):
    """A block that is called after attention, so that the lens notes whether it ran."""


@pytest.mark.parametrize("kind", [Block, Attention])
def test_a_full_graph_says_why_it_cannot_be_watched(kind: type[Block]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(nn.Sequential(kind(6, 3)), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match="a lens is open"), lens(compiled):  # type: ignore[arg-type]
        compiled(torch.randn(2, 7, 6))


def test_a_model_of_ours_is_captured_when_compiled() -> None:
    torch.compiler.reset()
    plain = transformer()
    compiled: Any = torch.compile(plain, backend="eager")
    before = compiled(*batch())
    with lens(plain) as judged:
        plain(*batch())
    with lens(compiled) as seen:
        watched = compiled(*batch())
    assert torch.allclose(before, watched, atol=1e-6)
    assert list(seen) == list(judged)
    for name in seen:
        assert torch.allclose(seen[name].weights(), judged[name].weights(), atol=1e-6)
