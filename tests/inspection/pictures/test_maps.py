from typing import Any

import numpy as np
import pytest
import torch

from regard.errors import OptionError, ShapeError
from regard.inspection.pictures.maps import Candidate, Heads, Map, Step

ROWS = ["j'ai", "mal", "aux", "pieds", "."]
COLUMNS = ["my", "feet", "hurt"]


def even(*size: int) -> torch.Tensor:
    return torch.full(size, 1 / size[-1])


class TestMap:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
    def test_a_tensor_of_any_precision_becomes_the_same_values(self, dtype: torch.dtype) -> None:
        given = torch.tensor([[0.25, 0.75, 0.0]], dtype=dtype, requires_grad=True)
        one = Map(weights=given, rows=["oui"], columns=COLUMNS)
        assert one.values.tolist() == [[0.25, 0.75, 0.0]]
        assert one.values.dtype == np.float64

    def test_an_array_is_taken_like_a_tensor(self) -> None:
        given = np.array([[1.0, 0.0, 0.0]])
        assert Map(weights=given, rows=["oui"], columns=COLUMNS).values.tolist() == given.tolist()

    def test_what_happens_to_the_tensor_later_does_not_reach_the_map(self) -> None:
        given = even(5, 3)
        one = Map(weights=given, rows=ROWS, columns=COLUMNS)
        given.zero_()
        assert one.values.sum() == pytest.approx(5)
        with pytest.raises(ValueError, match="read-only"):
            one.values[0, 0] = 1

    def test_words_are_frozen(self) -> None:
        words = ["a", "b", "c"]
        one = Map(weights=even(5, 3), rows=ROWS, columns=words)
        words.append("d")
        assert one.columns == ("a", "b", "c")

    def test_words_that_do_not_fit_are_refused_with_both_sizes(self) -> None:
        message = "weights is 3x5 but there are 5 rows and 3 columns: it must be 5x3."
        with pytest.raises(ShapeError) as caught:
            Map(weights=even(3, 5), rows=ROWS, columns=COLUMNS)
        assert str(caught.value) == message

    def test_a_single_row_without_its_axis_is_refused(self) -> None:
        with pytest.raises(ShapeError, match="weights is 3 but there are 1 rows and 3 columns: it must be 1x3"):
            Map(weights=even(3), rows=["a"], columns=COLUMNS)

    @pytest.mark.parametrize("bad", [1.7, -0.2, float("nan"), float("inf")])
    def test_what_is_no_weight_is_refused_with_its_place(self, bad: float) -> None:
        weights = even(5, 3)
        weights[2, 1] = weights[4, 0] = bad
        with pytest.raises(OptionError) as caught:
            Map(weights=weights, rows=ROWS, columns=COLUMNS)
        assert str(caught.value) == (
            f"weights[2, 1] is {bad:g}, the first of 2 that cannot be: a weight lies between 0 and 1."
        )

    def test_rounding_above_one_is_cut(self) -> None:
        one = Map(weights=torch.tensor([[1.004, -0.003, 0.0]]), rows=["oui"], columns=COLUMNS)
        assert one.values.tolist() == [[1.0, 0.0, 0.0]]

    @pytest.mark.parametrize("link", [(3, 0), (0, 5), (-1, 0), (0, -1)])
    def test_a_gold_link_outside_is_refused_with_both_sizes(self, link: tuple[int, int]) -> None:
        with pytest.raises(OptionError) as caught:
            Map(weights=even(5, 3), rows=ROWS, columns=COLUMNS, gold=frozenset({(1, 3), link}))
        assert str(caught.value) == (
            f"gold link {link[0]}-{link[1]} points outside: there are 3 input words (0 to 2) and "
            "5 output words (0 to 4), and links count from 0."
        )

    def test_the_strongest_of_a_row_is_the_first_of_equals_and_none_where_all_are_zero(self) -> None:
        weights = torch.tensor([[0.2, 0.4, 0.4], [0.0, 0.0, 0.0], [0.1, 0.2, 0.7]])
        assert Map(weights=weights, rows="abc", columns=COLUMNS).strongest() == [1, None, 2]

    def test_no_words_are_a_map_too(self) -> None:
        assert Map(weights=even(0, 3), rows=[], columns=COLUMNS).strongest() == []
        assert Map(weights=torch.zeros(2, 0), rows=["a", "b"], columns=[]).strongest() == [None, None]


class TestStep:
    def test_scores_may_be_minus_infinity(self) -> None:
        scores = torch.tensor([1.5, float("-inf"), -2.0])
        step = Step(token="pieds", columns=COLUMNS, scores=scores, weights=even(3))
        assert step.scores.tolist() == scores.tolist()

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_other_scores_that_are_no_numbers_are_refused(self, bad: float) -> None:
        with pytest.raises(OptionError, match=r"scores\[1\] is .*, the first of 1 .* a score is a number or -inf"):
            Step(token="a", columns=COLUMNS, scores=torch.tensor([0.0, bad, 0.0]), weights=even(3))

    @pytest.mark.parametrize("name", ["scores", "weights", "shares"])
    def test_a_wrong_length_is_named(self, name: str) -> None:
        given: dict[str, Any] = {"scores": even(3), "weights": even(3), "shares": even(3), name: even(7)}
        with pytest.raises(ShapeError, match=f"{name} is 7 but there are 3 columns: it must be 3"):
            Step(token="a", columns=COLUMNS, **given)

    def test_a_candidate_is_no_more_than_certain(self) -> None:
        with pytest.raises(
            OptionError, match=r"the probability of candidate 'le' is 1\.5; it must lie between 0 and 1"
        ):
            Candidate(token="le", probability=1.5)


class TestHeads:
    def test_layers_and_heads_are_numbered_from_zero_unless_named(self) -> None:
        heads = Heads(weights=even(2, 3, 5, 7))
        assert heads.layers == ("layer 0", "layer 1")
        assert heads.heads == ("head 0", "head 1", "head 2")
        assert Heads(weights=even(2, 3, 5, 7), layers=["first", "last"]).layers == ("first", "last")

    def test_names_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ShapeError, match="weights is 2x3x5x7 but there are 1 layers and 3 heads"):
            Heads(weights=even(2, 3, 5, 7), layers=["only"])

    def test_a_map_without_its_axes_is_refused(self) -> None:
        with pytest.raises(ShapeError, match=r"weights of Heads has 2 axes \(5x7\); it needs 4"):
            Heads(weights=even(5, 7))
