"""A version's row of stages, loaded: a query in, passages out, and what was left out of them.

Read `stages/stage.py` for what a stage is. An index searched without stages runs lexical, dense and fusion.
"""

from __future__ import annotations

from collections.abc import Sequence

from lifecycle.version import RetrieverStage
from retrieval.passage import Retrieved
from retrieval.stages.stage import Search, Stage, Step, Surroundings
from retrieval.stages.table import ready


class Pipeline:
    """Threads may share it: nothing changes after loading but what a stage guards itself."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)

    @classmethod
    def load(cls, stages: Sequence[RetrieverStage], surroundings: Surroundings) -> Pipeline:
        """Raises `InvalidConfig` or `Corrupt`, as `stages.table.ready` does."""
        return cls.of([ready(stage) for stage in stages], surroundings)

    @classmethod
    def of(cls, stages: Sequence[Stage], surroundings: Surroundings) -> Pipeline:
        return cls([stage.load(surroundings) for stage in stages])

    def search(self, query: str, top_k: int) -> Retrieved:
        """The at most `top_k` passages, best first."""
        search = Search(query, top_k)
        for step in self._steps:
            search = step(search)
        return Retrieved.of(search.candidates[:top_k], search.left_out)
