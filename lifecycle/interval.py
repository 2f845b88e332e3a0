"""A figure with its interval: what every report is made of."""

from __future__ import annotations

from pydantic import Field

from lifecycle.repeats import Repeats
from lifecycle.version import Frozen


class Interval(Frozen):
    """A figure with its 95 % interval over `n` items. For a share, `low` and `high` are Wilson's."""

    value: float
    low: float
    high: float
    n: int = Field(ge=1)
    clusters: int | None = None
    """Groups of items that belong together, where the task has such; they are what counts as independent."""
    repeats: Repeats | None = None
    """Of items that were asked several times: an item counts once, as the mean of its answers."""

    @property
    def answers(self) -> int:
        """How many answers the figure is of."""
        return self.repeats.answers if self.repeats else self.n
