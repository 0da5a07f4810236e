import json
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from regard.attention.attend import Attention
from regard.attention.biases import TensorBias
from regard.attention.call import AttentionCall
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal
from regard.attention.ways import reference
from regard.errors import OptionError, ShapeError
from regard.inspection.lens import lens
from regard.inspection.statistics.running import RunningStatistics
from tests.inspection.calls import call_of

LENGTHS = [[5, 3], [7, 7], [2, 1]]


def corpus() -> list[AttentionCall]:
    """Three batches of two sentences, the shorter ones padded."""
    return [
        call_of(
            queries=max(pair), keys=max(pair), mask=Padding(torch.tensor(pair)) & Causal(), sharpness=1.0 + max(pair)
        )
        for pair in LENGTHS
    ]


def rows_of_corpus() -> list[Tensor]:
    """The weights of each query that is no padding, [H K]."""
    return [
        reference.weights(call)[entry, :, query]
        for call, pair in zip(corpus(), LENGTHS, strict=True)
        for entry, length in enumerate(pair)
        for query in range(length)
    ]


def test_means_are_over_all_queries_of_all_batches_but_padding() -> None:
    running = RunningStatistics()
    for call in corpus():
        running("encoder", call)
    site, rows = running["encoder"], rows_of_corpus()
    assert site.calls == 3
    assert site.number("entropy").tolist() == [sum(map(sum, LENGTHS))] * 3
    entropies = torch.stack([-torch.xlogy(row, row).sum(-1) for row in rows])
    assert torch.allclose(site.mean("entropy"), entropies.mean(0))
    assert torch.allclose(site.deviation("entropy"), entropies.std(0, correction=0))
    assert torch.allclose(site.mean("first"), torch.stack([row[:, 0] for row in rows]).mean(0))
    assert torch.allclose(site.mean("greatest"), torch.stack([row.amax(-1) for row in rows]).mean(0))


def test_the_first_key_is_the_first_that_is_no_padding() -> None:
    mask = Padding(torch.tensor([5, 5]), starts=torch.tensor([0, 3]))
    call = call_of(queries=5, keys=5, mask=mask)
    running = RunningStatistics()
    running("encoder", call)
    weights = reference.weights(call)
    expected = torch.cat([weights[0, :, :, 0], weights[1, :, 3:, 3]], dim=1).mean(1)
    assert torch.allclose(running["encoder"].mean("first"), expected)
    assert running["encoder"].number("first").tolist() == [7.0] * 3


def test_padding_that_is_hidden_by_the_least_number_does_not_count() -> None:
    lengths = torch.tensor([7, 4])
    hidden = torch.arange(7) >= lengths[:, None, None, None]  # [B 1 1 K]
    added = torch.zeros(2, 3, 7, 7, dtype=torch.float64).masked_fill(hidden, torch.finfo(torch.float64).min)
    by_bias, by_mask = RunningStatistics(), RunningStatistics()
    by_bias("encoder", call_of(queries=7, keys=7, bias=TensorBias(added)))
    by_mask("encoder", call_of(queries=7, keys=7, mask=Padding(lengths)))
    assert by_bias["encoder"].number("entropy").tolist() == [11.0] * 3
    assert torch.allclose(by_bias["encoder"].mean("entropy"), by_mask["encoder"].mean("entropy"))


def test_queries_that_are_no_keys_all_count() -> None:
    running = RunningStatistics()
    running("decoder", call_of(queries=5, keys=7, mask=Padding(torch.tensor([7, 3]))))
    assert running["decoder"].number("entropy").tolist() == [10.0] * 3


def test_sets_and_links_are_asked_for_by_call() -> None:
    def sets(name: str, call: AttentionCall) -> Mapping[str, Tensor]:
        return {"last": torch.arange(call.key.shape[2]) == call.key.shape[2] - 1}

    running = RunningStatistics(sets=sets, links=lambda name, call: [{(0, 0)}, {(1, 0), (2, 0), (0, 1)}])
    calls = [call_of(queries=5, keys=5), call_of(queries=3, keys=3)]
    for call in calls:
        running("encoder", call)
    site = running["encoder"]
    assert site.names == ("entropy", "distance", "greatest", "last", "aligned", "linked")
    assert site.number("aligned").tolist() == [6.0] * 3
    weights = [reference.weights(call) for call in calls]
    mass = [w[0, :, 0, 0] + w[1, :, 0, 1:3].sum(-1) + w[1, :, 1, 0] for w in weights]
    assert torch.allclose(site.mean("aligned"), (mass[0] + mass[1]) / 6)
    best = [w.argmax(-1) for w in weights]
    hits = [(b[0, :, 0] == 0).long() + ((b[1, :, 0] == 1) | (b[1, :, 0] == 2)) + (b[1, :, 1] == 0) for b in best]
    assert torch.allclose(site.mean("linked"), (hits[0] + hits[1]).double() / 6)


def test_nothing_of_a_call_is_kept() -> None:
    running = RunningStatistics()
    running("encoder", call_of(queries=31, keys=31))
    before = sum(sums.numel() for sums in running["encoder"]._sums.values())
    running("encoder", call_of(queries=61, keys=61))
    assert sum(sums.numel() for sums in running["encoder"]._sums.values()) == before


def test_the_table_is_json() -> None:
    running = RunningStatistics(links=lambda name, call: [[], []])
    running("encoder", call_of())
    table = json.loads(json.dumps(running.table(), allow_nan=False))
    assert len(table["encoder"]["entropy"]) == 3
    assert table["encoder"]["aligned"] == [None] * 3


def test_what_was_not_summed_up_is_named_with_what_was() -> None:
    running = RunningStatistics()
    with pytest.raises(OptionError, match=r"The site 'encoder' was not seen\. The sites seen are: none"):
        running["encoder"]
    assert "encoder" not in running
    running("encoder", call_of())
    assert list(running) == ["encoder"]
    with pytest.raises(OptionError, match=r"'median' was not summed up; there are entropy, distance, greatest, first"):
        running["encoder"].mean("median")
    with pytest.raises(ShapeError, match=r"A call at encoder has 2 heads and those before it had 3"):
        running("encoder", call_of(heads=2))


def test_a_lens_hands_its_calls_over_and_keeps_none() -> None:
    attention = Attention()
    running = RunningStatistics()
    states = torch.randn(2, 3, 13, 11)
    with lens(attention, keep=running) as seen:
        for _ in range(3):
            attention(states, attention.remember(states, states))
    (site,) = running.values()
    assert site.calls == 3
    assert all(len(place) == 0 for place in seen.values())
