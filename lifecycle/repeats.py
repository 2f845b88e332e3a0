"""Items that were asked several times: how sure their mean is, and what more answers or more items would make of it."""

from __future__ import annotations

import math

from pydantic import Field

from lifecycle.version import Frozen


class Repeats(Frozen):
    """The standard error of a mean over items, and which part of it is the sampling of answers.

    Its square is (ω² + s²/K) / n: ω² the variance of items, s² that of the answers to one item, K answers to each of n
    items (Miller 2024, arXiv 2411.00640, sections 3 and 5). For items in clusters the whole is the clustered one, and
    the part of sampling is the same, because answers are drawn apart.
    """

    per_item: int = Field(ge=2)
    """Answers to an item; of two arms the larger number, where one of them answers greedily."""
    answers: int = Field(ge=2)
    """In all, of one arm or of two."""
    se: float = Field(ge=0.0)
    sampling: float = Field(ge=0.0)
    """What the standard error would be if only the sampling of answers were left of it: √(s²/(nK))."""

    @property
    def share(self) -> float:
        """How much of the variance is sampling, from 0 to 1."""
        return min(1.0, (self.sampling / self.se) ** 2) if self.se > 0 else 0.0

    def se_at(self, *, answers: float = 1.0, items: float = 1.0) -> float:
        """With so many times the answers per item, and so many times the items; `math.inf` answers leave none of the
        sampling."""
        sampling = min(self.sampling, self.se) ** 2
        return math.sqrt((self.se**2 - sampling + sampling / answers) / items)
