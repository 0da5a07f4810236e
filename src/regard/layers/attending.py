"""Recurrent decoders that attend: between the steps (Bahdanau et al. 2015) or after them (Luong et al. 2015).

Beams are queries over one memory: W beams with T tokens each ask W*T queries, in this order.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.attend import EVERYTHING, Attention
from regard.attention.biases import Bias, GaussianBias
from regard.attention.lengths import Padding
from regard.attention.masks import Mask
from regard.attention.patterns import Around
from regard.layers.recurrent import (
    Bridge,
    Progress,
    Readout,
    RecurrentCells,
    RecurrentDecoder,
    RecurrentLayers,
    run_fused,
)


class Focus(nn.Module):
    """Where a decoder may look at its steps: everywhere (Luong et al. 2015, 3.1). Others narrow it."""

    def forward(
        self, states: Float[Tensor, "B W T H"], first: int, lengths: Int[Tensor, "B"]
    ) -> tuple[Mask, Bias | None]:
        """Return mask and bias for queries made of these states, the first of each beam at step `first`."""
        return EVERYTHING, None


class LocalMonotonic(Focus):
    """local-m: step t looks at most `reach` tokens away from source token t (Luong et al. 2015, 3.2).

    Where step t is more than `reach` past the end of the source, there is nothing to see: weights and context are zero.
    """

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(
        self, states: Float[Tensor, "B W T H"], first: int, lengths: Int[Tensor, "B"]
    ) -> tuple[Mask, Bias | None]:
        """Look around the number of the step."""
        _, beams, steps, _ = states.shape
        centers = torch.arange(first, first + steps, device=states.device).repeat(beams)
        return Around(centers[None, None], self.reach, first), None


class LocalPredictive(Focus):
    """local-p: each step predicts where to look, p = S sigmoid(v . tanh(W s)) (Luong et al. 2015, eq. 9 and 10).

    It looks at most `reach` tokens away from there and prefers the middle, by a Gaussian of deviation reach / 2. S is
    each sentence's own length; tokens count from 0. The paper multiplies the weights by the Gaussian; here its log is
    added to the scores, so that they still sum to one.
    """

    def __init__(self, reach: int, hidden_dim: int) -> None:
        super().__init__()
        self.reach = reach
        self.hidden = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.vector = nn.Linear(hidden_dim, 1, bias=False)
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.xavier_uniform_(self.vector.weight)

    def forward(
        self, states: Float[Tensor, "B W T H"], first: int, lengths: Int[Tensor, "B"]
    ) -> tuple[Mask, Bias | None]:
        """Predict the centers, at least in float32: bfloat16 cannot tell the places of a long sentence apart."""
        predicted = self.vector(torch.tanh(self.hidden(states))).flatten(1)  # [B W*T]
        wide = torch.promote_types(predicted.dtype, torch.float32)
        centers = (lengths.unsqueeze(1) * torch.sigmoid(predicted.to(wide))).unsqueeze(1)
        return Around(centers, self.reach, first), GaussianBias(centers, self.reach / 2, first)


class AttendingDecoder(RecurrentDecoder):
    """What decoders that attend have in common."""

    def __init__(self, bridge: Bridge, readout: Readout, *, attention: Attention, focus: Focus) -> None:
        super().__init__()
        self.bridge = bridge
        self.readout = readout
        self.attention = attention
        self.focus = focus

    def start(self, states: Float[Tensor, "B S C"], mask: Padding, final: Float[Tensor, "R B C"]) -> Progress:
        """Prepare the memory, start from the encoder's end, and feed nothing."""
        source = states.unsqueeze(1)  # one head
        memory = self.attention.remember(source, source, mask)
        hidden = self.bridge(final).unsqueeze(2)  # one beam
        return Progress(hidden, states.new_zeros(len(states), 1, 1, 0), 0, memory, mask.lengths.to(states.device))

    def look(self, states: Float[Tensor, "B W T H"], first: int, progress: Progress) -> Float[Tensor, "B W T C"]:
        """Return the context of each state, the first of each beam being that of step `first`."""
        assert progress.memory is not None
        mask, bias = self.focus(states, first, progress.lengths)
        query = states.flatten(1, 2).unsqueeze(1)  # [B 1 W*T H]
        context = self.attention(query, progress.memory, mask=mask, bias=bias, offset=first)
        return context.view(*states.shape[:3], -1)  # type: ignore[no-any-return]


class AttendThenStep(AttendingDecoder):
    """Attend with the state before the step, then step with what was seen (Bahdanau et al. 2015, 3.1 and A.2.2).

    The recurrence goes through attention, so this runs a step after another; the readouts are made at the end, of
    state, context and embedding.
    """

    def __init__(
        self, cells: RecurrentCells, bridge: Bridge, readout: Readout, *, attention: Attention, focus: Focus
    ) -> None:
        super().__init__(bridge, readout, attention=attention, focus=focus)
        self.cells = cells

    def forward(
        self, embedded: Float[Tensor, "B W T M"], progress: Progress
    ) -> tuple[Float[Tensor, "B W T M"], Progress]:
        """Go through the tokens one by one."""
        batch, beams, steps, _ = embedded.shape
        rows = list(progress.state(beams).unbind())
        states, contexts = [self.cells.top(rows).view(batch, beams, 1, -1)], []
        for step, token in enumerate(embedded.chunk(steps, dim=2), progress.steps):
            contexts.append(self.look(states[-1], step, progress))
            rows = self.cells(torch.cat((token, contexts[-1]), dim=-1), rows)
            states.append(self.cells.top(rows).view(batch, beams, 1, -1))
        readouts = self.readout(torch.cat(states[1:], dim=2), torch.cat(contexts, dim=2), embedded)
        return readouts, progress.after(steps, torch.stack(rows), beams)


class StepThenAttend(AttendingDecoder):
    """Step, then attend with the new state; the readout is the attentional state (Luong et al. 2015, 3).

    Nothing that was seen goes back into the recurrence, so the layers run over all tokens at once and all queries are
    asked in one call.
    """

    def __init__(
        self, layers: RecurrentLayers, bridge: Bridge, readout: Readout, *, attention: Attention, focus: Focus
    ) -> None:
        super().__init__(bridge, readout, attention=attention, focus=focus)
        self.layers = layers

    def forward(
        self, embedded: Float[Tensor, "B W T M"], progress: Progress
    ) -> tuple[Float[Tensor, "B W T M"], Progress]:
        """Run the layers over all tokens, then attend."""
        states, after = run_fused(self.layers, embedded, progress)
        return self.readout(self.look(states, progress.steps, progress), states), after


class InputFeeding(AttendingDecoder):
    """Step, then attend, and put the attentional state beside the next token (Luong et al. 2015, 3.3).

    The recurrence goes through attention, so this runs a step after another. What is fed is what the vocabulary layer
    sees, with its dropout.
    """

    def __init__(
        self, cells: RecurrentCells, bridge: Bridge, readout: Readout, *, attention: Attention, focus: Focus
    ) -> None:
        super().__init__(bridge, readout, attention=attention, focus=focus)
        self.cells = cells

    def start(self, states: Float[Tensor, "B S C"], mask: Padding, final: Float[Tensor, "R B C"]) -> Progress:
        """Feed zeros at first."""
        nothing = states.new_zeros(len(states), 1, 1, self.readout.linear.out_features)
        return super().start(states, mask, final)._replace(fed=nothing)

    def forward(
        self, embedded: Float[Tensor, "B W T M"], progress: Progress
    ) -> tuple[Float[Tensor, "B W T M"], Progress]:
        """Go through the tokens one by one."""
        batch, beams, steps, _ = embedded.shape
        rows = list(progress.state(beams).unbind())
        readouts = [progress.fed.expand(-1, beams, -1, -1)]
        for step, token in enumerate(embedded.chunk(steps, dim=2), progress.steps):
            rows = self.cells(torch.cat((token, readouts[-1]), dim=-1), rows)
            state = self.cells.top(rows).view(batch, beams, 1, -1)
            readouts.append(self.readout(self.look(state, step, progress), state))
        return torch.cat(readouts[1:], dim=2), progress.after(steps, torch.stack(rows), beams)._replace(
            fed=readouts[-1]
        )
