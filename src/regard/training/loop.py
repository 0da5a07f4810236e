"""The training loop, one for every model: updates, validations and checkpoints until an end is reached.

The loop knows neither the model nor the data nor what a good translation is: an objective turns model and batch into
a loss, a function gives the batches of an epoch, and the command hands in `evaluate` for scores and observers for
what there is to tell. What comes next is a function of what a checkpoint holds and of nothing else, so a run that was
interrupted anywhere goes on to the same numbers: bit for bit on CPUs, with the same number of threads.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from regard.errors import DamagedError, InputError, OptionError, WorkError
from regard.files import remove_leftovers
from regard.training import checkpoints
from regard.training.checkpoints import Checkpoint
from regard.training.config import TrainingConfig
from regard.training.evaluation import Objective, evaluating, measure
from regard.training.events import Event, Logged, Observer, Saved, Updated, Validated, Warned
from regard.training.feed import Batches, Examples, Feed
from regard.training.interruption import BrokenOffError, Interruption
from regard.training.metrics import MetricsFile, Totals
from regard.training.optimizers import Optimizer
from regard.training.randomness import RandomState, preserved
from regard.training.schedules import ScheduleConfig, ending_at, learning_rate
from regard.training.selection import Selection
from regard.training.state import Snapshot, TrainingState, kept_buffers, restore_weights, weights_of
from regard.training.update import Result, apply_gradient, gather_gradient, is_out_of_memory

Evaluate = Callable[[nn.Module], dict[str, float]]
"""Gives scores that take more than the objective, such as one of decoded text; the model is in evaluation mode."""

Reason = Literal["updates", "minutes", "patience", "interrupted"]


class Outcome(NamedTuple):
    """How a training ended.

    Attributes:
        reason: The end that was reached.
        signal: The number of the signal that interrupted it, else None; a command then exits with 128 more.
        step: Updates done.
        seconds: How long the run has trained, over all its sessions.
        best_step: The step with the best validation; None if there was none.
        best_score: Its score by `select_by`.
    """

    reason: Reason
    signal: int | None
    step: int
    seconds: float
    best_step: int | None
    best_score: float | None


class Trainer:
    """Trains one model in one run folder.

    Args:
        model: The model, on its device.
        optimizer: The optimizer over its parameters.
        objective: Runs the model on a batch and sums the loss of its target tokens.
        schedule: The learning rate. Where its total is open it is the training's end: `max_updates`, or what the
            minutes will allow at the speed so far if that is less; then the numbers depend on the machine's speed.
        batches: The batches of an epoch from a position on.
        config: Ends and intervals.
        run: The run's folder, which must exist.
        validation: The batches to validate on, walked over at every validation.
        evaluate: Gives further scores at every validation.
        observers: Are told every event, in order.
        device: Where the model is.
        fingerprint: What must be the same on resume, such as a digest of the data and the configuration.
        companions: Digests of files in the run that checkpoints mean nothing without, such as the tokenizer's, by their
            names; they must be the same on resume too.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        objective: Objective,
        schedule: ScheduleConfig,
        batches: Batches,
        config: TrainingConfig,
        run: Path,
        validation: Iterable[Examples] | None = None,
        evaluate: Evaluate | None = None,
        observers: Sequence[Observer] = (),
        device: torch.device | None = None,
        fingerprint: str = "",
        companions: Mapping[str, str] | None = None,
    ) -> None:
        if config.patience is not None and validation is None:
            raise OptionError(f"patience ({config.patience}) counts validations: it needs a validation set.")
        require_end(schedule, config)
        self.model, self.optimizer, self.objective = model, optimizer, objective
        self.schedule, self.config, self.run = schedule, config, run
        self.batches, self.validation, self.evaluate = batches, validation, evaluate
        self.observers, self.fingerprint, self.companions = observers, fingerprint, dict(companions or {})
        self.device = device or torch.device("cpu")

    def fit(self, *, resume: bool = False) -> Outcome:
        """Train until an end is reached, from the beginning or from the last whole checkpoint.

        SIGINT and SIGTERM end the training after the current update, with a checkpoint; a second SIGINT raises
        KeyboardInterrupt at once.

        Raises:
            OptionError: The folder holds a training and `resume` is not set, or it is of other data.
            DamagedError: All checkpoints are damaged, or of another model.
            DivergedError: Too many updates in a row had a loss or gradient that is not finite.
            WorkError: There was not enough memory in as many, the disk is full, or another process trains here.
        """
        with Interruption() as self._interruption, MetricsFile(self.run / "metrics.jsonl") as self._metrics:
            self._begin(resume=resume)
            try:
                reason = self._train()
            finally:
                self._feed.close()
        return Outcome(
            reason=reason,
            signal=self._interruption.signal if reason == "interrupted" else None,
            step=self.state.step,
            seconds=self.state.seconds,
            best_step=self.state.selection.step,
            best_score=self.state.selection.score,
        )

    def _begin(self, *, resume: bool) -> None:
        """Put everything into the state to start from, and open what the training needs."""
        remove_leftovers(self.run)
        if (self.run / "checkpoints").exists():
            remove_leftovers(self.run / "checkpoints")
        self.state = TrainingState(selection=Selection(self.config.select_by, self.config.patience))
        self._saved_step: int | None = None
        missing = self._metrics.cut(self._take_up() if resume else self._require_fresh())
        if missing:
            self._warn(f"{self._metrics.path} lacks its last {missing} bytes: lines are missing.")
        self._feed = Feed(self.batches, self.state.place, self.device)
        self._started = time.monotonic() - self.state.seconds
        self._buffers = kept_buffers(self.model)
        self.model.train()

    def _require_fresh(self) -> int:
        if steps := checkpoints.stored_steps(self.run):
            raise OptionError(
                f"{self.run} holds a training up to step {steps[-1]}: resume it, or choose another folder."
            )
        return 0

    def _take_up(self) -> int:
        """Go to the last whole checkpoint, and return the length that metrics.jsonl had."""
        checkpoint = checkpoints.load_latest(self.run, self._warn)
        if checkpoint is None:
            self._warn(f"{self.run} holds no checkpoint yet: the training starts at its beginning.")
            return 0
        stored = checkpoint.state
        if stored.get("fingerprint") != self.fingerprint:
            raise OptionError(
                f"The training in {self.run} had other data or another configuration (its fingerprint is "
                f"{stored.get('fingerprint')!r}, now it is {self.fingerprint!r}). Resume with what it had."
            )
        self._require_companions(stored.get("companions", self.companions))  # earlier checkpoints do not know them
        self.state = TrainingState.from_json(stored, by=self.config.select_by, patience=self.config.patience)
        random = RandomState.from_json(stored.get("random", {}))
        restore_weights(self.model, self.optimizer, checkpoint.weights)
        try:
            self.optimizer.load_state(checkpoint.optimizer)
        except InputError as error:
            raise DamagedError(f"The checkpoint is of another optimizer: {error}") from None
        random.restore(self.device)
        if stored.get("threads") != torch.get_num_threads() and self.device.type == "cpu":
            self._warn(
                f"The training ran on {stored.get('threads')} threads and now runs on {torch.get_num_threads()}: it "
                "goes on, but sums come out differently in the last digit."
            )
        self._saved_step = checkpoint.step
        return self.state.metrics_bytes

    def _require_companions(self, stored: object) -> None:
        """Raise if a file is not the one that the checkpoint was made beside."""
        before = stored if isinstance(stored, Mapping) else {}
        others = [name for name in {**before, **self.companions} if before.get(name) != self.companions.get(name)]
        if others:
            raise DamagedError(
                f"{self.run / others[0]} is missing or not the file that the training in {self.run} began with: its "
                "SHA-256 differs. Put that file back, or start again with another folder."
            )

    def _train(self) -> Reason:
        while True:
            if self._is_validation_due():
                self._validate()
            end = self._end()
            if end is not None:
                break
            self._update()
            if self._is_due(self.config.save_every) and not self._is_validation_due():
                self._save()
        if end != "interrupted" and self.validation is not None and self.state.validated_step < self.state.step:
            self._validate()
        self._save()
        return self._end() or end

    def _end(self) -> Reason | None:
        config = self.config
        if self._interruption.requested:
            return "interrupted"
        if config.max_updates is not None and self.state.step >= config.max_updates:
            return "updates"
        if config.max_minutes is not None and self.state.seconds >= 60 * config.max_minutes:
            return "minutes"
        return "patience" if self.state.selection.exhausted else None

    def _is_due(self, every: int | None) -> bool:
        return every is not None and self.state.step > 0 and self.state.step % every == 0

    def _is_validation_due(self) -> bool:
        if self.validation is None or self.state.validated_step == self.state.step:
            return False
        if self.config.validate_every is None:
            return self.state.place.epoch > self.state.validated_epoch
        return self._is_due(self.config.validate_every)

    def _update(self) -> None:
        """Take the next batches and change the parameters by them, or tell why not.

        A signal between the batches of an update leaves no trace of it: data and random numbers go back to where
        they stood before.
        """
        began, before = time.monotonic(), Snapshot(self.model, self._buffers, self.device)
        try:
            gradient = gather_gradient(
                self.model,
                self.objective,
                self.optimizer,
                self._feed,
                batches=self.config.accumulate,
                stop=lambda: self._interruption.requested,
            )
        except Exception:
            if not self._interruption.requested:
                raise
            gradient = None  # a signal to the whole process group ends the loader's workers too
        if gradient is None:
            self.optimizer.discard()
            before.restore()
            return
        rate = self._learning_rate()
        result = apply_gradient(self.optimizer, gradient, rate)
        if result.fault is not None:
            before.restore_buffers()
        self.state.step += 1
        self.state.place = self._feed.place
        self._account(result, rate, began)

    def _learning_rate(self) -> float:
        """Give the rate of the next update, with the schedule's end where the training's end will be."""
        config, step = self.config, self.state.step + 1
        ends = [] if config.max_updates is None else [config.max_updates]
        if config.max_minutes is not None:
            share = self.state.seconds / (60 * config.max_minutes)
            ends.append(max(step, math.ceil(self.state.step / share)) if share > 0 else 10**9)
        return learning_rate(ending_at(self.schedule, min(ends)) if ends else self.schedule, step)

    def _account(self, result: Result, rate: float, began: float) -> None:
        """Write down an update, tell of it, and give up if too many in a row changed nothing."""
        state, now = self.state, time.monotonic()
        state.seconds = now - self._started
        state.totals.take(result.totals, skipped=result.fault is not None, seconds=now - began)
        state.skipped_in_row = state.skipped_in_row + 1 if result.fault else 0
        self._tell(
            Updated(
                step=state.step,
                epoch=state.epoch,
                loss=result.totals.means()["loss"],
                tokens=result.totals.tokens,
                learning_rate=rate,
                gradient_norm=result.gradient_norm,
                seconds=state.seconds,
            )
        )
        if result.fault is not None:
            self._warn(f"Update {state.step} changed nothing: {result.fault}.")
            if state.skipped_in_row >= self.config.max_skipped:
                raise result.fault.give_up(state.step, state.skipped_in_row)
        if self._is_due(self.config.log_every):
            self._log(rate, result.gradient_norm)

    def _log(self, rate: float, gradient_norm: float | None) -> None:
        """Add the sums since the last line to metrics.jsonl."""
        state = self.state
        line = {
            "step": state.step,
            "epoch": state.epoch,
            **state.totals.means(),
            "learning_rate": rate,
            "gradient_norm": gradient_norm,
            "tokens": state.totals.tokens,
            "skipped": state.totals.skipped,
            "tokens_per_second": state.totals.tokens / max(state.totals.seconds, 1e-9),
            "seconds": state.seconds,
        }
        self._metrics.add(line)
        state.totals = Totals()
        self._tell(Logged(line=line))

    def _validate(self) -> None:
        """Measure the model, remember whether it is the best, and save. A signal breaks it off without a trace."""
        assert self.validation is not None
        try:
            # What must be put right again stands outside of what a signal may break off.
            with preserved(self.device), evaluating(self.model), torch.no_grad(), self._interruption.breakable():
                scores = measure(self.model, self.objective, self.validation, self.device)
                scores |= self.evaluate(self.model) if self.evaluate else {}
        except BrokenOffError:
            return
        except Exception as error:
            if self._interruption.requested:
                return  # as in _update
            self._save()  # what was trained shall not be lost by what failed to measure it
            if is_out_of_memory(error):
                raise WorkError(
                    f"There is not enough memory to validate after step {self.state.step}, which is saved: {error} "
                    "Validate with fewer tokens in a batch."
                ) from error
            raise
        state = self.state
        state.seconds = time.monotonic() - self._started
        state.validated_step, state.validated_epoch = state.step, state.place.epoch
        best = state.selection.consider(state.step, scores)
        line = {"step": state.step, "epoch": state.epoch, "seconds": state.seconds}
        self._metrics.add({**line, "valid": scores, "best": best})
        self._tell(Validated(step=state.step, scores=scores, selection=dataclasses.replace(state.selection)))
        self._save()

    def _save(self) -> None:
        """Store a checkpoint of this step, unless there is one, and tell of it when it is on the disk."""
        state = self.state
        if self._saved_step == state.step:
            return
        state.metrics_bytes = self._metrics.sync()
        checkpoint = Checkpoint(
            step=state.step,
            weights=weights_of(self.model, self.optimizer),
            optimizer=self.optimizer.state(),
            state={
                **state.to_json(),
                "random": RandomState.capture(self.device).to_json(),
                "fingerprint": self.fingerprint,
                "companions": self.companions,
                "threads": torch.get_num_threads(),
            },
        )
        folder = checkpoints.save(self.run, checkpoint)
        self._saved_step = state.step
        self._tell(Saved(step=state.step, folder=folder))
        checkpoints.prune(self.run, newest=state.step, keep=self.config.keep, best=state.selection.step)

    def _tell(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)

    def _warn(self, text: str) -> None:
        self._tell(Warned(text=text))


def require_end(schedule: ScheduleConfig, config: TrainingConfig) -> None:
    """Refuse a schedule that falls to the end of a training where none is known."""
    if schedule.kind not in ("cosine", "linear") or schedule.total is not None:
        return
    if config.max_updates is None and config.max_minutes is None:
        raise OptionError(
            f"The {schedule.kind} schedule falls until the training ends, and patience does not say when: "
            "give max_updates, max_minutes or the schedule's total."
        )
