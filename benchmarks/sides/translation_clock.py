"""Answers requests to translate so many sentences by so many beams, over and over, with tokens a second."""

import time
from collections.abc import Callable

from answering import Line
from sizes import TARGET_TOKENS

Translate = Callable[[], None]


def answer_requests(prepare: Callable[[str, str, int, int], Translate]) -> None:
    """Serve for good; `prepare(size, type, batch, beams)` returns what translates one batch."""
    line = Line()
    while request := line.wait():
        batch = int(request["batch"])
        translate = prepare(request["size"], request["type"], batch, int(request["beams"]))
        runs, started, elapsed = 0, time.perf_counter(), 0.0
        while not runs or elapsed < request["seconds"]:
            translate()
            runs += 1
            elapsed = time.perf_counter() - started
        line.answer(tokens=runs * batch * TARGET_TOKENS, seconds=elapsed)
