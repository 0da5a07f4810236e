"""Recurrent layers against hand-written steps, and against themselves in other company."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from regard.attention.lengths import Padding
from regard.layers.recurrent import (
    Bridge,
    CellKind,
    ContextEach,
    ContextOnce,
    Progress,
    Readout,
    RecurrentCells,
    RecurrentLayers,
    last_state,
    mean_state,
)

KINDS: list[CellKind] = ["rnn", "gru", "lstm"]
INPUT, HIDDEN = 5, 7


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-12)


def stack(kind: CellKind, *, num_layers: int = 2, bidirectional: bool = False) -> RecurrentLayers:
    torch.manual_seed(3)
    layers = RecurrentLayers(
        kind, INPUT, HIDDEN, num_layers=num_layers, dropout=0.0, bidirectional=bidirectional
    ).double()
    for name, parameter in layers.named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    return layers


def rows(kind: CellKind, num_layers: int) -> int:
    return num_layers * (2 if kind == "lstm" else 1)


def cells_like(kind: CellKind, layers: RecurrentLayers) -> RecurrentCells:
    """Cells with the weights of layers."""
    num_layers = layers.stack.num_layers
    cells = RecurrentCells(kind, INPUT, HIDDEN, num_layers=num_layers, dropout=0.0).double()
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cells.load_state_dict(
        {f"layers.{n}.{x}": getattr(layers.stack, f"{x}_l{n}") for n in range(num_layers) for x in names}
    )
    return cells


def step_by_hand(
    kind: CellKind, layers: nn.RNNBase, token: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of the lowest layer, from the papers' equations."""
    weight_ih, weight_hh, bias_ih, bias_hh = layers.parameters()
    x, h = token @ weight_ih.T + bias_ih, hidden @ weight_hh.T + bias_hh
    if kind == "rnn":
        return torch.tanh(x + h), cell
    if kind == "gru":
        (xr, xz, xn), (hr, hz, hn) = x.chunk(3, -1), h.chunk(3, -1)
        update = torch.sigmoid(xz + hz)
        return (1 - update) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + update * hidden, cell
    into, forget, new, out = (x + h).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


@pytest.mark.parametrize("kind", KINDS)
def test_layers_follow_the_equations(kind: CellKind) -> None:
    layers = stack(kind, num_layers=1)
    inputs, state = torch.randn(3, 5, INPUT).double(), torch.randn(rows(kind, 1), 3, HIDDEN).double()
    hidden, cell = state[0], state[-1]
    expected = []
    for token in inputs.unbind(1):
        hidden, cell = step_by_hand(kind, layers.stack, token, hidden, cell)
        expected.append(hidden)
    states, after = layers(inputs, state)
    close(states, torch.stack(expected, 1))
    close(after, torch.stack((hidden, cell))[: len(state)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_cells_take_the_steps_of_the_layers(kind: CellKind, num_layers: int) -> None:
    layers = stack(kind, num_layers=num_layers)
    cells = cells_like(kind, layers)
    inputs, state = torch.randn(3, 5, INPUT).double(), torch.randn(rows(kind, num_layers), 3, HIDDEN).double()
    states, after = layers(inputs, state)
    stepped = list(state.unbind())
    for t, token in enumerate(inputs.unbind(1)):
        stepped = cells(token, stepped)
        close(cells.top(stepped), states[:, t])
    close(torch.stack(stepped), after)


def test_cells_drop_between_layers_in_training_only() -> None:
    torch.manual_seed(3)
    cells = RecurrentCells("gru", INPUT, HIDDEN, num_layers=2, dropout=0.5)
    inputs, state = torch.randn(11, INPUT), [torch.zeros(11, HIDDEN)] * 2
    first, second = cells(inputs, state), cells(inputs, state)
    assert torch.equal(first[0], second[0])  # nothing is dropped before the first layer
    assert not torch.equal(first[1], second[1])
    cells.eval()
    assert torch.equal(cells(inputs, state)[1], cells(inputs, state)[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_reading_does_not_depend_on_padding_or_company(kind: CellKind, bidirectional: bool) -> None:
    layers = stack(kind, bidirectional=bidirectional)
    lengths = [5, 2, 7, 1]
    inputs = torch.randn(4, 11, INPUT).double()
    states, final = layers.read(inputs, lengths)
    assert states.shape == (4, 11, HIDDEN * (2 if bidirectional else 1))
    for b, length in enumerate(lengths):
        alone, alone_final = layers.read(inputs[b : b + 1, :length], [length])
        close(states[b, :length], alone[0])
        close(final[:, b], alone_final[:, 0])
        assert (states[b, length:] == 0).all()
    inputs[1, 2:] = torch.nan
    assert torch.equal(layers.read(inputs, lengths)[0], states)


@pytest.mark.parametrize("kind", KINDS)
def test_each_direction_ends_at_its_own_end_of_the_sentence(kind: CellKind) -> None:
    layers = stack(kind, bidirectional=True)
    lengths = [5, 2, 7]
    states, final = layers.read(torch.randn(3, 7, INPUT).double(), lengths)
    top = final[1]  # hidden rows come before cell rows
    for b, length in enumerate(lengths):
        close(top[b, :HIDDEN], states[b, length - 1, :HIDDEN])
        close(top[b, HIDDEN:], states[b, 0, HIDDEN:])


def test_the_shapes_are_those_of_the_textbook() -> None:
    """Dive into Deep Learning, 10.7: two layers of 16 over 9 steps of 4 sentences, embedded by 8 numbers."""
    layers = RecurrentLayers("gru", 8, 16, num_layers=2, dropout=0.0)
    states, final = layers.read(torch.randn(4, 9, 8), [9] * 4)
    assert states.shape == (4, 9, 16)
    assert final.shape == (2, 4, 16)
    assert layers(torch.randn(4, 9, 8), final)[1].shape == (2, 4, 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [RecurrentLayers, RecurrentCells])
def test_recurrent_weights_begin_orthogonal(kind: CellKind, make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(3)
    module = make(kind, INPUT, HIDDEN, num_layers=2, dropout=0.0)
    for name, parameter in module.named_parameters():
        if "weight_hh" in name:
            for gate in parameter.chunk(len(parameter) // HIDDEN):
                torch.testing.assert_close(gate @ gate.T, torch.eye(HIDDEN), rtol=0.0, atol=1e-5)
        elif "weight_ih" in name:
            fan = parameter.shape[1] + HIDDEN  # of one gate
            bound = (6 / fan) ** 0.5
            assert 0.7 * bound < parameter.abs().max() <= bound
        else:
            forgets = kind == "lstm" and "bias_ih" in name
            assert parameter.sum() == (HIDDEN if forgets else 0)
            assert (parameter != 0).sum() == (HIDDEN if forgets else 0)


@pytest.mark.parametrize(
    ("encoder_layers", "decoder_layers", "facing"),
    [(1, 1, [0]), (2, 2, [0, 1]), (1, 3, [0, 0, 0]), (2, 3, [0, 0, 1]), (3, 1, [2]), (3, 2, [1, 2])],
)
def test_a_bridge_lets_the_top_layers_face_each_other(
    encoder_layers: int, decoder_layers: int, facing: list[int]
) -> None:
    bridge = Bridge("lstm", 5, 7, encoder_layers=encoder_layers, decoder_layers=decoder_layers).double()
    final = torch.randn(2 * encoder_layers, 3, 5).double()
    state = bridge(final)
    assert state.shape == (2 * decoder_layers, 3, 7)
    for part in (0, 1):
        for layer, source in enumerate(facing):
            row = part * decoder_layers + layer
            expected = torch.tanh(bridge.maps[row](final[part * encoder_layers + source]))
            close(state[row], expected)


def test_a_readout_is_dropped_in_training_to_the_same_mean() -> None:
    torch.manual_seed(3)
    readout = Readout(5, 7, model_dim=11, dropout=0.3)
    parts = torch.randn(1, 5).expand(10_000, -1), torch.randn(1, 7).expand(10_000, -1)
    training = readout(*parts)
    whole = readout.eval()(*parts)[0]
    assert (training == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    torch.testing.assert_close(training.mean(0), whole, rtol=0.0, atol=0.05)


def fixed(
    kind: CellKind, each: bool, summary: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> tuple[ContextOnce, Tensor, Padding, Tensor]:
    """A decoder with a fixed context, and what an encoder of width 3 left of two sentences."""
    torch.manual_seed(3)
    bridge = Bridge(kind, 3, HIDDEN, encoder_layers=2, decoder_layers=1)
    layers = RecurrentLayers(kind, INPUT + (3 if each else 0), HIDDEN, num_layers=1, dropout=0.0)
    widths = (HIDDEN, 3, INPUT) if each else (HIDDEN,)
    readout = Readout(*widths, model_dim=INPUT, dropout=0.0)
    states = torch.randn(2, 11, 3).double()
    states[0, 5:] = 0.0
    maker = ContextEach if each else ContextOnce
    decoder = maker(layers, bridge, readout, summary=summary).double()
    return decoder, states, Padding(torch.tensor([5, 11])), torch.randn(rows(kind, 2), 2, 3).double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("mean", [False, True])
def test_a_fixed_context_follows_the_equations(kind: CellKind, each: bool, mean: bool) -> None:
    decoder, states, mask, final = fixed(kind, each, mean_state if mean else last_state)
    embedded = torch.randn(2, 5, INPUT).double()
    means = torch.stack((states[0, :5].mean(0), states[1].mean(0)))
    linears = list(decoder.bridge.maps)
    hidden = torch.tanh(linears[0](means if mean else final[1]))
    cell = torch.tanh(linears[-1](means if mean else final[-1]))
    context = means if mean else final[1]
    expected = []
    for token in embedded.unbind(1):
        inputs = torch.cat((token, context), -1) if each else token
        hidden, cell = step_by_hand(kind, decoder.layers.stack, inputs, hidden, cell)
        parts = torch.cat((hidden, context, token), -1) if each else hidden
        expected.append(torch.tanh(decoder.readout.linear(parts)))
    readouts, progress = decoder(embedded.unsqueeze(1), decoder.start(states, mask, final))
    close(readouts[:, 0], torch.stack(expected, 1))
    assert progress.steps == 5


@pytest.mark.parametrize("each", [False, True])
def test_progress_spreads_to_beams_and_follows_parents(each: bool) -> None:
    decoder, states, mask, final = fixed("gru", each, last_state)
    first, second = torch.randn(2, 3, 1, INPUT).double(), torch.randn(2, 3, 1, INPUT).double()
    _, progress = decoder(first, decoder.start(states, mask, final))
    parents = torch.tensor([[1, 1, 0], [2, 0, 2]])
    readouts, progress = decoder(second, progress.reorder(parents))
    for b in range(2):
        for w in range(3):
            history = torch.stack((first[b, parents[b, w], 0], second[b, w, 0]))
            alone, _ = decoder(history.expand(2, 1, -1, -1), decoder.start(states, mask, final))
            close(readouts[b, w, 0], alone[b, 0, 1])
    kept = progress.keep(torch.tensor([1]))
    assert kept.hidden.shape == (1, 1, 3, HIDDEN)
    assert kept.lengths.tolist() == [11]


def test_beams_that_have_grown_apart_cannot_change_in_number() -> None:
    progress = Progress(torch.zeros(1, 2, 3, HIDDEN), torch.zeros(2, 3, 1, 0), 1, None, torch.tensor([5, 7]))
    with pytest.raises(AssertionError, match="3 beams cannot become 5"):
        progress.state(5)
