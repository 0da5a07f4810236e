"""Trains Hugging Face's MarianMTModel in the plain loop that one would write.

train_hugging_face.py random|sorted float32|bfloat16: batches of random pairs, or of pairs of like lengths;
bfloat16 is autocast.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from answering import Line, UpdateClock
from marian import marian
from sizes import SIZES
from torch import Tensor
from torch.nn import functional

SIZE = SIZES["tiny"]
BEGIN, END, PADDING = 1, 2, SIZE.vocab_size
IGNORED = -100


def read_ids(name: str) -> list[list[int]]:
    """Read the ids of a side's sentences."""
    return [[int(token) for token in line.split()] for line in Path(name).read_text().splitlines()]


def padded(rows: list[list[int]], padding: int) -> Tensor:
    """Put sentences over each other."""
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [padding] * (longest - len(row)) for row in rows])


def batches(order: str) -> Iterator[dict[str, Tensor]]:
    """Yield batches for good: those of regard, or as many random pairs as those have in the mean."""
    source, target = read_ids("train.source"), read_ids("train.target")
    groups = json.loads(Path("batches.json").read_text())
    indices = [index for group in groups for index in group]
    count = round(len(indices) / len(groups))
    chosen = random.Random(1)
    while True:
        if order == "random":
            chosen.shuffle(indices)
            groups = [indices[start : start + count] for start in range(0, len(indices) - count + 1, count)]
        for group in groups:
            sources = padded([[*source[index], END] for index in group], PADDING)
            yield {
                "input_ids": sources,
                "attention_mask": (sources != PADDING).long(),
                "decoder_input_ids": padded([[BEGIN, *target[index]] for index in group], PADDING),
                "labels": padded([[*target[index], END] for index in group], IGNORED),
            }


def main() -> None:
    """Train until nobody asks any more."""
    order, kind = sys.argv[1:]
    line = Line()
    model = marian(SIZE, dropout=0.3).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9)
    feed = batches(order)
    clock = UpdateClock(line)
    for batch in feed:
        labels = batch.pop("labels")
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
            logits = model(**batch).logits
        loss = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.count(int((labels != IGNORED).sum()))


if __name__ == "__main__":
    main()
