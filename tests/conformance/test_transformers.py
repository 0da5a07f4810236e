"""Models of the library transformers, tiny and of random weights, with our attention in the place of their own.

Their own is the plain expression ("eager"). Outputs and all gradients are compared, with padding at either end, with
caches filled by steps and by chunks, and for what the families are known for: sliding windows, soft-caps, sinks,
grouped heads, biases by position.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attention.judge import assert_same
from tests.conformance import transformers_attention

transformers = pytest.importorskip("transformers", reason="its models need the package transformers ('conformance')")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WIDTH: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "vocab_size": 37}
GROUPED = WIDTH | {"num_key_value_heads": 2, "intermediate_size": 29, "max_position_embeddings": 32, "head_dim": 4}
BOTH: dict[str, Any] = {
    "d_model": 24, "vocab_size": 37, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 6,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 29, "decoder_ffn_dim": 31, "max_position_embeddings": 32,
}  # fmt: skip

ENCODERS: dict[str, dict[str, Any]] = {
    "Bert": WIDTH | {"intermediate_size": 29},
    "Electra": WIDTH | {"intermediate_size": 29, "embedding_size": 10},
}
DECODERS: dict[str, dict[str, Any]] = {
    "GPT2": {"n_embd": 24, "n_layer": 2, "n_head": 6, "vocab_size": 37, "n_positions": 32},
    "Llama": GROUPED,
    "Mistral": GROUPED | {"sliding_window": 4},
    "Gemma2": GROUPED | {"sliding_window": 3, "attn_logit_softcapping": 0.9, "query_pre_attn_scalar": 7},
    "GptOss": GROUPED
    | {"sliding_window": 3, "intermediate_size": 32, "num_local_experts": 2, "num_experts_per_tok": 2},
}
TRANSLATORS: dict[str, dict[str, Any]] = {
    "Bart": BOTH,
    "T5": {"d_model": 24, "d_kv": 5, "num_heads": 6, "d_ff": 29, "num_layers": 2, "vocab_size": 37},
}
# Their own attention normalizes in float32 whatever it is given.
SINGLE = {"Llama", "Mistral", "Gemma2", "GptOss", "ViT"}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
TOKENS = torch.tensor([[5, 3, 8, 11, 9, 7, 2], [4, 6, 2, 30, 0, 0, 0], [11, 22, 13, 4, 2, 9, 0]])
AT_END = (TOKENS != 0).long()
AT_START = AT_END.flip(1)


def built(family: str, options: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Return a model with our attention, and the same with its own."""
    transformers_attention.register()
    torch.manual_seed(1)
    zeros = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**zeros | options)
    theirs = getattr(transformers, f"{family}Model")._from_config(config, attn_implementation="eager").eval()
    theirs.to(torch.float32 if family in SINGLE else torch.float64)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.4)
    ours = copy.deepcopy(theirs)
    ours.set_attn_implementation(transformers_attention.NAME)
    return ours, theirs


def check(ours: nn.Module, theirs: nn.Module, shown: Tensor, **given: Any) -> None:
    """Compare the last states where they are shown, and the gradients of a mixture of them."""
    answers = [model(**given).last_hidden_state[shown.bool()] for model in (ours, theirs)]
    tolerance = TOLERANCE[answers[1].dtype]
    assert_same(answers[0], answers[1], tolerance)
    factors = torch.linspace(-1.0, 1.3, answers[0].numel(), dtype=answers[0].dtype).view(answers[0].shape)
    found = [
        torch.autograd.grad(
            (answer * factors).sum(), list(model.parameters()), materialize_grads=True, allow_unused=True
        )
        for answer, model in zip(answers, (ours, theirs), strict=True)
    ]
    for (name, _), actual, expected in zip(theirs.named_parameters(), *found, strict=True):
        try:
            assert_same(actual, expected, tolerance)
        except AssertionError as error:
            raise AssertionError(f"gradient of {name}: {error}") from None


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_reads_and_learns_alike(family: str) -> None:
    ours, theirs = built(family, ENCODERS[family])
    check(ours, theirs, torch.ones_like(TOKENS), input_ids=TOKENS)
    check(ours, theirs, AT_END, input_ids=TOKENS, attention_mask=AT_END)


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_reads_and_learns_alike(family: str) -> None:
    ours, theirs = built(family, DECODERS[family])
    for shown in (torch.ones_like(TOKENS), AT_END, AT_START):
        check(ours, theirs, shown, input_ids=TOKENS, attention_mask=shown)


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1, 1), (3, 1, 3), (2, 5)], ids=str)
@pytest.mark.parametrize("family", DECODERS)
@torch.no_grad()
def test_a_decoder_continues_from_its_cache_alike(family: str, cuts: tuple[int, ...]) -> None:
    ours, theirs = built(family, DECODERS[family])
    states = []
    for model in (ours, theirs):
        cache, parts, seen = None, [], 0
        for chunk in torch.split(TOKENS, list(cuts), dim=1):
            seen += chunk.shape[1]
            answer = model(chunk, attention_mask=AT_START[:, :seen], past_key_values=cache, use_cache=True)
            cache = answer.past_key_values
            parts.append(answer.last_hidden_state)
        states.append(torch.cat(parts, dim=1)[AT_START.bool()])
    assert_same(states[0], states[1], TOLERANCE[states[1].dtype])


@pytest.mark.parametrize("family", TRANSLATORS)
def test_an_encoder_decoder_reads_and_learns_alike(family: str) -> None:
    ours, theirs = built(family, TRANSLATORS[family])
    target = TOKENS[:, :5].flip(0)
    check(ours, theirs, torch.ones_like(target), input_ids=TOKENS, attention_mask=AT_END, decoder_input_ids=target)


def test_an_encoder_of_pictures_sees_and_learns_alike() -> None:
    options = WIDTH | {"image_size": 15, "patch_size": 5, "intermediate_size": 29}
    del options["vocab_size"]
    ours, theirs = built("ViT", options)
    torch.manual_seed(2)
    pictures = torch.randn(2, 3, 15, 15)
    check(ours, theirs, torch.ones(2, 10), pixel_values=pictures)
