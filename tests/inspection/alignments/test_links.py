import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import DataError, OptionError
from regard.inspection.alignments.links import (
    SYMMETRIZATIONS,
    Gold,
    Link,
    Links,
    alignment_error_rate,
    format_pharaoh,
    parse_pharaoh,
    read_pharaoh,
    swap,
    symmetrize,
)

some_links = st.frozensets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=13)


def links(text: str) -> Links:
    return parse_pharaoh(text).sure


class TestPharaoh:
    def test_a_hyphen_is_sure_and_a_p_or_question_mark_is_possible(self) -> None:
        gold = parse_pharaoh("0-1 2p3 4?5")
        assert gold == Gold(sure=frozenset({(0, 1)}), possible=frozenset({(0, 1), (2, 3), (4, 5)}))

    def test_a_link_given_both_ways_is_sure(self) -> None:
        assert parse_pharaoh("3p1 3-1") == Gold(frozenset({(3, 1)}), frozenset({(3, 1)}))

    def test_base_1_counts_from_one(self) -> None:
        assert parse_pharaoh("1-1 2p5", base=1).possible == {(0, 0), (1, 4)}

    @pytest.mark.parametrize("line", ["", " ", "\t "])
    def test_a_blank_line_aligns_nothing(self, line: str) -> None:
        assert parse_pharaoh(line) == Gold(frozenset(), frozenset())

    def test_blanks_around_and_between_links_do_not_matter(self) -> None:
        assert parse_pharaoh(" 0-0 \t 1-1  ").sure == {(0, 0), (1, 1)}

    def test_every_fault_of_a_line_is_named_with_its_word(self) -> None:
        with pytest.raises(DataError) as caught:
            parse_pharaoh("0-0 1:1 2-2 a-3 --", where="gold.txt:7")
        assert caught.value.faults == [
            "gold.txt:7: word 2 ('1:1') is no link: write i-j if sure, ipj or i?j if possible.",
            "gold.txt:7: word 4 ('a-3') is no link: write i-j if sure, ipj or i?j if possible.",
            "gold.txt:7: word 5 ('--') is no link: write i-j if sure, ipj or i?j if possible.",
        ]

    @pytest.mark.parametrize(
        "word", ["-1-2", "1-2-3", "1-", "٣-٤", "1-1\x00", "1-1\u2028", pytest.param("9" * 5000 + "-1", id="huge")]
    )
    def test_nothing_but_two_plain_numbers_makes_a_link(self, word: str) -> None:
        with pytest.raises(DataError, match="is no link"):
            parse_pharaoh(word)

    def test_a_zero_under_base_1_is_a_fault(self) -> None:
        with pytest.raises(DataError, match=r"alignment: word 2 \('0-3'\) counts from 0, but base is 1: use base=0\."):
            parse_pharaoh("1-1 0-3", base=1)

    def test_a_link_beyond_the_sentence_is_a_fault(self) -> None:
        with pytest.raises(DataError) as caught:
            parse_pharaoh("1-2 4-1 3-3", base=1, where="g:1", lengths=(3, 2))
        assert caught.value.faults == [
            "g:1: word 2 ('4-1') points at source word 4, but the source sentence has 3 words and counts from 1.",
            "g:1: word 3 ('3-3') points at target word 3, but the target sentence has 2 words and counts from 1.",
        ]

    def test_a_link_in_an_empty_sentence_is_a_fault(self) -> None:
        with pytest.raises(DataError, match="the target sentence has 0 words"):
            parse_pharaoh("0-0", lengths=(1, 0))

    def test_another_base_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"base \(2\) must be 0 or 1"):
            parse_pharaoh("2-2", base=2)

    def test_links_are_written_sorted_by_number(self) -> None:
        assert format_pharaoh({(10, 0), (2, 11), (2, 3)}) == "2-3 2-11 10-0"

    def test_possible_links_are_written_with_a_p(self) -> None:
        gold = Gold(frozenset({(1, 1)}), frozenset({(0, 1), (1, 1)}))
        assert format_pharaoh(gold, base=1) == "1p2 2-2"

    @given(some_links, some_links, st.sampled_from([0, 1]))
    def test_what_is_written_reads_back(self, sure: Links, possible: Links, base: int) -> None:
        gold = Gold(sure, sure | possible)
        assert parse_pharaoh(format_pharaoh(gold, base=base), base=base) == gold


class TestFiles:
    def test_lines_end_at_lf_or_crlf_and_blank_lines_count(self, tmp_path: Path) -> None:
        path = tmp_path / "gold.txt"
        path.write_bytes(b"0-0 1p1\r\n\n2-2\n")
        golds = read_pharaoh(path)
        assert [len(gold.possible) for gold in golds] == [2, 0, 1]

    def test_gzip_is_read_too(self, tmp_path: Path) -> None:
        path = tmp_path / "gold.gz"
        path.write_bytes(gzip.compress(b"0-1\n"))
        assert read_pharaoh(path) == [Gold(frozenset({(0, 1)}), frozenset({(0, 1)}))]

    def test_the_faults_of_all_lines_are_told_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "gold.txt"
        path.write_bytes(b"0-0\nx\n1-1 5-0\n")
        with pytest.raises(DataError) as caught:
            read_pharaoh(path, lengths=[(1, 1), (2, 2), (3, 3)])
        assert caught.value.faults == [
            f"{path}:2: word 1 ('x') is no link: write i-j if sure, ipj or i?j if possible.",
            f"{path}:3: word 2 ('5-0') points at source word 5, but the source sentence has 3 words and counts from 0.",
        ]

    @pytest.mark.parametrize("sentences", [1, 3])
    def test_a_wrong_number_of_lines_is_told_together_with_the_other_faults(
        self, tmp_path: Path, sentences: int
    ) -> None:
        path = tmp_path / "gold.txt"
        path.write_bytes(b"0-0\n?\n")
        with pytest.raises(DataError) as caught:
            read_pharaoh(path, lengths=[(1, 1)] * sentences)
        assert caught.value.faults == [
            f"{path} has 2 lines of links for {sentences} sentence pairs: each needs one.",
            f"{path}:2: word 1 ('?') is no link: write i-j if sure, ipj or i?j if possible.",
        ]


class TestSymmetrize:
    # . is nothing, F forward only, R reverse only, X both; rows are source words
    def drawn(self, *rows: str) -> tuple[Links, Links]:
        cells = {(source, target): mark for source, row in enumerate(rows) for target, mark in enumerate(row)}
        return (
            frozenset(link for link, mark in cells.items() if mark in "FX"),
            frozenset(link for link, mark in cells.items() if mark in "RX"),
        )

    def expect(self, drawing: tuple[str, ...], method: str, text: str) -> None:
        assert format_pharaoh(symmetrize(*self.drawn(*drawing), method)) == text

    def test_intersection_and_union_are_those_of_sets(self) -> None:
        drawing = ("XF", ".R")
        self.expect(drawing, "intersection", "0-0")
        self.expect(drawing, "union", "0-0 0-1 1-1")

    def test_grow_diag_takes_a_straight_neighbor_that_covers_one_free_word(self) -> None:
        self.expect(("XF",), "grow-diag", "0-0 0-1")

    def test_grow_diag_strict_leaves_a_straight_neighbor_out(self) -> None:
        self.expect(("XF",), "grow-diag-strict", "0-0")

    def test_both_rules_take_a_diagonal_neighbor_with_two_free_words(self) -> None:
        for method in ("grow-diag", "grow-diag-strict"):
            self.expect(("X..", ".F.", "..R"), method, "0-0 1-1 2-2")

    def test_a_neighbor_without_a_free_word_stays_out(self) -> None:
        self.expect(("XF", ".X"), "grow-diag", "0-0 1-1")

    def test_a_link_far_from_any_waits_for_final(self) -> None:
        drawing = ("X..", "...", "..F")
        self.expect(drawing, "grow-diag", "0-0")
        for method in ("grow-diag-final", "grow-diag-final-and", "grow-diag-final-strict"):
            self.expect(drawing, method, "0-0 2-2")

    def test_final_takes_a_link_with_one_free_word_and_final_and_does_not(self) -> None:
        drawing = ("X..F",)
        self.expect(drawing, "grow-diag-final", "0-0 0-3")
        self.expect(drawing, "grow-diag-final-and", "0-0")
        self.expect(drawing, "grow-diag-final-strict", "0-0")

    def test_final_takes_forward_links_before_reverse_ones(self) -> None:
        drawing = ("X...", "....", "..RF")
        self.expect(drawing, "grow-diag-final-and", "0-0 2-3")

    def test_moses_goes_by_target_word_and_tries_straight_neighbors_first(self) -> None:
        # 1-1 stands; 0-1 (a straight neighbor) covers source 0 and bars 0-0, whose target 0 is covered by 1-0.
        self.expect(("FF.", "RX.", "..."), "grow-diag", "0-1 1-0 1-1")

    def test_strict_tries_the_diagonal_up_and_right_before_up_and_left(self) -> None:
        self.expect(("F.F", ".X.", "..."), "grow-diag-strict", "0-2 1-1")

    def test_no_links_stay_no_links(self) -> None:
        for method in SYMMETRIZATIONS:
            assert symmetrize(frozenset(), frozenset(), method) == frozenset()

    def test_an_unknown_method_is_refused_by_name(self) -> None:
        with pytest.raises(OptionError, match="method 'grow' is unknown: use one of intersection, union, grow-diag, "):
            symmetrize(frozenset(), frozenset(), "grow")

    @given(some_links, some_links)
    def test_each_method_gives_at_least_the_links_of_the_stricter_one(self, forward: Links, reverse: Links) -> None:
        joined = {method: symmetrize(forward, reverse, method) for method in SYMMETRIZATIONS}
        chains = [
            ["intersection", "grow-diag", "grow-diag-final-and", "union"],
            ["grow-diag", "grow-diag-final", "union"],
            ["intersection", "grow-diag-strict", "grow-diag-final-strict", "union"],
        ]
        for chain in chains:
            for smaller, larger in pairwise(chain):
                assert joined[smaller] <= joined[larger]

    @given(some_links, st.sampled_from(SYMMETRIZATIONS))
    def test_equal_directions_stay_as_they_are(self, both: Links, method: str) -> None:
        assert symmetrize(both, both, method) == both

    @given(some_links, some_links, st.sampled_from(["intersection", "union", "grow-diag", "grow-diag-strict"]))
    def test_without_final_the_directions_may_be_exchanged(self, forward: Links, reverse: Links, method: str) -> None:
        assert symmetrize(forward, reverse, method) == symmetrize(reverse, forward, method)

    @given(some_links, some_links, st.sampled_from(["intersection", "union"]))
    def test_where_no_order_decides_the_sides_may_be_exchanged(
        self, forward: Links, reverse: Links, method: str
    ) -> None:
        turned = symmetrize(swap(reverse), swap(forward), method)
        assert swap(turned) == symmetrize(forward, reverse, method)

    @given(some_links, some_links)
    def test_after_final_each_link_left_out_has_a_covered_word(self, forward: Links, reverse: Links) -> None:
        for method, needed in (("grow-diag-final", 2), ("grow-diag-final-and", 1), ("grow-diag-final-strict", 1)):
            joined = symmetrize(forward, reverse, method)
            sources, targets = {link[0] for link in joined}, {link[1] for link in joined}
            for source, target in (forward | reverse) - joined:
                assert (source in sources) + (target in targets) >= needed

    @given(some_links)
    def test_swapping_twice_changes_nothing(self, some: Links) -> None:
        assert swap(swap(some)) == some


class TestErrorRate:
    def test_the_rate_of_a_case_by_hand(self) -> None:
        # A = 4 links, sure 3: 2 of A are sure, 3 of A possible: 1 - (2 + 3) / (4 + 3)
        gold = parse_pharaoh("0-0 1-1 2-2 3p1")
        score = alignment_error_rate([links("0-0 1-1 3-1 4-4")], [gold])
        assert score.error_rate == pytest.approx(2 / 7)
        assert score.precision == pytest.approx(3 / 4)
        assert score.recall == pytest.approx(2 / 3)
        assert score.links == 4
        assert str(score) == "AER 28.6% (precision 75.0%, recall 66.7%, 4 links)"

    def test_counts_are_added_over_the_corpus_before_dividing(self) -> None:
        golds = [links("0-0"), links("0-0 1-1 2-2 3-3")]
        score = alignment_error_rate([links("0-1"), links("0-0 1-1 2-2 3-3")], golds)
        assert score.error_rate == pytest.approx(1 - 8 / 10)

    def test_a_sentence_nobody_aligned_is_left_out(self) -> None:
        score = alignment_error_rate([links("0-0"), links("5-5")], [links("0-0"), None])
        assert (score.error_rate, score.links) == (0.0, 1)

    def test_gold_without_links_makes_every_link_wrong(self) -> None:
        score = alignment_error_rate([links("0-0"), links("5-5")], [links("0-0"), links("")])
        assert score.error_rate == pytest.approx(1 / 3)
        assert score.precision == pytest.approx(1 / 2)

    def test_nothing_proposed_where_nothing_is_sure_is_perfect(self) -> None:
        score = alignment_error_rate([frozenset()], [parse_pharaoh("0p0")])
        assert (score.error_rate, score.precision, score.recall) == (0.0, 1.0, 1.0)

    def test_possible_links_need_not_repeat_the_sure_ones(self) -> None:
        gold = Gold(frozenset({(0, 0)}), frozenset({(1, 1)}))
        assert alignment_error_rate([links("0-0 1-1")], [gold]).error_rate == 0.0

    def test_unequal_counts_are_refused_with_both_numbers(self) -> None:
        with pytest.raises(DataError, match="There are 1 sentences of links and 2 of gold"):
            alignment_error_rate([frozenset()], [frozenset(), frozenset()])

    def test_no_gold_at_all_is_refused(self) -> None:
        with pytest.raises(DataError, match="None of the 2 sentences has gold links"):
            alignment_error_rate([frozenset(), frozenset()], [None, None])

    @given(st.lists(st.tuples(some_links, some_links, some_links), min_size=1, max_size=5))
    def test_the_rate_lies_between_0_and_1_and_does_not_see_sides(
        self, sentences: list[tuple[Links, Links, Links]]
    ) -> None:
        found = [sentence[0] for sentence in sentences]
        golds = [Gold(sure, sure | possible) for _, sure, possible in sentences]
        score = alignment_error_rate(found, golds)
        turned_golds = [Gold(swap(sure), swap(possible)) for sure, possible in golds]
        assert 0 <= score.error_rate <= 1
        assert score == alignment_error_rate([swap(some) for some in found], turned_golds)

    @given(some_links, some_links)
    def test_without_possible_links_the_rate_is_one_minus_f1(self, found: set[Link], gold: Links) -> None:
        score = alignment_error_rate([frozenset(found)], [gold])
        if found and gold:
            assert score.error_rate == pytest.approx(1 - 2 * len(found & gold) / (len(found) + len(gold)))
