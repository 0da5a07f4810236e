"""What the ways must bring through torch.compile without a break. Run by `tests/test_compile.py`."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from regard.attention.attend import attend
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, Window
from tests.attention.judge import PRODUCT_WAYS, assert_same, case


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, fullgraph=True, backend="eager")


WAYS = [(way, "scaled_dot") for way in PRODUCT_WAYS] + [(way, "additive") for way in ("additive", "streamed", "auto")]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo (2.13) does so itself
@pytest.mark.parametrize(("way", "score"), WAYS)
def test_a_way_compiles_without_a_break(way: str, score: str) -> None:
    given = case(score).to(torch.float32)
    lengths = torch.tensor([4, 7])

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mask: Mask = Causal() & Window(3, 0) & Padding(lengths)
        return attend(query, key, value, score=given.score, mask=mask, offset=2, way=way)

    leaves = [tensor.requires_grad_() for tensor in (given.query, given.key, given.value)]
    expected, context = run(*leaves), compiled(run)(*leaves)
    assert_same(context, expected)
    wanted = torch.autograd.grad(expected.square().sum(), leaves)
    for gradient, want in zip(torch.autograd.grad(context.square().sum(), leaves), wanted, strict=True):
        assert_same(gradient, want)
    with torch.no_grad():
        assert_same(compiled(run)(given.query, given.key, given.value), expected)
