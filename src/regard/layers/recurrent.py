"""Recurrent layers, and the encoder and the fixed-context decoders made of them.

The state of a stack is one tensor [R N H]: a row a layer, from the bottom up; of an LSTM twice as many, first the
hidden rows, then the cell rows. So whoever keeps, reorders or hands over a state need not know what it is made of.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from regard.attention.call import Memory
from regard.attention.lengths import Padding
from regard.layers.dropout import Dropout

CellKind = Literal["rnn", "gru", "lstm"]

LAYERS: dict[CellKind, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS: dict[CellKind, Callable[..., nn.RNNCellBase]] = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}


def rows_per_layer(kind: CellKind) -> int:
    """Return how many rows of state a layer has: an LSTM has a cell beside its hidden state."""
    return 2 if kind == "lstm" else 1


def initialize(recurrent: nn.RNNBase | nn.RNNCellBase) -> None:
    """Make each gate's recurrent weight orthogonal (Saxe et al. 2014) and its input weight Xavier uniform.

    Offsets are zero, but for that of an LSTM's forget gate, which is 1: it starts by remembering (Jozefowicz et al.
    2015).
    """
    for name, parameter in recurrent.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            continue
        for gate in parameter.detach().chunk(len(parameter) // recurrent.hidden_size):
            (nn.init.orthogonal_ if "_hh" in name else nn.init.xavier_uniform_)(gate)
    if isinstance(recurrent, nn.LSTM | nn.LSTMCell):
        for name, parameter in recurrent.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(parameter.detach().chunk(4)[1])


class RecurrentLayers(nn.Module):
    """A stack of recurrent layers, run over whole sequences by the library's fused kernels."""

    def __init__(
        self,
        kind: CellKind,
        input_dim: int,
        hidden_dim: int,
        *,
        num_layers: int,
        dropout: float,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.stack = LAYERS[kind](
            input_size=input_dim,
            hidden_size=hidden_dim,
            num_layers=num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        initialize(self.stack)

    def forward(
        self, inputs: Float[Tensor, "N T I"], state: Float[Tensor, "R N H"]
    ) -> tuple[Float[Tensor, "N T H"], Float[Tensor, "R N H"]]:
        """Run over sequences, in one direction, from a state to a state."""
        if isinstance(self.stack, nn.LSTM):
            hidden, cell = state.chunk(2)
            states, rows = self.stack(inputs, (hidden.contiguous(), cell.contiguous()))
            return states, torch.cat(rows)
        return self.stack(inputs, state.contiguous())  # type: ignore[no-any-return]

    def read(
        self, inputs: Float[Tensor, "B S I"], lengths: Sequence[int]
    ) -> tuple[Float[Tensor, "B S C"], Float[Tensor, "R B C"]]:
        """Read sequences of these lengths from nothing, in one or both directions.

        Returns the states, zero on padding, and where each sequence's own end (its start, for the backward direction)
        left the layers. Directions stand side by side in the width. Lengths are on the host, for packing.
        """
        if min(lengths) == inputs.shape[1]:
            states, final = self.stack(inputs)
        else:
            packed = pack_padded_sequence(inputs, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
            packed, final = self.stack(packed)
            states, _ = pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])
        rows = torch.cat(final) if isinstance(final, tuple) else final
        # The library computes steps first; whoever attends reads a sentence at a time, and would copy at every step.
        return states.contiguous(), rows.unflatten(0, (-1, self.directions)).transpose(1, 2).flatten(2)


class RecurrentCells(nn.Module):
    """The same recurrence a step at a time, for where attention stands between the steps.

    The state is a list of its rows. Splitting the input's product, to do the embeddings' part for all steps at once,
    was tried and gained nothing.
    """

    def __init__(self, kind: CellKind, input_dim: int, hidden_dim: int, *, num_layers: int, dropout: float) -> None:
        super().__init__()
        widths = [input_dim] + [hidden_dim] * (num_layers - 1)
        self.layers = nn.ModuleList([CELLS[kind](input_size=width, hidden_size=hidden_dim) for width in widths])
        self.num_layers = num_layers
        self.dropout = Dropout(dropout)
        for cell in self.layers:
            assert isinstance(cell, nn.RNNCellBase)
            initialize(cell)

    def forward(self, inputs: Float[Tensor, "*N I"], rows: list[Tensor]) -> list[Tensor]:
        """Take a step, and return the new rows; that of the top layer's hidden state is `self.top(rows)`."""
        inputs = inputs.flatten(0, -2)
        hidden: list[Tensor] = []
        cells: list[Tensor] = []
        for layer, cell in enumerate(self.layers):
            below = self.dropout(hidden[-1]) if layer else inputs
            if isinstance(cell, nn.LSTMCell):
                state, kept = cell(below, (rows[layer], rows[self.num_layers + layer]))
                cells.append(kept)
            else:
                state = cell(below, rows[layer])
            hidden.append(state)
        return hidden + cells

    def top(self, rows: list[Tensor]) -> Float[Tensor, "N H"]:
        """Return the top layer's hidden state."""
        return rows[self.num_layers - 1]


class Bridge(nn.Module):
    """The decoder's first state from the encoder's last: tanh(W x), a learned map a row (Bahdanau et al. 2015, A.2.2).

    The paper reads the backward direction alone; here both. The top layers face each other: a deeper decoder's lower
    layers all start from the encoder's lowest, and a deeper encoder's lower layers are left out.
    """

    def __init__(
        self, kind: CellKind, encoder_dim: int, hidden_dim: int, *, encoder_layers: int, decoder_layers: int
    ) -> None:
        super().__init__()
        facing = [max(0, layer + encoder_layers - decoder_layers) for layer in range(decoder_layers)]
        self.top = encoder_layers - 1
        self.facing = [part * encoder_layers + layer for part in range(rows_per_layer(kind)) for layer in facing]
        self.maps = nn.ModuleList([nn.Linear(encoder_dim, hidden_dim) for _ in self.facing])
        for linear in self.maps:
            assert isinstance(linear, nn.Linear)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, final: Float[Tensor, "R B C"]) -> Float[Tensor, "R2 B H"]:
        """Map every row."""
        rows = [linear(final[row]) for linear, row in zip(self.maps, self.facing, strict=True)]
        return torch.tanh(torch.stack(rows))


class Readout(nn.Module):
    """What a decoder says at a step: tanh(W [its parts side by side]), the vocabulary layer's input.

    Of state and context it is the attentional state (Luong et al. 2015, eq. 5); of state, context and embedding a deep
    output (Pascanu et al. 2014), with tanh where Bahdanau et al. 2015, A.2.2, take the greater of two.
    """

    def __init__(self, *part_dims: int, model_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(sum(part_dims), model_dim)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *parts: Float[Tensor, "*N _"]) -> Float[Tensor, "*N M"]:
        """Join the parts."""
        joined = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        return self.dropout(torch.tanh(self.linear(joined)))  # type: ignore[no-any-return]


class Progress(NamedTuple):
    """Where a recurrent decoder stands, for B sentences with W beams each, and what it keeps of the source.

    Attributes:
        hidden: The state of its layers.
        fed: What is put beside the next embedding: the last readout, a fixed context, or nothing (width 0).
        steps: How many steps it has taken.
        memory: What it attends to, one for all beams; None where it attends to nothing.
        lengths: Of each source.
    """

    hidden: Float[Tensor, "R B W H"]
    fed: Float[Tensor, "B W 1 F"]
    steps: int
    memory: Memory | None
    lengths: Int[Tensor, "B"]

    def reorder(self, parents: Int[Tensor, "B W"]) -> "Progress":
        """Let each beam go on from the beam of its sentence that is named for it."""
        sentence = torch.arange(len(parents), device=parents.device).unsqueeze(1)
        return self._replace(hidden=self.hidden[:, sentence, parents], fed=self.fed[sentence, parents])

    def keep(self, entries: Int[Tensor, "N"]) -> "Progress":
        """Keep the chosen sentences, in this order."""
        return Progress(
            self.hidden.index_select(1, entries),
            self.fed.index_select(0, entries),
            self.steps,
            None if self.memory is None else self.memory.keep(entries),
            self.lengths.index_select(0, entries),
        )

    def state(self, beams: int) -> Float[Tensor, "R N H"]:
        """Return the layers' state for so many beams, side by side; a single beam goes on as several."""
        assert self.hidden.shape[2] in (1, beams), f"{self.hidden.shape[2]} beams cannot become {beams}: reorder them."
        return self.hidden.expand(-1, -1, beams, -1).flatten(1, 2)

    def after(self, steps: int, state: Float[Tensor, "R N H"], beams: int) -> "Progress":
        """Return the progress so many steps later."""
        hidden, fed = state.view(len(state), -1, beams, state.shape[-1]), self.fed.expand(-1, beams, -1, -1)
        return self._replace(hidden=hidden, fed=fed, steps=self.steps + steps)


class RecurrentDecoder(nn.Module, ABC):
    """From embedded target tokens to readouts; sequences of T tokens and single steps of W beams are one call."""

    @abstractmethod
    def start(self, states: Float[Tensor, "B S C"], mask: Padding, final: Float[Tensor, "R B C"]) -> Progress:
        """Return the progress before the first step, from what the encoder left."""

    @abstractmethod
    def forward(
        self, embedded: Float[Tensor, "B W T M"], progress: Progress
    ) -> tuple[Float[Tensor, "B W T M"], Progress]:
        """Go on by T tokens a beam, and return the readout after each."""


Summary = Callable[[Tensor, Tensor, Tensor], Tensor]


def last_state(
    states: Float[Tensor, "B S C"], lengths: Int[Tensor, "B"], final: Float[Tensor, "R B C"]
) -> Float[Tensor, "R B C"]:
    """Summarize a source by where its end left the encoder (Sutskever et al. 2014; Cho et al. 2014)."""
    return final


def mean_state(
    states: Float[Tensor, "B S C"], lengths: Int[Tensor, "B"], final: Float[Tensor, "R B C"]
) -> Float[Tensor, "R B C"]:
    """Summarize a source by the mean of its states, the same in every row."""
    return (states.sum(dim=1) / lengths.unsqueeze(1)).to(states.dtype).expand_as(final)


class ContextOnce(RecurrentDecoder):
    """A fixed context that only the first state knows (Sutskever et al. 2014); the readout is of the state."""

    def __init__(self, layers: RecurrentLayers, bridge: Bridge, readout: Readout, *, summary: Summary) -> None:
        super().__init__()
        self.layers = layers
        self.bridge = bridge
        self.readout = readout
        self.summary = summary

    def start(self, states: Float[Tensor, "B S C"], mask: Padding, final: Float[Tensor, "R B C"]) -> Progress:
        """Start from the summary."""
        lengths = mask.lengths.to(states.device)
        hidden = self.bridge(self.summary(states, lengths, final))
        return Progress(hidden.unsqueeze(2), states.new_zeros(len(states), 1, 1, 0), 0, None, lengths)

    def forward(
        self, embedded: Float[Tensor, "B W T M"], progress: Progress
    ) -> tuple[Float[Tensor, "B W T M"], Progress]:
        """Run the layers over all tokens at once."""
        states, progress = run_fused(self.layers, embedded, progress)
        return self.readout(states), progress


class ContextEach(ContextOnce):
    """A fixed context that every step sees beside its token, and every readout too (Cho et al. 2014, A.1.2)."""

    def start(self, states: Float[Tensor, "B S C"], mask: Padding, final: Float[Tensor, "R B C"]) -> Progress:
        """Keep the summary's top row as the context."""
        progress = super().start(states, mask, final)
        context = self.summary(states, progress.lengths, final)[self.bridge.top]
        return progress._replace(fed=context[:, None, None])

    def forward(
        self, embedded: Float[Tensor, "B W T M"], progress: Progress
    ) -> tuple[Float[Tensor, "B W T M"], Progress]:
        """Run the layers over all tokens at once."""
        context = progress.fed.expand(*embedded.shape[:3], -1)
        states, progress = run_fused(self.layers, torch.cat((embedded, context), dim=-1), progress)
        return self.readout(states, context, embedded), progress


def run_fused(
    layers: RecurrentLayers, inputs: Float[Tensor, "B W T I"], progress: Progress
) -> tuple[Float[Tensor, "B W T H"], Progress]:
    """Run layers over the tokens of every beam."""
    batch, beams, steps, _ = inputs.shape
    states, state = layers(inputs.flatten(0, 1), progress.state(beams))
    return states.unflatten(0, (batch, beams)), progress.after(steps, state, beams)
