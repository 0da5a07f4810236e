"""Trains with JoeyNMT's own loop, held up between requests."""

from pathlib import Path
from typing import Any

from answering import Line, UpdateClock
from joeynmt.config import load_config
from joeynmt.helpers import make_model_dir
from joeynmt.training import TrainManager, train


class TimedTraining:
    """Counts an update where the next begins, so that making a batch and changing the weights are in it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.clock: UpdateClock | None = None
        self.tokens = 0
        self.train_step = TrainManager._train_step

    def __call__(self, manager: TrainManager, batch: Any) -> Any:
        """Run one of JoeyNMT's training steps."""
        if self.clock is None:
            self.clock = UpdateClock(self.line)
        else:
            self.clock.count(self.tokens)
        self.tokens = int(batch.ntokens)
        return self.train_step(manager, batch)


def main() -> None:
    """Train until nobody asks any more."""
    timed = TimedTraining(Line())
    TrainManager._train_step = lambda manager, batch: timed(manager, batch)
    configuration = load_config(Path(__file__).parent / "joey.yaml")
    make_model_dir(Path(configuration["model_dir"]), overwrite=True)
    train(rank=0, world_size=None, cfg=configuration, skip_test=True)


if __name__ == "__main__":
    main()
