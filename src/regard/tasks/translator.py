"""The translator: raw text in, text out, and for each word of the output the words of the input that it used."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.data.batches import IGNORED
from regard.data.text import split_words
from regard.data.tokenizers import Encoding, TokenizerPair
from regard.errors import DataError, NotANumberError, OptionError, counted
from regard.generation.forced import forced_log_probabilities
from regard.generation.search import Hypothesis, SearchOptions, Vocabulary, reason_for_nan, search
from regard.inspection.alignments.alignment_site import AlignmentSite, SiteName
from regard.inspection.alignments.alignment_site import Step as WordStep
from regard.inspection.alignments.links import Link, Links
from regard.inspection.alignments.words import join_links
from regard.inspection.lens import Lens
from regard.models.roles import Seq2Seq
from regard.tasks.pair_batches import PairBatch, batches_of_like_length, list_of_texts, padded, text_pairs
from regard.tasks.parts import first_words, split_text
from regard.tasks.translations import PairAttention, Translation, joined


class Found(NamedTuple):
    """The translations of a text, the best first, and how many tokens the longest was spelled by."""

    translations: list[Translation]
    longest: int


class Translator:
    """A model with its tokenizers and what is known of its attention.

    Args:
        model: The model, put into evaluation mode.
        tokenizers: Of both sides.
        max_length: Sources with more tokens are translated in parts.
        usual_length: Tokens of the longest sources that it learned from: longer ones are translated sentence by
            sentence. None cuts at `max_length` alone.
        site: The weights that are its alignment; None for a model without attention to the source.
        options: How it searches unless told otherwise.
    """

    def __init__(
        self,
        model: Seq2Seq,
        tokenizers: TokenizerPair,
        *,
        max_length: int = 256,
        usual_length: int | None = None,
        site: AlignmentSite | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        if max_length < 1:
            raise OptionError(f"max_length must be at least 1; it is {max_length}.")
        self.model = model.eval()
        self.tokenizers = tokenizers
        self.max_length = min(max_length, (model.max_source or max_length + 1) - 1)
        self.usual_length = usual_length
        self.site = site
        self.options = options or SearchOptions()
        target = tokenizers.target
        self.vocabulary = Vocabulary(target.bos_id, target.eos_id, (target.pad_id, target.bos_id))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.output.weight.device

    @property
    def max_target_length(self) -> int:
        """The most tokens of a translation, found or given; a model without a limit of its own gets a generous one."""
        return 8 * (self.max_length + 20) if self.model.max_target is None else self.model.max_target - 1

    def translate(
        self,
        texts: Sequence[str],
        *,
        options: SearchOptions | None = None,
        max_length: int | None = None,
        batch_size: int = 32,
    ) -> list[list[Translation]]:
        """Translate texts; each gets its best translations, best first.

        Args:
            texts: One sentence or so each. An empty or blank text gives an empty translation.
            options: How to search; by default as the run says.
            max_length: The most tokens of a translation of a whole text, whether or not it is translated in parts:
                those that come when it is used up are made to end at once. By default 20 and twice the tokens of the
                source, part by part.
            batch_size: How many texts to translate at once; it changes the speed, not the result.
        """
        texts = list_of_texts("texts", texts)
        options = options or self.options
        limit = self.max_target_length
        if max_length is not None and not 1 <= max_length <= limit:
            raise OptionError(f"max_length must lie between 1 and {limit} for this model; it is {max_length}.")
        tokenizer = self.tokenizers.source
        parts = [split_text(text, tokenizer, self.max_length, self.usual_length) for text in texts]
        if max_length is not None:
            return list(map(joined, self.search_within(parts, options, max_length, batch_size)))
        translated = iter(self.search([part for text in parts for part in text], options, None, batch_size))
        return [joined([next(translated).translations for _ in text]) for text in parts]

    def search_within(
        self, parts: Sequence[Sequence[str]], options: SearchOptions, max_length: int, batch_size: int
    ) -> list[list[list[Translation]]]:
        """Translate the parts of each text one after the other, each in what the longest before it left of the length.

        Where nothing is left, all other parts of the text end at once.
        """
        left = [max_length] * len(parts)
        found: list[list[list[Translation]]] = [[] for _ in parts]
        while going := [text for text, of_text in enumerate(parts) if len(found[text]) < len(of_text)]:
            begins = [(text, len(found[text])) for text in going]
            wanted = [
                (text, part)
                for text, begin in begins
                for part in parts[text][begin : begin + 1 if left[text] else None]
            ]
            limits = [left[text] for text, _ in wanted]
            several = self.search([part for _, part in wanted], options, limits, batch_size)
            for (text, _), one in zip(wanted, several, strict=True):
                found[text].append(one.translations)
                left[text] -= one.longest
        return found

    def search(
        self, texts: Sequence[str], options: SearchOptions, limits: Sequence[int] | None, batch_size: int
    ) -> list[Found]:
        """Translate texts that are short enough, in batches of like length, each within its limit of tokens."""
        encodings = self.tokenizers.source.encode_batch(texts)
        found = [Found([Translation("", 0.0, 0.0)], 0)] * len(texts)
        lengths_of = [len(e.ids) if split_words(text) else 0 for text, e in zip(texts, encodings, strict=True)]
        for numbers in batches_of_like_length(lengths_of, batch_size):
            source, lengths = self.source_batch([encodings[n] for n in numbers])
            most = [
                self.target_limit(length, None if limits is None else limits[number])
                for number, length in zip(numbers, lengths.tolist(), strict=True)
            ]
            try:
                hypotheses = search(
                    self.model, source, lengths, options=options, vocabulary=self.vocabulary, max_lengths=most
                )
            except NotANumberError as error:
                spoiled = [numbers[row] for row in error.sentences]
                others = f" and {counted(len(spoiled) - 1, 'other')}" if spoiled[1:] else ""
                raise NotANumberError(
                    f"The model computes NaN for the text {texts[spoiled[0]][:40]!r}{others}. "
                    f"{reason_for_nan(self.model)}",
                    spoiled,
                ) from None
            for number, several in zip(numbers, hypotheses, strict=True):
                if several:
                    longest = max(len(hypothesis.tokens) for hypothesis in several)
                    found[number] = Found(self.finished(texts[number], several, options), longest)
        return found

    def target_limit(self, source_length: int, limit: int | None) -> int:
        """Return the greatest number of tokens of a translation."""
        return min(2 * source_length + 20 if limit is None else limit, self.max_target_length)

    def finished(self, text: str, hypotheses: list[Hypothesis], options: SearchOptions) -> list[Translation]:
        """Turn hypotheses into text, each text once, with the log-probability that `score` would give it.

        A search may spell a text by other tokens than the tokenizer would; its score is then computed anew, unless
        these are more than the model takes at once, or a letter that cannot be cut has more than it reads.
        """
        translations: dict[str, Translation] = {}
        for hypothesis in hypotheses:
            written = self.tokenizers.target.decode(hypothesis.tokens).rstrip("\r")  # it would be read as a line's end
            if written in translations:
                continue
            ids = self.tokenizers.target.encode(written).ids
            log_probability, length = hypothesis.log_probability, len(hypothesis.tokens) + 1
            if tuple(ids) != hypothesis.tokens and not self.too_long([text], [written]):
                log_probability, length = self.score([text], [written])[0], len(ids) + 1
            score = log_probability / length**options.length_penalty
            translations[written] = Translation(written, log_probability, score, ((text, written),))
        return sorted(translations.values(), key=lambda translation: -translation.score)

    def score(self, sources: Sequence[str], targets: Sequence[str], *, batch_size: int = 32) -> list[float]:
        """Return the log-probability of each target given its source, the end of sentence counted."""
        return [float(tokens.sum()) for tokens in self.token_scores(sources, targets, batch_size=batch_size)]

    def token_scores(
        self, sources: Sequence[str], targets: Sequence[str], *, batch_size: int = 32
    ) -> list[Float[Tensor, "T"]]:
        """Return the log-probability of each token of each target and of its end, in float64.

        Where both texts are empty there is none: the translation of an empty text is empty, and needs no model.
        """
        sources, targets = text_pairs(sources, targets)
        result: list[Tensor] = [torch.zeros(0, dtype=torch.float64)] * len(sources)
        for batch in self.pair_batches(sources, targets, batch_size):
            encoded = self.model.encode(batch.source, batch.source_lengths)
            scores = forced_log_probabilities(self.model, encoded, batch.target, batch.labels).double().cpu()
            for row, number in enumerate(batch.numbers):
                result[number] = scores[row, : len(batch.targets[row].ids) + 1]
        return result

    def attention(
        self, sources: Sequence[str], targets: Sequence[str], *, batch_size: int = 32
    ) -> Iterator[tuple[int, PairAttention]]:
        """Say what each target looked at in its source: one forward of the pair under the lens.

        Yields:
            The number of a pair and its attention, pairs of like length together, without those that are both empty.
        """
        sources, targets = text_pairs(sources, targets)
        self.attending_layers()
        for batch in self.pair_batches(sources, targets, batch_size):
            weights = self.watched(batch)
            for row, number in enumerate(batch.numbers):
                yield number, self.pair_attention(sources[number], targets[number], batch, row, weights)

    @torch.inference_mode()
    def watched(self, batch: PairBatch) -> Float[Tensor, "B L H T S"]:
        """Run a batch under the lens and return the weights of all layers that look at the source."""
        with Lens(self.model) as lens:
            self.model(batch.source, batch.source_lengths, batch.target)
        return torch.stack([lens[name].weights() for name in self.model.alignment_sites()], dim=1).cpu()

    def pair_attention(
        self, source: str, target: str, batch: PairBatch, row: int, weights: Float[Tensor, "B L H T S"]
    ) -> PairAttention:
        """Cut one pair out of a batch, and merge its subwords into words."""
        given, made = batch.sources[row], batch.targets[row]
        source_tokenizer, target_tokenizer = self.tokenizers.source, self.tokenizers.target
        source_words, target_words = split_words(source), split_words(target)
        return PairAttention(
            source_words,
            target_words,
            [source_tokenizer.token(i) for i in (*given.ids, source_tokenizer.eos_id)],
            [target_tokenizer.token(i) for i in (*made.ids, target_tokenizer.eos_id)],
            [*(given.words if source_words else [-1] * len(given.ids)), -1],  # blanks are tokens and no words
            [*(made.words if target_words else [-1] * len(made.ids)), -1],
            weights[row, :, :, : len(made.ids) + 1, : len(given.ids) + 1],
        )

    def align(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        layer: int | str | None = None,
        head: int | None = None,
        batch_size: int = 32,
    ) -> list[Links]:
        """Link the words of each target and of its source that used each other most.

        Words are separated by blanks and counted from 0. Layer and head are those of the run unless given; a layer
        without a head means the mean over its heads.
        """
        sources, targets = text_pairs(sources, targets)
        site = self.chosen_site(layer, head)
        links: list[Links] = [frozenset()] * len(sources)
        for number, attention in self.attention(sources, targets, batch_size=batch_size):
            links[number] = join_links(self.site_weights(attention, site))
        return links

    def align_parts(
        self,
        texts: Sequence[str],
        translations: Sequence[Translation],
        *,
        layer: int | str | None = None,
        head: int | None = None,
        batch_size: int = 32,
    ) -> list[Links]:
        """Link the words of texts and of the translations that `translate` gave them, part by part.

        A part whose translation is spelled with more tokens than the model takes at once gets no links: a model that
        knows nothing can produce such, of bytes that are no text.
        """
        parts = [part for translation in translations for part in translation.parts]
        too_long = self.too_long([source for source, _ in parts], [target for _, target in parts])
        parts = [("", "") if number in too_long else part for number, part in enumerate(parts)]
        sources, targets = [source for source, _ in parts], [target for _, target in parts]
        aligned = iter(self.align(sources, targets, layer=layer, head=head, batch_size=batch_size))
        result: list[Links] = []
        for text, translation in zip(texts, translations, strict=True):
            links: set[Link] = set()
            target_start = 0
            source_starts = first_words(text, [source for source, _ in translation.parts])
            for source_start, (_, target) in zip(source_starts, translation.parts, strict=True):
                links |= {(source_start + s, target_start + t) for s, t in next(aligned)}
                target_start += len(split_words(target))
            result.append(frozenset(links))
        return result

    def chosen_site(self, layer: int | str | None = None, head: int | None = None) -> AlignmentSite:
        """Return the weights to take: those that the run stores, or what is named."""
        names = self.attending_layers()
        if layer is None and self.site is not None and head is None:
            return self.site
        if layer is None:
            layer = self.site.layer if self.site is not None else names[-1]
        if isinstance(layer, int):
            if not -len(names) <= layer < len(names):
                raise OptionError(f"layer must lie between 0 and {len(names) - 1}; it is {layer}.")
            layer = names[layer]
        if layer not in names:
            raise OptionError(f"layer {layer!r} is unknown; there are {', '.join(names)}.")
        step = self.site.step if self.site is not None and self.site.layer == layer else "emitting"
        return AlignmentSite(layer, head, "user", step=step)

    def attending_layers(self) -> list[str]:
        """Name the layers that look at the source; a model that has none cannot say what it looked at."""
        names = self.model.alignment_sites()
        if not names:
            raise OptionError(
                "This model has no attention to its source: its context is fixed. "
                "Train one with attention, for example with --preset gru-attention."
            )
        return names

    def site_weights(self, attention: PairAttention, site: AlignmentSite) -> Float[Tensor, "T S"]:
        """Return the weights between words at a site."""
        layer = attention.words(site.step)[self.model.alignment_sites().index(site.layer)]
        if site.head is None:
            return layer.mean(dim=0)
        if not 0 <= site.head < len(layer):
            raise OptionError(f"head must lie between 0 and {len(layer) - 1}; it is {site.head}.")
        return layer[site.head]

    def candidate_links(self, attention: PairAttention) -> Mapping[SiteName, Links]:
        """Return the links that each layer's mean and each head would give, read off either step."""
        links: dict[SiteName, Links] = {}
        for step in get_args(WordStep):
            for name, layer in zip(self.model.alignment_sites(), attention.words(step), strict=True):
                links[SiteName(name, None, step)] = join_links(layer.mean(dim=0))
                if len(layer) > 1:
                    links |= {SiteName(name, head, step): join_links(one) for head, one in enumerate(layer)}
        return links

    def source_batch(self, encodings: Sequence[Encoding]) -> tuple[Int[Tensor, "B S"], Int[Tensor, "B"]]:
        """Put source sentences into a batch, each with its end."""
        tokenizer = self.tokenizers.source
        rows = [[*encoding.ids, tokenizer.eos_id] for encoding in encodings]
        lengths = torch.tensor([len(row) for row in rows])
        return padded(rows, tokenizer.pad_id).to(self.device), lengths

    def too_long(self, sources: Sequence[str], targets: Sequence[str]) -> dict[int, str]:
        """Say which pairs are longer than the model reads at once, by their number, and how long they are."""
        return self.length_faults(
            self.tokenizers.source.encode_batch(sources), self.tokenizers.target.encode_batch(targets)
        )

    def length_faults(self, given: Sequence[Encoding], made: Sequence[Encoding]) -> dict[int, str]:
        """Say of encoded pairs which are too long."""
        faults = {}
        for number, (source, target) in enumerate(zip(given, made, strict=True)):
            sides = (("source", source, self.max_length), ("target", target, self.max_target_length))
            for side, encoding, limit in sides:
                if len(encoding.ids) > limit:
                    faults[number] = (
                        f"the {side} has {len(encoding.ids):,} tokens and the model takes {limit:,} at once."
                    )
        return faults

    def pair_batches(self, sources: Sequence[str], targets: Sequence[str], batch_size: int) -> Iterator[PairBatch]:
        """Put pairs into batches of like length, those without a word on either side left out."""
        given, made = self.tokenizers.source.encode_batch(sources), self.tokenizers.target.encode_batch(targets)
        faults = self.length_faults(given, made)
        if faults:
            raise DataError([f"pair {number + 1}: {fault}" for number, fault in faults.items()])
        begin, end = self.vocabulary.begin, self.vocabulary.end
        lengths = [
            len(s.ids) + len(t.ids) + 1 if split_words(source) or split_words(target) else 0
            for source, target, s, t in zip(sources, targets, given, made, strict=True)
        ]
        for numbers in batches_of_like_length(lengths, batch_size):
            source, source_lengths = self.source_batch([given[n] for n in numbers])
            target = padded([[begin, *made[n].ids] for n in numbers], self.tokenizers.target.pad_id)
            labels = padded([[*made[n].ids, end] for n in numbers], IGNORED)
            yield PairBatch(
                numbers,
                [given[n] for n in numbers],
                [made[n] for n in numbers],
                source,
                source_lengths,
                target.to(self.device),
                labels.to(self.device),
            )
