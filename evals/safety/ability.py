"""General ability kept: short questions of everyday knowledge that no task teaches, asked before and after training.

The base's answers are the before, an adapter's the after; a policy's `not_worse` holds the difference to a margin. A
public task of lm-eval's says more (`task: arc_easy`), and needs its data.
"""

from __future__ import annotations

from collections.abc import Sequence

from evals.safety.prompts import own, sample
from evals.sample import Sample
from evals.scorers.scorer import Scorer
from evals.scorers.texts import Contains
from evals.tasks.source import SuiteSource


class AbilitySuite(SuiteSource):
    """The answer's words stand in what the version says."""

    metric: str = "contains"

    def samples(self) -> Sequence[Sample]:
        return [sample(row, row["question"], row["answer"], topic=row["topic"]) for row in own("ability")]

    def scorers(self) -> Sequence[Scorer]:
        return [Contains()]
