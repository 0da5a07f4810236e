import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from regard.errors import ConfigError, OptionError
from regard.training.objectives import smoothed_cross_entropy
from regard.training.optimizers import Optimizer
from regard.training.precision import cast

DTYPES = [torch.float32, torch.bfloat16]


def network(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 3))


def give_gradients(model: nn.Module, seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_steps_are_those_of_adam_by_its_equations() -> None:
    """Kingma & Ba 2015, Algorithm 1, in float64."""
    model = nn.Linear(3, 2, bias=False).double()
    weight, first, second = model.weight.detach().clone(), torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    optimizer = Optimizer(model, betas=(0.9, 0.98), epsilon=1e-9)
    for step in range(1, 8):
        gradient = torch.randn(2, 3, dtype=torch.float64)
        model.weight.grad = 5 * gradient
        optimizer.step(0.01 * step, divisor=5)
        first = 0.9 * first + 0.1 * gradient
        second = 0.98 * second + 0.02 * gradient**2
        weight -= 0.01 * step * (first / (1 - 0.9**step)) / ((second / (1 - 0.98**step)).sqrt() + 1e-9)
    torch.testing.assert_close(model.weight.detach(), weight, rtol=1e-10, atol=1e-12)


def test_weight_decay_is_decoupled_and_spares_vectors() -> None:
    model = network()
    before = values(model)
    optimizer = Optimizer(model, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.1)
    for name, parameter in model.named_parameters():
        expected = before[name] * (0.95 if parameter.ndim == 2 else 1.0)
        torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("clip_norm", [0.0, 0.7, 1e9])
def test_gradients_are_divided_and_clipped_by_their_global_norm(dtype: torch.dtype, clip_norm: float) -> None:
    model = network().to(dtype)
    optimizer = Optimizer(model, betas=(0.0, 0.0), clip_norm=clip_norm)
    give_gradients(model, 3)
    gradients = [p.grad.float().clone() for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float((g / 13).square().sum()) for g in gradients))
    outcome = optimizer.step(0.1, divisor=13)
    assert outcome.gradient_norm == pytest.approx(norm, rel=1e-5)
    assert not outcome.skipped
    scale = min(1.0, clip_norm / norm) / 13 if clip_norm else 1 / 13
    for gradient, moment in zip(gradients, list(optimizer.state().values())[::3], strict=True):
        torch.testing.assert_close(moment, gradient * scale)  # with beta 0 the first moment is the gradient


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(dtype: torch.dtype, poison: float) -> None:
    model = network().to(dtype)
    optimizer = Optimizer(model, clip_norm=1.0, weight_decay=0.1)
    give_gradients(model, 1)
    optimizer.step(0.1)
    before, masters = values(model), {n: m.clone() for n, m in optimizer.masters().items()}
    state = {n: s.clone() for n, s in optimizer.state().items()}
    give_gradients(model, 2)
    gradient = dict(model.named_parameters())["3.weight"].grad
    assert gradient is not None
    gradient[1, 2] = poison
    outcome = optimizer.step(0.1)
    assert outcome.skipped
    assert not math.isfinite(outcome.gradient_norm)
    assert same(values(model), before)
    assert same(optimizer.masters(), masters)
    assert same(optimizer.state(), state)
    give_gradients(model, 3)
    assert not optimizer.step(0.1).skipped  # nothing of the bad one is left


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_step_clears_the_gradients(dtype: torch.dtype) -> None:
    model = network().to(dtype)
    optimizer = Optimizer(model)
    give_gradients(model, 1)
    optimizer.step(0.1)
    assert all(p.grad is None for p in model.parameters())
    before = values(model)
    assert optimizer.step(0.1).gradient_norm == 0
    assert same(values(model), before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_discarded_gradients_leave_no_trace(dtype: torch.dtype) -> None:
    runs = []
    for bad in (False, True):
        model = network().to(dtype)
        optimizer = Optimizer(model)
        if bad:
            give_gradients(model, 9)
            optimizer.accumulate()
            give_gradients(model, 10)
            optimizer.discard()
        give_gradients(model, 1)
        optimizer.step(0.1)
        runs.append(values(model))
    assert same(*runs)


def test_float32_parameters_are_their_own_masters() -> None:
    model = network()
    optimizer = Optimizer(model)
    for name, parameter in model.named_parameters():
        assert optimizer.masters()[name].data_ptr() == parameter.data_ptr()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_model_holds_its_masters_rounded(dtype: torch.dtype) -> None:
    model = network().to(dtype)
    optimizer = Optimizer(model)
    for seed in range(5):
        give_gradients(model, seed)
        optimizer.step(1e-3)
        for name, parameter in model.named_parameters():
            assert optimizer.masters()[name].dtype == torch.float32
            assert torch.equal(parameter, optimizer.masters()[name].to(dtype))


def test_masters_start_from_the_values_before_the_cast() -> None:
    model = network()
    exact = values(model)
    optimizer = Optimizer(model, masters=cast(model, torch.bfloat16))
    assert same(optimizer.masters(), exact)
    assert not same({n: p.float() for n, p in values(model).items()}, exact)


def test_steps_too_small_for_bfloat16_add_up_in_the_master() -> None:
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.ones_(model.weight)
    optimizer = Optimizer(model)
    for _ in range(100):
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.step(1e-4)
    assert float(optimizer.masters()["weight"]) == pytest.approx(0.99, abs=1e-5)
    assert float(model.weight.detach()) == pytest.approx(0.99, abs=0.004)


def test_micro_batches_add_up_in_float32() -> None:
    """In bfloat16 a sum of ones stops at 256."""
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    optimizer = Optimizer(model)
    for _ in range(300):
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.accumulate()
    assert optimizer.step(0.1).gradient_norm == 300


def test_micro_batches_give_the_step_of_the_whole_batch() -> None:
    runs = []
    inputs = torch.randn(12, 5)
    for parts in (1, 3):
        model = network()
        optimizer = Optimizer(model, clip_norm=0.5)
        for part in inputs.chunk(parts):
            model(part).square().sum().backward()
            optimizer.accumulate()
        optimizer.step(0.01, divisor=12)
        runs.append(values(model))
    for name in runs[0]:
        torch.testing.assert_close(runs[0][name], runs[1][name])


class Tied(nn.Module):
    """Its embedding is its output, and one vector is frozen, one unused."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.output = nn.Linear(5, 7)
        self.output.weight = self.embedding.weight
        self.frozen = nn.Parameter(torch.ones(5), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.output(self.embedding(ids) * self.frozen)
        return logits


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tied_parameter_is_one_a_frozen_one_none(dtype: torch.dtype) -> None:
    model = Tied().to(dtype)
    optimizer = Optimizer(model)
    assert list(optimizer.masters()) == ["unused", "embedding.weight", "output.bias"]
    model(torch.tensor([1, 2])).float().sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient is not None
    norm = math.sqrt(float(gradient.float().square().sum()) + 7 * 2**2)
    assert optimizer.step(0.1).gradient_norm == pytest.approx(norm, rel=1e-3)
    assert model.output.weight is model.embedding.weight
    assert torch.equal(model.frozen, torch.ones(5, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_parameter_without_gradient_stays_and_counts_no_step(dtype: torch.dtype) -> None:
    model = Tied().to(dtype)
    optimizer = Optimizer(model, weight_decay=0.5)
    model(torch.tensor([1, 2])).float().sum().backward()
    optimizer.step(0.1)
    assert torch.equal(model.unused, torch.ones(3, dtype=dtype))
    assert {name.rpartition(".")[0] for name in optimizer.state()} == {"embedding.weight", "output.bias"}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_resumed_run_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    def train(model: nn.Module, optimizer: Optimizer, seeds: range) -> None:
        for seed in seeds:
            give_gradients(model, seed)
            optimizer.step(1e-3, divisor=7)

    whole = network().to(dtype)
    uninterrupted = Optimizer(whole, clip_norm=0.3, weight_decay=0.01)
    train(whole, uninterrupted, range(5))
    masters = {name: master.clone() for name, master in uninterrupted.masters().items()}
    state = {name: tensor.clone() for name, tensor in uninterrupted.state().items()}
    train(whole, uninterrupted, range(5, 9))

    resumed = network(seed=2).to(dtype)
    optimizer = Optimizer(resumed, clip_norm=0.3, weight_decay=0.01)
    optimizer.load_masters(masters)
    optimizer.load_state(state)
    assert same(optimizer.state(), state)
    train(resumed, optimizer, range(5, 9))
    assert same(values(resumed), values(whole))
    assert same(optimizer.masters(), uninterrupted.masters())
    assert same(optimizer.state(), uninterrupted.state())


def test_a_loaded_state_is_a_copy() -> None:
    model = network()
    optimizer = Optimizer(model)
    give_gradients(model, 1)
    optimizer.step(0.1)
    state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    kept = copy.deepcopy(state)
    optimizer.load_state(state)
    give_gradients(model, 2)
    optimizer.step(0.1)
    assert same(state, kept)


def test_an_empty_state_starts_anew() -> None:
    model = network()
    optimizer = Optimizer(model)
    give_gradients(model, 1)
    optimizer.step(0.1)
    optimizer.load_state({})
    assert optimizer.state() == {}


def test_a_state_of_another_model_is_refused_fault_by_fault() -> None:
    model = network()
    optimizer = Optimizer(model)
    give_gradients(model, 1)
    optimizer.step(0.1)
    before = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    other = dict(before)
    del other["0.bias.step"]
    other["0.weight.exp_avg"] = torch.zeros(2, 2)
    other["9.weight.step"] = torch.zeros(())
    with pytest.raises(ConfigError) as caught:
        optimizer.load_state(other)
    assert caught.value.faults == [
        "'0.bias.step' is missing.",
        "'9.weight.step' belongs to no parameter of this model.",
        "'0.weight.exp_avg' has shape (2, 2), the model's has (7, 5).",
    ]
    assert same(optimizer.state(), before)


def test_masters_of_another_model_are_refused_before_any_change() -> None:
    model = network()
    optimizer, before = Optimizer(model), values(model)
    with pytest.raises(ConfigError, match=r"'3.bias' is missing.\n'3.scale' belongs to no parameter of this model."):
        optimizer.load_masters({n.replace("3.bias", "3.scale"): torch.zeros_like(p) for n, p in before.items()})
    assert same(values(model), before)


@pytest.mark.parametrize("divisor", [0.0, -1.0, math.nan, math.inf])
def test_a_divisor_that_counts_nothing_is_refused(divisor: float) -> None:
    with pytest.raises(OptionError, match=rf"divisor \({divisor}\) must be above 0"):
        Optimizer(network()).step(0.1, divisor=divisor)


def test_settings_out_of_range_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Optimizer(network(), betas=(0.9, 1.0), epsilon=-1.0, weight_decay=math.nan, clip_norm=-2.0)
    assert caught.value.faults == [
        "beta (1.0) must be at least 0 and below 1.",
        "epsilon (-1.0) must be greater than 0, such as 1e-9.",
        "weight_decay (nan) must be at least 0.",
        "clip_norm (-2.0) must be at least 0.",
    ]


def test_no_epsilon_is_refused_for_it_would_divide_nothing_by_nothing() -> None:
    with pytest.raises(ConfigError, match=r"epsilon \(0.0\) must be greater than 0"):
        Optimizer(network(), epsilon=0.0)


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(OptionError, match="there is nothing to train"):
        Optimizer(nn.Linear(2, 2).requires_grad_(False))


@given(st.floats(1e-3, 1e3))
def test_the_scale_of_a_gradient_does_not_matter_to_adam(scale: float) -> None:
    runs = []
    for factor in (1.0, scale):
        model = network()
        optimizer = Optimizer(model, epsilon=1e-30)
        give_gradients(model, 1, scale=factor)
        optimizer.step(0.01)
        runs.append(values(model))
    for name in runs[0]:
        torch.testing.assert_close(runs[0][name], runs[1][name], rtol=1e-4, atol=1e-6)


def train_to_copy(prepare: Callable[[nn.Module], Optimizer], steps: int) -> list[float]:
    """Train a small model to name the class that a linear teacher gives; the loss a token, step by step."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(17, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 64), nn.GELU())
    output = nn.Linear(64, 11)
    both = nn.ModuleDict({"model": model, "output": output})
    optimizer = prepare(both)
    teacher = torch.randn(17, 11)
    losses = []
    for step in range(1, steps + 1):
        inputs = torch.randn(128, 17)
        hidden = model(inputs.to(output.weight.dtype))
        loss = smoothed_cross_entropy(hidden, output.weight, output.bias, (inputs @ teacher).argmax(-1), smoothing=0.1)
        loss.loss.backward()
        optimizer.step(2e-3 * min(1.0, step / 10), divisor=loss.tokens)
        losses.append(float(loss.loss.detach()) / loss.tokens)
    return losses


def test_bfloat16_with_masters_follows_float32() -> None:
    def full(model: nn.Module) -> Optimizer:
        return Optimizer(model, clip_norm=1.0)

    def half(model: nn.Module) -> Optimizer:
        return Optimizer(model, clip_norm=1.0, masters=cast(model, torch.bfloat16))

    exact, rounded = torch.tensor(train_to_copy(full, 150)), torch.tensor(train_to_copy(half, 150))
    assert exact[0] > 2.3
    assert exact[-20:].mean() < 1.2
    assert float((exact - rounded).abs().max()) < 0.02
    assert float(rounded[-20:].mean()) == pytest.approx(float(exact[-20:].mean()), abs=0.005)


def test_the_gradient_of_functional_cross_entropy_trains_alike() -> None:
    model = nn.Linear(5, 3)
    twin = copy.deepcopy(model)
    inputs, labels = torch.randn(7, 5), torch.randint(3, (7,))
    optimizers = Optimizer(model), Optimizer(twin)
    for _ in range(5):
        smoothed_cross_entropy(inputs, model.weight, model.bias, labels).loss.backward()
        functional.cross_entropy(twin(inputs), labels, reduction="sum").backward()
        for optimizer in optimizers:
            optimizer.step(0.01, divisor=7)
    torch.testing.assert_close(model.weight, twin.weight)
