"""Attending decoders against the papers' equations, written out a step at a time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from regard.attention.attend import Attention
from regard.attention.grid import Extent
from regard.attention.lengths import Padding
from regard.attention.patterns import Around, Window
from regard.attention.scores import Additive, General
from regard.layers.attending import (
    AttendingDecoder,
    AttendThenStep,
    Focus,
    InputFeeding,
    LocalMonotonic,
    LocalPredictive,
    StepThenAttend,
)
from regard.layers.recurrent import Bridge, Readout, RecurrentCells, RecurrentLayers
from tests.watching import watching, weights_of

B, S, T, C, M, H = 2, 7, 5, 3, 5, 11
LENGTHS = [4, 7]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-12)


def source() -> tuple[Tensor, Padding, Tensor]:
    """What an encoder of one layer left."""
    generator = torch.Generator().manual_seed(7)
    states = torch.randn(B, S, C, generator=generator, dtype=torch.float64)
    states[0, LENGTHS[0] :] = 0.0
    return states, Padding(torch.tensor(LENGTHS)), torch.randn(1, B, C, generator=generator, dtype=torch.float64)


def tokens() -> Tensor:
    return torch.randn(B, T, M, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def bridge() -> Bridge:
    return Bridge("gru", C, H, encoder_layers=1, decoder_layers=1)


def bahdanau() -> AttendThenStep:
    torch.manual_seed(3)
    return AttendThenStep(
        RecurrentCells("gru", M + C, H, num_layers=1, dropout=0.0),
        bridge(),
        Readout(H, C, M, model_dim=M, dropout=0.0),
        attention=Attention(Additive(H, C, H)),
        focus=Focus(),
    ).double()


def luong(focus: Focus) -> StepThenAttend:
    torch.manual_seed(3)
    return StepThenAttend(
        RecurrentLayers("gru", M, H, num_layers=1, dropout=0.0),
        bridge(),
        Readout(C, H, model_dim=M, dropout=0.0),
        attention=Attention(General(H, C)),
        focus=focus,
    ).double()


def feeding(focus: Focus) -> InputFeeding:
    torch.manual_seed(3)
    return InputFeeding(
        RecurrentCells("gru", M + M, H, num_layers=1, dropout=0.0),
        bridge(),
        Readout(C, H, model_dim=M, dropout=0.0),
        attention=Attention(General(H, C)),
        focus=focus,
    ).double()


def run(decoder: AttendingDecoder) -> Tensor:
    return decoder(tokens().unsqueeze(1), decoder.start(*source()))[0].squeeze(1)  # type: ignore[no-any-return]


def softmax_row(scores: Tensor, length: int) -> Tensor:
    return torch.cat((torch.softmax(scores[:length], 0), scores.new_zeros(S - length)))


def test_attending_then_stepping_follows_the_equations() -> None:
    decoder, (states, _, final) = bahdanau(), source()
    score, cell = decoder.attention.score, decoder.cells.layers[0]
    assert isinstance(score, Additive)
    assert isinstance(cell, torch.nn.GRUCell)
    w, u, v = score.query.weight, score.key.weight, score.vector.weight[0]
    readouts = run(decoder)
    for b, length in enumerate(LENGTHS):
        state = torch.tanh(decoder.bridge.maps[0](final[0, b]))
        for t, token in enumerate(tokens()[b]):
            energies = torch.stack([v @ torch.tanh(w @ state + u @ states[b, i]) for i in range(S)])
            context = softmax_row(energies, length) @ states[b]
            state = cell(torch.cat((token, context)), state)
            expected = torch.tanh(decoder.readout.linear(torch.cat((state, context, token))))
            close(readouts[b, t], expected)


def test_stepping_then_attending_follows_the_equations() -> None:
    decoder, (states, _, final) = luong(Focus()), source()
    assert isinstance(decoder.attention.score, General)
    weight = decoder.attention.score.weight.weight
    hidden = decoder.layers(tokens(), decoder.bridge(final))[0]
    readouts = run(decoder)
    for b, length in enumerate(LENGTHS):
        for t in range(T):
            context = softmax_row(states[b] @ (weight @ hidden[b, t]), length) @ states[b]
            expected = torch.tanh(decoder.readout.linear(torch.cat((context, hidden[b, t]))))
            close(readouts[b, t], expected)


def test_input_feeding_follows_the_equations() -> None:
    decoder, (states, _, final) = feeding(Focus()), source()
    assert isinstance(decoder.attention.score, General)
    weight = decoder.attention.score.weight.weight
    readouts = run(decoder)
    for b, length in enumerate(LENGTHS):
        state, fed = torch.tanh(decoder.bridge.maps[0](final[0, b])), torch.zeros(M).double()
        for t, token in enumerate(tokens()[b]):
            state = decoder.cells.layers[0](torch.cat((token, fed)), state)
            context = softmax_row(states[b] @ (weight @ state), length) @ states[b]
            fed = torch.tanh(decoder.readout.linear(torch.cat((context, state))))
            close(readouts[b, t], fed)


def test_all_queries_are_asked_at_once_where_nothing_is_fed_back() -> None:
    with watching() as calls:
        run(luong(Focus()))
    assert [call.query.shape for call in calls] == [(B, 1, T, C)]


@pytest.mark.parametrize("make", [bahdanau, lambda: feeding(Focus())])
def test_observers_see_one_call_a_step(make: Callable[[], AttendingDecoder]) -> None:
    with watching() as calls:
        run(make())
    assert [call.offset for call in calls] == list(range(T))
    assert all(call.query.shape[:3] == (B, 1, 1) for call in calls)
    assert all(call.key is calls[0].key for call in calls)  # prepared once


@pytest.mark.parametrize("make", [luong, feeding])
def test_a_monotonic_focus_is_a_window_around_the_step(make: Callable[[Focus], AttendingDecoder]) -> None:
    with watching() as calls:
        run(make(LocalMonotonic(1)))
    weights = weights_of(calls)
    allowed = Window(1, 1).dense(Extent(B, 1, T, S, 0, weights.device))[:, 0]
    allowed = allowed & (torch.arange(S) < torch.tensor(LENGTHS)[:, None, None])
    assert ((weights > 0) == allowed).all()
    close(weights.sum(-1), allowed.any(-1).double())


def test_past_the_end_of_the_source_a_monotonic_focus_sees_nothing() -> None:
    decoder = luong(LocalMonotonic(1))
    states, _, final = source()
    progress = decoder.start(states, Padding(torch.tensor([2, 7])), final)
    hidden = decoder.layers(tokens(), decoder.bridge(final))[0]
    context = decoder.look(hidden.unsqueeze(1), 0, progress)[:, 0]
    assert (context[0, :3] != 0).all()
    assert (context[0, 3:] == 0).all()
    assert (context[1] != 0).all()


@pytest.mark.parametrize("make", [luong, feeding])
def test_a_predictive_focus_follows_the_equations(make: Callable[[Focus], AttendingDecoder]) -> None:
    reach = 2
    focus = LocalPredictive(reach, H)
    decoder = make(focus)
    with watching() as calls:
        run(decoder)
    weights = weights_of(calls)
    queries = torch.cat([call.query[:, 0] for call in calls], dim=1)
    states = source()[0]
    hidden = hidden_states(decoder)
    for b, length in enumerate(LENGTHS):
        for t in range(T):
            center = length * torch.sigmoid(focus.vector.weight[0] @ torch.tanh(focus.hidden.weight @ hidden[b, t]))
            places = torch.arange(S)
            allowed = ((places - center).abs() <= reach) & (places < length)
            assert allowed.any()
            energies = states[b] @ queries[b, t] - (places - center) ** 2 / (2 * (reach / 2) ** 2)
            expected = torch.softmax(energies.masked_fill(~allowed, -torch.inf), 0)
            close(weights[b, t], expected)


def hidden_states(decoder: AttendingDecoder) -> Tensor:
    """The decoder's own states [B T H], caught on their way to the focus."""
    caught: list[Tensor] = []
    handle = decoder.focus.register_forward_hook(lambda module, args, output: caught.append(args[0].flatten(1, 2)))
    run(decoder)
    handle.remove()
    return torch.cat(caught, dim=1)


def test_a_predicted_center_lies_within_its_own_sentence_in_bfloat16_too() -> None:
    torch.manual_seed(3)
    focus = LocalPredictive(2, H).bfloat16()
    states = torch.randn(2, 3, 5, H).bfloat16() * 100
    mask, bias = focus(states, 0, torch.tensor([400, 401]))
    assert isinstance(mask, Around)
    centers = mask.centers
    assert centers.dtype == torch.float32
    assert centers.shape == (2, 1, 15)
    assert ((centers >= 0) & (centers <= torch.tensor([400, 401])[:, None, None])).all()
    assert bias is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: luong(LocalMonotonic(1)),
        lambda: luong(LocalPredictive(2, H)),
        lambda: feeding(LocalMonotonic(1)),
        lambda: feeding(LocalPredictive(2, H)),
        bahdanau,
    ],
)
def test_several_hypotheses_with_several_tokens_each_are_one_call(make: Callable[[], AttendingDecoder]) -> None:
    decoder = make()
    embedded = torch.randn(B, 3, T, M).double()
    together, _ = decoder(embedded, decoder.start(*source()))
    for w in range(3):
        alone, _ = decoder(embedded[:, w : w + 1], decoder.start(*source()))
        close(together[:, w], alone[:, 0])
