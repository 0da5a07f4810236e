"""What we export to ONNX, run in onnxruntime. Run by `tests/conformance/test_export.py` in a process of its own.

Every axis that may vary does: each graph is run on the sizes that it was traced with and on others. The checks by
jaxtyping that the other tests run under would fix the sizes.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from regard.attention.attend import Attention, attend, attention_weights
from regard.attention.biases import Alibi
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.kernels import Gaussian, Triangular
from regard.attention.lengths import Documents, Padding
from regard.attention.masks import Opposite
from regard.attention.normalizers import Sigmoid, SinkSoftmax, Sparsemax
from regard.attention.patterns import Causal, DilatedWindow, Window
from regard.attention.pooling import AttentionPooling
from regard.attention.pytorch import MultiheadAttention, scaled_dot_product_attention
from regard.attention.rotary import Rotary
from regard.attention.rotary_heads import RotarySelfAttention
from regard.attention.scalings import Llama3
from regard.attention.scores import Additive, Cosine, General
from regard.attention.shifts import Shifted
from regard.models.transformer import Transformer, TransformerConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore::DeprecationWarning")

DYNAMIC = Dim.DYNAMIC
STATES, HEADS = {0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC, 2: DYNAMIC}


class Exported(nn.Module):
    """A function of modules and tensors."""

    def __init__(self, run: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        self.parts = nn.ModuleList(modules)

    def forward(self, *given: Tensor) -> Any:
        return self.run(*self.parts, *given)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The exporter tells what it does not find."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def check(module: nn.Module, sizes: list[dict[int, Any]], *inputs: tuple[Tensor, ...]) -> None:
    """Export with the first inputs, and run with all."""
    module.eval()
    program = torch.onnx.export(module, inputs[0], dynamo=True, verbose=False, dynamic_shapes={"given": tuple(sizes)})
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [node.name for node in session.get_inputs()]
    for given in inputs:
        with torch.no_grad():
            expected = module(*given)
        answers = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)})
        wanted = expected if isinstance(expected, tuple) else (expected,)
        for answer, want in zip(answers, wanted, strict=True):
            torch.testing.assert_close(torch.from_numpy(answer), want, rtol=1e-5, atol=2e-6)


def heads(batch: int, queries: int, keys: int, groups: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(batch, 6, queries, 11),
        torch.randn(batch, groups, keys, 11),
        torch.randn(batch, groups, keys, 13),
    )


def lengths(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


CALLS: dict[str, Callable[..., Tensor]] = {
    "plain": lambda q, k, v, n: attend(q, k, v),
    "causal": lambda q, k, v, n: attend(q, k, v, mask=Causal() & Padding(n), offset=2),
    "hidden": lambda q, k, v, n: attend(q, k, v, mask=Opposite(Padding(n))),
    "shifted": lambda q, k, v, n: attend(q, k, v, mask=Shifted(Causal(), n - q.shape[2]) & Padding(n)),
    "biased": lambda q, k, v, n: attend(q, k, v, mask=DilatedWindow(2, 1, 2) & Padding(n), bias=Alibi(6), scale=0.3),
    "capped": lambda q, k, v, n: attend(q, k, v, mask=Window(3, 2) & Padding(n), soft_cap=0.7),
    "weights": lambda q, k, v, n: attention_weights(q, k, mask=Padding(n)),
    "pytorchs": lambda q, k, v, n: scaled_dot_product_attention(q, k, v, n[:, None, None, None] > 3, enable_gqa=True),
}


@pytest.mark.parametrize("name", CALLS)
@torch.no_grad()
def test_attend_runs_elsewhere(name: str) -> None:
    """With grouped heads, and with batch entries whose queries see nothing."""
    torch.manual_seed(1)
    check(
        Exported(CALLS[name]),
        [HEADS, HEADS, HEADS, {0: DYNAMIC}],
        (*heads(2, 5, 7, groups=3), lengths(4, 7)),
        (*heads(3, 4, 9, groups=3), lengths(0, 9, 2)),
    )


PARTS = {
    "additive": lambda: Attention(Additive(11, 11, 17)),
    "general": lambda: Attention(General(11, 11)),
    "cosine": lambda: Attention(Cosine(3.0)),
    "gaussian": lambda: Attention(Gaussian(2.0)),
    "triangular": lambda: Attention(Triangular(5.0)),
    "sinks": lambda: Attention(normalizer=SinkSoftmax(6)),
    "sigmoid": lambda: Attention(normalizer=Sigmoid()),
    "sparsemax": lambda: Attention(normalizer=Sparsemax()),
}


@pytest.mark.parametrize("name", PARTS)
def test_the_module_runs_elsewhere_with_any_part(name: str) -> None:
    torch.manual_seed(2)
    check(
        Exported(lambda m, q, k, v, n: m(q, m.remember(k, v, Padding(n))), PARTS[name]()),
        [HEADS, HEADS, HEADS, {0: DYNAMIC}],
        (*heads(2, 5, 7), lengths(4, 7)),
        (*heads(3, 4, 9), lengths(0, 9, 2)),
    )


def test_self_attention_runs_elsewhere() -> None:
    torch.manual_seed(3)
    documents = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 2, -1, -1]]), torch.randint(-1, 3, (3, 7))
    check(
        Exported(lambda m, x, d: m(x, mask=Causal() & Documents(d)), SelfAttention(12, 3, Attention())),
        [STATES, STATES],
        (torch.randn(2, 5, 12), documents[0]),
        (torch.randn(3, 7, 12), documents[1]),
    )


def test_rotary_and_grouped_heads_run_elsewhere() -> None:
    torch.manual_seed(7)
    heads = RotarySelfAttention(24, 6, Attention(), Rotary(4, scaling=Llama3(4.0, 16)), num_kv_heads=2)
    check(
        Exported(lambda m, x: m(x, mask=Causal()), heads),
        [STATES],
        (torch.randn(2, 5, 24),),
        (torch.randn(3, 8, 24),),
    )


def test_pooling_runs_elsewhere() -> None:
    torch.manual_seed(8)
    check(
        Exported(lambda m, x, n: m(x, Padding(n)), AttentionPooling(CrossAttention(12, 3, Attention()), 2)),
        [STATES, {0: DYNAMIC}],
        (torch.randn(2, 5, 12), lengths(5, 3)),
        (torch.randn(3, 8, 12), lengths(1, 8, 0)),
    )


def test_cross_attention_runs_elsewhere() -> None:
    torch.manual_seed(4)
    check(
        Exported(lambda m, x, y, n: m(x, m.remember(y, Padding(n))), CrossAttention(12, 3, Attention())),
        [STATES, STATES, {0: DYNAMIC}],
        (torch.randn(2, 5, 12), torch.randn(2, 7, 12), lengths(4, 7)),
        (torch.randn(3, 4, 12), torch.randn(3, 9, 12), lengths(1, 9, 0)),
    )


def test_the_counterpart_of_pytorchs_module_runs_elsewhere() -> None:
    torch.manual_seed(5)
    check(
        Exported(lambda m, x, hidden: m(x, x, x, hidden), MultiheadAttention(12, 3, batch_first=True)),
        [STATES, STATES],
        (torch.randn(2, 5, 12), torch.arange(5) >= lengths(3, 5)[:, None]),
        (torch.randn(3, 7, 12), torch.arange(7) >= lengths(7, 1, 0)[:, None]),
    )


def test_a_whole_transformer_runs_elsewhere() -> None:
    torch.manual_seed(6)
    config = TransformerConfig(model_dim=12, feed_forward_dim=19, num_heads=3, encoder_layers=1, decoder_layers=1)
    model = Transformer(config, source_vocab=23, target_vocab=23)
    check(
        Exported(lambda m, source, n, target: m.output(m(source, n, target)), model),
        [STATES, {0: DYNAMIC}, STATES],
        (torch.randint(1, 23, (2, 7)), lengths(7, 3), torch.randint(1, 23, (2, 5))),
        (torch.randint(1, 23, (3, 4)), lengths(4, 1, 2), torch.randint(1, 23, (3, 6))),
    )
