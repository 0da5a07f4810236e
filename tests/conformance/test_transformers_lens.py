"""The lens over unmodified models of the library transformers, tiny and of random weights, with their fused attention.

Outputs are the same to the last bit with and without the lens, and the weights are those of the plain expression
("eager"), which returns them.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.errors import WorkError
from regard.inspection.lens import Lens, lens

transformers = pytest.importorskip("transformers", reason="its models need the package transformers ('conformance')")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

WIDTH: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "vocab_size": 37}
FEED = WIDTH | {"intermediate_size": 29}
BOTH: dict[str, Any] = {
    "d_model": 24, "vocab_size": 37, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 6,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 29, "decoder_ffn_dim": 31, "max_position_embeddings": 32,
    "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Bert": ("BertModel", FEED),
    "Roberta": ("RobertaModel", FEED | {"max_position_embeddings": 40}),
    "Electra": ("ElectraModel", FEED | {"embedding_size": 10}),
    "DistilBert": ("DistilBertModel", {"dim": 24, "n_layers": 2, "n_heads": 6, "hidden_dim": 29, "vocab_size": 37}),
    "GPT2": ("GPT2LMHeadModel", {"n_embd": 24, "n_layer": 2, "n_head": 6, "vocab_size": 37, "n_positions": 32}),
    "Llama": ("LlamaForCausalLM", FEED | {"num_key_value_heads": 2, "max_position_embeddings": 32, "head_dim": 4}),
    "T5": (
        "T5ForConditionalGeneration",
        {"d_model": 24, "d_kv": 5, "num_heads": 6, "d_ff": 29, "num_layers": 2, "vocab_size": 37,
         "decoder_start_token_id": 0},
    ),
    "Bart": ("BartForConditionalGeneration", BOTH),
    "Marian": ("MarianMTModel", BOTH | {"max_length": None}),
}  # fmt: skip
TRANSLATORS = ("T5", "Bart", "Marian")
TOKENS = torch.tensor([[5, 3, 8, 11, 9, 7, 2], [4, 6, 2, 30, 0, 0, 0], [11, 22, 13, 4, 2, 9, 0]])
AT_END = (TOKENS != 0).long()
TARGET = torch.tensor([[5, 8, 21, 3, 17], [6, 9, 12, 33, 2], [2, 4, 7, 35, 36]])


def built(family: str) -> nn.Module:
    name, options = FAMILIES[family]
    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | options
    )
    model = getattr(transformers, name)._from_config(config, attn_implementation="sdpa").eval()
    model.to(torch.float32)
    return model  # type: ignore[no-any-return]


def eager(model: nn.Module) -> Any:
    plain: Any = copy.deepcopy(model)
    plain.set_attn_implementation("eager")
    return plain


def inputs(family: str) -> dict[str, Tensor]:
    given = {"input_ids": TOKENS, "attention_mask": AT_END}
    return given | {"decoder_input_ids": TARGET} if family in TRANSLATORS else given


def attentions(output: Any) -> list[Tensor]:
    """The maps that an eager model returns, in the order in which its layers ran."""
    if "decoder_attentions" not in output:
        return list(output["attentions"])
    pairs = zip(output["decoder_attentions"], output["cross_attentions"], strict=True)
    return [*output["encoder_attentions"], *(one for pair in pairs for one in pair)]


def assert_maps(seen: Lens, judges: list[Tensor], rows: Tensor | None = None) -> None:
    assert len(seen) == len(judges)
    for name, judge in zip(seen, judges, strict=True):
        weights = seen[name].weights()
        assert weights.shape == judge.shape, name
        if rows is not None and weights.shape[2] == rows.shape[1]:
            weights, judge = weights * rows[:, None, :, None], judge * rows[:, None, :, None]
        assert torch.allclose(weights, judge, rtol=0, atol=1e-4), name


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_the_same_to_the_last_bit_and_weights_are_those_of_eager(family: str, training: bool) -> None:
    model = built(family).train(training)
    torch.manual_seed(2)
    plain = model(**inputs(family))[0]
    torch.manual_seed(2)
    with lens(model) as seen:
        watched = model(**inputs(family))[0]
    assert torch.equal(plain, watched)
    if training:
        (watched.square().sum()).backward()
        assert all(len(site) == 1 for site in seen.values())
        return
    judges = attentions(eager(model)(**inputs(family), output_attentions=True))
    assert_maps(seen, judges, AT_END)


def test_a_vision_transformer_is_watched() -> None:
    torch.manual_seed(1)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=6, intermediate_size=29, image_size=21, patch_size=7
    )
    model = transformers.ViTModel._from_config(config, attn_implementation="sdpa").eval()
    pixels = torch.randn(2, 3, 21, 21, generator=torch.Generator().manual_seed(3))
    plain = model(pixels)[0]
    with lens(model) as seen:
        assert torch.equal(model(pixels)[0], plain)
    assert_maps(seen, list(eager(model)(pixels, output_attentions=True)["attentions"]))


GENERATING = ("GPT2", "Llama", *TRANSLATORS)


@pytest.mark.parametrize("padded", [False, True], ids=["even", "padded"])
@pytest.mark.parametrize("family", GENERATING)
def test_generation_is_watched_step_by_step_and_reads_as_one_map(family: str, padded: bool) -> None:
    model: Any = built(family)
    given = {"input_ids": TOKENS[:, :3].clone(), "attention_mask": torch.ones(3, 3, dtype=torch.long)}
    if padded:
        given["input_ids"][0, 0] = 0
        given["attention_mask"][0, 0] = 0
    if family in TRANSLATORS and padded:
        given = {name: tensor.flip(1) for name, tensor in given.items()}
    options: dict[str, Any] = {"do_sample": False, "min_new_tokens": 5, "max_new_tokens": 5}
    plain = model.generate(**given, **options)
    with lens(model) as seen:
        watched = model.generate(**given, **options)
    assert torch.equal(plain, watched)
    mask = torch.cat((given["attention_mask"], torch.ones(3, 4, dtype=torch.long)), 1)
    if family in TRANSLATORS:
        again = eager(model)(**given, decoder_input_ids=plain[:, :-1], output_attentions=True)
    else:
        positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1) if padded else None
        again = eager(model)(plain[:, :-1], attention_mask=mask, position_ids=positions, output_attentions=True)
    rows = torch.ones(3, 7) if family in TRANSLATORS or not padded else mask
    assert_maps(seen, attentions(again), rows)


@pytest.mark.parametrize("family", ["Bart", "Llama"])
def test_a_search_with_beams_is_watched_and_its_finished_texts_are_read_by_one_forward(family: str) -> None:
    model: Any = built(family)
    given = {"input_ids": TOKENS[:, :3], "attention_mask": torch.ones(3, 3, dtype=torch.long)}
    options: dict[str, Any] = {"do_sample": False, "num_beams": 3, "min_new_tokens": 5, "max_new_tokens": 5}
    plain = model.generate(**given, **options)
    with lens(model) as seen:
        watched = model.generate(**given, **options)
    assert torch.equal(plain, watched)
    assert all(torch.allclose(site[-1:].weights().sum(-1), torch.ones(())) for site in seen.values())
    with lens(model) as forced:
        model(**given, decoder_input_ids=plain) if family == "Bart" else model(plain)
    assert all(len(site) == 1 for site in forced.values())


def test_flex_attention_of_the_library_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncompiled(function: Any = None, **_: Any) -> Any:
        return function

    monkeypatch.setattr(torch, "compile", uncompiled)  # which takes a minute here
    model: Any = built("Llama")
    judges = attentions(eager(model)(**inputs("Llama"), output_attentions=True))
    model.set_attn_implementation("flex_attention")
    with torch.no_grad():
        plain = model(**inputs("Llama"))[0]
        with lens(model) as seen:
            assert torch.equal(model(**inputs("Llama"))[0], plain)
    assert_maps(seen, judges, AT_END)


def test_eager_attention_raises_and_names_the_remedy() -> None:
    model = eager(built("Bert"))
    message = r'attends by its attention \'eager\'.*set_attn_implementation\("sdpa"\)'
    with pytest.raises(WorkError, match=message), lens(model):
        model(**inputs("Bert"))


def test_a_model_with_attention_of_its_own_raises() -> None:
    config = transformers.LongformerConfig(
        **FEED, attention_window=4, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    model = transformers.LongformerModel(config).eval()
    with (
        pytest.raises(WorkError, match="LongformerSelfAttention computes attention by operations of its own"),
        lens(model),
    ):
        model(TOKENS, attention_mask=AT_END)
