"""The RNN encoder-decoder: with a fixed context (Sutskever et al. 2014; Cho et al. 2014) or attending.

Attending is that of Bahdanau et al. 2015 (attend, then step) or of Luong et al. 2015 (step, then attend).
"""

from dataclasses import dataclass, fields
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.attend import STEADY, Attention
from regard.attention.lengths import Padding
from regard.attention.scores import Additive, Cosine, Dot, General, Location, ScaledDot, Score
from regard.errors import OptionError, ShapeError
from regard.layers.attending import (
    AttendingDecoder,
    AttendThenStep,
    Focus,
    InputFeeding,
    LocalMonotonic,
    LocalPredictive,
    StepThenAttend,
)
from regard.layers.embeddings import Embedding, Output
from regard.layers.recurrent import (
    Bridge,
    CellKind,
    ContextEach,
    ContextOnce,
    Progress,
    Readout,
    RecurrentCells,
    RecurrentDecoder,
    RecurrentLayers,
    last_state,
    mean_state,
)
from regard.models.configs import out_of_range
from regard.models.roles import Encoded, Seq2Seq, State


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """The shape of an RNN encoder-decoder; the defaults attend as Bahdanau et al. 2015 do.

    Attributes:
        model_dim: Width of the embeddings and of what the vocabulary layer reads.
        hidden_dim: Width of the decoder's states.
        encoder_hidden_dim: Width of the encoder's states in each direction; None takes `hidden_dim`.
        attention: "bahdanau" attends, then steps; "luong" steps, then attends; "none" has a fixed context.
        score: How states of decoder and encoder are compared; "concat" is another name of "additive".
        cosine_strength: What the score "cosine" is multiplied by, so that its weights can be sharp.
        max_length: The longest source that the score "location" can tell apart.
        window: Where "luong" may look: everywhere, or around a center that is the step's number ("local_m") or
            predicted ("local_p"), at most `reach` tokens away.
        input_feeding: Whether "luong" sees its last attentional state beside each token.
        context: What a fixed context is: the encoder's last state, or the mean of its states.
        context_fed: Whether a fixed context is known to the first state alone, or fed at each step as well.
        share: Which vocabulary matrices are one: "all" needs one vocabulary for both sides.
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: CellKind = "gru"
    model_dim: int = 256
    hidden_dim: int = 256
    encoder_hidden_dim: int | None = None
    bidirectional: bool = True
    encoder_layers: int = 1
    decoder_layers: int = 1
    attention: Literal["none", "bahdanau", "luong"] = "bahdanau"
    score: Literal["dot", "scaled_dot", "general", "additive", "concat", "location", "cosine"] = "additive"
    cosine_strength: float = 10.0
    max_length: int = 256
    window: Literal["global", "local_m", "local_p"] = "global"
    reach: int = 10
    input_feeding: bool = False
    context: Literal["last", "mean"] = "last"
    context_fed: Literal["once", "each"] = "once"
    share: Literal["all", "target", "none"] = "target"
    dropout: float = 0.3
    attention_dropout: float = 0.0

    @property
    def encoder_dim(self) -> int:
        """Width of the encoder's states, its directions side by side."""
        width = self.hidden_dim if self.encoder_hidden_dim is None else self.encoder_hidden_dim
        return 2 * width if self.bidirectional else width


NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "score": ("attention", ("bahdanau", "luong")),
    "attention_dropout": ("attention", ("bahdanau", "luong")),
    "window": ("attention", ("luong",)),
    "input_feeding": ("attention", ("luong",)),
    "context": ("attention", ("none",)),
    "context_fed": ("attention", ("none",)),
    "cosine_strength": ("score", ("cosine",)),
    "max_length": ("score", ("location",)),
    "reach": ("window", ("local_m", "local_p")),
}
"""Options that mean something only if another one has one of these values."""


COUNTS = (
    "model_dim",
    "hidden_dim",
    "encoder_hidden_dim",
    "encoder_layers",
    "decoder_layers",
    "max_length",
    "reach",
)
SHARES = ("dropout", "attention_dropout")


def contradictions(config: RecurrentConfig) -> list[str]:
    """Say which options are set and mean nothing beside another."""
    found = []
    defaults = {field.name: field.default for field in fields(config)}
    for name, (other, allowed) in NEEDS.items():
        given, present = getattr(config, name), getattr(config, other)
        if given != defaults[name] and present not in allowed:
            options = " or ".join(f"{other}={value!r}" for value in allowed)
            found.append(
                f"{name}={given!r} needs {options}, and {other} is {present!r}. "
                f"Set {options}, or leave {name} at {defaults[name]!r}."
            )
    return found


def misfits(config: RecurrentConfig, source_vocab: int, target_vocab: int) -> list[str]:
    """Say which sizes do not fit each other, and what would."""
    found = []
    directions = 2 if config.bidirectional else 1
    multiplies = config.attention != "none" and config.score in ("dot", "scaled_dot", "cosine")
    if multiplies and config.encoder_dim != config.hidden_dim:
        found.append(
            f"score={config.score!r} multiplies states of decoder and encoder, which must be of one width; hidden_dim "
            f"is {config.hidden_dim} and the encoder's states are {config.encoder_dim} wide ({directions} of "
            f"{config.encoder_dim // directions}). Set hidden_dim={config.encoder_dim}, set encoder_hidden_dim to "
            f"hidden_dim / {directions}, or use score='general' or score='additive'."
        )
    if config.share == "all" and source_vocab != target_vocab:
        found.append(
            f"share='all' needs one vocabulary for both sides; the source has {source_vocab} tokens and the target "
            f"{target_vocab}. Train a shared tokenizer, or use share='target' or share='none'."
        )
    return found


class RecurrentState(State):
    """Where a recurrent decoder stands: its layers' state [R B W H], and one memory for all beams of a sentence."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def reorder(self, parents: Int[Tensor, "B W"]) -> None:
        """Hand states on."""
        self.progress = self.progress.reorder(parents)

    def keep(self, entries: Int[Tensor, "N"]) -> None:
        """Choose sentences."""
        self.progress = self.progress.keep(entries)


class Recurrent(Seq2Seq):
    """Encoder and decoder of recurrent layers."""

    def __init__(self, config: RecurrentConfig, *, source_vocab: int, target_vocab: int) -> None:
        super().__init__()
        faults = out_of_range(config, counts=COUNTS, shares=SHARES) or [
            *contradictions(config),
            *misfits(config, source_vocab, target_vocab),
        ]
        if faults:
            raise OptionError("\n".join(faults))
        self.config = config
        self.target_embedding = embedding(config, target_vocab)
        self.source_embedding = self.target_embedding if config.share == "all" else embedding(config, source_vocab)
        self.encoder = RecurrentLayers(
            config.cell,
            config.model_dim,
            config.encoder_dim // (2 if config.bidirectional else 1),
            num_layers=config.encoder_layers,
            dropout=config.dropout,
            bidirectional=config.bidirectional,
        )
        self.decoder = decoder(config)
        tied = None if config.share == "none" else self.target_embedding
        self.output = Output(target_vocab, config.model_dim, tied=tied, bias=True)
        if config.score == "location":
            self.max_source = config.max_length

    def alignment_sites(self) -> list[str]:
        """Name the decoder's attention, where it has any."""
        return ["decoder.attention"] if isinstance(self.decoder, AttendingDecoder) else []

    def encode(self, source: Int[Tensor, "B S"], source_lengths: Int[Tensor, "B"]) -> Encoded:
        """Read the source."""
        mask = Padding(source_lengths)
        lengths = mask.host_lengths or source_lengths.tolist()  # a mask does not know them while torch.compile traces
        if not lengths:
            raise ShapeError("source has no sentence; a batch needs at least 1.")
        if max(lengths) > source.shape[1] or min(lengths) < 1:
            raise ShapeError(
                f"source_lengths goes from {min(lengths)} to {max(lengths)} and source has {source.shape[1]} tokens a "
                "sentence; count those before the padding, at least 1."
            )
        states, final = self.encoder.read(self.source_embedding(source), lengths)
        return Encoded(states, mask, final)

    def decode(self, encoded: Encoded, target: Int[Tensor, "B T"]) -> Float[Tensor, "B T M"]:
        """Decode a target that is given."""
        embedded = self.target_embedding(target).unsqueeze(1)  # one beam
        readouts, _ = self.decoder(embedded, self.start(encoded).progress)
        return readouts.squeeze(1)  # type: ignore[no-any-return]

    def start(self, encoded: Encoded) -> RecurrentState:
        """Prepare the memory and the first state."""
        assert isinstance(encoded.mask, Padding)
        assert encoded.final is not None
        return RecurrentState(self.decoder.start(encoded.states, encoded.mask, encoded.final))

    def step(self, tokens: Int[Tensor, "B W"], state: State) -> Float[Tensor, "B W M"]:
        """Take a step."""
        assert isinstance(state, RecurrentState)
        embedded = self.target_embedding(tokens).unsqueeze(2)  # one token a beam
        readouts, state.progress = self.decoder(embedded, state.progress)
        return readouts.squeeze(2)  # type: ignore[no-any-return]


def embedding(config: RecurrentConfig, vocab_size: int) -> Embedding:
    """Build one side's embedding."""
    return Embedding(vocab_size, config.model_dim, positions=None, dropout=config.dropout)


def decoder(config: RecurrentConfig) -> RecurrentDecoder:
    """Build the decoder: its kind is what attends when, and what the next step sees of it."""
    bridge = Bridge(
        config.cell,
        config.encoder_dim,
        config.hidden_dim,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
    )
    if config.attention == "none":
        return fixed_context(config, bridge)
    attention = Attention(score(config), dropout=config.attention_dropout, way=STEADY)
    if config.attention == "bahdanau":
        parts = (config.hidden_dim, config.encoder_dim, config.model_dim)
        stepped = cells(config, fed_dim=config.encoder_dim)
        return AttendThenStep(stepped, bridge, readout(config, *parts), attention=attention, focus=focus(config))
    attentional = readout(config, config.encoder_dim, config.hidden_dim)
    if config.input_feeding:
        stepped = cells(config, fed_dim=config.model_dim)
        return InputFeeding(stepped, bridge, attentional, attention=attention, focus=focus(config))
    return StepThenAttend(layers(config), bridge, attentional, attention=attention, focus=focus(config))


def fixed_context(config: RecurrentConfig, bridge: Bridge) -> RecurrentDecoder:
    """Build a decoder that does not attend."""
    summary = {"last": last_state, "mean": mean_state}[config.context]
    if config.context_fed == "once":
        return ContextOnce(layers(config), bridge, readout(config, config.hidden_dim), summary=summary)
    parts = (config.hidden_dim, config.encoder_dim, config.model_dim)
    fed = layers(config, fed_dim=config.encoder_dim)
    return ContextEach(fed, bridge, readout(config, *parts), summary=summary)


def layers(config: RecurrentConfig, *, fed_dim: int = 0) -> RecurrentLayers:
    """Build the decoder's layers, where all tokens may be run at once."""
    return RecurrentLayers(
        config.cell,
        config.model_dim + fed_dim,
        config.hidden_dim,
        num_layers=config.decoder_layers,
        dropout=config.dropout,
    )


def cells(config: RecurrentConfig, *, fed_dim: int) -> RecurrentCells:
    """Build the decoder's layers, where attention stands between the steps."""
    return RecurrentCells(
        config.cell,
        config.model_dim + fed_dim,
        config.hidden_dim,
        num_layers=config.decoder_layers,
        dropout=config.dropout,
    )


def readout(config: RecurrentConfig, *part_dims: int) -> Readout:
    """Build the layer below the vocabulary."""
    return Readout(*part_dims, model_dim=config.model_dim, dropout=config.dropout)


def score(config: RecurrentConfig) -> Score:
    """Build the score of the decoder's states with the encoder's."""
    match config.score:
        case "dot":
            return Dot()
        case "scaled_dot":
            return ScaledDot()
        case "cosine":
            return Cosine(config.cosine_strength)
        case "general":
            return General(config.hidden_dim, config.encoder_dim)
        case "location":
            return Location(config.hidden_dim, config.max_length)
        case "additive" | "concat":
            return Additive(config.hidden_dim, config.encoder_dim, config.hidden_dim)


def focus(config: RecurrentConfig) -> Focus:
    """Build what says where attention may look."""
    match config.window:
        case "global":
            return Focus()
        case "local_m":
            return LocalMonotonic(config.reach)
        case "local_p":
            return LocalPredictive(config.reach, config.hidden_dim)
