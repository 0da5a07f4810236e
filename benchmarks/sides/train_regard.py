"""Trains with regard's own loop, as `regard train` does, held up between requests.

train_regard.py SOURCE TARGET VALID_SOURCE VALID_TARGET [--multiple N] [--preset NAME]: text, line by line; what the
tokens of a batch are a multiple of; the preset that all but the data is from.
"""

import argparse
from pathlib import Path

import torch
from answering import Line, UpdateClock

from regard.data import batches
from regard.data.text import read_pairs
from regard.tasks.fit import Fitting, TrainingData
from regard.tasks.recipe import build_recipe, merged, preset
from regard.training.events import Event, Updated

ENDLESS = {"validate_every": 1_000_000, "max_updates": 1_000_000}
SAME_FOR_ALL = {  # whatever the preset comes to say
    "model": {"kind": "transformer", "dropout": 0.3, "attention_dropout": 0.0, "activation_dropout": 0.0},
    "tokenizer": {"vocab_size": 10_000, "split": "blanks"},
    "data": {"batch_tokens": 4096},
    "training": ENDLESS,
}


def main() -> None:
    """Train until nobody asks any more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", type=Path, nargs=4)
    parser.add_argument("--multiple", type=int, default=batches.MULTIPLE)
    parser.add_argument("--preset")
    options = parser.parse_args()
    batches.MULTIPLE = options.multiple
    line = Line()
    source, target, valid_source, valid_target = options.files
    if options.preset is None:
        recipe = build_recipe(merged(preset("transformer-tiny"), SAME_FOR_ALL))
    else:
        values = preset(options.preset)
        recipe = build_recipe({**values, "training": {**ENDLESS, "select_by": "loss"}})
    data = TrainingData(read_pairs(source, target), read_pairs(valid_source, valid_target))
    run = Path(f"regard-run-{options.multiple}-{options.preset}")
    run.mkdir()
    fitting = Fitting(recipe, data, run, torch.device("cpu"), resume=False, origin=None, say=print)
    clock: list[UpdateClock] = []

    def observe(event: Event) -> None:
        if isinstance(event, Updated):
            clock[0].count(event.tokens)

    trainer = fitting.trainer([observe])
    clock.append(UpdateClock(line))
    trainer.fit()


if __name__ == "__main__":
    main()
