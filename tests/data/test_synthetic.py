import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.synthetic import MOST_WORDS, SyntheticSplits, Task, as_pairs, made_up_words, synthetic_splits
from regard.data.text import split_words
from regard.errors import OptionError

TASKS = st.sampled_from(["copy", "reverse"])


def small(task: Task, *, max_words: int = 7, longest: int | None = None, seed: int = 1) -> SyntheticSplits:
    return synthetic_splits(
        task, max_words=max_words, test_max_words=longest, vocabulary=11, train=53, valid=7, test=13, seed=seed
    )


@given(TASKS, st.integers(3, 13), st.integers(3, 29), st.integers(0, 1000))
def test_no_sentence_stands_twice_and_no_length_is_passed(task: Task, max_words: int, longest: int, seed: int) -> None:
    splits = small(task, max_words=max_words, longest=longest, seed=seed)
    assert [len(split) for split in splits] == [53, 7, 13]
    sources = [example.source for split in splits for example in split]
    assert len(set(sources)) == len(sources)
    learned = [len(split_words(example.source)) for example in (*splits.train, *splits.valid)]
    assert 1 <= min(learned) <= max(learned) <= max_words
    assert max(len(split_words(example.source)) for example in splits.test) <= longest


@given(TASKS, st.integers(0, 1000))
def test_linked_words_are_equal_and_each_word_has_one_link(task: Task, seed: int) -> None:
    for example in small(task, seed=seed).test:
        source, target = example.source.split(" "), example.target.split(" ")
        assert len(example.alignment) == len(source) == len(target)
        assert {i for i, _ in example.alignment} == {j for _, j in example.alignment} == set(range(len(source)))
        assert all(source[i] == target[j] for i, j in example.alignment)


@given(st.integers(0, 1000))
def test_a_copy_is_the_sentence_and_a_reversal_is_it_backwards(seed: int) -> None:
    for one, other in zip(small("copy", seed=seed).test, small("reverse", seed=seed).test, strict=True):
        assert one.source == one.target == other.source
        assert other.target.split(" ") == other.source.split(" ")[::-1]
        assert one.alignment == {(i, i) for i in range(len(one.source.split(" ")))}


@given(TASKS, st.integers(0, 1000))
def test_the_same_arguments_give_the_same_sentences_and_another_seed_others(task: Task, seed: int) -> None:
    assert small(task, seed=seed) == small(task, seed=seed)
    assert small(task, seed=seed) != small(task, seed=seed + 1)


def test_lengths_are_spread_evenly_and_the_test_set_has_long_ones() -> None:
    splits = synthetic_splits("reverse", max_words=20, test_max_words=60, train=2000, valid=10, test=600)
    lengths = [len(split_words(source)) for source in as_pairs(splits.test).sources]
    shares = [sum(low < length <= low + 10 for length in lengths) for low in range(0, 60, 10)]
    assert min(shares) > 60
    assert max(shares) < 140
    learned = [len(split_words(source)) for source in as_pairs(splits.train).sources]
    assert max(learned) == 20


@given(st.integers(2, 97), st.randoms(use_true_random=False))
def test_made_up_words_are_different_words(count: int, generator: object) -> None:
    words = made_up_words(count, generator)  # type: ignore[arg-type]
    assert len(set(words)) == count
    assert all(split_words(word) == [word] for word in words)


def test_sentences_that_do_not_exist_cannot_be_drawn() -> None:
    with pytest.raises(OptionError, match="14 different sentences are more than half of the 27 that have 3 of 3 words"):
        synthetic_splits("copy", max_words=3, vocabulary=3, train=10, valid=2, test=2)
    assert len(synthetic_splits("copy", max_words=3, vocabulary=3, train=9, valid=2, test=2).train) == 9


def test_sizes_out_of_range_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(OptionError, match="task 'sort' is unknown; there are copy and reverse"):
        synthetic_splits("sort")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="vocabulary must lie between 2 and 3,600; it is 1"):
        synthetic_splits("copy", vocabulary=1)
    assert MOST_WORDS == 3600
    with pytest.raises(OptionError, match="must be at least 1; they are 20 and 0"):
        synthetic_splits("copy", test_max_words=0)
