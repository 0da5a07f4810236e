"""Training a translator: from pairs of sentences and a recipe to a finished run."""

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from regard.data.batches import Batch, ParallelSet, TokenBudget
from regard.data.loading import Loader
from regard.data.preparation import Prepared, prepare
from regard.data.report import examine
from regard.data.spellings import RespelledSet
from regard.data.text import Pairs, split_words
from regard.data.tokenizers import TokenizerPair
from regard.errors import DataError, NotANumberError, OptionError
from regard.files import make_folder
from regard.generation.search import SearchOptions
from regard.inspection.alignments.alignment_site import AlignmentSite, choose_site
from regard.inspection.alignments.links import Gold
from regard.inspection.alignments.wordtable import WordTable
from regard.inspection.effects.pruning import pruned_heads
from regard.models.catalogue import build_model
from regard.models.roles import Seq2Seq
from regard.tasks.evaluation import corpus_score, metrics, usual_tokenization
from regard.tasks.expectations import expected_time, schedule_notes
from regard.tasks.recipe import DECODED, FREE, Recipe
from regard.tasks.runs import put_weights, save_run, write_recipe
from regard.tasks.telemetry import AttentionLog
from regard.tasks.translator import Translator
from regard.training import precision
from regard.training.averaging import Average, average_checkpoints
from regard.training.checkpoints import stored_steps
from regard.training.evaluation import measure
from regard.training.events import Observer
from regard.training.feed import to_device
from regard.training.loop import Outcome, Trainer
from regard.training.metrics import MetricsFile
from regard.training.objectives import Loss, smoothed_cross_entropy
from regard.training.optimizers import Optimizer
from regard.training.randomness import preserved
from regard.training.selection import LOWER_IS_BETTER

SITE_PAIRS = 500
"""So many validation pairs at most decide which weights are the alignment."""

Say = Callable[[str], None]
"""Tells the user a sentence."""


@dataclass(frozen=True)
class TrainingData:
    """What a translator is trained on.

    Attributes:
        train: Pairs to learn from.
        valid: Pairs to choose by; none of their sources is in `train`.
        gold: Links by people for each pair of `valid`; they choose the alignment and are never learned from.
    """

    train: Pairs
    valid: Pairs
    gold: Sequence[Gold] | None = None


def fit(
    recipe: Recipe,
    data: TrainingData,
    out: Path,
    *,
    device: torch.device,
    files: Mapping[str, str] | None = None,
    resume: bool = False,
    origin: Translator | None = None,
    observers: Sequence[Observer] = (),
    telemetry: int | None = None,
    say: Say,
) -> tuple[Outcome, Translator | None]:
    """Train a translator into a run folder, which is not touched before it is sure that there is enough to train on.

    Args:
        recipe: How.
        data: On what.
        out: The run.
        device: Where.
        files: Where the data are from, by the options that name it; train.toml of the run says so.
        resume: Go on from the last checkpoint of the run.
        origin: A translator to go on from with its tokenizers, for fine-tuning.
        observers: Are told the events of training.
        telemetry: Look at what heads look at every so many updates, and write it to attention.jsonl in the run.
        say: Is told what people should know.

    Returns:
        How training ended, and the finished translator; None if training was interrupted.
    """
    fitting = Fitting(recipe, data, out, device, resume=resume, origin=origin, say=say)
    with ExitStack() as closing:
        closing.enter_context(fitting.opened_run(files or {}, resume=resume))
        logs = [] if telemetry is None else [closing.enter_context(AttentionLog(fitting.model, out, every=telemetry))]
        trainer = fitting.trainer([*observers, *logs])
        fitting.say_expected_time(resume=resume)
        outcome = trainer.fit(resume=resume)
    if resume:
        write_recipe(out, files or {}, recipe)  # its ends may be others now, for the next time too
    if outcome.reason == "interrupted":
        return outcome, None
    return outcome, fitting.finish(outcome)


class Fitting:
    """One training, put together from a recipe."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        out: Path,
        device: torch.device,
        *,
        resume: bool,
        origin: Translator | None,
        say: Say,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.out, self.device, self.say = recipe, data, out, device, say
        self.tokenizers = self.chosen_tokenizers(resume, origin)
        self.model = self.built_model(origin)
        limits = [limit - 1 for limit in (self.model.max_source, self.model.max_target) if limit is not None]
        self.max_length = min([recipe.data.max_length, *limits])
        train = self.prepared("training", data.train)
        self.train, self.learned = train.examples, data.train.select(train.kept)
        self.valid = self.prepared("validation", data.valid).examples
        self.precision = precision.choose(recipe.precision, device)
        say(self.precision.reason)
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        say(
            f"The model has {parameters:,} parameters; the vocabulary has {self.tokenizers.target.vocab_size:,} tokens."
        )

    def chosen_tokenizers(self, resume: bool, origin: Translator | None) -> TokenizerPair:
        """Take the tokenizers of the run or of the translator to go on from, or train new ones."""
        if resume and (self.out / "tokenizer.json").exists():
            return TokenizerPair.load(self.out)
        if origin is not None:
            return origin.tokenizers
        return TokenizerPair.train(self.data.train, self.recipe.tokenizer)

    def opened_run(self, files: Mapping[str, str], *, resume: bool) -> MetricsFile:
        """Make the run's folder, with what was decided so far; no other process can train into it from here on.

        The file that is returned holds the folder as long as it is open.
        """
        make_folder(self.out)
        held = MetricsFile(self.out / "metrics.jsonl")
        if not (resume and (self.out / "tokenizer.json").exists()):
            self.tokenizers.save(self.out)
        if not resume:
            write_recipe(self.out, files, self.recipe)
        return held

    def prepared(self, name: str, pairs: Pairs) -> Prepared:
        """Encode pairs, and say what was left out."""
        try:
            prepared = prepare(pairs, self.tokenizers, max_length=self.max_length)
        except DataError as error:
            raise DataError([f"{name} data: {fault}" for fault in error.faults]) from None
        report = examine(pairs, prepared)
        self.say(f"{name} data: {report}")
        return prepared

    def built_model(self, origin: Translator | None) -> Seq2Seq:
        """Build the model on its device, with random weights or those of the translator to go on from."""
        gone = {} if origin is None else pruned_heads(origin.model)
        if gone:
            told = "; ".join(f"{name} {', '.join(map(str, heads))}" for name, heads in gone.items())
            raise OptionError(
                f"The run to go on from lacks heads that were pruned ({told}), and such a model is not trained. "
                "Go on from the run that they were taken from."
            )
        model = build_model(
            self.recipe.model,
            source_vocab=self.tokenizers.source.vocab_size,
            target_vocab=self.tokenizers.target.vocab_size,
        )
        if origin is not None:
            weights = {name: parameter.detach() for name, parameter in origin.model.named_parameters()}
            put_weights(model, weights, Path("the run to go on from"))
        return model.to(self.device)

    def trainer(self, observers: Sequence[Observer]) -> Trainer:
        """Put the loop together."""
        recipe = self.recipe
        masters = precision.cast(self.model, self.precision.dtype)
        settings = recipe.optimizer
        optimizer = Optimizer(
            self.model,
            betas=(settings.beta1, settings.beta2),
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            masters=masters,
        )
        decoded = recipe.decoding.at_validation or recipe.training.select_by in DECODED
        return Trainer(
            self.model,
            optimizer,
            objective=self.objective,
            schedule=recipe.schedule,
            batches=self.batches(),
            config=recipe.training,
            run=self.out,
            validation=list(self.loader(self.valid).batches(0)),
            evaluate=self.decoded_scores if decoded else None,
            observers=observers,
            device=self.device,
            fingerprint=self.fingerprint(),
            companions=self.tokenizers.digests(),
        )

    def say_expected_time(self, *, resume: bool) -> None:
        """Time a batch of middle size, and say about how long the training will take."""
        loader = self.loader(self.train)
        batches = loader.budget.batches(0)
        middle = self.train.batch(sorted(batches, key=len)[len(batches) // 2])
        batch = Batch(*to_device(middle, self.device))
        with preserved(self.device):
            self.model.train()
            self.objective(self.model, batch).loss.backward()
            started = time.perf_counter()  # only now everything is warm
            self.objective(self.model, batch).loss.backward()
            seconds = (time.perf_counter() - started) * self.recipe.training.accumulate
        self.model.zero_grad(set_to_none=True)
        for note in schedule_notes(self.recipe.schedule, self.recipe.training.max_updates):
            self.say(note)
        done = max(stored_steps(self.out), default=0) if resume else 0
        self.say(expected_time(self.recipe.training, seconds, len(batches) / self.recipe.training.accumulate, done))

    def objective(self, model: nn.Module, batch: Batch) -> Loss:
        """Run the model on a batch; smoothing is for training alone."""
        hidden = model(batch.source, batch.source_lengths, batch.target)
        assert isinstance(model, Seq2Seq)
        return smoothed_cross_entropy(
            hidden.flatten(0, 1),
            model.output.weight,
            model.output.bias,
            batch.labels.flatten(),
            smoothing=self.recipe.label_smoothing if model.training else 0.0,
        )

    def batches(self) -> Callable[[int, int], Iterator[Batch]]:
        """Return what gives the batches to train on of an epoch, from a position on."""
        data, workers = self.recipe.data, self.recipe.data.workers
        if not data.subword_dropout:
            return self.loader(self.train, workers=workers).batches
        respelled = RespelledSet(
            self.learned,
            self.tokenizers,
            dropout=data.subword_dropout,
            max_length=self.max_length,
            seed=self.recipe.seed,
        )
        return lambda epoch, position: self.loader(respelled.epoch(epoch), workers=workers).batches(epoch, position)

    def loader(self, examples: ParallelSet, *, workers: int = 0) -> Loader:
        """Return what makes the batches of a set."""
        budget = TokenBudget(examples, tokens=self.recipe.data.batch_tokens, seed=self.recipe.seed)
        return Loader(examples, budget, workers=workers, pin_memory=self.device.type == "cuda")

    def decoded_scores(self, model: nn.Module) -> dict[str, float]:
        """Translate the validation set greedily and score it."""
        assert isinstance(model, Seq2Seq)
        translator = Translator(model, self.tokenizers, max_length=self.recipe.data.max_length)
        try:
            found = translator.translate(self.data.valid.sources, options=SearchOptions(beams=1), batch_size=128)
        except NotANumberError as error:  # a validation may fail where the training goes on: no best one, that is all
            self.say(str(error))
            return dict.fromkeys(DECODED, math.nan)
        texts = [several[0].text for several in found]
        bleu, chrf = metrics(usual_tokenization(self.recipe.tokenizer.split), lowercase=False)
        return {
            "bleu": corpus_score(bleu, texts, self.data.valid.targets),
            "chrf": corpus_score(chrf, texts, self.data.valid.targets),
        }

    def scores(self, validation: list[Batch], *, decoded: bool) -> dict[str, float]:
        """Measure the model as it stands, by decoding or by the objective."""
        if decoded:
            return self.decoded_scores(self.model)
        return measure(self.model, self.objective, validation, self.device)

    def fingerprint(self) -> str:
        """Return a digest of data and recipe, without what may be another when a run is resumed."""
        values = dataclasses.asdict(self.recipe)
        for name in FREE:
            values["training"].pop(name)
        content = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        for pairs in (self.data.train, self.data.valid):
            for side in (pairs.sources, pairs.targets):
                for line in side:
                    content.update(line.encode("utf-8", "surrogatepass") + b"\n")
        return content.hexdigest()

    def finish(self, outcome: Outcome) -> Translator:
        """Average the last checkpoints if that is better, choose the alignment, and write the run."""
        self.model.float()
        self.take_best_weights(outcome)
        options = SearchOptions(beams=self.recipe.decoding.beams, length_penalty=self.recipe.decoding.length_penalty)
        translator = Translator(
            self.model,
            self.tokenizers,
            max_length=self.max_length,
            usual_length=usual_length(self.train.source.lengths),
            options=options,
        )
        translator.site = self.chosen_site(translator)
        if translator.site is not None:
            self.say(f"The alignment is {translator.site}.")
        training = {"step": outcome.step, "minutes": round(outcome.seconds / 60, 2), "ended_by": outcome.reason}
        save_run(self.out, translator, self.recipe.model, {"training": training})
        return translator

    def take_best_weights(self, outcome: Outcome) -> None:
        """Put the best checkpoint's weights, or the mean of those up to it, into the model: whichever is better."""
        by = self.recipe.training.select_by
        sign = 1 if by in LOWER_IS_BETTER else -1
        validation = list(self.loader(self.valid).batches(0))
        measured: list[tuple[float, int, Average]] = []
        for count in sorted({1, self.recipe.average}, reverse=True):
            average = average_checkpoints(self.out, count=count, ending_at=outcome.best_step, warn=self.say)
            if any(average.steps == other.steps for *_, other in measured):
                continue  # there is one checkpoint alone
            put_weights(self.model, average.weights, self.out / "checkpoints")
            score = self.scores(validation, decoded=by in DECODED)[by]
            measured.append((sign * score if math.isfinite(score) else math.inf, count, average))
            several = len(average.steps) > 1
            what = f"mean of {len(average.steps)} checkpoints up to" if several else "best checkpoint, of"
            self.say(f"The {what} step {average.steps[-1]}: {by} {score:.4f}.")
        put_weights(self.model, min(measured, key=lambda m: m[:2])[2].weights, self.out / "checkpoints")

    def chosen_site(self, translator: Translator) -> AlignmentSite | None:
        """Choose the weights that are the alignment: by gold links, else by a word table of the training pairs."""
        if not translator.model.alignment_sites():
            return None
        valid = self.data.valid
        too_long = translator.too_long(valid.sources, valid.targets)
        judged = [n for n in range(len(valid)) if n not in too_long and split_words(valid.targets[n])][:SITE_PAIRS]
        if not judged:
            return None
        pairs = valid.select(judged)
        references: Sequence[Any]
        if self.data.gold is not None:
            references = [self.data.gold[n] for n in judged]
        else:
            table = WordTable.estimate(self.data.train.sources, self.data.train.targets)
            references = table.align(pairs.sources, pairs.targets)
        links = {n: translator.candidate_links(seen) for n, seen in translator.attention(pairs.sources, pairs.targets)}
        chosen_by: Literal["gold", "word table"] = "word table" if self.data.gold is None else "gold"
        return choose_site([links[n] for n in range(len(pairs))], references, chosen_by=chosen_by)


def usual_length(lengths: Int[Tensor, "N"]) -> int:
    """Return the length that one in a thousand passes; `torch.quantile` takes no more than 2^24 numbers."""
    rank = math.ceil(0.999 * (len(lengths) - 1))
    return int(lengths.kthvalue(rank + 1).values)
