"""Training a translator: from pairs of sentences and a recipe to a finished run."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regard.data.batches import Batch, ParallelSet, TokenBudget, loader
from regard.data.preparation import prepare
from regard.data.report import examine
from regard.data.text import Pairs
from regard.data.tokenizers import TokenizerPair
from regard.generation.search import SearchOptions
from regard.inspection.alignment_site import AlignmentSite, choose_site
from regard.inspection.alignments import Gold
from regard.inspection.wordtable import WordTable
from regard.models.catalogue import build_model
from regard.models.roles import Seq2Seq
from regard.tasks.evaluation import metrics
from regard.tasks.recipe import Recipe
from regard.tasks.runs import put_weights, save_run
from regard.tasks.translator import Translator
from regard.training import precision
from regard.training.averaging import average_checkpoints
from regard.training.evaluation import measure
from regard.training.events import Observer
from regard.training.loop import Outcome, Trainer
from regard.training.objectives import Loss, smoothed_cross_entropy
from regard.training.optimizers import Optimizer

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
    resume: bool = False,
    origin: Translator | None = None,
    observers: Sequence[Observer] = (),
    say: Say,
) -> tuple[Outcome, Translator | None]:
    """Train a translator into a run folder.

    Args:
        recipe: How.
        data: On what.
        out: The run.
        device: Where.
        resume: Go on from the last checkpoint of the run.
        origin: A translator to go on from with its tokenizers, for fine-tuning.
        observers: Are told the events of training.
        say: Is told what people should know.

    Returns:
        How training ended, and the finished translator; None if training was interrupted.
    """
    fitting = Fitting(recipe, data, out, device, resume=resume, origin=origin, say=say)
    trainer = fitting.trainer(observers)
    outcome = trainer.fit(resume=resume)
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
        out.mkdir(parents=True, exist_ok=True)
        self.tokenizers = self.chosen_tokenizers(resume, origin)
        self.train = self.prepared("training", data.train)
        self.valid = self.prepared("validation", data.valid)
        self.model = self.built_model(origin)
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
            tokenizers = origin.tokenizers
        else:
            tokenizers = TokenizerPair.train(self.data.train, self.recipe.tokenizer)
        tokenizers.save(self.out)
        return tokenizers

    def prepared(self, name: str, pairs: Pairs) -> ParallelSet:
        """Encode pairs, and say what was left out."""
        prepared = prepare(pairs, self.tokenizers, max_length=self.recipe.data.max_length)
        report = examine(pairs, prepared)
        self.say(f"{name} data: {report}")
        return prepared.examples

    def built_model(self, origin: Translator | None) -> Seq2Seq:
        """Build the model on its device, with random weights or those of the translator to go on from."""
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
        decoded = recipe.training.select_by in ("bleu", "chrf")
        return Trainer(
            self.model,
            optimizer,
            objective=self.objective,
            schedule=recipe.schedule,
            batches=self.batches,
            config=recipe.training,
            run=self.out,
            validation=list(self.batches_of(self.valid)),
            evaluate=self.decoded_scores if decoded else None,
            observers=observers,
            device=self.device,
            fingerprint=self.fingerprint(),
        )

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

    def batches(self, epoch: int, position: int) -> Iterable[Batch]:
        """Return the batches of an epoch from a position on."""
        sampler = TokenBudget(self.train, self.recipe.data.batch_tokens, seed=self.recipe.seed)
        sampler.start(epoch, position)
        return loader(self.train, sampler, workers=self.recipe.data.workers)

    def batches_of(self, examples: ParallelSet) -> Iterable[Batch]:
        """Return all batches of a set that is not shuffled from epoch to epoch."""
        return loader(examples, TokenBudget(examples, self.recipe.data.batch_tokens, seed=0))

    def decoded_scores(self, model: nn.Module) -> dict[str, float]:
        """Translate the validation set greedily and score it."""
        assert isinstance(model, Seq2Seq)
        translator = Translator(model, self.tokenizers, max_length=self.recipe.data.max_length)
        found = translator.translate(self.data.valid.sources, options=SearchOptions(beams=1), batch_size=128)
        texts, references = [several[0].text for several in found], [list(self.data.valid.targets)]
        blanks = self.recipe.tokenizer.split == "blanks"
        bleu, chrf = metrics("none" if blanks else "13a", lowercase=False)
        return {
            "bleu": bleu.corpus_score(texts, references).score,
            "chrf": chrf.corpus_score(texts, references).score,
        }

    def fingerprint(self) -> str:
        """Return a digest of data and recipe, the ends of training left out: they may change on resume."""
        values = dataclasses.asdict(self.recipe)
        for name in ("max_updates", "max_minutes", "patience", "keep", "log_every"):
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
        translator = Translator(self.model, self.tokenizers, max_length=self.recipe.data.max_length, options=options)
        translator.site = self.chosen_site(translator)
        if translator.site is not None:
            self.say(f"The alignment is {translator.site}.")
        training = {"step": outcome.step, "minutes": round(outcome.seconds / 60, 2), "ended_by": outcome.reason}
        save_run(self.out, translator, self.recipe.model, {"training": training})
        return translator

    def take_best_weights(self, outcome: Outcome) -> None:
        """Put the best checkpoint's weights, or the mean of those up to it, into the model: whichever loses less."""
        validation = list(self.batches_of(self.valid))
        measured = []
        for count in sorted({1, self.recipe.average}):
            average = average_checkpoints(self.out, count=count, ending_at=outcome.best_step, warn=self.say)
            put_weights(self.model, average.weights, self.out / "checkpoints")
            loss = measure(self.model, self.objective, validation, self.device)["loss"]
            measured.append((loss, count, average))
            self.say(f"The mean of {len(average.steps)} checkpoints up to step {average.steps[-1]}: loss {loss:.4f}.")
        put_weights(self.model, min(measured, key=lambda m: m[:2])[2].weights, self.out / "checkpoints")

    def chosen_site(self, translator: Translator) -> AlignmentSite | None:
        """Choose the weights that are the alignment: by gold links, else by a word table of the training pairs."""
        if not translator.model.alignment_sites():
            return None
        sources, targets = self.data.valid.sources[:SITE_PAIRS], self.data.valid.targets[:SITE_PAIRS]
        references: Sequence[Any]
        if self.data.gold is not None:
            references = self.data.gold[:SITE_PAIRS]
        else:
            references = WordTable.estimate(self.data.train.sources, self.data.train.targets).align(sources, targets)
        links: list[Any] = [None] * len(sources)
        for number, attention in translator.attention(sources, targets):
            links[number] = translator.candidate_links(attention)
        return choose_site(links, references, chosen_by="word table" if self.data.gold is None else "gold")
