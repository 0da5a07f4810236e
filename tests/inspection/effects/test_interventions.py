"""Interventions: each change against the equation written out, at the places that were named and nowhere else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import flex_attention

from regard.attention import attend
from regard.attention.attend import Attention
from regard.attention.call import AttentionCall
from regard.attention.heads import SelfAttention
from regard.attention.patterns import Causal
from regard.errors import OptionError, WorkError
from regard.inspection.effects.interventions import (
    HeadsOff,
    Hidden,
    Patched,
    Replaced,
    Rewritten,
    Scaled,
    ValuesOff,
    even_weights,
    evened,
    intervene,
)
from regard.inspection.lens import lens
from tests.inspection.test_lens import batch, recurrent, transformer

CROSS = "decoder.1.cross_attention"
B, H, Q, K, D = 2, 3, 5, 7, 11


class Plain(nn.Module):
    """One call of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result: Tensor = self.attention(query, self.attention.remember(key, value))
        return result


class ProductAttention(nn.Module):
    """A module that a lens expects a call of, by its name."""

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(states, states, states)


class Watched(nn.Module):
    """A model with such a module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = ProductAttention()

    def forward(self, states: Tensor) -> Tensor:
        return self.attention(states)  # type: ignore[no-any-return]


class WithLogSums(nn.Module):
    """FlexAttention, which returns the logarithms of its sums too."""

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        context, aside = flex_attention.flex_attention(
            states, states, states, return_aux=flex_attention.AuxRequest(lse=True)
        )
        return context, aside.lse  # type: ignore[return-value]


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    sizes = ((B, H, Q, D), (B, H, K, D), (B, H, K, D))
    query, key, value = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return query, key, value


def equation(query: Tensor, key: Tensor) -> Tensor:
    return torch.softmax(query @ key.transpose(2, 3) / D**0.5, dim=-1)


def changed(change: attend.Observer) -> Tensor:
    model = Plain()
    with intervene(model, {"attention": change}):
        return model(*tensors())  # type: ignore[no-any-return]


def test_heads_that_are_off_add_nothing_and_the_others_are_as_before() -> None:
    query, key, value = tensors()
    context = changed(HeadsOff([0, 2]))
    assert context[:, [0, 2]].count_nonzero() == 0
    assert torch.allclose(context[:, 1], (equation(query, key) @ value)[:, 1])
    assert changed(HeadsOff()).count_nonzero() == 0


def test_a_scaled_pattern_is_the_pattern_times_the_number() -> None:
    query, key, value = tensors()
    plain = equation(query, key) @ value
    assert torch.allclose(changed(Scaled(0.3)), 0.3 * plain)
    partly = changed(Scaled(3.0, heads=[1]))
    assert torch.allclose(partly[:, 1], 3 * plain[:, 1])
    assert torch.equal(partly[:, 0], changed(Scaled(1.0))[:, 0])
    factors = torch.rand(B, H, Q, 1, dtype=torch.float64)
    assert torch.allclose(changed(Scaled(factors)), factors * plain)


def test_a_replaced_pattern_mixes_the_values_by_the_given_weights() -> None:
    query, key, value = tensors()
    weights = torch.rand(Q, K, dtype=torch.float64)
    context = changed(Replaced(weights, heads=[2]))
    assert torch.allclose(context[:, 2], weights @ value[:, 2])
    assert torch.allclose(context[:, :2], (equation(query, key) @ value)[:, :2])


def test_a_rewritten_pattern_is_made_of_the_old_one() -> None:
    query, key, value = tensors()
    context = changed(Rewritten(lambda weights, call: weights.roll(1, dims=-1)))
    assert torch.allclose(context, equation(query, key).roll(1, dims=-1) @ value)


def test_hidden_keys_get_nothing_and_the_rest_is_normalized_anew() -> None:
    query, key, value = tensors()
    hidden = torch.zeros(Q, K, dtype=torch.bool)
    hidden[:, 3] = True
    hidden[4] = True
    weights = equation(query, key).masked_fill(hidden, 0)
    wanted = weights / weights.sum(-1, keepdim=True).clamp(min=1e-300) @ value
    context = changed(Hidden(hidden))
    assert torch.allclose(context, wanted)
    assert context[:, :, 4].count_nonzero() == 0


def test_values_that_are_off_leave_the_weights_of_the_others_alone() -> None:
    query, key, value = tensors()
    off = torch.zeros(B, 1, K, dtype=torch.bool)
    off[1, 0, 2] = True
    wanted = equation(query, key) @ value.masked_fill(off.unsqueeze(-1), 0)
    assert torch.allclose(changed(ValuesOff(off)), wanted)


def test_even_weights_are_the_mean_over_what_may_be_seen() -> None:
    assert torch.allclose(changed(evened()), tensors()[2].mean(2, keepdim=True).expand(B, H, Q, D))
    layer = SelfAttention(6, 3, Attention())
    with lens(layer) as seen:
        layer(torch.randn(B, K, 6), mask=Causal())
    weights = even_weights(next(iter(seen.values()))[0])
    assert torch.allclose(weights[1, 2], torch.ones(K, K).tril() / torch.arange(1, K + 1).unsqueeze(1))


@pytest.mark.parametrize("lowest", [-torch.inf, torch.finfo(torch.float32).min])
def test_even_weights_leave_out_what_a_bias_hides(lowest: float) -> None:
    query, key = torch.randn(1, 2, 3, 5), torch.randn(1, 2, 7, 5)
    bias = torch.zeros(3, 7)
    bias[:, 5:] = lowest
    calls = []

    def keep(call: AttentionCall, run: attend.Run) -> Tensor:
        calls.append(call)
        return run(call)

    attend.observers.append(keep)
    try:
        attend.attend(query, key, key, bias=bias)
    finally:
        attend.observers.remove(keep)
    weights = even_weights(calls[0])
    assert torch.allclose(weights[..., :5], torch.tensor(0.2))
    assert weights[..., 5:].count_nonzero() == 0


def test_the_pattern_of_one_run_is_patched_into_another() -> None:
    model = transformer()
    source, lengths, target = batch()
    other = source.flip(1)
    with lens(model) as clean:
        model(other, lengths, target)
    with intervene(model, {CROSS: Patched(clean[CROSS])}), lens(model) as patched:
        model(source, lengths, target)
    assert not torch.allclose(patched[CROSS].weights(), clean[CROSS].weights())  # what the model itself computed
    contexts: list[Tensor] = []
    with intervene(model, {CROSS: Patched(clean[CROSS])}):
        handle = model.get_submodule(f"{CROSS}.attention").register_forward_hook(
            lambda module, inputs, output: contexts.append(output)
        )
        model(source, lengths, target)
        handle.remove()
    assert torch.allclose(contexts[0], clean[CROSS].weights() @ patched[CROSS][0].value, atol=1e-6)


def test_patching_a_run_into_itself_changes_nothing() -> None:
    model = recurrent()
    plain = model(*batch())
    with lens(model) as seen:
        model(*batch())
    name = model.alignment_sites()[0]
    assert len(seen[name]) == 5
    with intervene(model, {name: Patched(seen[name])}):
        assert torch.allclose(model(*batch()), plain, atol=1e-6)
    once = Patched(seen[name][:3])
    with (
        pytest.raises(OptionError, match=r"At decoder\.attention: 3 calls were recorded and here is one more"),
        intervene(model, {name: once}),
    ):
        model(*batch())


def test_a_name_stands_for_all_that_is_below_it_and_for_nothing_else() -> None:
    model = transformer()
    with intervene(model, {"decoder": HeadsOff(), "decoder.2": Scaled(1.0)}) as opened:
        model(*batch())
    assert len(opened.calls.seen) == 7
    contexts: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            module.register_forward_hook(lambda module, inputs, output, name=name: contexts.update({name: output}))
    with intervene(model, {"decoder.1": HeadsOff()}):
        model(*batch())
    off = [name for name, context in contexts.items() if context.count_nonzero() == 0]
    assert off == [f"decoder.1.{kind}_attention.attention" for kind in ("self", "cross")]


def test_two_changes_at_one_place_are_both_made() -> None:
    query, key, value = tensors()
    model = Plain()
    with intervene(model, {"": Scaled(2.0), "attention": HeadsOff([0])}):
        context = model(query, key, value)
    wanted = 2 * equation(query, key) @ value
    wanted[:, 0] = 0
    assert torch.allclose(context, wanted)


def test_changes_are_gone_when_the_intervention_closes() -> None:
    model = transformer()
    plain = model(*batch())
    with intervene(model, {"": HeadsOff()}):
        assert not torch.allclose(model(*batch()), plain)
    assert torch.equal(model(*batch()), plain)
    assert attend.observers == []


def test_a_change_that_changes_nothing_keeps_gradients() -> None:
    model = Plain()
    query, key, value = (tensor.requires_grad_() for tensor in tensors())
    factor = torch.ones(B, H, 1, 1, dtype=torch.float64, requires_grad=True)
    with intervene(model, {"": Scaled(factor)}):
        context = model(query, key, value)
    (slope,) = torch.autograd.grad(context.square().sum(), factor)
    assert torch.allclose(slope, 2 * context.square().sum((2, 3), keepdim=True))


def test_in_half_precision_weights_are_computed_in_float32_and_the_context_keeps_its_type() -> None:
    model = Plain()
    query, key, value = (tensor.bfloat16() for tensor in tensors())
    with intervene(model, {"": Rewritten(lambda weights, call: weights)}):
        context = model(query, key, value)
    assert context.dtype == torch.bfloat16
    assert torch.allclose(context.double(), equation(query.double(), key.double()) @ value.double(), atol=0.02)


def test_a_change_that_met_no_call_is_told() -> None:
    model = transformer()
    with (
        pytest.raises(WorkError, match=r"No attention was seen at 'output', so that nothing was changed there\. Calls"),
        intervene(model, {"output": HeadsOff(), CROSS: HeadsOff()}),
    ):
        model(*batch())
    with pytest.raises(
        OptionError, match=r"The model has no module 'decoder\.7'\. A change is given for a module that"
    ):
        intervene(model, {"decoder.7": HeadsOff()})
    with pytest.raises(
        OptionError, match=r"The change for 'decoder\.0' must be a function .* HeadsOff\(\[0\]\); it is 3"
    ):
        intervene(model, {"decoder.0": 3})  # type: ignore[dict-item]
    with pytest.raises(
        OptionError, match=r"The calls of one site are wanted here, lens\[name\]; .* Lens, of 0 sites\."
    ):
        Patched(lens(model))  # type: ignore[arg-type]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("change", [evened(), Hidden(torch.zeros((), dtype=torch.bool)), lambda call, run: call.query])
def test_a_lens_sees_the_call_that_is_changed_whichever_is_opened_first(change: attend.Observer, inside: bool) -> None:
    model = Watched()
    states = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    seen, changed = lens(model), intervene(model, {"attention": change})
    with changed if inside else seen, seen if inside else changed:
        model(states)
    wanted = torch.softmax(states @ states.mT / 5**0.5, dim=-1)
    assert torch.allclose(seen["attention"].weights(), wanted)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_what_a_function_returns_beside_the_context_stays_where_all_heads_are_replaced() -> None:
    model = WithLogSums()
    states = torch.randn(2, 3, 5, 16)
    _, plain = model(states)
    with intervene(model, {"": evened()}):
        context, sums = model(states)
    assert torch.allclose(context, states.mean(2, keepdim=True).expand_as(states), atol=1e-6)
    assert torch.equal(sums, plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (HeadsOff([1, 3]), r"At attention: there is no head 3; heads are counted from 0 to 2\."),
        (HeadsOff(1), r"At attention: heads must be several numbers, .*; it is 1\. Give \[1\]\."),  # type: ignore[arg-type]
        (HeadsOff([0.5]), r"At attention: heads must be a whole number, .* it is \[0\.5\]\."),  # type: ignore[list-item]
        (HeadsOff([True, False]), r"At attention: heads must be a whole number, .* it is \[True, False\]\."),
        (Scaled("2"), r"the factor must be a number or a tensor; it is '2'\."),  # type: ignore[arg-type]
        (Scaled(torch.ones(2)), r"the factor is \[2\] and does not broadcast to \[2, 3, 5, 1\]"),
        (Scaled(torch.ones(4, 1, 1, 1, 1)), r"the factor is \[4, 1, 1, 1, 1\] and does not"),
        (Replaced(torch.ones(5, 6)), r"weights must broadcast to \[2, 3, 5, 7\], .* it is \[5, 6\]"),
        (Replaced([1.0]), r"At attention: weights must be a tensor; it is of type list"),  # type: ignore[arg-type]
        (Rewritten(lambda weights, call: weights[..., 1:]), r"what rewrite returned must broadcast .* \[2, 3, 5, 6\]"),
        (Rewritten(lambda weights, call: None), r"what rewrite returned must be a tensor; .* NoneType"),  # type: ignore
        (Hidden(torch.ones(5, 7)), r"hidden is torch\.float32 of shape \[5, 7\]; it must be boolean"),
        (Hidden([True] * 7), r"At attention: hidden must be a tensor of booleans; it is of type list\."),  # type: ignore
        (lambda call, run: None, r"At attention: a change must return the context, a tensor; it returned NoneType\."),
        (
            lambda call, run: run(call)[:, :2],
            r"At attention: a change must return a context \[2, 3, 5, 11\]; it returned one \[2, 2, 5, 11\]\.",
        ),
        (ValuesOff(torch.ones(5, dtype=torch.bool)), r"off is torch\.bool of shape \[5\].* broadcast to \[2, 3, 7\]"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change: attend.Observer, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        changed(change)


ENCODER = {"d_model": 10, "nhead": 2, "dim_feedforward": 13, "batch_first": True, "dropout": 0.0}


def test_heads_of_pytorch_modules_are_off_where_the_fast_path_is() -> None:
    torch.manual_seed(2)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(**ENCODER), 2, enable_nested_tensor=False).double()  # type: ignore[arg-type]
    states = torch.randn(B, Q, 10, dtype=torch.float64)
    contexts: list[Tensor] = []
    original = nn.functional.scaled_dot_product_attention

    def keeping(*arguments: Tensor, **options: object) -> Tensor:
        contexts.append(original(*arguments, **options))  # type: ignore[arg-type]
        return contexts[-1]

    nn.functional.scaled_dot_product_attention = keeping  # type: ignore[assignment]
    try:
        plain = model(states)
        with intervene(model, {"layers.1.self_attn": HeadsOff([1])}):
            changed_output = model(states)
    finally:
        nn.functional.scaled_dot_product_attention = original
    assert len(contexts) == 4
    assert torch.equal(contexts[0], contexts[2])
    last = model.layers[1]
    context = contexts[1].reshape(B, 2, Q, 5).clone()
    context[:, 1] = 0
    merged = last.self_attn.out_proj(context.transpose(1, 2).flatten(2))
    states = last.norm1(model.layers[0](states) + merged)
    wanted = last.norm2(states + last.linear2(torch.relu(last.linear1(states))))
    assert torch.allclose(changed_output, wanted)
    assert not torch.allclose(changed_output, plain, atol=1e-3)
    model.eval()
    told = pytest.raises(WorkError, match=r"set_fastpath_enabled\(False\)")
    with torch.no_grad(), told, intervene(model, {"layers.1.self_attn": HeadsOff([1])}):
        model(states)


class Bare(nn.Module):
    """One call of PyTorch's attention."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(query, key, value)


def test_plain_calls_of_pytorch_are_changed() -> None:
    query, key, value = tensors()
    model = Bare()
    with intervene(model, {"": evened([1])}):
        context = model(query, key, value)
    wanted = equation(query, key) @ value
    wanted[:, 1] = value[:, 1].mean(1, keepdim=True)
    assert torch.allclose(context, wanted)


def test_a_compiled_model_is_changed_too() -> None:
    compiled: Any = torch.compile(Bare(), backend="eager")
    query, key, value = tensors()
    wanted = equation(query, key) @ value
    assert torch.allclose(compiled(query, key, value), wanted)
    with intervene(compiled, {"": HeadsOff([1])}):
        off = compiled(query, key, value)
    wanted[:, 1] = 0
    assert torch.allclose(off, wanted)
    assert compiled(query, key, value)[:, 1].count_nonzero() > 0
