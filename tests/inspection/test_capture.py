"""The lens over PyTorch's own functions and modules: it changes no bit, names each call, and its weights are exact."""

import copy
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

from regard.attention import attend
from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import OptionError, WorkError
from regard.inspection.capture import foreign_calls
from regard.inspection.lens import lens
from regard.inspection.statistics.map_statistics import map_statistics
from regard.inspection.statistics.running import RunningStatistics
from tests.inspection.compiled import model as blocks

B, H, Q, K, D = 2, 3, 5, 7, 11


class Calling(nn.Module):
    """A program that calls a function of attention."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__()
        self.function = function
        self.options = options

    def forward(self, *tensors: Tensor) -> Any:
        return self.function(*tensors, **self.options)


class Products(nn.Module):
    """The same, by the name in PyTorch's module."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, **options)


def tensors(*, heads: int = H, queries: int = Q, keys: int = K, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = (B, H, queries, D), (B, heads, keys, D), (B, heads, keys, D)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


PADDING = torch.arange(K) < torch.tensor([K, 4])[:, None]

OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "scaled": lambda: {"scale": 0.3},
    "causal": lambda: {"is_causal": True},
    "booleans": lambda: {"attn_mask": PADDING[:, None, None]},
    "booleans of two axes": lambda: {"attn_mask": torch.ones(Q, K, dtype=torch.bool).tril(1)},
    "numbers": lambda: {"attn_mask": random(1, H, Q, K)},
    "numbers that hide": lambda: {"attn_mask": random(B, 1, Q, K).masked_fill(~PADDING[:, None, None], -torch.inf)},
    "upper left": lambda: {"attn_mask": causal_upper_left(Q, K)},
    "lower right": lambda: {"attn_mask": causal_lower_right(Q, K)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_products_of_pytorch_are_read_as_it_computes_them(options: Callable[[], dict[str, Any]]) -> None:
    model = Products()
    query, key, value = tensors()
    plain = model(query, key, value, **options())
    with lens(model) as seen:
        watched = model(query, key, value, **options())
    assert torch.equal(plain, watched)
    assert list(seen) == [""]
    assert torch.allclose(seen[""].weights() @ value, plain, rtol=0, atol=1e-12)


def test_a_call_without_keys_has_an_empty_map_and_does_not_stop_the_run() -> None:
    model, running = Products(), RunningStatistics()
    query, key, value = tensors()
    with lens(model) as seen, lens(model, keep=running):
        model(query, key[:, :, :0], value[:, :, :0])
        model(query, key, value)
    assert seen[""][:1].weights().shape == seen[""][:1].scores().shape == (B, H, Q, 0)
    found = map_statistics(seen[""][0])
    assert found.top_keys.shape == (B, H, Q, 0)
    assert found.entropy.count_nonzero() == found.total.count_nonzero() == 0
    assert torch.allclose(running[""].mean("entropy"), map_statistics(seen[""][1]).entropy.mean((0, 2)))


def test_heads_that_share_keys_and_tensors_of_three_or_five_axes_are_read() -> None:
    model = Products()
    query, key, value = tensors(heads=1)
    with lens(model) as seen:
        shared = model(query, key, value, enable_gqa=True)
        three = model(query[0], key[0].expand(H, -1, -1), value[0].expand(H, -1, -1))
        five = model(query[None], key[None], value[None])
    weights = [seen[""][number : number + 1].weights() for number in range(3)]
    assert torch.allclose(weights[0] @ value, shared, rtol=0, atol=1e-12)
    assert torch.allclose(weights[1] @ value[0], three[None], rtol=0, atol=1e-12)
    assert torch.allclose(weights[2] @ value, five[0], rtol=0, atol=1e-12)


def test_dropout_does_not_reach_the_weights_and_the_generator_is_not_touched() -> None:
    model = Products()
    query, key, value = tensors()
    torch.manual_seed(5)
    plain = model(query, key, value, dropout_p=0.5)
    torch.manual_seed(5)
    with lens(model) as seen:
        watched = model(query, key, value, dropout_p=0.5)
    assert torch.equal(plain, watched)
    assert torch.allclose(seen[""].weights().sum(-1), torch.ones((), dtype=torch.float64))


def test_half_precision_is_computed_in_float32() -> None:
    model = Products()
    query, key, value = tensors(dtype=torch.bfloat16)
    with lens(model) as seen:
        model(query, key, value)
    judge = (query.double() @ key.double().transpose(-2, -1) / D**0.5).softmax(-1)
    assert seen[""].weights().dtype == torch.float32
    assert torch.allclose(seen[""].weights().double(), judge, rtol=0, atol=1e-6)


MODULE_MASKS: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "padding": lambda: {"key_padding_mask": ~PADDING},
    "padding in numbers": lambda: {"key_padding_mask": random(B, K)},
    "drawn": lambda: {"attn_mask": torch.ones(K, K, dtype=torch.bool).triu(1)},
    "drawn in numbers": lambda: {"attn_mask": random(K, K)},
    "drawn for each head": lambda: {"attn_mask": random(B * 2, K, K)},
    "both": lambda: {"attn_mask": torch.ones(K, K, dtype=torch.bool).triu(1), "key_padding_mask": ~PADDING},
}
MODULES: dict[str, dict[str, Any]] = {
    "batch first": {"batch_first": True},
    "length first": {},
    "without offsets": {"batch_first": True, "bias": False},
    "more keys": {"batch_first": True, "add_bias_kv": True, "add_zero_attn": True},
    "own widths": {"batch_first": True, "kdim": 6, "vdim": 6},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("masks", MODULE_MASKS.values(), ids=MODULE_MASKS)
@pytest.mark.parametrize("options", MODULES.values(), ids=MODULES)
def test_the_module_of_pytorch_is_read_on_all_its_paths(
    options: dict[str, Any], masks: Callable[[], dict[str, Any]], training: bool, need_weights: bool
) -> None:
    torch.manual_seed(1)
    module = nn.MultiheadAttention(6, 2, **options).double().train(training)
    states = random(B, K, 6) if options.get("batch_first") else random(K, B, 6)
    with torch.set_grad_enabled(training):
        plain, _ = module(states, states, states, need_weights=need_weights, **masks())
        with lens(module) as seen:
            watched, _ = module(states, states, states, need_weights=need_weights, **masks())
        with lens(module) as judged:
            given = module(states, states, states, average_attn_weights=False, **masks())[1]
    assert torch.equal(plain, watched)
    assert list(seen) == [""]
    assert torch.allclose(seen[""].weights(), judged[""].weights(), rtol=0, atol=1e-12)
    if not (masks()["attn_mask"] if "attn_mask" in masks() else torch.ones(1)).isnan().any():
        assert torch.allclose(seen[""].weights(), given, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("mode", ["train", "eval", "fast", "nested"])
def test_the_layers_of_pytorch_are_read_on_all_their_paths(mode: str, norm_first: bool) -> None:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(6, 2, 13, dropout=0.0, batch_first=True, norm_first=norm_first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are for norms that come last
        model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=mode == "nested")
    model = model.double().train(mode == "train")
    states = random(B, K, 6)
    options = {"src_key_padding_mask": ~PADDING}
    with warnings.catch_warnings(), torch.set_grad_enabled(mode in ("train", "eval")):
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        plain = model(states, **options)
        with lens(model) as seen:
            watched = model(states, **options)
    slow = copy.deepcopy(model).train()
    with lens(slow) as judged:
        slow(states, **options)
    assert torch.equal(plain, watched)
    assert list(seen) == ["layers.0.self_attn", "layers.1.self_attn"]
    real = PADDING[:, None, :, None]
    for name in seen:
        weights, judge = seen[name].weights(), judged[name].weights()
        assert torch.allclose(weights * real, judge * real, rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_transformer_of_pytorch_is_read_with_its_gradients_unchanged(training: bool) -> None:
    torch.manual_seed(1)
    model = nn.Transformer(6, 2, 1, 2, 13, dropout=0.1, batch_first=True).train(training)
    source, target = random(B, K, 6).float(), random(B, Q, 6).float()
    causal = nn.Transformer.generate_square_subsequent_mask(Q)

    def run() -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(2)
        output = model(source, target, tgt_mask=causal, tgt_is_causal=True)
        return output, list(torch.autograd.grad(output.square().sum(), list(model.parameters())))

    plain = run()
    with lens(model) as seen:
        watched = run()
    assert torch.equal(plain[0], watched[0])
    assert all(torch.equal(left, right) for left, right in zip(plain[1], watched[1], strict=True))
    assert list(seen) == [
        "encoder.layers.0.self_attn",
        *(f"decoder.layers.{n}.{kind}" for n in range(2) for kind in ("self_attn", "multihead_attn")),
    ]
    assert seen["decoder.layers.1.self_attn"].weights().triu(1).count_nonzero() == 0


def test_an_image_model_is_watched_in_training_too() -> None:
    model = blocks().double().train()
    patches = random(B, K, 6)

    def run() -> tuple[Tensor, list[Tensor]]:
        output = model(patches)
        return output, list(torch.autograd.grad(output.square().sum(), list(model.parameters())))

    plain = run()
    with lens(model) as seen:
        watched = run()
    assert torch.equal(plain[0], watched[0])
    assert all(torch.equal(left, right) for left, right in zip(plain[1], watched[1], strict=True))
    query, key, _ = model[0].qkv(patches).chunk(3, dim=-1)  # type: ignore[operator]
    query, key = (states.unflatten(-1, (3, 2)).transpose(1, 2) for states in (query, key))
    judge = (query @ key.transpose(-2, -1) / 2**0.5).softmax(-1)
    assert torch.allclose(seen["0"].weights(), judge, rtol=0, atol=1e-12)


def test_flex_attention_is_read_with_its_masks_and_changed_scores() -> None:
    table = random(H, Q, K)

    def changed(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return 2 * torch.tanh(score / 2) + table[head][query][key]

    def allows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return key <= query + batch

    query, key, value = tensors(heads=1)
    mask = create_block_mask(allows, B, None, Q, K, device="cpu")
    model = Calling(lambda *given, **options: sys.modules[flex_attention.__module__].flex_attention(*given, **options))
    model.options = {"score_mod": changed, "block_mask": mask, "scale": 0.3, "enable_gqa": True}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # not compiled
        plain = model(query, key, value)
        with lens(model) as seen:
            watched = model(query, key, value)
    assert torch.equal(plain, watched)
    weights = seen[""].weights()
    assert torch.allclose(weights @ value, plain, rtol=0, atol=1e-12)
    assert torch.equal(seen[""].weights(batch=1, heads=[2, 0], queries=3), weights[1:, [2, 0], 3:4])


def test_a_function_that_another_module_imported_by_name_is_watched_and_put_back() -> None:
    home = types.ModuleType("regard_test_home")
    home.attention = functional.scaled_dot_product_attention  # type: ignore[attr-defined]
    sys.modules[home.__name__] = home
    original = functional.scaled_dot_product_attention
    model = Calling(lambda *given: home.attention(*given))
    try:
        with lens(model) as seen:
            model(*tensors())
            late = functional.scaled_dot_product_attention
            home.late = late  # type: ignore[attr-defined]
        assert list(seen) == [""]
        assert home.attention is home.late is functional.scaled_dot_product_attention is original
        with lens(model) as other:
            late(*tensors())  # type: ignore[arg-type]
        assert len(other) == 0
    finally:
        del sys.modules[home.__name__]
    assert attend.observers == []


def test_what_programs_compiled_of_flex_attention_is_watched_as_compiled() -> None:
    home = types.ModuleType("regard_test_home")
    home.attention = torch.compile(flex_attention, backend="eager")  # type: ignore[attr-defined]
    sys.modules[home.__name__] = home
    compiled = home.attention
    model = Calling(lambda *given: home.attention(*given))
    query, key, value = (tensor.float() for tensor in tensors())
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.compile warns of itself
            plain = model(query, key, value)
            with lens(model) as seen:
                watched = model(query, key, value)
    finally:
        del sys.modules[home.__name__]
    assert home.attention is compiled
    assert torch.equal(plain, watched)
    assert torch.allclose(seen[""].weights() @ value, plain, atol=1e-6)


def test_lenses_within_each_other_each_see_their_own_model() -> None:
    outer, inner = Products(), Products()
    both = nn.ModuleDict({"outer": outer, "inner": inner})
    with lens(both) as everything:
        with lens(inner) as some:
            outer(*tensors())
            inner(*tensors())
        inner(*tensors())
    assert (list(everything), len(everything["inner"])) == (["outer", "inner"], 2)
    assert (list(some), len(some[""])) == ([""], 1)


def test_other_threads_are_not_seen() -> None:
    model = Products()
    with lens(model) as seen:
        thread = threading.Thread(target=lambda: model(*tensors()))
        thread.start()
        thread.join()
    assert len(seen) == 0
    with pytest.raises(
        OptionError,
        match="opened it, and other threads are not watched, nor functions of attention that an object held before",
    ):
        seen["inner"]


def test_attention_that_ran_in_another_thread_alone_says_so() -> None:
    layer = attend.Attention()
    query, key, value = tensors()
    thread = threading.Thread(target=lambda: layer(query, layer.remember(key, value)))

    def run() -> None:
        thread.start()
        thread.join()

    with pytest.raises(WorkError, match="Attention ran in another thread, whose calls are not watched"), lens(layer):
        run()


@pytest.mark.parametrize(("flags", "remedy"), [((True, True), "sdpa"), ((False, True), "flex_attention")])
def test_the_remedy_is_what_the_model_can_run(flags: tuple[bool, bool], remedy: str) -> None:
    class OwnAttention(nn.Module):
        config = types.SimpleNamespace(_attn_implementation="eager")
        _supports_sdpa, _supports_flex_attn = flags

        def forward(self, given: Tensor) -> Tensor:
            return given.softmax(-1)

    model = OwnAttention()
    with pytest.raises(WorkError, match=rf"'eager'.*set_attn_implementation\(\"{remedy}\"\)"), lens(model):
        model(random(B, K))


def test_what_is_no_module_is_refused_with_the_one_that_it_holds() -> None:
    with pytest.raises(OptionError, match=r"must be a torch.nn.Module; it is of type function\.$"):
        lens(lambda given: given)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"it is of type SimpleNamespace\. Give its `model`\."):
        lens(types.SimpleNamespace(model=Products()))  # type: ignore[arg-type]


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_backward_computes_again_is_seen_once(reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Products()

        def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Any:
            return checkpoint(self.inner, query, key, value, use_reentrant=reentrant)

    model = Saving()
    query, key, value = tensors()
    with lens(model) as seen:
        model(query.requires_grad_(), key, value).sum().backward()
    assert len(seen["inner"]) == 1


def test_nothing_of_the_gradients_graph_is_held() -> None:
    model = Products()
    query, key, value = tensors()
    bias = random(1, H, Q, K).requires_grad_()
    with lens(model) as seen:
        model(query.requires_grad_(), key * 2, value, attn_mask=bias * 2)
    call = seen[""][0]
    held = call.query, call.key, call.value, call.dense_bias()
    assert not any(tensor is None or tensor.requires_grad for tensor in held)


def test_a_reference_that_was_written_raises_and_names_the_copy() -> None:
    model = Products()
    for keep, raises in (("reference", True), ("copy", False)):
        query, key, value = tensors()
        with lens(model, keep=keep) as seen:  # type: ignore[arg-type]
            model(query, key, value)
        judge = (query @ key.transpose(-2, -1) / D**0.5).softmax(-1)
        key.zero_()
        if raises:
            with pytest.raises(WorkError, match=r'Call 0 at the model itself cannot be read: .*keep="copy"'):
                seen[""].weights()
        else:
            assert torch.allclose(seen[""].weights(), judge, rtol=0, atol=1e-12)


def test_a_written_mask_and_a_trained_module_raise_too() -> None:
    model = Products()
    mask = PADDING[:, None, None].clone()
    with lens(model) as seen:
        model(*tensors(), attn_mask=mask)
    mask.fill_(True)
    with pytest.raises(WorkError, match="written after the call"):
        seen[""].weights()
    module = nn.MultiheadAttention(6, 2)
    with lens(module) as trained:
        module(*[random(K, B, 6).float()] * 3)
    with torch.no_grad():
        module.in_proj_weight.zero_()
    with pytest.raises(WorkError, match="an optimizer's step"):
        trained[""].weights()


def test_references_point_to_the_tensors_of_the_run() -> None:
    model = Products()
    query, key, value = tensors()
    with lens(model) as seen:
        model(query, key, value)
    call = seen[""][0]
    assert [call.query.data_ptr(), call.key.data_ptr()] == [query.data_ptr(), key.data_ptr()]


@pytest.mark.parametrize("keep", ["copy", "bfloat16", "cpu"])
def test_copies_serve_whatever_happens_to_the_run(keep: Any) -> None:
    model = Products()
    given = tensors()
    mask = PADDING[:, None, None].clone()
    with lens(model, keep=keep) as seen:
        plain = model(*given, attn_mask=mask)
        judge = seen[""].weights()
        for tensor in (*given, mask):
            tensor.zero_()
    value = tensors()[2]
    assert torch.equal(seen[""].weights(), judge)
    tolerance = 0.05 if keep == "bfloat16" else 1e-12
    assert torch.allclose(judge @ value, plain, rtol=0, atol=tolerance)


def test_a_mask_that_many_calls_share_is_copied_once() -> None:
    model = Products()
    mask = PADDING[:, None, None].expand(-1, H, Q, -1).clone()
    with lens(model, keep="copy") as seen:
        for _ in range(3):
            model(*tensors(), attn_mask=mask)
    pointers = {call.dense_mask().data_ptr() for call in seen[""]}  # type: ignore[union-attr]
    assert len(pointers) == 1
    assert pointers != {mask.data_ptr()}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("keep", ["reference", "copy", "bfloat16"])
def test_growing_keys_read_as_one_map_and_only_new_rows_are_kept(mode: Callable[[], Any], keep: Any) -> None:
    model = Products()
    with mode():
        query, key, value = tensors(queries=K)
        with lens(model, keep=keep) as seen:
            for stop in range(3, K + 1):
                start = 0 if stop == 3 else stop - 1
                # a cache that makes new tensors
                model(
                    query[:, :, start:stop], key[:, :, :stop].clone(), value[:, :, :stop].clone(), is_causal=start == 0
                )
    site = seen[""]
    assert len(site) == K - 2
    judge = (query @ key.transpose(-2, -1) / D**0.5).masked_fill(torch.ones(K, K).triu(1) > 0, -torch.inf).softmax(-1)
    tolerance = 0.05 if keep == "bfloat16" else 1e-12
    assert torch.allclose(site.weights(), judge, rtol=0, atol=tolerance)
    assert torch.equal(site.weights(queries=[6, 2]), site.weights()[:, :, [6, 2]])
    assert [record.key.new.tensor.shape[2] for record in site.records] == [3, 1, 1, 1, 1]  # type: ignore[attr-defined]
    assert len({call.key.data_ptr() for call in site.calls}) == 1


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


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(OptionError, match="keep='everything' is unknown; there are 'reference', 'copy'"):
        lens(Products(), keep="everything")  # type: ignore[arg-type]


@pytest.mark.parametrize("heads", [H, 1])
def test_only_what_is_asked_for_is_computed(heads: int) -> None:
    model = Products()
    query, key, value = tensors(heads=heads)
    with lens(model) as seen:
        model(query, key, value, attn_mask=random(B, H, Q, K), enable_gqa=True)
    whole = seen[""].weights()
    assert torch.equal(seen[""].weights(batch=-1, heads=slice(1, None), queries=2), whole[1:, 1:, 2:3])
    assert torch.equal(seen[""].weights(heads=[2, 0], queries=[4, 0, 1]), whole[:, [2, 0]][:, :, [4, 0, 1]])
    assert torch.equal(seen[""].scores(batch=[1, 0]), seen[""].scores()[[1, 0]])
    assert torch.equal(seen[""].weights(heads=torch.tensor(1), queries=np.int64(2)), whole[:, 1:2, 2:3])
    assert torch.equal(seen[""].weights(heads=torch.tensor([2, 0]), batch=np.array([1])), whole[1:, [2, 0]])
    with pytest.raises(OptionError, match="heads names none; there are 3, counted from 0"):
        seen[""].weights(heads=[])
    assert seen[""].weights(batch=()).shape == (0, H, Q, K)
    with pytest.raises(OptionError, match="heads has no number 3: there are 3"):
        seen[""].weights(heads=3)
    with pytest.raises(OptionError, match=r"queries must be a whole number, .* or None for all; it is 1\.5\."):
        seen[""].weights(queries=1.5)  # type: ignore[arg-type]


def test_calls_over_other_keys_of_the_same_size_are_no_one_map() -> None:
    model = Products()
    query, key, value = tensors()
    with lens(model) as seen:
        model(query, key, value)
        model(query, key + 1, value)
    with pytest.raises(WorkError, match=r"look at different keys: they are not one map"):
        seen[""].weights()
    assert seen[""][1:].weights().shape == (B, H, Q, K)


class StepByStepAttention(nn.Module):
    """What no lens can see."""

    def forward(self, states: Tensor) -> Tensor:
        return (states @ states.transpose(-2, -1)).softmax(-1) @ states


def test_a_module_that_attends_by_operations_of_its_own_raises_with_the_remedy() -> None:
    model = nn.ModuleDict({"seen": Products(), "attn": StepByStepAttention()})

    def run(model: nn.ModuleDict) -> None:
        model["attn"](random(B, K, D))
        model["seen"](*tensors())

    message = r"attn ran and made no call .*: StepByStepAttention computes .* F\.scaled_dot_product_attention"
    seen = lens(model)
    with pytest.raises(WorkError, match=message), seen:
        run(model)
    assert list(seen) == ["seen"]
    with pytest.raises(WorkError, match="attn was not seen: StepByStepAttention computes"):
        seen["attn"]
    with lens(model, partial=True) as some:
        model["attn"](random(B, K, D))
    assert len(some) == 0


def test_a_module_of_torchscript_raises_with_the_remedy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        scripted = torch.jit.script(nn.MultiheadAttention(6, 2))
    with pytest.raises(WorkError, match="MultiheadAttention was compiled by TorchScript"), lens(scripted):
        scripted(*[random(K, B, 6).float()] * 3)


def test_an_error_of_the_run_is_not_hidden_by_the_lens() -> None:
    model = StepByStepAttention()

    def run() -> None:
        model(random(B, K, D))
        random(3) @ random(5)

    with pytest.raises(RuntimeError, match="size"), lens(nn.ModuleList([model])):
        run()


def test_who_intervenes_reaches_the_functions_of_pytorch() -> None:
    model = nn.TransformerEncoderLayer(6, 2, 13, batch_first=True, dropout=0.0).double()
    states = random(B, K, 6)

    def off(call: AttentionCall, run: Run) -> Tensor:
        context = run(call).clone()
        context[:, 1] = 0
        return context

    def uniform(call: AttentionCall, run: Run) -> Tensor:
        return run(call._replace(scale=0.0))

    for around in (off, uniform):
        plain = model(states)
        with foreign_calls():
            attend.observers.append(around)
            with lens(model) as seen:
                changed = model(states)
            attend.observers.remove(around)
        assert not torch.allclose(plain, changed)
        assert len(seen["self_attn"]) == 1
        assert torch.equal(model(states), plain)


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


def test_nobody_can_intervene_in_the_fast_path_unaware() -> None:
    model = nn.TransformerEncoderLayer(6, 2, 13, batch_first=True).eval()
    attend.observers.append(lambda call, run: run(call))
    try:
        with (
            pytest.raises(WorkError, match=r"set_fastpath_enabled\(False\)"),
            foreign_calls(),
            torch.no_grad(),
        ):
            model(random(B, K, 6).float())
    finally:
        attend.observers.pop()
