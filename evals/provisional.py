"""Why a run is a look and no verdict. A look is kept, and moves nobody's standing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evals.config import EvalConfig
from evals.lmeval_task import EvalTask
from evals.measure import MeasuredArm, why_provisional


def provisional(config: EvalConfig, task: EvalTask, measured: Sequence[MeasuredArm]) -> tuple[str, ...]:
    """Every reason, in words; empty for a run that decides."""
    part = [f"{len(task.items)} of {task.whole} items"] if len(task.items) < task.whole else []
    return (*config.provisional, *part, *why_provisional(measured))
