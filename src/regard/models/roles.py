"""Roles: what generation, training and the lens may ask of a model, whatever it is made of."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.masks import Mask
from regard.layers.embeddings import Output


class Encoded(NamedTuple):
    """What an encoder leaves.

    Attributes:
        states: One vector a source token, [B S M].
        mask: Which of them hold something.
        final: What a decoder may start from, [L B M], an LSTM's cells below its hidden states ([2L B M]); None where
            the model has no such thing.
    """

    states: Float[Tensor, "B S M"]
    mask: Mask
    final: Float[Tensor, "L B M"] | None = None


class State(ABC):
    """Where a decoder stands, for B sentences with W beams each. The caller holds it; the model keeps nothing."""

    @abstractmethod
    def reorder(self, parents: Int[Tensor, "B W"]) -> None:
        """Let each beam go on from the beam of its sentence that is named for it."""

    @abstractmethod
    def keep(self, entries: Int[Tensor, "N"]) -> None:
        """Keep the chosen sentences, in this order, with all their beams."""


class Seq2Seq(nn.Module, ABC):
    """A model from one sequence to another.

    Attributes:
        output: The layer from decoder states to scores over the target vocabulary.
        max_source: The longest source in tokens, end of sentence included, that it can read; None has no limit.
        max_target: The longest target in tokens, begin of sentence included, likewise.
    """

    output: Output
    max_source: int | None = None
    max_target: int | None = None

    @abstractmethod
    def alignment_sites(self) -> list[str]:
        """Name the modules whose attention goes from target positions to source positions, first layer first."""

    @abstractmethod
    def encode(self, source: Int[Tensor, "B S"], source_lengths: Int[Tensor, "B"]) -> Encoded:
        """Read the source. Rows end with the end-of-sentence token and are padded at the end."""

    @abstractmethod
    def decode(self, encoded: Encoded, target: Int[Tensor, "B T"]) -> Float[Tensor, "B T M"]:
        """Return the decoder's states, the vocabulary layer's input, for a target that is given (teacher forcing).

        Row t is computed from the target tokens up to t: the target starts with the begin-of-sentence token.
        """

    @abstractmethod
    def start(self, encoded: Encoded) -> State:
        """Return the state before the first step."""

    @abstractmethod
    def step(self, tokens: Int[Tensor, "B W"], state: State) -> Float[Tensor, "B W M"]:
        """Take one step with every beam's newest token, and return the decoder's states."""

    def forward(
        self, source: Int[Tensor, "B S"], source_lengths: Int[Tensor, "B"], target: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T M"]:
        """Encode, then decode a target that is given."""
        return self.decode(self.encode(source, source_lengths), target)
