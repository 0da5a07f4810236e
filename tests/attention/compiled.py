"""What must go through torch.compile without a break. Run by `tests/test_compile.py` in a process of its own.

Only the tracing is at stake, so the graphs are run as they are ("eager"). Dynamo cannot look through the checks by
jaxtyping that the other tests run under.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from regard.attention.attend import EVERYTHING, Attention, Run, attend, attention_weights, observers
from regard.attention.biases import DistanceBuckets
from regard.attention.call import AttentionCall
from regard.attention.catalogue import ROTATIONS
from regard.attention.heads import CrossAttention
from regard.attention.kernels import Gaussian, Triangular
from regard.attention.lengths import Documents, Padding
from regard.attention.masks import Opposite
from regard.attention.normalizers import AdaptiveEntmax, SinkSoftmax, Sparsemax
from regard.attention.patterns import Adjacency, Causal, DilatedWindow, GlobalTokens, Window
from regard.attention.pooling import AttentionPooling
from regard.attention.pytorch import MultiheadAttention, scaled_dot_product_attention
from regard.attention.rotary_heads import RotarySelfAttention
from regard.attention.scores import Additive, Relative
from tests.attention.judge import SIZES, assert_same, case

Function = Callable[..., Tensor]
DYNAMO_WARNS = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
"""Dynamo (2.13) makes an instance of every autograd.Function itself."""

RELATIVE, TRIANGULAR, GAUSSIAN = Relative(11, 2), Triangular(6.0), Gaussian(2.0)
SPARSE, SINKS, ADAPTIVE = Sparsemax(), SinkSoftmax(3), AdaptiveEntmax(3)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Function) -> Function:
    return torch.compile(function, fullgraph=True, backend="eager")


CALLS: dict[str, Function] = {
    "plain": lambda q, k, v, n: attend(q, k, v),
    "causal": lambda q, k, v, n: attend(q, k, v, mask=Causal() & Window(2, 0), offset=2),
    "padding": lambda q, k, v, n: attend(q, k, v, mask=Causal() & Padding(n), bias=torch.ones(5, 7)),
    "capped": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), soft_cap=1.5),
    "gaussian": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), score=GAUSSIAN),
    "triangular": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), score=TRIANGULAR),
    "relative": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), score=RELATIVE),
    "sparsemax": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), normalizer=SPARSE),
    "sinks": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), normalizer=SINKS),
    "adaptive entmax": lambda q, k, v, n: attend(q, k, v, mask=Padding(n), normalizer=ADAPTIVE),
    "weights": lambda q, k, v, n: attention_weights(q, k, mask=Opposite(Padding(n))),  # Dynamo knows no `~` of objects
    "opposite": lambda q, k, v, n: attend(q, k, v, mask=Opposite(Causal() & Padding(n)) | Window(0, 0), offset=1),
    "dilated": lambda q, k, v, n: attend(q, k, v, mask=DilatedWindow(2, 1, 2) & Padding(n)),
    "longformer": lambda q, k, v, n: attend(
        q, k, v, mask=Window(1, 1) | GlobalTokens(torch.arange(7)[None] < n[:, None])
    ),
    "packed": lambda q, k, v, n: attend(q, k, v, mask=Causal() & Documents(torch.arange(7) // n.clamp(min=1)[:, None])),
    "graph": lambda q, k, v, n: attend(q, k, v, mask=Adjacency(torch.eye(7, dtype=torch.bool)) | Opposite(Padding(n))),
}


@DYNAMO_WARNS
@pytest.mark.parametrize("name", CALLS)
def test_attend_compiles_without_a_break(name: str) -> None:
    given = case().to(torch.float32)
    run = compiled(CALLS[name])
    for lengths in (torch.tensor([4, 7]), torch.tensor([7, 7]), torch.tensor([0, 3])):
        expected = CALLS[name](given.query, given.key, given.value, lengths)
        assert_same(run(given.query, given.key, given.value, lengths), expected)


def test_the_module_compiles_without_a_break() -> None:
    given = case().to(torch.float32)
    attention = Attention(Additive(11, 11, 13))

    def run(query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
        context: Tensor = attention(query, attention.remember(key, key, Padding(lengths)), mask=Causal())
        return context

    for lengths in (torch.tensor([4, 7]), torch.tensor([7, 7]), torch.tensor([0, 3])):
        assert_same(compiled(run)(given.query, given.key, lengths), run(given.query, given.key, lengths))


@pytest.mark.parametrize("name", ["rotary", "yarn", "dynamic_ntk"])
def test_turned_and_shared_heads_compile_without_a_break(name: str) -> None:
    rotary = ROTATIONS[name].build(SIZES._replace(query_dim=4))
    heads = RotarySelfAttention(12, 3, Attention(), rotary, num_kv_heads=1)
    pooling = AttentionPooling(CrossAttention(12, 3, Attention(), num_kv_heads=1))
    buckets = DistanceBuckets(3)

    def run(states: Tensor, lengths: Tensor) -> Tensor:
        mask = Causal() & Padding(lengths)
        return pooling(heads(states, mask=mask, bias=buckets(7, 7)), Padding(lengths))  # type: ignore[no-any-return]

    for lengths in (torch.tensor([4, 7]), torch.tensor([7, 7]), torch.tensor([0, 3])):
        states = torch.randn(2, 7, 12)
        assert_same(compiled(run)(states, lengths), run(states, lengths))


def test_autocast_compiles_without_a_break() -> None:
    given = case().to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        context = compiled(attend)(given.query, given.key, given.value)
    assert context.dtype == torch.bfloat16


@DYNAMO_WARNS
def test_the_gradient_of_entmax_compiles_without_a_break() -> None:
    given = case(normalizer="adaptive_entmax").to(torch.float32)
    leaves = [*given.normalizer.parameters(), given.query.requires_grad_()]
    found, expected = (
        torch.autograd.grad(
            run(given.query, given.key, given.value, normalizer=given.normalizer).square().sum(), leaves
        )
        for run in (compiled(attend), attend)
    )
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_other_lengths_need_no_other_graph() -> None:
    """A padding mask that was made outside is traced as one of unknown lengths."""
    given = case().to(torch.float32)
    run = compiled(lambda q, k, v, mask: attend(q, k, v, mask=mask))
    for number, lengths in enumerate(([4, 7], [7, 7], [1, 2], [3, 3])):
        mask = Padding(torch.tensor(lengths))
        expected = attend(given.query, given.key, given.value, mask=mask)
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            assert_same(run(given.query, given.key, given.value, mask), expected)


@pytest.mark.parametrize("name", ["plain", "causal", "window", "padding"])
def test_other_sizes_need_no_other_graph(name: str) -> None:
    masks = {"plain": EVERYTHING, "causal": Causal(), "window": Causal() & Window(3, 1), "padding": Causal()}
    torch.manual_seed(1)

    def run(query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
        mask = masks[name]
        return attend(query, key, key, mask=mask & Padding(lengths) if name == "padding" else mask)

    for number, (batch, length) in enumerate([(2, 7), (3, 5), (5, 13)]):
        query, key = torch.randn(batch, 6, length, 11), torch.randn(batch, 3, length, 11)
        lengths = torch.randint(0, length + 1, (batch,))
        for tensor, axes in ((query, (0, 2)), (key, (0, 2)), (lengths, (0,))):
            for axis in axes:
                torch._dynamo.mark_dynamic(tensor, axis)
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            assert_same(compiled(run)(query, key, lengths), run(query, key, lengths))


def test_the_counterparts_of_pytorchs_attention_compile_with_all_sizes_open() -> None:
    torch.manual_seed(2)
    module = MultiheadAttention(12, 3, batch_first=True, add_zero_attn=True)
    hidden, x = torch.rand(2, 7) < 0.3, torch.randn(2, 7, 12)
    functions: dict[str, Function] = {
        "module": lambda x: module(x, x, x, hidden)[0],
        "causal": lambda x: module(x, x, x, is_causal=True, need_weights=False)[0],
        "function": lambda x: scaled_dot_product_attention(x, x, x, is_causal=True),
    }
    for run in functions.values():
        assert_same(torch.compile(run, fullgraph=True, backend="eager", dynamic=True)(x), run(x))


def test_an_observer_that_comes_and_goes_is_heard_in_compiled_code() -> None:
    given = case().to(torch.float32)
    run = compiled(lambda q, k, v: attend(q, k, v))
    plain = run(given.query, given.key, given.value)

    def doubled(call: AttentionCall, run: Run) -> Tensor:
        return 2 * run(call)

    observers.append(doubled)
    try:
        assert_same(run(given.query, given.key, given.value), 2 * plain)
    finally:
        observers.remove(doubled)
    assert_same(run(given.query, given.key, given.value), plain)
