import dataclasses
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from regard.attention.attend import EVERYTHING
from regard.attention.biases import Alibi
from regard.attention.call import AttentionCall
from regard.attention.catalogue import BIASES, MASKS, NORMALIZERS, SCORES
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask
from regard.attention.ways import reference
from regard.errors import OptionError, ShapeError
from regard.inspection.statistics import strips as strips_file
from regard.inspection.statistics.map_statistics import MapStatistics, join, map_statistics, site_statistics
from tests.attention.judge import case
from tests.inspection.calls import call_of

SETS = {
    "first": torch.tensor([True, *[False] * 36]),
    "odd": torch.stack([torch.arange(37) % 2 == 1, torch.arange(37) % 3 == 1]),
}
LINKS = [{(0, 0), (3, 1), (4, 1), (36, 30)}, {(7, 7)}]


def dense(call: AttentionCall) -> dict[str, Tensor]:
    """Compute statistics from the whole map, as they are defined."""
    weights = reference.weights(call).double()
    positions = call.positions()
    total = weights.sum(-1)
    shares = weights / total.unsqueeze(-1)
    steps = (positions.query.unsqueeze(1) - positions.key).abs()
    return {
        "entropy": torch.nan_to_num(-torch.xlogy(shares, shares).sum(-1)),
        "distance": torch.nan_to_num((shares * steps).sum(-1)),
        "total": total,
        "received": weights.sum(dim=2),
    }


def assert_right(found: MapStatistics, call: AttentionCall, tolerance: float = 1e-10) -> None:
    for name, expected in dense(call).items():
        assert torch.allclose(getattr(found, name).double(), expected, atol=tolerance, rtol=tolerance), name
    weights = reference.weights(call).double()
    shown = found.top_weights.shape[-1]
    ordered = weights.sort(dim=-1, descending=True).values[..., :shown]
    assert torch.allclose(found.top_weights.double(), ordered, atol=tolerance)
    at_keys = weights.gather(-1, found.top_keys.long().clamp(min=0)).masked_fill(found.top_keys < 0, 0.0)
    assert torch.allclose(at_keys, ordered, atol=tolerance)


@pytest.mark.parametrize("cells", [1, 37 * 5, 10**6])
@pytest.mark.parametrize("mask", [EVERYTHING, Causal()])
@pytest.mark.parametrize("groups", [1, 3])
def test_statistics_are_those_of_the_whole_map(
    cells: int, mask: Mask, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(strips_file.CELLS, "cpu", cells)
    monkeypatch.setattr(strips_file, "ROWS", 2)
    call = call_of(queries=31, keys=37, groups=groups, mask=mask, offset=6, bias=Alibi(3), soft_cap=5.0)
    found = map_statistics(call, top=5, sets=SETS, links=LINKS, tiles=(7, 11))
    assert_right(found, call)
    weights = reference.weights(call)
    assert torch.allclose(found.sets["first"], weights[..., 0])
    assert torch.allclose(found.sets["odd"], (weights * SETS["odd"][:, None, None]).sum(-1))
    assert found.aligned is not None
    assert torch.allclose(found.aligned[0, :, 1], weights[0, :, 1, 3] + weights[0, :, 1, 4])
    assert torch.allclose(found.aligned[1, :, 7], weights[1, :, 7, 7])
    assert found.aligned.isnan().sum() == 3 * (2 * 31 - 4)


@pytest.mark.parametrize("name", SCORES)
def test_every_score_has_statistics(name: str) -> None:
    call = case(score=name).call()
    assert_right(map_statistics(call), call, 1e-8)


@pytest.mark.parametrize("name", MASKS)
def test_every_mask_has_statistics(name: str) -> None:
    call = case(mask=name).call()
    assert_right(map_statistics(call), call, 1e-8)


@pytest.mark.parametrize("name", BIASES)
def test_every_bias_has_statistics(name: str) -> None:
    call = case(bias=name).call()
    assert_right(map_statistics(call), call, 1e-8)


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("mask", ["everything", "causal"])
def test_every_normalizer_has_statistics(name: str, mask: str) -> None:
    call = case(normalizer=name, mask=mask).call()
    assert_right(map_statistics(call), call, 1e-8)


def test_even_attention_has_the_entropy_of_all_keys_and_one_key_has_none() -> None:
    even = call_of(keys=7, sharpness=0.0)
    assert torch.allclose(map_statistics(even).entropy, torch.tensor(math.log(7), dtype=torch.float64))
    alone = call_of(keys=7, mask=TensorMask((torch.arange(7) == 3)[None]))
    found = map_statistics(alone)
    assert found.entropy.abs().max() < 1e-12
    assert (found.top_keys[..., 0] == 3).all()
    assert (found.top_keys[..., 1:] == -1).all()


def test_a_query_that_sees_nothing_has_zeros() -> None:
    allowed = torch.ones(5, 7, dtype=torch.bool)
    allowed[2] = False
    found = map_statistics(call_of(mask=TensorMask(allowed)))
    for name in ("entropy", "distance", "total", "top_weights"):
        assert (getattr(found, name)[:, :, 2] == 0).all(), name
    assert (found.top_keys[:, :, 2] == -1).all()
    assert found.total[:, :, 3].allclose(torch.ones((), dtype=torch.float64))


def test_keys_receive_of_the_queries_that_count() -> None:
    call = call_of()
    counts = torch.tensor([[True, True, False, True, False], [False] * 5])
    found = map_statistics(call, counts=counts)
    expected = (reference.weights(call) * counts[:, None, :, None]).sum(2)
    assert torch.allclose(found.received, expected)
    assert torch.allclose(found.tiles, reference.weights(call).mean((2, 3), keepdim=True))


def test_the_most_attended_key_is_held_against_links() -> None:
    call = call_of(batch=1)
    best = reference.weights(call).argmax(-1)  # [1 H Q]
    links = [{(int(best[0, 1, query]), query) for query in range(5)}]
    found = map_statistics(call, top=0, links=links)
    assert found.linked is not None
    assert torch.equal(found.linked, best == best[:, 1:2])
    assert found.top_keys.shape[-1] == 0


def test_half_precision_is_computed_in_float32() -> None:
    call = call_of(dtype=torch.bfloat16, queries=31, keys=37)
    found = map_statistics(call, tiles=4)
    wide = call._replace(query=call.query.float(), key=call.key.float(), value=call.value.float())
    assert found.entropy.dtype == torch.float32
    assert_right(found, wide, 1e-5)


@pytest.mark.parametrize("name", ["additive", "relative"])
def test_half_precision_with_parameters_gives_float32(name: str) -> None:
    call = case(score=name).to(torch.bfloat16).call()
    assert map_statistics(call).entropy.dtype == torch.float32


def test_statistics_need_no_gradient_and_leave_none() -> None:
    call = call_of()
    call = call._replace(query=call.query.requires_grad_())
    found = map_statistics(call, sets={"first": torch.arange(7) == 0}, links=[[(0, 0)], []])
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        assert not isinstance(value, Tensor) or not value.requires_grad


def test_autocast_leaves_statistics_alone() -> None:
    call = call_of(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = map_statistics(call)
    assert torch.equal(found.entropy, map_statistics(call).entropy)


def test_scores_of_great_size_are_precise() -> None:
    call = call_of(queries=31, keys=37, sharpness=300.0, dtype=torch.float32)
    wide = call._replace(query=call.query.double(), key=call.key.double(), value=call.value.double())
    assert_right(map_statistics(call), wide, 1e-3)


def test_what_does_not_fit_is_named() -> None:
    call = call_of(keys=7)
    with pytest.raises(ShapeError, match=r"The set 'first' has shape \[5\] and the call has 2 batch entries of 7 keys"):
        map_statistics(call, sets={"first": torch.ones(5, dtype=torch.bool)})
    with pytest.raises(ShapeError, match=r"The set 'first' must be of booleans.*it holds torch\.float32"):
        map_statistics(call, sets={"first": torch.ones(7)})
    with pytest.raises(ShapeError, match=r"counts has shape \[3, 5\] and the call has 2 batch entries of 5 queries"):
        map_statistics(call, counts=torch.ones(3, 5, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"The link 7-2 leaves the map, which has 7 keys and 5 queries"):
        map_statistics(call, links=[[(7, 2)], []])
    with pytest.raises(ShapeError, match=r"links are of 1 batch entries and the call has 2"):
        map_statistics(call, links=[[]])
    with pytest.raises(OptionError, match=r"top must be a whole number, 0 or more; it is -1"):
        map_statistics(call, top=-1)
    with pytest.raises(OptionError, match=r"top must be a whole number, 0 or more; it is 1\.5"):
        map_statistics(call, top=1.5)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"The set 'first' must be a tensor of booleans; it is of type list"):
        map_statistics(call, sets={"first": [True] * 7})  # type: ignore[dict-item]


def test_steps_of_a_decoder_join_to_the_statistics_of_their_map() -> None:
    call = call_of(queries=7, keys=7, mask=Causal(), bias=Alibi(3))
    sets = {"first": torch.arange(7) == 0}
    links = [{(0, 0), (3, 5)}, {(2, 6)}]
    counts = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    whole = map_statistics(call, sets=sets, links=links, counts=counts)
    steps = [
        call._replace(
            query=call.query[:, :, step : step + 1],
            key=call.key[:, :, : step + 1],
            value=call.value[:, :, : step + 1],
            offset=step,
        )
        for step in range(7)
    ]
    joined = site_statistics(steps, sets=sets, links=links, counts=counts)
    for field in dataclasses.fields(whole):
        expected, found = getattr(whole, field.name), getattr(joined, field.name)
        if isinstance(expected, Tensor):
            assert torch.allclose(found.double(), expected.double(), equal_nan=True), field.name
    assert torch.allclose(joined.sets["first"], whole.sets["first"])


def test_statistics_of_different_kinds_do_not_join() -> None:
    found = map_statistics(call_of())
    with pytest.raises(OptionError, match="are of different batch entries or heads"):
        join([found, map_statistics(call_of(batch=1))])
    with pytest.raises(OptionError, match="There are no statistics to join"):
        join([])


LONG = """
import resource, torch
from regard.inspection.statistics.map_statistics import map_statistics
from tests.inspection.calls import call_of
torch.set_num_threads(1)
call = call_of(batch=1, queries=8192, keys=8192, dtype=torch.float32)
map_statistics(call._replace(query=call.query[:, :, :31]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
map_statistics(call, sets={"first": torch.arange(8192) == 0}, tiles=64)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
def test_a_long_text_takes_the_memory_of_its_length() -> None:
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2e8, "the map of a head alone takes 2.7e8 bytes, and there are three"


@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax"])
def test_rows_that_are_no_numbers_stay_none(normalizer: str) -> None:
    call = case(normalizer=normalizer).call()
    query = call.query.clone()
    query[0, 1, 3] = torch.nan
    found = map_statistics(call._replace(query=query))
    for values in (found.entropy, found.distance, found.total):
        assert values.isnan().nonzero().tolist() == [[0, 1, 3]]
