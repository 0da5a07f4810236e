import pytest
import torch

from regard.errors import OptionError
from regard.inspection.statistics.key_sets import is_punctuation, key_sets


def test_the_first_separators_and_punctuation_are_found() -> None:
    found = key_sets([["[CLS]", "no", "##pe", ".", "[SEP]"], [None, None, "Ġyes", "Ġ!"]])
    assert found["first"].tolist() == [[True, *[False] * 4], [False, False, True, False, False]]
    assert found["separators"].tolist() == [[*[False] * 4, True], [False] * 5]
    assert found["punctuation"].tolist() == [[*[False] * 3, True, False], [False] * 3 + [True, False]]
    assert all(chosen.dtype == torch.bool for chosen in found.values())


@pytest.mark.parametrize("token", [".", "Ġ...", "▁,", "##)", "。", "«", "؟", "Ġ--"])
def test_punctuation_is_told_through_the_marks_of_tokenizers(token: str) -> None:
    assert is_punctuation(token)


@pytest.mark.parametrize("token", ["a.", "", "Ġ", "▁", "##s", "1", "+", "<s>", "中", "[SEP]"])
def test_other_tokens_are_no_punctuation(token: str) -> None:
    assert not is_punctuation(token)


def test_separators_may_be_others() -> None:
    assert key_sets([["a", "|"]], separators={"|"})["separators"].tolist() == [[False, True]]


def test_no_tokens_are_refused() -> None:
    with pytest.raises(OptionError, match="There are no tokens"):
        key_sets([[], []])
