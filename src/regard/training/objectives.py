"""What training minimizes: the label-smoothed cross-entropy of a large vocabulary, without its logits.

The logits of a batch are by far its largest tensor (4,096 tokens and 10,000 words: 164 MB in float32), and a plain
expression walks over them about eight times, mostly waiting for memory. Here rows go in blocks that stay in the
cache, and the gradients are made beside the loss, so nothing of that size ever exists. `benchmarks/objective.py`
measures what that gains.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.errors import InputError, OptionError, ShapeError

IGNORED = -100
"""The label of a position that counts for nothing: padding."""


class Loss(NamedTuple):
    """Sums over the tokens that count; a caller adds up what belongs together, then divides by `tokens`.

    Attributes:
        loss: The smoothed loss, differentiable; float64 for float64 input, else float32.
        nll: The plain negative log-likelihood of the labels in nats, detached: perplexity is exp(nll / tokens).
        tokens: How many labels counted.
        correct: How many labels had the highest logit, detached. A tie counts, and bfloat16 logits tie.
    """

    loss: Float[Tensor, ""]
    nll: Float[Tensor, ""]
    tokens: int
    correct: Int[Tensor, ""]


def smoothed_cross_entropy(
    hidden: Float[Tensor, "N M"],
    weight: Float[Tensor, "V M"],
    bias: Float[Tensor, "V"] | None,
    labels: Int[Tensor, "N"],
    *,
    smoothing: float = 0.0,
) -> Loss:
    """Sum the cross-entropy of the logits `hidden @ weight.T + bias` against smoothed labels.

    The target of a row is 1 - smoothing on its label plus smoothing / V on each of the V words, the label among
    them (Szegedy et al. 2016, section 7; `torch.nn.functional.cross_entropy` agrees). Rows labeled `IGNORED` are
    dropped before the product. The products run in the type of `hidden`, the softmax and every sum in float32
    (float64 for float64), and the gradient of `weight` is summed in float32 even where it is handed on in bfloat16.

    Costs the products and about five passes over a block in the cache; the gradients are computed here, and
    backward only multiplies them by what arrives. There is no second derivative.
    """
    _check(hidden, weight, bias, labels, smoothing)
    rows = (labels != IGNORED).nonzero().squeeze(1)
    kept = labels.index_select(0, rows)
    if len(kept) and not 0 <= int(kept.min()) <= int(kept.max()) < len(weight):
        wrong = next(label for label in kept.tolist() if not 0 <= label < len(weight))
        raise InputError(
            f"labels hold {wrong}, but the vocabulary has {len(weight)} words: "
            f"give 0 to {len(weight) - 1}, or {IGNORED} for a position that does not count."
        )
    training = torch.is_grad_enabled()
    loss, nll, correct = _Objective.apply(hidden, weight, bias, kept, rows, smoothing, training)  # type: ignore[no-untyped-call]
    return Loss(loss, nll, len(kept), correct)


def _check(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float) -> None:
    """Refuse what cannot be computed, in words."""
    if not 0 <= smoothing < 1:
        raise OptionError(f"smoothing ({smoothing}) must be at least 0 and below 1: 0.1 is usual.")
    given = {"hidden": hidden, "weight": weight, "labels": labels} | ({} if bias is None else {"bias": bias})
    shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
    rows, width, words = (*labels.shape, *weight.shape[-1:], *weight.shape[:1])
    fitting = {"hidden": (rows, width), "weight": (words, width), "labels": (rows,), "bias": (words,)}
    if any(shape != fitting[name] for name, shape in shapes.items()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(
            f"The shapes do not fit together: {listed}. Give hidden (N, M), weight (V, M), labels (N,), bias (V,)."
        )


class _Objective(torch.autograd.Function):
    """Finds the gradients in forward, while a block's probabilities are still in the cache."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        rows: Tensor,
        smoothing: float,
        training: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted = (hidden, weight, bias) if training else ()
        gradients = _Gradients(*(x if x is not None and x.requires_grad else None for x in wanted))
        with torch.autocast(hidden.device.type, enabled=False):
            layer = _Layer.of(weight, bias, dtype=hidden.dtype, smoothing=smoothing)
            loss, nll, correct = _walk(hidden, layer, labels, rows, gradients)
        ctx.save_for_backward(*gradients.finished())
        ctx.mark_non_differentiable(nll, correct)
        return loss, nll, correct

    @staticmethod
    def backward(ctx: Any, loss_gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True
            raise InputError(
                "smoothed_cross_entropy has no second derivative: its gradients are computed in forward. "
                "Use torch.nn.functional.cross_entropy on the logits where create_graph=True is needed."
            )
        scaled = [None if found is None else found * loss_gradient for found in ctx.saved_tensors]
        return (*scaled, None, None, None, None)


class _Layer(NamedTuple):
    """The vocabulary layer in the type of the products, and what smoothing needs of it."""

    weight: Tensor
    bias: Tensor | None
    weight_sum: Tensor  # over the words, wide: hidden @ weight_sum is the sum of a row's logits, without a pass
    smoothing: float

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, *, dtype: torch.dtype, smoothing: float) -> "_Layer":
        narrow = None if bias is None else bias.to(dtype)
        return cls(weight.to(dtype), narrow, weight.sum(0, dtype=_wide(dtype)), smoothing)

    @property
    def share(self) -> float:
        """The target of every word that is not the label."""
        return self.smoothing / max(1, len(self.weight))

    def logits(self, inputs: Tensor, out: Tensor) -> Tensor:
        if self.bias is None:
            return torch.mm(inputs, self.weight.t(), out=out)
        return torch.addmm(self.bias, inputs, self.weight.t(), out=out)


class _Gradients:
    """Sums gradients over blocks; None stands for one that nobody wants."""

    def __init__(self, hidden: Tensor | None = None, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        self.of = (hidden, weight, bias)
        self.hidden = None if hidden is None else torch.zeros_like(hidden)
        self.weight = None if weight is None else torch.zeros_like(weight, dtype=_wide(weight.dtype))
        self.bias = None if bias is None else torch.zeros_like(bias, dtype=_wide(bias.dtype))

    @property
    def wanted(self) -> bool:
        return any(x is not None for x in self.of)

    def add(self, rows: Tensor, inputs: Tensor, layer: _Layer, delta: Tensor) -> None:
        """Add a block by the gradient of its logits, but for the share of smoothing, which is the same in each."""
        if self.hidden is not None:
            shift = (-layer.share * layer.weight_sum).to(delta.dtype)
            self.hidden.index_copy_(0, rows, torch.addmm(shift, delta, layer.weight).to(self.hidden.dtype))
        if self.weight is not None and self.weight.dtype == delta.dtype:
            self.weight.addmm_(delta.t(), inputs)
        elif self.weight is not None:  # torch.mm has out_dtype, but on CUDA only (torch 2.13)
            self.weight.add_(delta.t() @ inputs)
        if self.bias is not None:
            self.bias.add_(delta.sum(0, dtype=self.bias.dtype))

    def add_shares(self, inputs_sum: Tensor, tokens: int, layer: _Layer) -> None:
        """Take the share of smoothing off the gradient of every logit, by its effect on the sums over rows."""
        if self.weight is not None:
            self.weight.sub_(inputs_sum, alpha=layer.share)
        if self.bias is not None:
            self.bias.sub_(tokens * layer.share)

    def finished(self) -> list[Tensor | None]:
        """Give the sums in the types of what they are gradients of, as autograd asks."""
        found = (self.hidden, self.weight, self.bias)
        return [None if g is None or x is None else g.to(x.dtype) for g, x in zip(found, self.of, strict=True)]


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Give the type of softmax and sums: float64 for float64, else float32."""
    return torch.promote_types(dtype, torch.float32)


def _walk(
    hidden: Tensor, layer: _Layer, labels: Tensor, rows: Tensor, gradients: _Gradients
) -> tuple[Tensor, Tensor, Tensor]:
    """Go through the rows in blocks of two sizes: large ones for the products, slices of them for the softmax."""
    wide = layer.weight_sum.dtype
    block, slice_ = _sizes(hidden, len(layer.weight))
    logits = hidden.new_empty(min(block, len(rows)), len(layer.weight))
    buffers = logits.new_empty(2, min(slice_, len(logits)), len(layer.weight), dtype=wide)
    totals = layer.weight_sum.new_zeros(3)
    inputs_sum = torch.zeros_like(layer.weight_sum)
    for picked, answers in zip(torch.split(rows, block), torch.split(labels, block), strict=True):
        inputs = hidden.index_select(0, picked)
        scores = layer.logits(inputs, out=logits[: len(picked)])
        for piece, wanted in zip(torch.split(scores, slice_), torch.split(answers, slice_), strict=True):
            totals += _turn_into_gradient(piece, wanted, buffers, layer.smoothing, needed=gradients.wanted)
        inputs_sum += inputs.sum(0, dtype=wide)
        gradients.add(picked, inputs, layer, scores)
    gradients.add_shares(inputs_sum, len(rows), layer)
    nll, gold, correct = totals.unbind()
    loss = nll
    if layer.smoothing:  # not by a factor of 0: the sum of all logits is infinite where a bias forbids a word
        every = inputs_sum @ layer.weight_sum
        if layer.bias is not None:
            every += len(rows) * layer.bias.sum(dtype=wide)
        loss = nll + layer.smoothing * gold - layer.share * every
    return loss.clone(), nll.clone(), correct.long()


def _turn_into_gradient(piece: Tensor, labels: Tensor, buffers: Tensor, smoothing: float, *, needed: bool) -> Tensor:
    """Turn logits in place into softmax - (1 - smoothing) at the label; sum nll, gold logits and hits."""
    wide, probabilities = buffers[:, : len(piece)]
    logits = piece if piece.dtype == wide.dtype else wide.copy_(piece)
    answers = labels.unsqueeze(1)
    highest = logits.amax(-1)
    gold = logits.gather(1, answers).squeeze(1)
    torch.softmax(logits, -1, out=probabilities)
    nll = highest - probabilities.amax(-1).log() - gold  # the highest word's probability is 1 / sum(exp(z - highest))
    if needed:
        probabilities.scatter_(1, answers, probabilities.gather(1, answers) - (1 - smoothing))
        piece.copy_(probabilities)
    return torch.stack((nll.sum(), gold.sum(), (gold == highest).sum()))


def _sizes(hidden: Tensor, words: int) -> tuple[int, int]:
    """Give rows a block (logits of 16 MB) and rows a slice (4 MB in float32); more on a GPU.

    At 10,000 words and width 128 in bfloat16, on one or two cores with 1 MB of second-level cache each, blocks of 416
    to 1,676 rows are alike (2 %) and so are slices of 52 and 104; slices of 208 take 5 % more, of 838 40 % more.
    """
    block, slice_ = (2**24, 2**22) if hidden.device.type == "cpu" else (2**28, 2**28)
    width = max(1, words)
    return max(1, block // (width * hidden.element_size())), max(1, slice_ // (width * 4))
