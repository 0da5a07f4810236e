"""Judged by the plain expression in float64, over sizes where blocks and slices do and do not divide the rows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regard.errors import InputError, OptionError, ShapeError
from regard.training import objectives
from regard.training.objectives import IGNORED, Loss, smoothed_cross_entropy

N, M, V = 13, 7, 11
Given = tuple[Tensor, Tensor, Tensor | None, Tensor]

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 0.004}


def given(dtype: torch.dtype = torch.float64, *, bias: bool = True, ignored: int = 3) -> Given:
    generator = torch.Generator().manual_seed(1)
    hidden, weight, offset = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in ((N, M), (V, M), (V,))
    )
    labels = torch.randint(V, (N,), generator=generator)
    labels[torch.randperm(N, generator=generator)[:ignored]] = IGNORED
    return hidden, weight, offset if bias else None, labels


def plain(given: Given, smoothing: float) -> Loss:
    """The expression in float64, whatever the type of the input."""
    hidden, weight, bias, labels = given
    logits = functional.linear(hidden.double(), weight.double(), None if bias is None else bias.double())
    log_probabilities = logits.log_softmax(-1)
    kept = labels != IGNORED
    nll = -log_probabilities[kept].gather(1, labels[kept, None]).sum()
    spread = -log_probabilities[kept].sum() / V
    correct = (logits[kept].argmax(-1) == labels[kept]).sum()
    return Loss((1 - smoothing) * nll + smoothing * spread, nll, int(kept.sum()), correct)


def gradients(given: Given, objective: Callable[[Given, float], Loss], smoothing: float, scale: float) -> list[Tensor]:
    wanted = [x for x in given[:3] if x is not None]
    return list(torch.autograd.grad(objective(given, smoothing).loss * scale, wanted))


def ours(given: Given, smoothing: float) -> Loss:
    return smoothed_cross_entropy(*given, smoothing=smoothing)


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, by the size of what is expected."""
    found, expected = found.detach(), expected.detach()
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-300))


@pytest.fixture(params=[(10**6, 10**6), (5, 2), (1, 1)], ids=["one block", "blocks of 5 in slices of 2", "row by row"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "_sizes", lambda hidden, words: request.param)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("ignored", [0, 3, N])
def test_loss_and_gradients_are_those_of_the_plain_expression(
    dtype: torch.dtype, bias: bool, smoothing: float, ignored: int
) -> None:
    case, tolerance = given(dtype, bias=bias, ignored=ignored), TOLERANCES[dtype]
    found, expected = ours(case, smoothing), plain(case, smoothing)
    assert found.loss.dtype == found.nll.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert distance(found.loss, expected.loss) <= tolerance
    assert distance(found.nll, expected.nll) <= tolerance
    assert found.tokens == expected.tokens == N - ignored
    assert int(found.correct) == int(expected.correct)
    for mine, right in zip(gradients(case, ours, smoothing, 3.0), gradients(case, plain, smoothing, 3.0), strict=True):
        assert mine.dtype == dtype
        assert distance(mine, right) <= tolerance


def test_finite_differences_agree() -> None:
    hidden, weight, bias, labels = given()
    assert bias is not None

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return smoothed_cross_entropy(hidden, weight, bias, labels, smoothing=0.2).loss

    assert torch.autograd.gradcheck(loss, (hidden, weight, bias))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_pytorch_smooths_alike(smoothing: float) -> None:
    hidden, weight, bias, labels = given()
    logits = functional.linear(hidden, weight, bias)
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(smoothed_cross_entropy(hidden, weight, bias, labels, smoothing=smoothing).loss, expected)


def test_one_row_by_hand() -> None:
    hidden, weight = torch.tensor([[1.0, 0.0]]), torch.log(torch.tensor([[1.0, 1], [2, 1], [5, 1]]))
    found = smoothed_cross_entropy(hidden, weight, None, torch.tensor([2]), smoothing=0.3)
    logs = torch.log(torch.tensor([1 / 8, 2 / 8, 5 / 8]))
    assert float(found.nll) == pytest.approx(float(-logs[2]))
    assert float(found.loss.detach()) == pytest.approx(float(-0.7 * logs[2] - 0.1 * logs.sum()))
    assert (found.tokens, int(found.correct)) == (1, 1)


@pytest.mark.parametrize("rows", [0, N], ids=["no rows", "all ignored"])
@pytest.mark.parametrize("bias", [True, False])
def test_no_labels_give_zero_loss_and_zero_gradients(rows: int, bias: bool) -> None:
    hidden, weight, offset, labels = given(torch.bfloat16, bias=bias, ignored=N)
    found = smoothed_cross_entropy(hidden[:rows], weight, offset, labels[:rows], smoothing=0.1)
    assert [float(x) for x in (found.loss.detach(), *found[1:])] == [0, 0, 0, 0]
    found.loss.backward()
    for x in (hidden, weight, *([] if offset is None else [offset])):
        assert x.grad is not None
        assert not x.grad.any()


def test_an_ignored_row_poisons_nothing() -> None:
    hidden, weight, bias, labels = given()
    poisoned = hidden.detach().masked_fill((labels == IGNORED)[:, None], torch.nan).requires_grad_()
    clean = gradients((hidden, weight, bias, labels), ours, 0.1, 1.0)
    dirty = gradients((poisoned, weight, bias, labels), ours, 0.1, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))
    assert not clean[0][labels == IGNORED].any()


def test_only_the_gradients_that_are_wanted_are_made() -> None:
    hidden, weight, bias, labels = given()
    found = smoothed_cross_entropy(hidden, weight.detach(), bias, labels)
    expected = gradients((hidden, weight, bias, labels), plain, 0.0, 1.0)
    assert bias is not None
    torch.testing.assert_close(list(torch.autograd.grad(found.loss, [hidden, bias])), [expected[0], expected[2]])


def test_without_gradients_the_numbers_are_the_same() -> None:
    case = given(torch.bfloat16)
    with torch.no_grad():
        quiet = ours(case, 0.1)
    assert not quiet.loss.requires_grad
    loud = ours(case, 0.1)
    assert [float(x) for x in quiet] == [float(x) for x in (loud.loss.detach(), *loud[1:])]


def test_only_the_loss_can_be_differentiated() -> None:
    found = ours(given(), 0.1)
    assert found.loss.requires_grad
    assert not found.nll.requires_grad
    assert not found.correct.requires_grad


def test_two_backwards_give_the_same() -> None:
    case = given()
    loss = ours(case, 0.1).loss
    first = torch.autograd.grad(loss, case[0], retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, case[0])[0])


def test_a_weight_that_is_also_the_embedding_gets_both_gradients() -> None:
    _, weight, _, labels = given(ignored=0)
    ids = torch.randint(V, (N,))
    found = torch.autograd.grad(smoothed_cross_entropy(weight[ids], weight, None, labels, smoothing=0.1).loss, weight)
    expected = torch.autograd.grad(plain((weight[ids], weight, None, labels), 0.1).loss, weight)
    torch.testing.assert_close(found, expected)


def test_the_softmax_is_float32_where_the_model_is_bfloat16() -> None:
    """A bfloat16 softmax is off by 0.2 % a token, all in one direction where probabilities repeat."""
    hidden = torch.zeros(1009, M, dtype=torch.bfloat16)
    weight = torch.zeros(10_007, M, dtype=torch.bfloat16)
    found = smoothed_cross_entropy(hidden, weight, None, torch.zeros(1009, dtype=torch.int64))
    assert float(found.nll) / 1009 == pytest.approx(9.21104, abs=1e-5)


def test_the_gradient_of_the_weight_is_summed_in_float32() -> None:
    """In bfloat16 a sum of ones stops at 256."""
    rows = 1009
    hidden = torch.ones(rows, 1, dtype=torch.bfloat16)
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    loss = smoothed_cross_entropy(hidden, weight, None, torch.zeros(rows, dtype=torch.int64)).loss
    found = torch.autograd.grad(loss, weight)[0]
    assert found.flatten().tolist() == pytest.approx([-rows / 2, rows / 2], rel=2**-8)


@pytest.mark.usefixtures("sizes")
def test_logits_of_any_size_are_right() -> None:
    weight = torch.tensor([[0.0], [1], [2]], requires_grad=True)
    hidden = torch.tensor([[3000.0], [-3000], [1e-20]], requires_grad=True)
    labels = torch.tensor([0, 2, 1])
    found = smoothed_cross_entropy(hidden, weight, None, labels)
    assert float(found.nll) == pytest.approx(6000 + 6000 + 1.0986123)
    hidden_gradient, weight_gradient = torch.autograd.grad(found.loss, [hidden, weight])
    assert hidden_gradient.flatten().tolist() == pytest.approx([2, -2, 0], abs=1e-6)
    assert weight_gradient.flatten().tolist() == pytest.approx([-6000, 0, 6000], abs=1e-6)


def test_a_word_that_its_bias_forbids_costs_nothing_without_smoothing() -> None:
    hidden, weight, _, labels = given(ignored=0)
    bias = torch.zeros(V, dtype=torch.float64).index_fill(0, torch.tensor([3]), -torch.inf)
    labels = labels.where(labels != 3, 4)
    found = smoothed_cross_entropy(hidden, weight, bias, labels)
    rest = [word for word in range(V) if word != 3]
    expected = functional.cross_entropy(
        hidden @ weight[rest].T, torch.tensor([rest.index(int(x)) for x in labels]), reduction="sum"
    )
    torch.testing.assert_close(found.loss, expected)
    assert torch.isfinite(torch.autograd.grad(found.loss, weight)[0]).all()


def test_what_is_not_finite_shows_in_the_loss() -> None:
    hidden, weight, bias, labels = given(ignored=0)
    with torch.no_grad():
        hidden[5, 2] = torch.nan
    assert ours((hidden, weight, bias, labels), 0.1).loss.isnan()


def test_autocast_changes_nothing() -> None:
    case = given(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ours(case, 0.1)
    assert torch.equal(inside.loss, ours(case, 0.1).loss)


def test_a_float32_weight_serves_bfloat16_states() -> None:
    hidden, weight, bias, labels = given(torch.float32)
    case = (hidden.detach().bfloat16().requires_grad_(), weight, bias, labels)
    found, expected = gradients(case, ours, 0.1, 1.0), gradients(case, plain, 0.1, 1.0)
    assert [x.dtype for x in found] == [torch.bfloat16, torch.float32, torch.float32]
    assert all(distance(a, b) < 0.03 for a, b in zip(found, expected, strict=True))


def test_blocks_of_a_cpu_fit_its_cache() -> None:
    block, slice_ = objectives._sizes(torch.empty(0, M, dtype=torch.bfloat16), 10_000)
    assert block * 10_000 * 2 <= 2**24
    assert slice_ * 10_000 * 4 <= 2**22
    assert objectives._sizes(torch.empty(0, M), 10**9) == (1, 1)


def test_a_second_derivative_is_refused_in_words() -> None:
    case = given()
    with pytest.raises(InputError, match="smoothed_cross_entropy has no second derivative"):
        torch.autograd.grad(ours(case, 0.1).loss, case[0], create_graph=True)


@pytest.mark.parametrize("label", [V, -1, -101])
def test_a_label_outside_the_vocabulary_is_refused(label: int) -> None:
    hidden, weight, bias, labels = given()
    labels[2] = label
    with pytest.raises(
        InputError, match=rf"labels hold {label}, but the vocabulary has 11 words: give 0 to 10, or -100"
    ):
        smoothed_cross_entropy(hidden, weight, bias, labels)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_a_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(OptionError, match=rf"smoothing \({smoothing}\) must be at least 0 and below 1"):
        ours(given(), smoothing)


@pytest.mark.parametrize("wrong", range(4))
def test_shapes_that_do_not_fit_are_named(wrong: int) -> None:
    case = [*given()]
    bad = case[wrong]
    assert bad is not None
    case[wrong] = bad[:-1, :-1] if wrong == 0 else bad[:-1] if wrong > 1 else bad[:, :-1]
    with pytest.raises(ShapeError, match=r"do not fit together: hidden \(1[23], [67]\), weight \(11, [67]\), labels"):
        smoothed_cross_entropy(*case)  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_cuda_gives_the_same(dtype: torch.dtype) -> None:
    hidden, weight, bias, labels = given(dtype)
    there = tuple(None if x is None else x.detach().cuda() for x in (hidden, weight, bias, labels))
    for x in there[:3]:
        assert x is not None
        x.requires_grad_()
    found = gradients(there, ours, 0.1, 3.0)  # type: ignore[arg-type]
    expected = gradients((hidden, weight, bias, labels), plain, 0.1, 3.0)
    assert all(distance(a.cpu(), b) <= TOLERANCES[dtype] for a, b in zip(found, expected, strict=True))
