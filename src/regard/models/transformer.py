"""The Transformer encoder-decoder (Vaswani et al. 2017)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING, STEADY, Attention
from regard.attention.caches import GrowingCache
from regard.attention.call import Memory, hide_states
from regard.attention.grid import Extent
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Causal, TensorMask
from regard.attention.positions import LearnedPositions, SinusoidalPositions
from regard.errors import OptionError, ShapeError
from regard.layers.embeddings import Embedding, Output
from regard.layers.transformer import Activation, DecoderLayer, EncoderLayer, FeedForward, PostNorm, PreNorm
from regard.models.configs import out_of_range
from regard.models.roles import Encoded, Seq2Seq, State


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The shape of a Transformer; the defaults are Transformer-Tiny of Wu et al. 2021.

    Attributes:
        norm: "post" is the paper's order; "pre" trains without warm-up.
        positions: "learned" ends at `max_length`; "sinusoidal" has no end.
        share: Which vocabulary matrices are one: "all" needs one vocabulary for both sides.
    """

    kind: Literal["transformer"] = "transformer"
    model_dim: int = 128
    feed_forward_dim: int = 256
    num_heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 4
    norm: Literal["pre", "post"] = "post"
    activation: Activation = "relu"
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_length: int = 1024
    share: Literal["all", "target", "none"] = "all"
    dropout: float = 0.3
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0


COUNTS = ("model_dim", "feed_forward_dim", "num_heads", "encoder_layers", "decoder_layers", "max_length")
SHARES = ("dropout", "attention_dropout", "activation_dropout")


class Ancestry(TensorMask):
    """Which cached keys are ancestors of which beam: its own newest key always is."""

    def may_blind(self, extent: Extent) -> bool:
        """Every beam sees itself."""
        return False


class TransformerState(State):
    """Memories and caches of every layer.

    The beams of a sentence append their keys side by side; which key is an ancestor of which beam stands in `ancestry`
    [B W N], so that beams change places without a cache being copied.
    """

    def __init__(self, memories: list[Memory]) -> None:
        self.memories = memories
        self.caches = [GrowingCache() for _ in memories]
        self.ancestry: Bool[Tensor, "B W N"] | None = None
        self.beams: int | None = None
        self.steps = 0

    def advance(self, tokens: Int[Tensor, "B W"]) -> Mask:
        """Count a step, and return which cached keys each beam may look at; a single beam may go on as several."""
        batch, beams = tokens.shape
        assert self.beams in (None, 1, beams), f"started with {self.beams} beams, now there are {beams}"
        self.beams = beams
        self.steps += 1
        if beams == 1:
            return EVERYTHING
        cached = self.caches[0].length
        earlier = tokens.new_ones(batch, beams, cached, dtype=torch.bool) if self.ancestry is None else self.ancestry
        own = torch.eye(beams, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
        self.ancestry = torch.cat((earlier, own), dim=-1)
        return Ancestry(self.ancestry.unsqueeze(1), first_query=cached)

    def reorder(self, parents: Int[Tensor, "B W"]) -> None:
        """Hand ancestors on."""
        if self.ancestry is not None:
            index = parents.unsqueeze(-1).expand(-1, -1, self.ancestry.shape[-1])
            self.ancestry = self.ancestry.gather(1, index)

    def keep(self, entries: Int[Tensor, "N"]) -> None:
        """Choose sentences everywhere."""
        self.memories = [memory.keep(entries) for memory in self.memories]
        for cache in self.caches:
            cache.keep(entries)
        if self.ancestry is not None:
            self.ancestry = self.ancestry[entries]


class Transformer(Seq2Seq):
    """Encoder and decoder of attention and feed-forward networks."""

    def __init__(self, config: TransformerConfig, *, source_vocab: int, target_vocab: int) -> None:
        super().__init__()
        faults = out_of_range(config, counts=COUNTS, shares=SHARES)
        if faults:
            raise OptionError("\n".join(faults))
        if config.share == "all" and source_vocab != target_vocab:
            raise OptionError(
                f"share='all' needs one vocabulary for both sides; the source has {source_vocab} tokens and the "
                f"target {target_vocab}. Train a shared tokenizer, or use share='target' or share='none'."
            )
        self.config = config
        self.target_embedding = embedding(config, target_vocab)
        self.source_embedding = self.target_embedding if config.share == "all" else embedding(config, source_vocab)
        self.encoder = nn.ModuleList([encoder_layer(config) for _ in range(config.encoder_layers)])
        self.decoder = nn.ModuleList([decoder_layer(config) for _ in range(config.decoder_layers)])
        pre = config.norm == "pre"
        self.encoder_norm = nn.LayerNorm(config.model_dim) if pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(config.model_dim) if pre else nn.Identity()
        tied = None if config.share == "none" else self.target_embedding
        self.output = Output(target_vocab, config.model_dim, tied=tied)
        if config.positions == "learned":
            self.max_source = self.max_target = config.max_length

    def alignment_sites(self) -> list[str]:
        """Name the attention to the source of every layer of the decoder."""
        return [f"decoder.{number}.cross_attention" for number in range(len(self.decoder))]

    def encode(self, source: Int[Tensor, "B S"], source_lengths: Int[Tensor, "B"]) -> Encoded:
        """Read the source."""
        mask = Padding(source_lengths)
        if mask.host_lengths and max(mask.host_lengths) > source.shape[1]:
            raise ShapeError(
                f"source_lengths goes up to {max(mask.host_lengths)} and source has {source.shape[1]} tokens a "
                "sentence; count those before the padding."
            )
        states = hide_states(self.source_embedding(source), mask)
        for layer in self.encoder:
            states = layer(states, mask)
        return Encoded(self.encoder_norm(states), mask)

    def remember(self, encoded: Encoded) -> list[Memory]:
        """Prepare what the decoder's layers attend to."""
        crosses = [layer.cross_attention for layer in self.decoder if isinstance(layer, DecoderLayer)]
        return [cross.remember(encoded.states, encoded.mask) for cross in crosses]

    def decode(self, encoded: Encoded, target: Int[Tensor, "B T"]) -> Float[Tensor, "B T M"]:
        """Decode a target that is given; a position sees those before it, in training and in evaluation."""
        states = self.target_embedding(target)
        for layer, memory in zip(self.decoder, self.remember(encoded), strict=True):
            states = layer(states, memory, mask=Causal())
        return self.decoder_norm(states)  # type: ignore[no-any-return]

    def start(self, encoded: Encoded) -> TransformerState:
        """Prepare memories, in one piece since every step reads them, and empty caches."""
        memories = self.remember(encoded)
        return TransformerState([m._replace(key=m.key.contiguous(), value=m.value.contiguous()) for m in memories])

    def step(self, tokens: Int[Tensor, "B W"], state: State) -> Float[Tensor, "B W M"]:
        """Take a step: the n-th stands at position n, whatever the number of beams."""
        assert isinstance(state, TransformerState)
        position = state.steps
        mask = state.advance(tokens)
        states = self.target_embedding.at(tokens, position, 1)
        for layer, memory, cache in zip(self.decoder, state.memories, state.caches, strict=True):
            states = layer(states, memory, mask=mask, cache=cache)
        return self.decoder_norm(states)  # type: ignore[no-any-return]


def embedding(config: TransformerConfig, vocab_size: int) -> Embedding:
    """Build one side's embedding."""
    positions: nn.Module = (
        SinusoidalPositions(config.model_dim)
        if config.positions == "sinusoidal"
        else LearnedPositions(config.max_length, config.model_dim)
    )
    return Embedding(vocab_size, config.model_dim, positions=positions, dropout=config.dropout)


def attention(config: TransformerConfig) -> Attention:
    """Build the equation of one sublayer."""
    return Attention(dropout=config.attention_dropout, way=STEADY)


def feed_forward(config: TransformerConfig) -> FeedForward:
    """Build one feed-forward network."""
    return FeedForward(
        config.model_dim, config.feed_forward_dim, activation=config.activation, dropout=config.activation_dropout
    )


def encoder_layer(config: TransformerConfig) -> EncoderLayer:
    """Build one block of the encoder."""
    return EncoderLayer(
        SelfAttention(config.model_dim, config.num_heads, attention(config)),
        feed_forward(config),
        residual=PreNorm if config.norm == "pre" else PostNorm,
        model_dim=config.model_dim,
        dropout=config.dropout,
    )


def decoder_layer(config: TransformerConfig) -> DecoderLayer:
    """Build one block of the decoder."""
    return DecoderLayer(
        SelfAttention(config.model_dim, config.num_heads, attention(config)),
        CrossAttention(config.model_dim, config.num_heads, attention(config)),
        feed_forward(config),
        residual=PreNorm if config.norm == "pre" else PostNorm,
        model_dim=config.model_dim,
        dropout=config.dropout,
    )
