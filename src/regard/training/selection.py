"""Which validation was the best, and whether it is time to stop for want of a better one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from regard.errors import OptionError

LOWER_IS_BETTER = frozenset({"loss", "perplexity", "alignment_error_rate"})


@dataclass
class Selection:
    """Remembers the best value of one measure.

    Attributes:
        by: The measure's name. Of those in `LOWER_IS_BETTER` the least is the best, of others the greatest.
        patience: How many validations in a row may bring nothing better; None for any number.
        step: The step of the best validation so far.
        score: The measure there.
        waited: The validations since.
    """

    by: str
    patience: int | None
    step: int | None = None
    score: float | None = None
    waited: int = 0

    def consider(self, step: int, scores: Mapping[str, float]) -> bool:
        """Take in a validation, and say whether it is the best so far.

        A tie is not better, and a score that is not finite never is.
        """
        if self.by not in scores:
            raise OptionError(
                f"select_by ({self.by}) is not among what the validation measures: {', '.join(scores)}. "
                "Choose one of them."
            )
        score = scores[self.by]
        sign = -1 if self.by in LOWER_IS_BETTER else 1
        if not math.isfinite(score) or (self.score is not None and sign * score <= sign * self.score):
            self.waited += 1
            return False
        self.step, self.score, self.waited = step, score, 0
        return True

    @property
    def exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self.waited >= self.patience
