import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regard.errors import OptionError, ShapeError
from regard.inspection.alignments.links import Links
from regard.inspection.alignments.words import join_links, links_from_weights, merge_words


def attention(*shape: int, seed: int = 0) -> Tensor:
    scores = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return scores.softmax(-1)


words = st.lists(st.integers(-1, 4), min_size=1, max_size=11)


class TestMergeWords:
    def test_keys_are_summed_and_queries_averaged(self) -> None:
        weights = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
        merged = merge_words(weights, [0, 0, 1], [0, 1, 1])
        torch.testing.assert_close(merged, torch.tensor([[0.3, 0.7], [0.0, 1.0]]))

    def test_one_subword_a_word_changes_nothing(self) -> None:
        weights = attention(2, 3, 5, 7)
        torch.testing.assert_close(merge_words(weights, range(5), range(7)), weights)

    def test_subwords_of_a_word_need_not_stand_together(self) -> None:
        weights = attention(3, 3)
        torch.testing.assert_close(merge_words(weights, [0, 1, 0], [0, 1, 2])[0], weights[[0, 2]].mean(0))

    @given(words, words, st.integers(0, 100))
    def test_row_sums_survive_when_positions_without_a_word_are_kept(
        self, query_words: list[int], key_words: list[int], seed: int
    ) -> None:
        weights = attention(2, len(query_words), len(key_words), seed=seed)
        merged = merge_words(weights, query_words, key_words, wordless="keep")
        assert merged.shape[-1] == max(key_words) + 1 + (-1 in key_words)
        named = [word for word in range(max(query_words) + 1) if word in query_words]
        sums = merged.sum(-1)
        torch.testing.assert_close(sums[:, named], torch.ones(2, len(named), dtype=torch.float64))
        if -1 in query_words:
            torch.testing.assert_close(sums[:, -1], torch.ones(2, dtype=torch.float64))

    @given(words, words, st.integers(0, 100))
    def test_row_sums_survive_when_they_are_dropped_unless_nothing_is_left(
        self, query_words: list[int], key_words: list[int], seed: int
    ) -> None:
        weights = 0.3 * attention(2, len(query_words), len(key_words), seed=seed)
        merged = merge_words(weights, query_words, key_words)
        assert merged.shape == (2, max(query_words) + 1, max(key_words) + 1)
        named = [word for word in range(max(query_words) + 1) if word in query_words]
        left = 0.3 if max(key_words) >= 0 else 0.0
        torch.testing.assert_close(merged.sum(-1)[:, named], torch.full((2, len(named)), left, dtype=torch.float64))

    def test_dropping_scales_a_row_up_to_its_former_sum(self) -> None:
        weights = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
        merged = merge_words(weights, [0, -1], [0, 1, -1])
        torch.testing.assert_close(merged, torch.tensor([[0.4, 0.6]]))

    def test_a_row_that_looked_at_the_end_only_becomes_zeros(self) -> None:
        merged = merge_words(torch.tensor([[0.0, 1.0]]), [0], [0, -1])
        assert merged.tolist() == [[0.0]]

    def test_keeping_adds_one_last_row_and_column_for_all_positions_without_a_word(self) -> None:
        weights = torch.tensor([[0.1, 0.2, 0.7], [0.4, 0.5, 0.1], [0.6, 0.2, 0.2]])
        merged = merge_words(weights, [-1, 0, -1], [-1, 0, -1], wordless="keep")
        torch.testing.assert_close(merged, torch.tensor([[0.5, 0.5], [0.2, 0.8]]))

    def test_keeping_adds_nothing_where_every_position_has_a_word(self) -> None:
        assert merge_words(attention(3, 5), [0, 1, 1], [0, 0, 1, 2, 3], wordless="keep").shape == (2, 4)

    def test_words_without_subwords_get_zeros(self) -> None:
        merged = merge_words(attention(2, 3), [0, 2], [0, 0, 1], num_query_words=5, num_key_words=3)
        assert merged.shape == (5, 3)
        assert merged[[1, 3, 4]].eq(0).all()
        assert merged[:, 2].eq(0).all()
        torch.testing.assert_close(merged[[0, 2]].sum(-1), torch.ones(2, dtype=torch.float64))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_comes_back_as_float32(self, dtype: torch.dtype) -> None:
        merged = merge_words(attention(3, 5).to(dtype), [0, 0, 1], [0, 0, 1, 1, 2])
        assert merged.dtype == torch.float32

    def test_gradients_reach_the_subwords(self) -> None:
        weights = attention(3, 5).requires_grad_()
        merge_words(weights, [0, 0, -1], [0, 0, 1, 1, -1])[0, 0].backward()
        assert weights.grad is not None
        assert weights.grad.isfinite().all()

    def test_a_wrong_number_of_positions_is_refused_with_both_numbers(self) -> None:
        with pytest.raises(ShapeError, match=r"key_words names 3 positions, but weights of shape \(5, 7\) have 7"):
            merge_words(attention(5, 7), [0] * 5, [0, 1, 2])

    def test_an_index_below_minus_one_is_refused(self) -> None:
        with pytest.raises(OptionError, match="query_words goes from -2 to 1, but a word's index is -1 and up"):
            merge_words(attention(2, 3), [-2, 1], [0, 1, 2])

    def test_an_index_beyond_the_number_of_words_is_refused(self) -> None:
        with pytest.raises(OptionError, match="key_words goes from 0 to 2, but a word's index is -1 to 1"):
            merge_words(attention(2, 3), [0, 1], [0, 1, 2], num_key_words=2)


class TestLinksFromWeights:
    weights = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.45, 0.45], [0.2, 0.15, 0.65]])

    def test_each_target_word_links_to_the_source_word_it_looked_at_most(self) -> None:
        weights = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]])
        assert links_from_weights(weights) == {(1, 0), (0, 1), (0, 2)}

    def test_ties_go_to_the_first(self) -> None:
        assert links_from_weights(self.weights) == {(0, 0), (1, 1), (2, 2)}
        assert links_from_weights(torch.full((3, 5), 0.2)) == {(0, 0), (0, 1), (0, 2)}

    def test_a_row_of_zeros_gives_no_link(self) -> None:
        assert links_from_weights(torch.tensor([[0.0, 0.0], [0.0, 0.1]])) == {(1, 1)}
        assert links_from_weights(torch.zeros(2, 3), threshold=0.5) == frozenset()

    def test_a_threshold_is_relative_to_the_largest_weight_of_the_row(self) -> None:
        assert links_from_weights(self.weights, threshold=0.5) == {(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)}
        assert links_from_weights(self.weights, threshold=1.0) == {(0, 0), (1, 1), (2, 1), (2, 2)}

    def test_by_source_links_each_source_word_once(self) -> None:
        weights = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]])
        assert links_from_weights(weights, by="source") == {(0, 0), (1, 1)}
        assert links_from_weights(weights, by="source", threshold=0.6) == {(0, 0), (0, 1), (1, 1)}

    def test_both_ways_of_looking_can_be_joined(self) -> None:
        weights = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]])
        assert join_links(weights, "intersection") == {(0, 0)}
        assert join_links(weights, "union") == {(0, 0), (0, 1), (1, 1)}
        assert join_links(weights) == {(0, 0), (0, 1), (1, 1)}

    def test_the_end_of_the_sentence_takes_no_part_in_joining(self) -> None:
        weights = torch.tensor([[0.3, 0.0, 0.7], [0.1, 0.2, 0.7]])
        assert join_links(weights, num_source_words=2) == {(0, 0), (1, 1)}

    def test_columns_after_the_words_never_link(self) -> None:
        weights = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.2, 0.5]])
        assert links_from_weights(weights, num_source_words=2) == {(1, 0), (0, 1)}
        assert links_from_weights(weights, num_source_words=0) == frozenset()

    def test_a_target_word_that_looked_mostly_at_the_end_may_be_left_without_a_link(self) -> None:
        weights = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.2, 0.5]])
        assert links_from_weights(weights, num_source_words=2, end_share=0.6) == {(0, 1)}
        assert links_from_weights(weights, num_source_words=2, end_share=0.6, by="source") == {(0, 1)}

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
    def test_no_words_give_no_links(self, shape: tuple[int, int]) -> None:
        assert links_from_weights(torch.zeros(shape)) == frozenset()

    @given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 100), st.floats(0.01, 1))
    def test_the_default_lies_within_every_threshold_and_links_each_target_word_once(
        self, targets: int, sources: int, seed: int, threshold: float
    ) -> None:
        weights = attention(targets, sources, seed=seed)
        found: Links = links_from_weights(weights)
        assert sorted(target for _, target in found) == list(range(targets))
        assert found <= links_from_weights(weights, threshold=threshold)

    @pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5])
    def test_a_threshold_that_is_no_share_is_refused(self, threshold: float) -> None:
        with pytest.raises(OptionError, match=rf"threshold \({threshold}\) must be above 0 and at most 1"):
            links_from_weights(self.weights, threshold=threshold)

    def test_an_end_share_that_is_no_share_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"end_share \(60\) must lie between 0 and 1"):
            links_from_weights(self.weights, end_share=60)

    def test_more_words_than_columns_are_refused(self) -> None:
        with pytest.raises(
            OptionError, match=r"num_source_words \(4\) must lie between 0 and the number of columns \(3\)"
        ):
            links_from_weights(self.weights, num_source_words=4)


def test_the_side_that_chooses_is_one_of_two() -> None:
    with pytest.raises(OptionError, match="by must be 'target' or 'source'; it is 'rows'"):
        links_from_weights(torch.ones(3, 5), by="rows")  # type: ignore[arg-type]
