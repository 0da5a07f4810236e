"""Pruning models of the library transformers: as their heads were silenced in their projections, saved and reloaded."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.errors import DamagedError, OptionError, WorkError
from regard.inspection.effects.belief import measure_belief
from regard.inspection.effects.gradients import gradient_maps
from regard.inspection.effects.importance import ablation_importance, gradient_importance, ranked
from regard.inspection.effects.interventions import HeadsOff, intervene
from regard.inspection.effects.pruned_models import load_pruned, save_pruned
from regard.inspection.effects.pruning import Prunable, prunable, prune, pruned_heads
from regard.inspection.effects.rollout import rollout

transformers = pytest.importorskip("transformers", reason="its models need the package transformers ('conformance')")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TOKENS = torch.tensor([[5, 3, 8, 11, 9, 7, 2], [4, 6, 2, 30, 0, 0, 0], [11, 22, 13, 4, 2, 9, 0]])
TEXT = {"input_ids": TOKENS, "attention_mask": (TOKENS != 0).long()}
PAIR = TEXT | {"decoder_input_ids": TOKENS[:, :5]}
IMAGE = {"pixel_values": torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
START = {"decoder_start_token_id": 0}
WIDTH = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "vocab_size": 37, "intermediate_size": 29}
BOTH = {
    "d_model": 24, "vocab_size": 37, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 6,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 29, "decoder_ffn_dim": 31, "max_position_embeddings": 32,
}  # fmt: skip
DISTIL = {"dim": 24, "hidden_dim": 29, "n_layers": 2, "n_heads": 6, "vocab_size": 37}

# The class, its config, what goes in, and which heads are to go.
MODELS: dict[str, tuple[str, str, dict[str, Any], Mapping[str, Tensor], dict[str, list[int]]]] = {
    "BERT": (
        "BertForMaskedLM", "BertConfig", WIDTH, TEXT,
        {"bert.encoder.layer.0.attention.self": [1, 4, 5], "bert.encoder.layer.1.attention.self": [0]},
    ),
    "RoBERTa": (
        "RobertaModel", "RobertaConfig", WIDTH, TEXT, {"encoder.layer.1.attention.self": [2, 3]},
    ),
    "ELECTRA": (
        "ElectraModel", "ElectraConfig", WIDTH | {"embedding_size": 10}, TEXT,
        {"encoder.layer.0.attention.self": [0, 1, 2, 3, 4]},
    ),
    "DistilBERT": ("DistilBertModel", "DistilBertConfig", DISTIL, TEXT, {"transformer.layer.1.attention": [2, 3]}),
    "GPT-2": (
        "GPT2LMHeadModel", "GPT2Config", {"n_embd": 24, "n_layer": 2, "n_head": 6, "vocab_size": 37, "n_positions": 32},
        TEXT, {"transformer.h.0.attn": [5], "transformer.h.1.attn": [0, 1, 3]},
    ),
    "T5": (
        "T5ForConditionalGeneration", "T5Config",
        {"d_model": 24, "d_kv": 5, "num_heads": 6, "d_ff": 29, "num_layers": 2, "vocab_size": 37, **START}, PAIR,
        {
            "encoder.block.0.layer.0.SelfAttention": [0, 1],
            "encoder.block.1.layer.0.SelfAttention": [5],
            "decoder.block.1.layer.0.SelfAttention": [2, 3],
            "decoder.block.0.layer.1.EncDecAttention": [0, 4],
        },
    ),
    "ViT": (
        "ViTForImageClassification", "ViTConfig", WIDTH | {"image_size": 12, "patch_size": 4}, IMAGE,
        {"vit.layers.0.attention": [0, 5], "vit.layers.1.attention": [3]},
    ),
    "BART": (
        "BartModel", "BartConfig", BOTH, PAIR,
        {"encoder.layers.0.self_attn": [1, 2], "decoder.layers.0.encoder_attn": [2], "decoder.layers.1.self_attn": [0]},
    ),
    "Marian": ("MarianModel", "MarianConfig", BOTH | START, PAIR, {"decoder.layers.1.encoder_attn": [0, 1]}),
    "Llama": (
        "LlamaForCausalLM", "LlamaConfig",
        WIDTH | {"num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 32}, TEXT,
        {"model.layers.0.self_attn": [0, 4], "model.layers.1.self_attn": [3, 4, 5]},
    ),
}  # fmt: skip
names = pytest.mark.parametrize("name", MODELS)


def built(name: str, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    kind, config, options, _, _ = MODELS[name]
    model = getattr(transformers, kind)(getattr(transformers, config)(**SPECIAL | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases are zero when a model is built
    return model


def output(model: Any, name: str) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(**MODELS[name][3])[0]
    return result


@contextmanager
def silenced(model: nn.Module, heads: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Put zeros where heads enter the projection back: no code of ours but for where that is."""
    with ExitStack() as stack:
        for place, gone in heads.items():
            site = prunable(model, place)
            handle = site.output.register_forward_pre_hook(zeroing(site, gone))
            stack.callback(handle.remove)
        yield


def zeroing(site: Prunable, gone: Sequence[int]) -> Any:
    def zero(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        heads = inputs[0].clone().unflatten(-1, (site.heads, site.head_dim))
        heads[..., list(gone), :] = 0
        return (heads.flatten(-2),)

    return zero


@names
def test_a_pruned_model_is_the_model_with_these_heads_off(name: str) -> None:
    model, gone = built(name), MODELS[name][4]
    with silenced(model, gone):
        masked = output(model, name)
    assert not torch.allclose(masked, output(model, name), atol=1e-4)
    before = model.num_parameters()
    prune(model, gone)
    assert (output(model, name) - masked).abs().max() <= 1e-6 * max(1.0, float(masked.abs().max()))
    assert name == "T5" or model.num_parameters() < before  # of T5 each layer now has its own small table of distances
    assert pruned_heads(model) == gone


@names
def test_a_pruned_model_is_saved_and_reloaded_to_the_bit(name: str, tmp_path: Path) -> None:
    model = built(name)
    prune(model, MODELS[name][4])
    save_pruned(tmp_path / "pruned", model)
    again = load_pruned(type(model), tmp_path / "pruned")
    assert pruned_heads(again) == MODELS[name][4]
    assert torch.equal(output(again, name), output(model, name))
    save_pruned(tmp_path / "again", again)
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "pruned/model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["GPT-2", "T5", "Llama"])
def test_generating_with_a_cache_goes_on_after_pruning(name: str) -> None:
    model = built(name)
    gone = MODELS[name][4]
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "min_new_tokens": 5, "pad_token_id": 0}
    text = {key: tensor[:1] for key, tensor in TEXT.items()}
    with silenced(model, gone):
        masked = model.generate(**text, **options)
    prune(model, gone)
    assert torch.equal(model.generate(**text, **options), masked)


def test_pruning_further_gives_what_pruning_at_once_gives(tmp_path: Path) -> None:
    once, twice = built("T5"), built("T5")
    place = "encoder.block.1.layer.0.SelfAttention"
    prune(once, {place: [1, 4]})
    prune(twice, {place: [4]})
    prune(twice, {place: [1]})
    assert pruned_heads(once) == pruned_heads(twice) == {place: [1, 4]}
    assert torch.equal(output(once, "T5"), output(twice, "T5"))


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    model = built("GPT-2")
    prune(model, MODELS["GPT-2"][4])
    save_pruned(tmp_path, model)
    again = load_pruned(type(model), tmp_path)
    assert again.lm_head.weight is again.transformer.wte.weight


def test_half_precision_stays_half(tmp_path: Path) -> None:
    model = built("BERT").bfloat16()
    prune(model, MODELS["BERT"][4])
    save_pruned(tmp_path, model)
    again = load_pruned(type(model), tmp_path)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
    assert torch.equal(output(again, "BERT"), output(model, "BERT"))


def test_what_is_no_pruned_model_is_told(tmp_path: Path) -> None:
    model = built("BERT")
    with pytest.raises(OptionError, match=r"has no pruned_heads\.json.* loaded by BertForMaskedLM\.from_pretrained"):
        load_pruned(type(model), tmp_path)
    with pytest.raises(OptionError, match=r"Linear has no config of the library transformers to save"):
        save_pruned(tmp_path, nn.Linear(2, 3))
    with pytest.raises(OptionError, match=r"must be a model, and is of type PosixPath: save_pruned\(folder, model\)"):
        save_pruned(model, tmp_path)
    prune(model, MODELS["BERT"][4])
    save_pruned(tmp_path, model)
    record = tmp_path / "pruned_heads.json"
    record.write_text(json.dumps({"format": 1, "heads": {"bert.encoder.layer.0.attention.self": [1]}}))
    with pytest.raises(
        DamagedError, match=r"does not fit the pruned model: .*self\.query\.weight has shape \[12, 24\]"
    ):
        load_pruned(type(model), tmp_path)
    record.write_text(json.dumps({"format": 1, "heads": {"bert.encoder.layer.0.attention.self": "1"}}))
    with pytest.raises(DamagedError, match=r"is not a record of pruned heads in format 1"):
        load_pruned(type(model), tmp_path)


@names
def test_switching_the_heads_off_gives_the_same(name: str) -> None:
    model, gone = built(name), MODELS[name][4]
    with silenced(model, gone):
        masked = output(model, name)
    with intervene(model, {place: HeadsOff(heads) for place, heads in gone.items()}):
        off = output(model, name)
    assert (off - masked).abs().max() <= 1e-6 * max(1.0, float(masked.abs().max()))
    assert not torch.allclose(off, output(model, name), atol=1e-4)


def test_attention_that_cannot_be_reached_is_told() -> None:
    model = built("BERT")
    model.set_attn_implementation("eager")
    with pytest.raises(WorkError, match=r"bert\.encoder\.layer\.0.*sdpa"), intervene(model, {"": HeadsOff([0])}):
        output(model, "BERT")


@pytest.mark.parametrize("name", ["BERT", "GPT-2", "T5", "ViT"])
def test_the_heads_of_a_model_are_measured(name: str) -> None:
    model = built(name)

    def loss(given: Mapping[str, Tensor]) -> Tensor:
        return model(**given)[0].square().sum()  # type: ignore[no-any-return]

    inputs = MODELS[name][3]
    slopes = gradient_importance(model, loss, [inputs])
    changes = ablation_importance(model, loss, [inputs])
    assert slopes.keys() == changes.keys()
    assert len(ranked(slopes)) == len(ranked(changes)) == {"T5": 36}.get(name, 12)
    place, head, change = ranked(changes)[0]
    with torch.no_grad():
        before = float(loss(inputs))
        prune(model, {place: [head]})
        assert float(loss(inputs)) - before == pytest.approx(change, rel=1e-3)


def test_belief_and_gradient_maps_reach_other_models() -> None:
    model = built("BERT")
    found = measure_belief(model, lambda: model(**TEXT)[0], "bert.encoder.layer.1.attention.self", heads=[2], keys=4)
    assert found.off > 0
    maps = gradient_maps(model, lambda: model(**TEXT)[0][0, 3, 5])
    assert all(one.weighted().shape == (3, 6, 7, 7) for one in maps.values())
    assert rollout([one.calls[0].call for one in maps.values()], queries=[3]).sum(-1).allclose(torch.ones(()))
    assert maps["bert.encoder.layer.0.attention.self"].weights()[1, :, :, 4:].count_nonzero() == 0
