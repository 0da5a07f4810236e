import pytest

from regard.data.preparation import prepare
from regard.data.text import Pairs
from regard.data.tokenizers import TokenizerConfig, TokenizerPair
from regard.errors import DataError

SOURCES = ["ab", "", "ab ab ab", "ab", " \u00a0\t", "ab ab", "\x00"]
TARGETS = ["ab", "ab", "ab", "ab ab ab ab", "ab", "", "ab"]


@pytest.fixture
def tokenizers() -> TokenizerPair:
    return TokenizerPair.train(Pairs(["ab ab"] * 3, ["ab"] * 3), TokenizerConfig(vocab_size=300))


def test_what_cannot_be_used_is_left_out_by_line(tokenizers: TokenizerPair) -> None:
    pairs = Pairs(SOURCES, TARGETS, range(11, 18))
    prepared = prepare(pairs, tokenizers, max_length=3)
    assert prepared.empty == [12, 15, 16]
    assert prepared.too_long == [14]
    assert prepared.examples.lines.tolist() == [11, 13, 17]
    used = [prepared.examples[index] for index in range(3)]
    assert [[tokenizers.source.decode(source), tokenizers.target.decode(target)] for source, target in used] == [
        ["ab", "ab"],
        ["ab ab ab", "ab"],
        ["\x00", "ab"],
    ]
    assert len(prepared.source) == len(prepared.target) == 7


def test_a_set_of_which_nothing_is_left_is_refused(tokenizers: TokenizerPair) -> None:
    message = (
        r"^None of the 3 pairs can be used: 1 have an empty side and 2 have more than 2 tokens on a side\. "
        r"Raise the limit, or look at the files\.$"
    )
    with pytest.raises(DataError, match=message):
        prepare(Pairs(["", "ab ab ab", "ab"], ["ab", "ab", "ab ab ab"]), tokenizers, max_length=2)
