"""What a translator gives."""

import pytest
import torch

from regard.tasks.translations import PairAttention, Translation, joined


def test_the_parts_of_a_text_are_joined_rank_by_rank() -> None:
    first = [Translation("a b", -1.0, -0.5, (("x", "a b"),)), Translation("a", -2.0, -1.0, (("x", "a"),))]
    empty = [Translation("", 0.0, 0.0)]
    last = [Translation("c", -4.0, -2.0, (("y", "c"),)), Translation("d", -8.0, -4.0, (("y", "d"),))]
    assert joined([first]) is first, "a text of one part is that part"
    assert joined([first, last]) == [
        Translation("a b c", -5.0, -2.5, (("x", "a b"), ("y", "c"))),
        Translation("a d", -10.0, -5.0, (("x", "a"), ("y", "d"))),
    ]
    assert joined([first, empty, last]) == joined([first, last]), "a blank part has one translation and takes none away"
    assert [one.text for one in joined([first, last[:1]])] == ["a b c", "a c"]


def test_words_are_read_off_the_step_that_emits_them_or_the_next() -> None:
    tokens = torch.eye(3).view(1, 1, 3, 3)  # step t looks at source token t
    pair = PairAttention(["a", "b"], ["x", "y"], ["a", "b", "end"], ["x", "y", "end"], [0, 1, -1], [0, 1, -1], tokens)
    assert pair.words()[0, 0].tolist() == [[1, 0], [0, 1]]
    reading = pair.words("reading")[0, 0]
    assert reading[0].tolist() == pytest.approx([0, 1]), "x is read by the step that emits y"
