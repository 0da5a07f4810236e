import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.attention import attend as module
from regard.attention.attend import WAYS, Attention, Run, attend, attention_weights, observers
from regard.attention.biases import TensorBias
from regard.attention.call import AttentionCall
from regard.attention.lengths import Padding
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.scores import Additive, Cosine, Dot, General, Location, ScaledDot
from regard.attention.ways import reference
from regard.errors import InputError, OptionError, ShapeError
from tests.attention.judge import PRODUCT_WAYS, as_a_user, assert_same, case

# The module


def test_the_module_is_the_equation_with_its_parts() -> None:
    given = replace(case("general", "causal", "tensor"), soft_cap=0.9, scale=1.3)
    attention = Attention(given.score, soft_cap=0.9, scale=1.3)
    memory = attention.remember(given.key, given.value)
    assert_same(attention(given.query, memory, mask=given.mask, bias=given.bias), given.context())
    assert list(attention.state_dict()) == ["score.weight.weight"]


def check_dropout_in_evaluation() -> None:
    """Dropout acts in training and not in evaluation."""
    given = case()
    attention = Attention(dropout=0.5)
    memory = attention.remember(given.key, given.value)
    assert_same(attention.eval()(given.query, memory), given.context())
    assert not torch.equal(attention.train()(given.query, memory), given.context())


def test_the_module_drops_weights_in_training_alone() -> None:
    check_dropout_in_evaluation()


def test_the_module_takes_tensors_as_mask_and_bias() -> None:
    given = case()
    allowed, added = torch.rand(5, 7) < 0.7, torch.randn(5, 7)
    expected = replace(given, mask=TensorMask(allowed), bias=TensorBias(added)).context()
    memory = Attention().remember(given.key, given.value, torch.ones(2, 1, 1, 7, dtype=torch.bool))
    assert_same(Attention()(given.query, memory, mask=allowed, bias=added, offset=0), expected)
    assert_same(Attention()(given.query, memory, mask=allowed, bias=added, offset=3), expected)


def test_a_tensor_speaks_of_the_queries_of_the_call_whatever_the_offset() -> None:
    given = case()
    allowed = torch.rand(5, 7) < 0.7
    plain = attend(given.query, given.key, given.value, mask=allowed)
    assert_same(attend(given.query, given.key, given.value, mask=allowed, offset=11), plain)


def test_the_module_says_what_it_is_made_of() -> None:
    text = repr(Attention(Cosine(2.0), normalizer=Halves(), dropout=0.1, way="fused"))
    assert "Cosine" in text
    assert "Halves" in text
    assert "dropout=0.1" in text
    assert "way='fused'" in text
    assert "soft_cap" not in text
    assert "soft_cap=3.0, scale=0.5, dropout" in repr(Attention(soft_cap=3.0, scale=0.5))


# The choice of a way


class Halves(Normalizer):
    """Half the softmax: no fast way knows it."""

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        return Softmax().forward(scores, mask) / 2


def test_auto_runs_what_no_fast_way_can() -> None:
    given = case(soft_cap=0.7)
    assert_same(given.context("auto"), given.context("reference"))
    halves = attend(given.query, given.key, given.value, normalizer=Halves())
    assert_same(2 * halves, case().context())


@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_a_way_that_is_named_is_taken(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = WAYS[way].run

    def taking(call: AttentionCall) -> Tensor:
        taken.append(way)
        context: Tensor = real(call)
        return context

    monkeypatch.setattr(WAYS[way], "run", taking)
    case().context(way)
    Attention(way=way)(case().query, Attention().remember(case().key, case().value))
    assert taken == [way, way]


def four(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


FITTING = {"query": four(2, 3, 5, 11), "key": four(2, 3, 7, 11), "value": four(2, 3, 7, 11)}
MIXED = torch.ones(5, 7, dtype=torch.bool)

MISUSES: list[tuple[dict[str, Any], list[str]]] = [
    ({"query": four(3, 5, 11)}, ["query", "[batch, heads, length, width]", "[3, 5, 11]"]),
    ({"key": four(3, 7, 11)}, ["key", "[3, 7, 11]"]),
    ({"value": four(7, 11)}, ["value", "[7, 11]"]),
    ({"value": four(1, 2, 3, 7, 11)}, ["value", "[1, 2, 3, 7, 11]"]),
    ({"query": four(2, 3, 5, 11, dtype=torch.int64)}, ["query", "floating-point", "torch.int64"]),
    ({"key": four(2, 3, 7, 11, dtype=torch.bool)}, ["key", "floating-point", "torch.bool"]),
    ({"value": four(2, 3, 7, 11, dtype=torch.complex64)}, ["value", "floating-point", "torch.complex64"]),
    ({"key": four(2, 3, 7, 11, dtype=torch.float64)}, ["key is torch.float64", "query is torch.float32", ".to("]),
    ({"value": four(2, 3, 7, 11, dtype=torch.bfloat16)}, ["value is torch.bfloat16", "query is torch.float32"]),
    ({"query": four(2, 3, 5, 11, dtype=torch.float16)}, ["key is torch.float32", "query is torch.float16"]),
    ({"key": four(2, 3, 7, 11, device="meta")}, ["key is torch.float32 on meta", "query is torch.float32 on cpu"]),
    ({"value": four(2, 3, 7, 11, device="meta")}, ["value is torch.float32 on meta", "on cpu"]),
    ({"query": four(2, 3, 5, 11, device="meta")}, ["key is torch.float32 on cpu", "query is torch.float32 on meta"]),
    ({"query": four(1, 3, 5, 11)}, ["key has 2 batch entries", "query has 1"]),
    ({"key": four(1, 3, 7, 11)}, ["value has 2 batch entries", "key has 1"]),
    ({"value": four(5, 3, 7, 11)}, ["value has 5 batch entries", "key has 2"]),
    ({"query": four(2, 4, 5, 11)}, ["query has 4 heads", "key has 3", "must divide"]),
    ({"query": four(2, 1, 5, 11)}, ["query has 1 heads", "key has 3"]),
    ({"key": four(2, 0, 7, 11), "value": four(2, 0, 7, 11)}, ["query has 3 heads", "key has 0"]),
    ({"key": four(2, 1, 7, 11)}, ["key has 1 heads of 7", "value has 3 of 7"]),
    ({"value": four(2, 3, 13, 11)}, ["key has 3 heads of 7", "value has 3 of 13"]),
    ({"key": four(2, 3, 0, 11), "value": four(2, 3, 0, 11)}, ["key has length 0", "nothing to attend to"]),
    ({"key": four(2, 3, 7, 13)}, ["query has width 11", "key 13", "General"]),
    ({"key": four(2, 3, 7, 13), "score": Dot()}, ["query has width 11", "key 13"]),
    ({"key": four(2, 3, 7, 13), "score": Cosine()}, ["query has width 11", "key 13"]),
    ({"score": General(13, 11)}, ["query has width 11", "13"]),
    ({"score": General(11, 13)}, ["key has width 11", "13"]),
    ({"score": Additive(11, 13, 17)}, ["key has width 11", "13"]),
    ({"score": Location(11, 5)}, ["at most 5 keys", "given 7"]),
    ({"soft_cap": 0.0}, ["soft_cap", "above 0", "0.0"]),
    ({"soft_cap": -2.5}, ["soft_cap", "-2.5"]),
    ({"soft_cap": math.inf}, ["soft_cap", "inf"]),
    ({"soft_cap": math.nan}, ["soft_cap", "nan"]),
    ({"dropout": -0.1}, ["dropout", "between 0 and 1", "-0.1"]),
    ({"dropout": 1.5}, ["dropout", "1.5"]),
    ({"dropout": math.nan}, ["dropout", "nan"]),
    ({"scale": math.nan}, ["scale", "nan"]),
    ({"scale": -math.inf}, ["scale", "-inf"]),
    ({"mask": four(5, 7)}, ["mask", "boolean", "True = may look", "torch.float32", "TensorBias"]),
    ({"mask": four(5, 7, dtype=torch.int32)}, ["mask", "torch.int32", "mask > 0"]),
    ({"mask": MIXED[0]}, ["mask", "[7]"]),
    ({"mask": MIXED[None, None, None]}, ["mask", "[1, 1, 1, 5, 7]"]),
    ({"mask": MIXED[:, :6]}, ["mask", "[1, 1, 5, 6]", "[2, 3, 5, 7]"]),
    ({"mask": MIXED[:4]}, ["mask", "[1, 1, 4, 7]", "[2, 3, 5, 7]"]),
    ({"mask": MIXED.expand(5, 5, 7)}, ["mask", "[1, 5, 5, 7]", "[2, 3, 5, 7]"]),
    ({"mask": MIXED.expand(5, 1, 5, 7)}, ["mask", "[5, 1, 5, 7]", "[2, 3, 5, 7]"]),
    ({"mask": MIXED.to("meta")}, ["mask is on meta", "query on cpu"]),
    ({"mask": None}, ["mask", "None"]),
    ({"mask": "causal"}, ["mask", "'causal'"]),
    ({"mask": [[True] * 7] * 5}, ["mask", "[[True"]),
    ({"mask": Padding(torch.tensor([7, 7, 7]))}, ["3 lengths", "2 batch entries"]),
    ({"mask": Causal() & Padding(torch.tensor([7]))}, ["1 lengths", "2 batch entries"]),
    ({"mask": TensorMask(MIXED, first_query=3)}, ["mask", "position 3", "position 0"]),
    ({"bias": four(5, 7, dtype=torch.bool)}, ["bias", "torch.bool", "TensorMask"]),
    ({"bias": four(7)}, ["bias", "[7]"]),
    ({"bias": four(5, 6)}, ["bias", "[1, 1, 5, 6]", "[2, 3, 5, 7]"]),
    ({"bias": four(4, 5, 7)}, ["bias", "[1, 4, 5, 7]"]),
    ({"bias": four(5, 7, device="meta")}, ["bias is on meta", "query on cpu"]),
    ({"bias": 0.5}, ["bias", "0.5"]),
    ({"bias": TensorBias(four(5, 7)), "offset": 1}, ["bias", "position 0", "position 1"]),
    ({"query": [[[[0.0]]]]}, ["query must be a tensor", "type list", "torch.as_tensor"]),
    ({"value": np.zeros((2, 3, 7, 11))}, ["value must be a tensor", "type ndarray"]),
    ({"score": "dot"}, ["score must be a Score", "regard.attention.scores", "'dot'"]),
    ({"score": Dot}, ["score must be an object", "the class Dot: write Dot()"]),
    ({"score": None}, ["score must be a Score", "None"]),
    ({"normalizer": "softmax"}, ["normalizer must be a Normalizer", "regard.attention.normalizers", "'softmax'"]),
    ({"normalizer": Halves}, ["normalizer must be an object", "Halves()"]),
    ({"offset": torch.tensor(2)}, ["offset must be a whole number", "tensor(2)", "Shifted"]),
    ({"offset": 2.0}, ["offset must be a whole number", "2.0"]),
    ({"way": "flash"}, ["way 'flash' is unknown", "'auto', 'steady', 'reference'", "'fused'"]),
    (
        {"way": "fused", "score": Additive(11, 11, 13)},
        ["way 'fused' cannot run this call: its score is additive and fused computes dot products only", "'reference'"],
    ),
    ({"way": "fused", "soft_cap": 1.5}, ["way 'fused' cannot run this call", "capped at 1.5", "'reference'"]),
    ({"way": "fused", "normalizer": Halves()}, ["way 'fused' cannot run this call", "its normalizer is halves"]),
    ({"way": "products", "score": Location(11, 7)}, ["way 'products' cannot run this call", "its score is location"]),
    ({"way": "products", "soft_cap": 1.5}, ["way 'products' cannot run this call", "capped at 1.5"]),
    ({"way": "products", "normalizer": Halves()}, ["way 'products' cannot run this call", "halves"]),
    (
        {"way": "products", "query": four(2, 6, 5, 11)},
        ["way 'products' cannot run this call", "6 query heads share 3", "'reference' or 'fused'"],
    ),
]


def test_there_are_sixty_misuses() -> None:
    assert len(MISUSES) >= 60


@pytest.mark.parametrize(("given", "words"), MISUSES, ids=lambda x: " ".join(x) if isinstance(x, dict) else "")
def test_misuse_is_refused_by_the_name_of_the_argument(given: dict[str, Any], words: list[str]) -> None:
    with as_a_user(), pytest.raises(InputError) as caught:
        attend(**(FITTING | given))
    for word in words:
        assert word in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dropout": 1.5}, "dropout .* 1.5"),
        ({"soft_cap": -1.0}, "soft_cap .* -1.0"),
        ({"scale": math.inf}, "scale .* inf"),
    ],
)
def test_the_module_refuses_numbers_where_it_is_built(given: dict[str, float], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Attention(**given)  # type: ignore[arg-type]


def test_the_module_refuses_parts_that_are_none() -> None:
    with as_a_user(), pytest.raises(OptionError, match=r"score must be a Score, .* 'dot'"):
        Attention("dot")  # type: ignore[arg-type]
    with as_a_user(), pytest.raises(OptionError, match=r"normalizer must be an object.* Softmax\(\)"):
        Attention(normalizer=Softmax)  # type: ignore[arg-type]


def test_the_module_attends_to_memories_alone() -> None:
    with as_a_user(), pytest.raises(OptionError, match=r"memory must be what remember\(\.\.\.\) returned; .* Tensor"):
        Attention()(FITTING["query"], FITTING["key"])


def test_attention_weights_refuse_what_attend_refuses() -> None:
    with as_a_user(), pytest.raises(ShapeError, match="key has 5 batch entries and query has 2"):
        attention_weights(four(2, 3, 5, 11), four(5, 3, 7, 11))


def test_attend_works_on_the_meta_device() -> None:
    on_meta = [tensor.to("meta") for tensor in FITTING.values()]
    for mask in (Causal(), Padding(torch.tensor([7, 5])), Padding(torch.tensor([7, 5], device="meta")) & Window(1, 2)):
        for way in ("auto", *PRODUCT_WAYS):
            assert attend(*on_meta, mask=mask, way=way).shape == (2, 3, 5, 11)


# Autocast


class Watch:
    """Notes the calls that it sees."""

    def __init__(self) -> None:
        self.calls: list[AttentionCall] = []

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        self.calls.append(call)
        return run(call)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    observers.append(watch)
    yield watch
    observers.remove(watch)


@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_attend_and_the_module_cast_by_the_autocast_state(way: str, watch: Watch) -> None:
    given = case(mask="causal").to(torch.float32)
    attention = Attention(way=way)
    with torch.autocast("cpu", torch.bfloat16):
        one = given.context(way)
        other = attention(given.query, attention.remember(given.key, given.value), mask=given.mask)
    halves = given.to(torch.bfloat16).context(way)
    assert one.dtype == other.dtype == torch.bfloat16
    assert torch.equal(one, halves)
    assert torch.equal(other, halves)
    assert all(part.dtype == torch.bfloat16 for call in watch.calls for part in call[:3])


def test_the_ways_run_with_autocast_off(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    real = reference.weights

    def weights(call: AttentionCall) -> Tensor:
        states.append(torch.is_autocast_enabled("cpu"))
        return real(call)

    monkeypatch.setattr(reference, "weights", weights)
    given = case().to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        given.context("reference")
        given.weights()
        assert torch.is_autocast_enabled("cpu")
    assert states == [False, False]


def test_autocast_lets_a_memory_of_full_precision_be_attended_to() -> None:
    given = case().to(torch.float32)
    attention = Attention(Additive(11, 11, 13))
    memory = attention.remember(given.key, given.value)
    with torch.autocast("cpu", torch.bfloat16):
        context = attention(given.query.bfloat16(), memory)
    assert context.dtype == torch.bfloat16


def test_autocast_leaves_float64_alone() -> None:
    given = case()
    with torch.autocast("cpu", torch.bfloat16):
        assert given.context().dtype == torch.float64
        assert_same(given.context(), case().context())


def test_a_module_learns_under_autocast() -> None:
    attention, linear = Attention(Additive(11, 11, 13)), nn.Linear(11, 11)
    with torch.autocast("cpu", torch.bfloat16):
        states = linear(torch.randn(2, 1, 7, 11))
        loss = attention(states, attention.remember(states, states)).float().square().sum()
    for gradient in torch.autograd.grad(loss, [*attention.parameters(), *linear.parameters()]):
        assert gradient.dtype == torch.float32
        assert bool(gradient.any())


# Observers


def test_an_observer_sees_every_call_as_it_is_run(watch: Watch) -> None:
    given = case("general", "causal", "tensor")
    context = given.context()
    attention = Attention()
    attention(given.query, attention.remember(given.key, given.value), offset=4)
    assert len(watch.calls) == 2
    assert watch.calls[0].score is given.score
    assert watch.calls[1].offset == 4
    assert_same(reference.run(watch.calls[0]), context)


def test_an_observer_can_replace_the_context_and_leaves_no_trace() -> None:
    given = case()
    plain = given.context()

    def nothing(call: AttentionCall, run: Run) -> Tensor:
        return torch.zeros_like(run(call))

    observers.append(nothing)
    try:
        assert not given.context().any()
    finally:
        observers.remove(nothing)
    assert torch.equal(given.context(), plain)


def test_observers_nest_and_the_last_sees_the_call_first() -> None:
    told: list[str] = []

    def named(name: str) -> Callable[[AttentionCall, Run], Tensor]:
        def around(call: AttentionCall, run: Run) -> Tensor:
            told.append(f"{name} before")
            context = run(call)
            told.append(f"{name} after")
            return context + 1 if name == "first" else 2 * context

        return around

    given = case()
    plain = given.context()
    added = [named("first"), named("second")]
    observers.extend(added)
    try:
        assert_same(given.context(), 2 * (plain + 1))
    finally:
        for around in added:
            observers.remove(around)
    assert told == ["second before", "first before", "first after", "second after"]


def test_an_observer_can_change_the_call_to_one_for_another_way() -> None:
    """The way is chosen for the call that is run: here a capped one, which fused kernels cannot run."""
    given = case()

    def capped(call: AttentionCall, run: Run) -> Tensor:
        return run(call._replace(soft_cap=0.5))

    observers.append(capped)
    try:
        assert_same(given.context(), replace(given, soft_cap=0.5).context())
        with pytest.raises(OptionError, match=r"way 'fused' cannot run this call: its scores are capped at 0.5"):
            given.context("fused")
    finally:
        observers.remove(capped)


def test_the_gradient_goes_through_an_observer(watch: Watch) -> None:
    query = case().query.requires_grad_()
    (gradient,) = torch.autograd.grad(attend(query, case().key, case().value).square().sum(), query)
    assert bool(gradient.any())
    assert len(watch.calls) == 1


def test_the_observers_are_a_plain_list() -> None:
    assert type(module.observers) is list
    assert module.observers == []
    assert isinstance(module.SCALED_DOT, ScaledDot)
