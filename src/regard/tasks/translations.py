"""What a translator gives: translations, and what they looked at."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from regard.inspection.alignments.alignment_site import Step as WordStep
from regard.inspection.alignments.words import merge_words


@dataclass(frozen=True)
class Translation:
    """One translation of one text.

    Attributes:
        text: The translation; empty for an empty text.
        log_probability: Natural logarithm of its probability: what `score` gives for it. A text that was translated
            in parts has the sum of theirs.
        score: What hypotheses were compared by: log_probability / tokens^length_penalty.
        parts: The texts that it was translated from and to, one by one; more than one if the text was longer than
            the model reads or learned from, none for an empty text.
    """

    text: str
    log_probability: float
    score: float
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class PairAttention:
    """What a target looked at in its source.

    Attributes:
        source_words: Words of the source.
        target_words: Words of the target.
        source_tokens: Subwords of the source and its end.
        target_tokens: Subwords of the target and its end.
        source_word_of: For each source token the number of its word; -1 for the end.
        target_word_of: For each target token likewise.
        tokens: Weights between subwords, [L H T S]: row t is the step that emits target token t.
    """

    source_words: list[str]
    target_words: list[str]
    source_tokens: list[str]
    target_tokens: list[str]
    source_word_of: list[int]
    target_word_of: list[int]
    tokens: Float[Tensor, "L H t s"]

    def words(self, step: WordStep = "emitting") -> Float[Tensor, "L H T S"]:
        """Return the weights between words, rows summing to one; a word's row is read off the step that is named."""
        emitting = self.target_word_of
        return merge_words(
            self.tokens,
            emitting if step == "emitting" else [-1, *emitting[:-1]],
            self.source_word_of,
            num_query_words=len(self.target_words),
            num_key_words=len(self.source_words),
        )


def joined(parts: list[list[Translation]]) -> list[Translation]:
    """Join the translations of a text's parts, the best with the best and so on.

    A part that has fewer of them, as a blank one has, goes on with its last.
    """
    if len(parts) == 1:
        return parts[0]
    ranks = ([part[min(rank, len(part) - 1)] for part in parts] for rank in range(max(map(len, parts))))
    return [
        Translation(
            " ".join(one.text for one in chosen if one.text),
            sum(one.log_probability for one in chosen),
            sum(one.score for one in chosen),
            tuple(piece for one in chosen for piece in one.parts),
        )
        for chosen in ranks
    ]
