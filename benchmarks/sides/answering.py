"""What every side of a benchmark has in common: it waits for a line of JSON, works, and answers with one.

Standard library only, for it runs in the environments of our peers too.
"""

import json
import os
import sys
import time
from typing import Any


class Line:
    """Standard input and output, kept free of what libraries print: that goes to standard error."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def wait(self) -> dict[str, Any]:
        """Return the next request; where there will be none, end the process at once, whatever it is in."""
        request = sys.stdin.readline()
        if not request:
            os._exit(0)
        found: dict[str, Any] = json.loads(request)
        return found

    def answer(self, **values: float | str) -> None:
        """Send an answer."""
        print(json.dumps(values), file=self._answers, flush=True)


class UpdateClock:
    """Times the updates of a training loop that runs by itself: `count` after each, and it halts between requests."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.begin()

    def begin(self) -> None:
        """Wait for a request such as {"updates": 10}, and start the clock."""
        self.left = int(self.line.wait()["updates"])
        self.tokens = 0
        self.started = time.perf_counter()

    def count(self, tokens: int) -> None:
        """Count an update and its target tokens, and answer after the last."""
        self.tokens += tokens
        self.left -= 1
        if self.left == 0:
            self.line.answer(tokens=self.tokens, seconds=time.perf_counter() - self.started)
            self.begin()
