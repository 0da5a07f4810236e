"""The lens over our own models: it sees every call, names it, changes nothing, and its weights are exact."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from regard.attention import attend
from regard.attention.attend import Attention
from regard.attention.call import AttentionCall
from regard.errors import OptionError, ShapeError, WorkError
from regard.inspection.lens import lens
from regard.inspection.statistics.running import RunningStatistics
from regard.models.recurrent import Recurrent, RecurrentConfig
from regard.models.roles import Seq2Seq
from regard.models.transformer import Transformer, TransformerConfig
from tests.inspection.products import B, Calling, D, H, K, Products, Q, tensors


def transformer() -> Transformer:
    torch.manual_seed(3)
    config = TransformerConfig(
        model_dim=8, feed_forward_dim=11, num_heads=2, encoder_layers=1, decoder_layers=3, dropout=0.1
    )
    return Transformer(config, source_vocab=13, target_vocab=13).eval()


def recurrent() -> Recurrent:
    torch.manual_seed(3)
    config = RecurrentConfig(model_dim=8, hidden_dim=7, dropout=0.1)
    return Recurrent(config, source_vocab=13, target_vocab=13).eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    source = torch.randint(3, 13, (2, 7), generator=generator)
    return source, torch.tensor([7, 5]), torch.randint(3, 13, (2, 5), generator=generator)


@pytest.mark.parametrize("model", [transformer(), recurrent()], ids=["transformer", "recurrent"])
def test_watching_changes_nothing(model: Seq2Seq) -> None:
    plain = model(*batch())
    with lens(model):
        watched = model(*batch())
    assert torch.equal(plain, watched)
    assert attend.observers == []


@pytest.mark.parametrize("model", [transformer(), recurrent()], ids=["transformer", "recurrent"])
def test_weights_sum_to_one_and_padding_gets_none(model: Seq2Seq) -> None:
    with lens(model) as seen:
        model(*batch())
    for name in model.alignment_sites():
        weights = seen[name].weights()
        assert weights.shape[0] == 2
        assert weights.shape[2:] == (5, 7)
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-6)
        assert weights[1, :, :, 5:].count_nonzero() == 0


def test_sites_come_in_the_order_in_which_they_were_seen() -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    layers = [name.rsplit(".attention", 1)[0] for name in seen]
    assert layers == ["encoder.0.self_attention"] + [
        f"decoder.{number}.{kind}" for number in range(3) for kind in ("self_attention", "cross_attention")
    ]


def test_the_context_is_the_weights_times_the_values() -> None:
    model = transformer()
    contexts: list[Tensor] = []
    with lens(model) as seen:
        handle = model.get_submodule("decoder.1.cross_attention.attention").register_forward_hook(
            lambda module, inputs, output: contexts.append(output)
        )
        model(*batch())
        handle.remove()
    site = seen["decoder.1.cross_attention"]
    assert torch.allclose(site.weights() @ site[0].value, contexts[0], atol=1e-6)


def test_stepwise_decoding_gives_the_same_map_as_teacher_forcing() -> None:
    model = recurrent()
    source, lengths, target = batch()
    with lens(model) as whole:
        model(source, lengths, target)
    with lens(model) as stepwise:
        state = model.start(model.encode(source, lengths))
        for step in range(target.shape[1]):
            model.step(target[:, step : step + 1], state)
    name = model.alignment_sites()[0]
    assert len(stepwise[name]) == 5
    assert torch.allclose(whole[name].weights(), stepwise[name].weights(), atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "keep"),
    [(torch.no_grad, "reference"), (torch.no_grad, "copy"), (torch.inference_mode, "reference")],
)
def test_a_growing_cache_gives_the_same_map_as_teacher_forcing(mode: Callable[[], Any], keep: Any) -> None:
    model = transformer()
    source, lengths, target = batch()
    with lens(model) as whole:
        model(source, lengths, target)
    with mode(), lens(model, keep=keep) as stepwise:
        state = model.start(model.encode(source, lengths))
        for step in range(target.shape[1]):
            model.step(target[:, step : step + 1], state)
    if mode is torch.no_grad and keep == "reference":  # our caches are filled in place
        with pytest.raises(WorkError, match=r'Call 3 at decoder\.0\.self_attention.*Open the lens with keep="copy"'):
            stepwise["decoder.0.self_attention"].weights()
        return
    for name in ("decoder.0.self_attention", "decoder.2.cross_attention"):
        assert len(stepwise[name]) == 5
        assert torch.allclose(whole[name].weights(), stepwise[name].weights(), atol=1e-6)


def test_half_precision_is_computed_in_float32() -> None:
    model = transformer().bfloat16()
    with lens(model) as seen:
        model(*batch())
    weights = seen["decoder.0.cross_attention"].weights()
    assert weights.dtype == torch.float32
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-6)


@pytest.mark.parametrize("need_weights", [True, False])
def test_weights_are_those_of_the_run_under_autocast_wherever_they_are_read(need_weights: bool) -> None:
    torch.manual_seed(2)
    layer, states = torch.nn.MultiheadAttention(6, 2, batch_first=True), torch.randn(3, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        with lens(layer) as seen:
            layer(states, states, states, need_weights=need_weights)
        inside = seen[""].weights()
    call = seen[""][0]
    assert call.query.dtype == call.key.dtype == torch.bfloat16
    expected = (call.query.double() @ call.key.double().transpose(-2, -1) * call.scale).softmax(-1)
    for weights in (inside, seen[""].weights()):
        assert weights.dtype == torch.float32
        assert torch.allclose(weights.double(), expected, atol=1e-6)


def test_calls_over_different_keys_are_no_one_map() -> None:
    attention = Attention()
    with lens(attention) as seen:
        for keys in (3, 5):
            key = torch.randn(2, 1, keys, 7)
            attention(torch.randn(2, 1, 1, 7), attention.remember(key, key))
    with pytest.raises(WorkError, match=r"different shapes \[\(2, 1, 3\), \(2, 1, 5\)\]"):
        next(iter(seen.values())).weights()


def test_an_unknown_site_is_named_with_those_that_were_seen() -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    with pytest.raises(OptionError, match=r"The site 'decoder\.7' was not seen\. The sites seen are: encoder\.0"):
        seen["decoder.7"]
    with pytest.raises(OptionError, match=r"The site 'decoder\.1' belongs to several \(decoder\.1\.self"):
        seen["decoder.1"]


def test_a_lens_holds_the_sites_that_were_seen() -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    assert "decoder.1.cross_attention.attention" in seen
    assert "decoder.1.cross_attention" in seen
    assert "decoder.1" not in seen  # two sites begin so
    assert "decoder.7.cross_attention" not in seen


def test_a_lens_and_a_site_say_what_they_hold() -> None:
    model = nn.ModuleDict({"inner": Products()})
    with lens(model) as seen:
        for _ in range(2):
            model["inner"](*tensors())
    assert repr(seen) == "Lens of 1 site: ['inner']"
    assert repr(seen["inner"]) == "Site('inner', 2 calls)"


def test_a_lens_is_a_mapping() -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    assert seen.get("decoder.7") is None
    with pytest.raises(KeyError, match=r"^The site 'decoder\.7' was not seen\."):
        seen["decoder.7"]
    with pytest.raises(OptionError, match=r"asked for by its name; 0 is none\. list\(lens\)"):
        seen[0]  # type: ignore[index]


@pytest.mark.parametrize("keep", ["reference", "copy", "bfloat16"])
def test_a_cache_of_a_fixed_size_reads_as_one_map_where_the_mask_hides_what_is_to_come(keep: Any) -> None:
    model = Products()
    query, key, value = tensors(queries=K)
    with torch.no_grad(), lens(model, keep=keep) as seen:
        for start, stop in ((0, 3), (3, 4), (4, 5)):
            filled = key.clone()  # rows to come are not there yet
            filled[:, :, stop:] = 0.0
            mask = torch.ones(K, K, dtype=torch.bool).tril()[start:stop]
            model(query[:, :, start:stop], filled, value, attn_mask=mask)
    scores = query @ key.transpose(-2, -1) / D**0.5
    judge = scores.masked_fill(torch.ones(K, K).triu(1) > 0, -torch.inf).softmax(-1)[:, :, :5]
    assert torch.allclose(seen[""].weights(), judge, rtol=0, atol=0.05 if keep == "bfloat16" else 1e-12)


def test_a_cache_of_a_fixed_size_that_was_reordered_is_no_one_map() -> None:
    model = Products()
    query, key, value = tensors(queries=2)
    mask = torch.arange(K) < 3
    with torch.no_grad(), lens(model) as seen:
        model(query, key, value, attn_mask=mask.expand(2, -1))
        model(query, key.flip(0), value.flip(0), attn_mask=mask.expand(2, -1))
    with pytest.raises(WorkError, match="look at different keys: they are not one map"):
        seen[""].weights()


def test_calls_that_each_begin_anew_are_no_one_map() -> None:
    model = Products()
    query, key, value = tensors(queries=K)
    with torch.no_grad(), lens(model) as without_cache:
        for length in (3, 4, 5):
            model(query[:, :, :length], key[:, :, :length], value[:, :, :length], is_causal=True)
    with pytest.raises(WorkError, match=r"each begins anew .* as generation without a cache does.*\[''\]\[-1:\]"):
        without_cache[""].weights()
    assert without_cache[""][-1:].weights().shape == (B, H, 5, 5)
    with torch.no_grad(), lens(model) as over_one_memory:
        for length in (3, 4):
            model(query[:, :, :length], key, value)
    with pytest.raises(WorkError, match="each begins anew"):
        over_one_memory[""].weights()


def test_a_call_that_was_not_made_is_named() -> None:
    model = Products()
    with lens(model) as seen:
        model(*tensors())
    for index in (1, -2):
        with pytest.raises(IndexError, match=rf"^The model itself made 1 call: {index} is none\.$"):
            seen[""][index]
    assert len(list(seen[""])) == 1


def test_calls_over_other_keys_of_the_same_size_are_no_one_map() -> None:
    model = Products()
    query, key, value = tensors()
    with lens(model) as seen:
        model(query, key, value)
        model(query, key + 1, value)
    with pytest.raises(WorkError, match=r"look at different keys: they are not one map"):
        seen[""].weights()
    assert seen[""][1:].weights().shape == (B, H, Q, K)


def test_a_receiver_gets_each_call_and_nothing_is_kept() -> None:
    model = Products()
    received: list[tuple[str, Tensor]] = []
    with lens(model, keep=lambda name, call: received.append((name, call.key))) as seen:
        model(*tensors())
    assert received[0][0] == ""
    assert torch.equal(received[0][1], tensors()[1])
    assert len(seen[""]) == 0
    with pytest.raises(WorkError, match="No call was kept"):
        seen[""].weights()


@pytest.mark.parametrize("model", [Products(), Calling(attend.attend)], ids=["PyTorch's", "ours"])
def test_what_a_receiver_raises_ends_the_run(model: nn.Module) -> None:
    def refuse(name: str, call: AttentionCall) -> None:
        raise ValueError("a mistake of its own")

    with pytest.raises(ValueError, match="a mistake of its own"), lens(model, keep=refuse):
        model(*tensors())
    running = RunningStatistics(sets=lambda name, call: {"first": torch.ones(K + 1, dtype=torch.bool)})
    with pytest.raises(ShapeError, match=r"The set 'first' has shape \[8\]"), lens(model, keep=running):
        model(*tensors())


@pytest.mark.parametrize("transform", ["vmap", "grad", "fake"])
@pytest.mark.parametrize("ours", [False, True])
def test_a_model_inside_of_a_transform_runs_on_and_says_why_it_cannot_be_read(transform: str, ours: bool) -> None:
    query, key, value = tensors(dtype=torch.float32)
    model = Calling(attend.attend) if ours else Products()

    def run() -> Any:
        if transform == "vmap":
            return torch.vmap(model)(query[None], key[None], value[None])
        if transform == "grad":
            return torch.func.grad(lambda one: model(one, key, value).sum())(query)
        with FakeTensorMode() as mode:
            return model(*map(mode.from_tensor, (query, key, value))).shape

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vmap goes entry by entry through the fused kernel, and says so
        plain = run()
        with lens(model) as seen:
            watched = run()
    assert watched == plain if transform == "fake" else torch.equal(watched, plain)
    with pytest.raises(WorkError, match=r"ran inside of torch\.func .* Run the model by itself under the lens"):
        seen[""].weights()
