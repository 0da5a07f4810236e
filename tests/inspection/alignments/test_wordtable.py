import random
import subprocess
import sys
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import DataError, OptionError
from regard.inspection.alignments import wordtable
from regard.inspection.alignments.links import Links, alignment_error_rate
from regard.inspection.alignments.wordtable import WordTable, normalize_word

ENGLISH = ["the house", "the book", "a book", "the red house"]
GERMAN = ["das haus", "das buch", "ein buch", "das rote haus"]


def plain_model_1(sources: list[str], targets: list[str], iterations: int) -> dict[tuple[str, str], float]:
    """Model 1 as Brown et al. write it, with dictionaries."""
    pairs = [(["NULL", *source.split()], target.split()) for source, target in zip(sources, targets, strict=True)]
    together = {(word, made) for source, target in pairs for word in source for made in target}
    table = {(word, made): 1 / sum(other == word for other, _ in together) for word, made in together}
    for _ in range(iterations):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        for source, target in pairs:
            for made in target:
                total = sum(table[word, made] for word in source)
                for word in source:
                    counts[word, made] += table[word, made] / total
        totals: dict[str, float] = defaultdict(float)
        for (word, _), count in counts.items():
            totals[word] += count
        table = {(word, made): count / totals[word] for (word, made), count in counts.items()}
    return table


def made_up_pairs(count: int, *, seed: int = 0, size: int = 53) -> tuple[list[str], list[str], list[Links]]:
    """Sentences of words `s17` that are translated to `t17` and shuffled, with the true links."""
    draw = random.Random(seed)
    sources, targets, golds = [], [], []
    for _ in range(count):
        numbers = draw.sample(range(size), draw.randint(1, 7))
        order = draw.sample(range(len(numbers)), len(numbers))
        sources.append(" ".join(f"s{number}" for number in numbers))
        targets.append(" ".join(f"t{numbers[place]}" for place in order))
        golds.append(frozenset((place, target) for target, place in enumerate(order)))
    return sources, targets, golds


class TestEstimation:
    @pytest.mark.parametrize("iterations", [1, 5])
    @pytest.mark.parametrize("chunk", [1, 7, 1_000_000])
    def test_the_probabilities_are_those_of_the_plain_equation(
        self, iterations: int, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wordtable, "_CHUNK", chunk)
        table = WordTable.estimate(ENGLISH, GERMAN, iterations=iterations)
        expected = plain_model_1(ENGLISH, GERMAN, iterations)
        english = ["the", "house", "book", "a", "red"]
        german = ["das", "haus", "buch", "ein", "rote"]
        found = table.forward.look_up(english, german)
        for row, made in enumerate(german):
            for column, word in enumerate(["NULL", *english]):
                assert found[row, column] == pytest.approx(expected.get((word, made), 0.0))
        turned = plain_model_1(GERMAN, ENGLISH, iterations)
        assert table.reverse.look_up(["haus"], ["house"])[0, 1] == pytest.approx(turned["haus", "house"])

    def test_shuffled_words_are_found(self) -> None:
        sources, targets, golds = made_up_pairs(400)
        table = WordTable.estimate(sources, targets)
        assert alignment_error_rate(table.align(sources, targets), golds).error_rate < 0.02

    def test_the_same_pairs_give_the_same_table(self) -> None:
        sources, targets, _ = made_up_pairs(50)
        first, second = (WordTable.estimate(sources, targets) for _ in range(2))
        words = [f"s{number}" for number in range(53)], [f"t{number}" for number in range(53)]
        assert (first.forward.look_up(*words) == second.forward.look_up(*words)).all()

    def test_with_more_cells_than_allowed_evenly_spaced_pairs_are_taken(self) -> None:
        sources = [f"s{number} x" for number in range(10)]
        targets = [f"t{number} y" for number in range(10)]
        table = WordTable.estimate(sources, targets, max_cells=45)  # 9 cells a pair: five of ten
        known = [table.forward.look_up([f"s{number}"], [f"t{number}"])[0, 1] > 0 for number in range(10)]
        assert known == [True, False] * 5

    def test_one_pair_is_taken_however_few_cells_are_allowed(self) -> None:
        table = WordTable.estimate(ENGLISH, GERMAN, max_cells=1)
        assert table.forward.look_up(["house"], ["haus"])[0, 1] > 0

    def test_pairs_with_an_empty_or_long_side_are_left_out(self) -> None:
        table = WordTable.estimate(["", "a b c d", "the house"], ["eins", "zwei", "das haus"], max_words=3)
        assert table.forward.look_up(["a"], ["zwei"])[0, 1] == 0
        assert table.forward.look_up(["house"], ["haus"])[0, 1] > 0

    def test_no_usable_pair_is_refused(self) -> None:
        with pytest.raises(DataError, match="None of the 2 pairs has 1 to 3 words on both sides"):
            WordTable.estimate(["", "a b c d"], ["eins", "zwei"], max_words=3)

    def test_unequal_counts_are_refused_with_both_numbers(self) -> None:
        with pytest.raises(DataError, match="There are 4 source and 3 target sentences"):
            WordTable.estimate(ENGLISH, GERMAN[:3])

    def test_no_iteration_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"iterations \(0\) must be at least 1"):
            WordTable.estimate(ENGLISH, GERMAN, iterations=0)

    @pytest.mark.parametrize("cells", [0, 2**31])
    def test_cells_that_cannot_be_numbered_are_refused(self, cells: int) -> None:
        with pytest.raises(OptionError, match=rf"max_cells \({cells}\) must lie between 1 and 2147483647"):
            WordTable.estimate(ENGLISH, GERMAN, max_cells=cells)


class TestLinks:
    table = WordTable.estimate(ENGLISH * 3, GERMAN * 3, iterations=20)

    def test_words_link_to_their_translation(self) -> None:
        assert self.table.links(["a", "red", "house"], ["ein", "rote", "haus"]) == {(0, 0), (1, 1), (2, 2)}

    def test_a_word_nobody_has_seen_gets_no_link(self) -> None:
        assert self.table.links(["the", "zebra"], ["das", "zebra"]) == {(0, 0)}
        assert self.table.links(["zebra"], ["okapi"]) == frozenset()

    def test_case_and_punctuation_at_the_ends_do_not_matter(self) -> None:
        assert self.table.links(["The", "book!"], ["«Das", "Buch»,"]) == {(0, 0), (1, 1)}

    def test_of_equal_words_the_one_at_the_same_place_is_taken(self) -> None:
        words = ["house", "the", "the", "house"], ["haus", "das", "das", "haus"]
        assert self.table.links(*words) == {(0, 0), (1, 1), (2, 2), (3, 3)}

    def test_an_empty_side_gives_no_links(self) -> None:
        assert self.table.links([], ["das"]) == frozenset()
        assert self.table.links(["the"], []) == frozenset()

    def test_a_method_joins_the_directions(self) -> None:
        both, either = (
            self.table.links(["the", "house"], ["das", "rote", "haus"], method) for method in ("intersection", "union")
        )
        assert both <= either

    @given(st.text(max_size=7))
    def test_normalizing_a_word_twice_changes_nothing_and_leaves_something(self, word: str) -> None:
        once = normalize_word(word)
        assert normalize_word(once) == once
        assert bool(once) == bool(word)

    @pytest.mark.parametrize(
        ("word", "normal"),
        [
            ("Dog,", "dog"),
            ("“L'Été!”", "l'été"),
            ("...", "..."),
            ("STRASSE", "strasse"),
            ("3.5%", "3.5"),
            ("की,", "की"),
            ("ที่", "ที่"),
            ("cafe\u0301.", "caf\u00e9"),
            ("\u2764\ufe0f", "\u2764\ufe0f"),
        ],
    )
    def test_words_are_normalized(self, word: str, normal: str) -> None:
        assert normalize_word(word) == normal


class TestAgreement:
    def test_links_of_known_error_are_put_in_order(self) -> None:
        sources, targets, golds = made_up_pairs(300, seed=1)
        table = WordTable.estimate(sources, targets)
        draw = random.Random(2)
        agreements, errors = [], []
        for share in (0.0, 0.1, 0.2, 0.4, 0.8):
            worse = [
                frozenset(
                    (draw.randrange(len(gold)) if draw.random() < share else source, target)
                    for source, target in sorted(gold)
                )
                for gold in golds
            ]
            agreements.append(table.agreement(worse, sources, targets).error_rate)
            errors.append(alignment_error_rate(worse, golds).error_rate)
        assert errors == sorted(errors)
        assert agreements == sorted(agreements)
        assert agreements[0] < 0.02


def test_nothing_is_left_to_be_imported_when_a_signal_may_come() -> None:
    """A validation that is broken off while numpy imports `ma` leaves it half imported for the rest of the process."""
    lines = "import sys, regard.inspection.alignments.wordtable; assert 'numpy.ma' in sys.modules"
    subprocess.run([sys.executable, "-c", lines], check=True)
