"""Options that several commands share."""

from pathlib import Path

import pytest
import torch

from regard.cli.inputs import PairFiles, chosen_device, pair_chunks, split_recipe_options, two_columns, word_counts
from regard.data.text import Pairs
from regard.errors import OptionError


def test_options_of_a_recipe_are_written_as_settings() -> None:
    given = ["train", "--model.dropout=0.1", "--model.norm", "pre", "--seed", "3", "-", "--", "--a.b=c"]
    wanted = ["train", "--set", "model.dropout=0.1", "--set", "model.norm=pre", "--seed", "3", "./-", "--", "--a.b=c"]
    assert split_recipe_options(given) == wanted
    own = ["--average=3", "--label_smoothing", "0.2", "--averages", "3"]  # values of the recipe itself have no dot
    assert split_recipe_options(own) == ["--set", "average=3", "--set", "label_smoothing=0.2", "--averages", "3"]
    with pytest.raises(OptionError, match=r"--model\.norm has no value; write --model\.norm=VALUE\."):
        split_recipe_options(["--model.norm"])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (PairFiles(), "Sentence pairs are needed: --src and --tgt missing."),
        (PairFiles(src=Path("a")), "--tgt missing."),
        (PairFiles(data=Path("a"), tgt=Path("b")), "--data and --src/--tgt are both given: choose one."),
        (PairFiles(src=Path("a"), tgt=Path("b"), columns="1,2"), "--columns is for --data, which is not given."),
        (PairFiles(data=Path("a"), columns="1"), "--columns must name two columns, SRC,TGT; it is '1'."),
    ],
)
def test_files_that_contradict_each_other_are_refused(files: PairFiles, told: str) -> None:
    with pytest.raises(OptionError) as raised:
        files.read()
    assert told in str(raised.value)


def test_columns_are_two_names() -> None:
    assert two_columns("en, fr") == ("en", "fr")


def test_pairs_are_parted_and_counted() -> None:
    pairs = Pairs(["a b", "c", "d  e f"], ["x", "", "y z"])
    assert [chunk.sources for chunk in pair_chunks(pairs, 2)] == [["a b", "c"], ["d  e f"]]
    assert word_counts(pairs) == [(2, 1), (1, 0), (3, 2)]


def test_a_device_that_is_not_there_is_refused() -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    with pytest.raises(OptionError, match=r"--device nonsense cannot be used here: .*There is always cpu\."):
        chosen_device("nonsense")
