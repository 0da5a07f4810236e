from regard.data.preparation import prepare
from regard.data.report import Report, examine
from regard.data.text import Pairs
from regard.data.tokenizers import TokenizerConfig, TokenizerPair

LONG = " ".join(["ab"] * 29)
PAIRS = [("ab ab", "ab")] * 5 + [("", "ab"), (LONG, LONG), ("ab", LONG[:50]), ("ab", "ab cd"), ("x\u00a0y", "x\u00a0y")]


def some_report(max_length: int = 23) -> Report:
    sources, targets = (list(side) for side in zip(*PAIRS, strict=True))
    pairs = Pairs(sources, targets, range(101, 111))
    tokenizers = TokenizerPair.train(Pairs(["ab ab"] * 3, ["ab"] * 3), TokenizerConfig(vocab_size=300, shared=False))
    return examine(pairs, prepare(pairs, tokenizers, max_length=max_length))


def test_the_report_counts_and_names_lines() -> None:
    report = some_report()
    assert (report.pairs, report.used, report.max_length) == (10, 8, 23)
    assert report.empty == [106]
    assert report.too_long == [107]
    assert report.duplicates == [102, 103, 104, 105]
    assert report.copied == [107, 110]
    assert report.out_of_proportion == [108]
    assert report.source.words == [2, 29, 29, 29]
    assert report.target.words == [1, 29, 29, 29]
    assert report.source.tokens[-1] == 29
    assert (report.source.vocab_size, report.source.pieces_used) == (261, 6)


def test_the_report_fits_a_terminal() -> None:
    text = str(some_report())
    assert text.split("\n") == [
        "10 pairs, 8 of them used",
        "  left out: 1 with an empty side (line 106)",
        "  left out: 1 of more than 23 tokens (line 107)",
        "  look at: 4 repeated (lines 102, 103, 104, 105)",
        "  look at: 2 with the source as target (lines 107, 110)",
        "  look at: 1 out of proportion (line 108)",
        "  length               median     90 %     99 %  longest",
        "  source words              2       29       29       29",
        "  source tokens             2       29       29       29",
        "  target words              1       29       29       29",
        "  target tokens             1       29       29       29",
        "  source vocabulary: 6 of 261 pieces are used",
        "  target vocabulary: 8 of 261 pieces are used",
    ]


def test_only_the_first_lines_are_shown() -> None:
    text = str(examine_repeated(997))
    assert "  look at: 996 repeated (lines 2, 3, 4, 5, 6, ...)\n" in text
    assert "left out" not in text


def examine_repeated(count: int) -> Report:
    pairs = Pairs(["ab cd"] * count, ["ab"] * count)
    return examine(pairs, prepare(pairs, TokenizerPair.train(pairs, TokenizerConfig(vocab_size=300)), max_length=9))
