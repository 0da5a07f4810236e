import numpy as np
import pytest
import torch
from torch import Tensor

from regard.attention.biases import TensorBias
from regard.attention.normalizers import Normalizer, Sigmoid, SinkSoftmax, Softmax
from regard.attention.patterns import Causal
from regard.attention.ways import reference
from regard.errors import OptionError, ShapeError
from regard.inspection.lens import Site
from regard.inspection.pictures import atlas
from regard.inspection.pictures.atlas import WHOLE, Patches, Side, panel
from regard.inspection.pictures.atlas_page import pack
from tests.inspection.atlases import a_call, a_panel, a_side


def test_the_strongest_keys_are_those_of_the_reference_to_five_decimals() -> None:
    call = a_call()
    made = panel({"a": [call]}, a_side(13), a_side(17), entry=1)
    weights = reference.weights(call)[1]
    for head, chart in enumerate(made.charts):
        assert chart.keys is not None
        assert chart.weights is not None
        best, places = weights[head].topk(16, dim=-1)
        assert (chart.keys == places.numpy()).all()
        assert np.abs(chart.weights / WHOLE - best.numpy()).max() < 1e-5
        assert chart.dropped == pytest.approx(
            (float((1 - best.sum(-1)).mean()), float((1 - best.sum(-1)).max())), abs=1e-5
        )


@pytest.mark.parametrize("normalizer", [Sigmoid(), SinkSoftmax(3)])
def test_what_is_left_of_each_query_is_told_where_rows_do_not_sum_to_one(normalizer: Normalizer) -> None:
    call = a_call(13, 29, normalizer=normalizer)
    made = panel({"a": [call]}, a_side(13), a_side(29), entry=1)
    weights = reference.weights(call)[1].detach()
    for head, chart in enumerate(made.charts):
        others = weights[head].sort(dim=-1, descending=True).values[:, 16:].sum(dim=-1)
        assert chart.rests == pytest.approx(others.numpy(), abs=1e-5)


def test_only_keys_without_weight_are_called_hidden() -> None:
    lowest = torch.finfo(torch.float32).min
    bias = torch.zeros(1, 1, 13, 17)
    bias[:, :, :, 11:] = lowest
    bias[:, :, 4] = lowest  # a query that may see nothing; a softmax spreads over all alike
    call = a_call(bias=TensorBias(bias))
    hidden = panel({"a": [call]}, a_side(13), a_side(17)).charts[0].hidden
    assert hidden is not None
    assert hidden.stretches is not None
    assert hidden.stretches[:, 3:6].tolist() == [[0, 0, 0], [11, 17, 11]]
    assert (reference.weights(call)[0, 0, 4] > 0).all()


def test_block_means_are_those_of_the_whole_map_also_where_the_last_block_is_shorter() -> None:
    made = panel({"a": [a_call(131, 197)]}, a_side(131), a_side(197))
    weights = reference.weights(a_call(131, 197))[0].double()
    assert made.block == (3, 4)
    chart = made.charts[2]
    assert chart.means.shape == (44, 50)
    for row, column in ((0, 0), (7, 31), (43, 49)):
        block = weights[2, 3 * row : 3 * row + 3, 4 * column : 4 * column + 4]
        step = 2 * chart.peak / 255  # a root in 255 steps is at most so coarse
        assert chart.peak * (chart.means[row, column] / 255) ** 2 == pytest.approx(float(block.mean()), abs=step)


def test_calls_whose_keys_grow_are_one_map() -> None:
    whole = a_call(13, 13, mask=Causal())
    first = whole._replace(query=whole.query[:, :, :5], key=whole.key[:, :, :5], value=whole.value[:, :, :5])
    steps = [
        whole._replace(
            query=whole.query[:, :, i : i + 1], key=whole.key[:, :, : i + 1], value=whole.value[:, :, : i + 1], offset=i
        )
        for i in range(5, 13)
    ]
    at_once, by_steps = (panel({"a": calls}, a_side(13)) for calls in ([whole], [first, *steps]))
    for one, other in zip(at_once.charts, by_steps.charts, strict=True):
        assert np.abs(one.means.astype(int) - other.means).max() <= 1
        assert one.weights is not None
        assert other.weights is not None
        assert np.abs(one.weights.astype(int) - other.weights).max() <= 1


def test_many_heads_keep_fewer_keys_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "KEPT_BYTES", 4 * 6 * 13 * 5)
    assert {chart.keys.shape for chart in a_panel().charts if chart.keys is not None} == {(13, 5)}


def test_a_long_text_keeps_the_sharpest_heads_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "LONG", 11)
    monkeypatch.setattr(atlas, "EXACT", 2)
    made = a_panel()
    sharp = sorted(made.charts, key=lambda chart: -chart.sharpness)[:2]
    assert [chart for chart in made.charts if chart.exact] == sorted(sharp, key=made.charts.index)
    assert all(chart.keys is None and chart.dropped is None for chart in made.charts)


def test_named_heads_are_kept_and_what_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "LONG", 11)
    plain, biased = a_call(13, 13), a_call(13, 13, bias=None)
    sites = {"a": [plain], "b": [biased._replace(bias=TensorBias(torch.randn(1, 1, 13, 13)))]}
    made = panel(sites, a_side(13), exact=[("a", 1), ("b", 2)])
    assert [(chart.layer, chart.head) for chart in made.charts if chart.exact] == [("a", 1)]
    assert made.refused == ["b, head 2: its bias is not one of distances alone, so that a page would need all of it."]
    with pytest.raises(OptionError, match="exact names head 7 of 'a', which the panel does not have"):
        panel(sites, a_side(13), exact=[("a", 7)])


def test_half_precision_is_computed_in_float32() -> None:
    call = a_call()
    half = call._replace(**{name: getattr(call, name).bfloat16() for name in ("query", "key", "value")})
    wide = half._replace(**{name: getattr(half, name).float() for name in ("query", "key", "value")})
    one, other = (panel({"a": [each]}, a_side(13), a_side(17)).charts[0] for each in (half, wide))
    assert one.weights is not None
    assert (one.weights == other.weights).all()


def test_texts_of_another_size_are_refused_with_both_sizes() -> None:
    with pytest.raises(ShapeError, match=r"a has 13 queries and 17 keys; the panel names 13 and 13 tokens"):
        panel({"a": [a_call()]}, a_side(13))


def test_weights_that_are_no_numbers_are_refused_with_layer_and_head() -> None:
    call = a_call()
    query = call.query.clone()
    query[:, 1] = torch.nan
    with pytest.raises(OptionError, match=r"a: weights of head 1 are not finite"):
        panel({"a": [call._replace(query=query)]}, a_side(13), a_side(17))


@pytest.mark.parametrize(("factor", "told"), [(2.5, r"between 0.* and 2\.5"), (-1.0, r"between -1 and -?0")])
def test_weights_that_are_no_shares_are_refused_instead_of_being_cut_off(factor: float, told: str) -> None:
    class Times(Normalizer):
        def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
            return Softmax()(1e3 * scores, mask) * factor

    with pytest.raises(
        OptionError, match=rf"a: weights of head 0, 1, 2 lie {told}; the page shows shares from 0 to 1\."
    ):
        panel({"a": [a_call(normalizer=Times())]}, a_side(13), a_side(17))


def test_no_sites_and_texts_that_did_not_run_are_refused() -> None:
    with pytest.raises(OptionError, match="a panel needs 1 site at least, and there are 0"):
        panel({}, a_side(13))
    with pytest.raises(OptionError, match=r"entry \(2\) must be from 0 to 1"):
        panel({"a": [a_call()]}, a_side(13), a_side(17), entry=2)


def test_what_is_no_side_and_no_sites_is_told_in_words() -> None:
    site = Site("a")
    with pytest.raises(OptionError, match=r"A text is given as Side\(tokens=\[\.\.\.\]\); this is of type list\."):
        panel({"a": [a_call()]}, ["a"] * 13)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"sites must be a lens or .* it is of type Site\."):
        panel(site, a_side(13))  # type: ignore[arg-type]
    for wrong in ("abc", [1, 2, 3]):
        with pytest.raises(OptionError, match=r"tokens must be texts, one a token, such as .*; they are "):
            Side(tokens=wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"a page takes several panels; this is one\. Give \[panel\]\."):
        pack(a_panel(), title="one")  # type: ignore[arg-type]


def test_words_and_patches_must_fit_the_tokens() -> None:
    with pytest.raises(ShapeError, match="words names 2 tokens and there are 3"):
        Side(tokens=["a", "b", "c"], words=[0, 1])
    with pytest.raises(ShapeError, match="spelled has 1 words and words goes up to 1"):
        Side(tokens=["a", "b"], words=[0, 1], spelled=["ab"])
    with pytest.raises(ShapeError, match="patches are 2 x 3 from token 1 on, and there are 6 tokens"):
        Side(tokens=["x"] * 6, patches=Patches(pixels=np.zeros((2, 3, 3), np.uint8), rows=2, columns=3))
