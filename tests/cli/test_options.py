"""Every option of every command, frozen: a change here is a change for everyone who has a script."""

import pytest

from regard.cli.main import COMMANDS, build_app

PAIRS = ["--src", "--tgt", "--data", "--columns"]
MACHINE = ["--precision", "--device", "--threads"]
OUTPUT = ["--output", "-o"]
SEARCH = ["--beam", "--length-penalty", "--batch-size"]
SITE = ["--layer", "--head"]

FROZEN = {
    "demo": ["--out", "--minutes", "--max-updates", "--seed"],
    "train": [
        *("--out", *PAIRS, "--valid-src", "--valid-tgt", "--valid-gold", "--preset", "--config", "--set", "--from"),
        *("--resume", "--max-updates", "--max-minutes", "--seed", "--precision", "--device", "--threads"),
        *("--tensorboard", "--telemetry"),
    ],
    "translate": [
        *("RUN", "INPUT", *OUTPUT, "--alignments", "--json", "--n-best", *SEARCH, "--max-length", *SITE, *MACHINE),
    ],
    "evaluate": [
        *("RUN", *PAIRS, "--gold-alignments", "--gold-base", *SITE, "--tokenize", "--lowercase", *SEARCH, *OUTPUT),
        *("--json", *MACHINE),
    ],
    "score": ["RUN", *PAIRS, *OUTPUT, "--json", "--batch-size", *MACHINE],
    "align": [
        *("RUN", *PAIRS, *OUTPUT, *SITE, "--reverse", "--symmetrize", "--batch-size", *MACHINE),
        *("--links", "--reverse-links", "--gold", "--base", "--gold-base", "--json"),
    ],
    "look": ["PATH", "TEXT", "--target", "--steps", "--png", "--html", "--without-belief", *SITE, *MACHINE],
    "compare": [
        *("CONFIG", *PAIRS, "--valid-src", "--valid-tgt", "--test-src", "--test-tgt", "--test-count", "--synthetic"),
        *("--max-words", "--test-max-words", "--pairs", "--seeds", "--updates", "--minutes", "--out", "--set"),
        *("--tokenize", "--lowercase", *MACHINE, "--json"),
    ],
    "info": ["RUN", "--json"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_are_these(command: str) -> None:
    collection = build_app()[command].assemble_argument_collection()
    names = [name for argument in collection if argument.parse and argument.show for name in argument.names]
    found = [name for name in names if not name.startswith(("--no-", "--empty-"))]
    assert sorted(found) == sorted(FROZEN[command])
