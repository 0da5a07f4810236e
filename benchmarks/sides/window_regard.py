"""Regard's self-attention in a window: answers how many positions it took in how many seconds."""

import time

import torch
from answering import Line

from regard.attention.attend import Attention
from regard.attention.heads import SelfAttention
from regard.attention.patterns import Window


def main() -> None:
    """Run one call a request."""
    line = Line()
    while True:
        request = line.wait()
        torch.manual_seed(1)
        model_dim = int(request["heads"] * request["width"])
        attention = SelfAttention(model_dim, int(request["heads"]), Attention()).eval()
        states = torch.randn(1, int(request["length"]), model_dim)
        mask = Window(int(request["window"]) // 2, int(request["window"]) // 2)
        started = time.perf_counter()
        with torch.set_grad_enabled(bool(request["gradient"])):
            context = attention(states, mask=mask)
            if request["gradient"]:
                torch.autograd.grad(context, list(attention.parameters()), context.detach())
        line.answer(tokens=request["length"], seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
