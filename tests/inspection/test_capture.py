"""The lens over PyTorch's own functions and modules: they are replaced while it is open, and no bit changes."""

import sys
import types
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.checkpoint import checkpoint

from regard.attention import attend
from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.errors import WorkError
from regard.inspection.capture import foreign_calls
from regard.inspection.lens import lens
from tests.inspection.compiled import model as blocks
from tests.inspection.products import B, Calling, K, Products, random, tensors


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


class Holding(nn.Module):
    """Attends by functions that it, its class, or a functools.partial holds."""

    of_class = functional.scaled_dot_product_attention
    of_class_static = staticmethod(functional.scaled_dot_product_attention)
    of_class_set = partial(functional.scaled_dot_product_attention, scale=0.5)

    def __init__(self) -> None:
        super().__init__()
        self.own = functional.scaled_dot_product_attention
        self.own_set = partial(partial(functional.scaled_dot_product_attention, is_causal=True), scale=0.5)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mine: Any = self
        ways: list[Any] = [mine.of_class, self.of_class_static, self.of_class_set, self.own, self.own_set]
        return torch.stack([way(query, key, value) for way in ways])


def test_what_a_model_or_its_class_holds_is_watched_and_put_back() -> None:
    model = nn.Sequential()
    model.attending = Holding()
    before = [dict(vars(one)) for one in (Holding, model.attending)]
    plain = model.attending(*tensors())
    for _ in range(2):
        with lens(model) as seen, lens(model) as again:
            assert torch.equal(model.attending(*tensors()), plain)
        assert [dict(vars(one)) for one in (Holding, model.attending)] == before
        assert len(seen["attending"]) == len(again["attending"]) == 5
        value = tensors()[2]
        for number in range(5):
            shown = seen["attending"][number : number + 1].weights() @ value
            torch.testing.assert_close(shown, plain[number], rtol=0, atol=1e-6)


def test_a_model_goes_on_being_watched_where_an_outer_lens_was_opened_on_another() -> None:
    first, second = Holding(), Holding()
    with lens(first) as of_first:
        with lens(second) as of_second:
            second(*tensors())
        first(*tensors())
    assert (len(of_first[""]), len(of_second[""])) == (5, 5)
    assert isinstance(vars(first)["own"], types.BuiltinFunctionType)


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
        with foreign_calls(model):
            attend.observers.append(around)
            with lens(model) as seen:
                changed = model(states)
            attend.observers.remove(around)
        assert not torch.allclose(plain, changed)
        assert len(seen["self_attn"]) == 1
        assert torch.equal(model(states), plain)


def test_nobody_can_intervene_in_the_fast_path_unaware() -> None:
    model = nn.TransformerEncoderLayer(6, 2, 13, batch_first=True).eval()
    attend.observers.append(lambda call, run: run(call))
    try:
        with (
            pytest.raises(WorkError, match=r"set_fastpath_enabled\(False\)"),
            foreign_calls(model),
            torch.no_grad(),
        ):
            model(random(B, K, 6).float())
    finally:
        attend.observers.pop()
