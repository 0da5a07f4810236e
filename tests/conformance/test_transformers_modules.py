"""Attention modules of the library transformers beside ours, which compute with the same weights.

Ours are called with weights that are cut out of theirs, so that the gradients of both reach the same parameters.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from regard.attention.attend import Attention
from regard.attention.biases import Alibi, DistanceBuckets
from regard.attention.grid import Extent
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.masks import Mask
from regard.attention.normalizers import SinkSoftmax
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.rotary import Rotary
from regard.attention.rotary_heads import RotarySelfAttention
from regard.attention.scalings import UNSCALED, Llama3, Scaling, Yarn
from regard.attention.scores import Dot
from tests.attention.judge import assert_same

transformers = pytest.importorskip("transformers", reason="its modules need the package transformers ('conformance')")

WIDTH, HEADS = 24, 6
SHOWN = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]]).bool()
Weights = dict[str, Tensor]


class Pair(NamedTuple):
    """One module of theirs, and how ours answers the same: `ours(states, memory)` and `theirs(states, memory)`."""

    parameters: dict[str, nn.Parameter]
    ours: Callable[[Tensor, Tensor], Tensor]
    theirs: Callable[[Tensor, Tensor], Tensor]


def drawn(module: nn.Module) -> Any:
    """Return a module of theirs in float64, with weights that matter."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.double().eval()


def called(ours: nn.Module, weights: Weights, *given: Any, **named: Any) -> Tensor:
    """Call our module with weights from elsewhere; those that are not named are zero."""
    zeros = {name: torch.zeros_like(parameter) for name, parameter in ours.named_parameters()}
    answer: Tensor = torch.func.functional_call(ours, zeros | weights, given, named)
    return answer


def joined(prefix: str, *linears: nn.Linear) -> Weights:
    """Return the weights of several linear maps as those of one."""
    weights = {f"{prefix}.weight": torch.cat([linear.weight for linear in linears])}
    if linears[0].bias is not None:
        weights[f"{prefix}.bias"] = torch.cat([linear.bias for linear in linears])
    return weights


def added(shown: Tensor) -> Tensor:
    """Return a mask as numbers, as transformers adds it to scores."""
    return torch.zeros(shown.shape, dtype=torch.float64).masked_fill(~shown, -torch.inf)


CAUSAL = torch.ones(7, 7, dtype=torch.bool).tril()
PADDING = TensorMask(SHOWN[:, None, None])


def bert() -> Pair:
    from transformers.models.bert.modeling_bert import BertSelfAttention

    config = transformers.BertConfig(hidden_size=WIDTH, num_attention_heads=HEADS, attn_implementation="eager")
    theirs = drawn(BertSelfAttention(config))
    output = nn.Linear(WIDTH, WIDTH).double()
    ours = SelfAttention(WIDTH, HEADS, Attention()).double()
    weights = joined("query_key_value", theirs.query, theirs.key, theirs.value) | joined("output", output)
    return Pair(
        dict(theirs.named_parameters()),
        lambda states, memory: called(ours, weights, states, mask=PADDING),
        lambda states, memory: output(theirs(states, added(SHOWN[:, None, None]))[0]),
    )


def bart(cross: bool) -> Pair:
    from transformers.models.bart.modeling_bart import BartAttention

    config = transformers.BartConfig(attn_implementation="eager")
    theirs = drawn(BartAttention(WIDTH, HEADS, config=config))
    output = joined("output", theirs.out_proj)
    if not cross:
        ours = SelfAttention(WIDTH, HEADS, Attention()).double()
        weights = joined("query_key_value", theirs.q_proj, theirs.k_proj, theirs.v_proj) | output
        return Pair(
            dict(theirs.named_parameters()),
            lambda states, memory: called(ours, weights, states, mask=Causal() & PADDING),
            lambda states, memory: theirs(states, attention_mask=added(CAUSAL & SHOWN[:, None, None]))[0],
        )
    reader = CrossAttention(WIDTH, HEADS, Attention()).double()
    weights = joined("query", theirs.q_proj) | joined("key_value", theirs.k_proj, theirs.v_proj) | output

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reader = reader

        def forward(self, states: Tensor, memory: Tensor) -> Tensor:
            context: Tensor = self.reader(states, self.reader.remember(memory, PADDING))
            return context

    return Pair(
        dict(theirs.named_parameters()),
        lambda states, memory: called(Reading(), {f"reader.{n}": w for n, w in weights.items()}, states[:, :5], memory),
        lambda states, memory: theirs(states[:, :5], memory, attention_mask=added(SHOWN[:, None, None]))[0],
    )


def gpt2() -> Pair:
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

    config = transformers.GPT2Config(n_embd=WIDTH, n_head=HEADS, attn_implementation="eager")
    theirs = drawn(GPT2Attention(config, layer_idx=0))
    ours = SelfAttention(WIDTH, HEADS, Attention()).double()
    weights = {
        "query_key_value.weight": theirs.c_attn.weight.T,
        "query_key_value.bias": theirs.c_attn.bias,
        "output.weight": theirs.c_proj.weight.T,
        "output.bias": theirs.c_proj.bias,
    }
    return Pair(
        dict(theirs.named_parameters()),
        lambda states, memory: called(ours, weights, states, mask=Causal() & PADDING),
        lambda states, memory: theirs(states, attention_mask=added(CAUSAL & SHOWN[:, None, None]))[0],
    )


def t5(decoder: bool) -> Pair:
    from transformers.models.t5.modeling_t5 import T5Attention

    config = transformers.T5Config(
        d_model=WIDTH, num_heads=HEADS, d_kv=WIDTH // HEADS, relative_attention_num_buckets=8,
        relative_attention_max_distance=6, is_decoder=decoder, attn_implementation="eager",
    )  # fmt: skip
    theirs = drawn(T5Attention(config, has_relative_attention_bias=True, layer_idx=0, is_causal=decoder))
    ours = SelfAttention(WIDTH, HEADS, Attention(Dot())).double()
    buckets = DistanceBuckets(HEADS, num_buckets=8, max_distance=6, bidirectional=not decoder).double()
    weights = joined("query_key_value", theirs.q, theirs.k, theirs.v) | joined("output", theirs.o)
    shown = (CAUSAL if decoder else torch.ones_like(CAUSAL)) & SHOWN[:, None, None]
    (name,) = dict(buckets.named_parameters())

    def answer(states: Tensor, memory: Tensor) -> Tensor:
        numbers = {name: theirs.relative_attention_bias.weight}
        bias = torch.func.functional_call(buckets, numbers, (7, 7))
        return called(ours, weights, states, mask=TensorMask(shown), bias=bias)

    return Pair(dict(theirs.named_parameters()), answer, lambda states, memory: theirs(states, mask=added(shown))[0])


def bloom() -> Pair:
    from transformers.models.bloom.modeling_bloom import BloomAttention, build_alibi_tensor

    config = transformers.BloomConfig(hidden_size=WIDTH, n_head=HEADS)
    theirs = drawn(BloomAttention(config, layer_idx=0))
    ours = SelfAttention(WIDTH, HEADS, Attention()).double()

    def by_part(fused: Tensor) -> Tensor:
        """Put the rows in the order part, head, width instead of head, part, width."""
        return fused.view(HEADS, 3, WIDTH // HEADS, -1).transpose(0, 1).reshape(fused.shape)

    weights = joined("output", theirs.dense)
    weights["query_key_value.weight"] = by_part(theirs.query_key_value.weight)
    weights["query_key_value.bias"] = by_part(theirs.query_key_value.bias)

    def answer(states: Tensor, memory: Tensor) -> Tensor:
        alibi = build_alibi_tensor(SHOWN.long(), HEADS, torch.float64)
        found: Tensor = theirs(states, torch.zeros_like(states), alibi, added(CAUSAL & SHOWN[:, None, None]))[0]
        return found

    return Pair(
        dict(theirs.named_parameters()),
        lambda states, memory: called(ours, weights, states, mask=Causal() & PADDING, bias=Alibi(HEADS)),
        answer,
    )


def rotary(family: str, attention: Attention, scaling: Scaling, mask: Mask, **options: Any) -> Pair:
    """Return a module of grouped heads that are turned by their positions."""
    name = {"GptOss": "gpt_oss"}.get(family, family.lower())
    module: Any = import_module(f"transformers.models.{name}.modeling_{name}")
    common = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": WIDTH // HEADS}
    config = getattr(transformers, f"{family}Config")(**common, **options, attn_implementation="eager")
    theirs = drawn(getattr(module, f"{family}Attention")(config, 0))
    ours = RotarySelfAttention(
        WIDTH, HEADS, attention, Rotary(WIDTH // HEADS, scaling=scaling, base=100.0), num_kv_heads=2
    ).double()
    weights = joined("query_key_value", theirs.q_proj, theirs.k_proj, theirs.v_proj) | joined("output", theirs.o_proj)
    if family == "GptOss":
        weights["attention.normalizer.sinks"] = theirs.sinks
    shown = (mask & PADDING).dense(Extent(2, HEADS, 7, 7, 0, torch.device("cpu")))

    def answer(states: Tensor, memory: Tensor) -> Tensor:
        waves = getattr(module, f"{family}RotaryEmbedding")(config)(states, torch.arange(7)[None])
        found: Tensor = theirs(states, position_embeddings=waves, attention_mask=added(shown))[0]
        return found

    return Pair(
        dict(theirs.named_parameters()),
        lambda states, memory: called(ours, weights, states, mask=mask & PADDING),
        answer,
    )


def llama() -> Pair:
    named = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    named |= {"original_max_position_embeddings": 16, "rope_theta": 100.0}
    return rotary("Llama", Attention(), Llama3(4.0, 16), Causal(), rope_parameters=named)


def gemma2() -> Pair:
    attention = Attention(soft_cap=0.9, scale=7**-0.5)
    named: dict[str, Any] = {"attn_logit_softcapping": 0.9, "query_pre_attn_scalar": 7, "sliding_window": 4}
    plain = {"rope_type": "default", "rope_theta": 100.0}
    return rotary("Gemma2", attention, UNSCALED, Causal() & Window(3, 0), rope_parameters=plain, **named)


def gpt_oss() -> Pair:
    named = {"rope_type": "yarn", "factor": 8.0, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False}
    named |= {"original_max_position_embeddings": 64, "rope_theta": 100.0}
    scaling = Yarn(8.0, 64, fast=8.0, rounded=False)
    attention = Attention(normalizer=SinkSoftmax(HEADS))
    return rotary("GptOss", attention, scaling, Causal() & Window(2, 0), rope_parameters=named, sliding_window=3)


PAIRS: dict[str, Callable[[], Pair]] = {
    "bert": bert,
    "bart_self": lambda: bart(cross=False),
    "bart_cross": lambda: bart(cross=True),
    "gpt2": gpt2,
    "t5_encoder": lambda: t5(decoder=False),
    "t5_decoder": lambda: t5(decoder=True),
    "bloom": bloom,
    "llama": llama,
    "gemma2": gemma2,
    "gpt_oss": gpt_oss,
}
SINGLE = {"bloom", "llama", "gemma2", "gpt_oss"}  # they normalize, or turn, in float32 whatever they are given


@pytest.mark.parametrize("name", PAIRS)
def test_our_module_computes_what_theirs_does(name: str) -> None:
    torch.manual_seed(1)
    pair = PAIRS[name]()
    tolerance = 1e-5 if name in SINGLE else 1e-9
    states = torch.randn(2, 7, WIDTH, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 7, WIDTH, dtype=torch.float64, requires_grad=True)
    answers = [run(states, memory) for run in (pair.ours, pair.theirs)]
    assert_same(answers[0], answers[1], tolerance)
    factors = torch.linspace(-1.0, 1.3, answers[0].numel(), dtype=torch.float64).view(answers[0].shape)
    leaves = {"states": states, "memory": memory} | pair.parameters
    found = [
        torch.autograd.grad((answer * factors).sum(), list(leaves.values()), materialize_grads=True, allow_unused=True)
        for answer in answers
    ]
    for leaf, actual, expected in zip(leaves, *found, strict=True):
        try:
            assert_same(actual, expected, tolerance)
        except AssertionError as error:
            raise AssertionError(f"gradient of {leaf}: {error}") from None
