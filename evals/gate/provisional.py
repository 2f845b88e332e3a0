"""Why a run is a look and no verdict. A look is kept, and moves nobody's standing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evals.asking.measure import MeasuredArm, why_provisional
from evals.config import EvalConfig
from evals.tasks.suite import Suite


def provisional(config: EvalConfig, suite: Suite, measured: Sequence[MeasuredArm]) -> tuple[str, ...]:
    """Every reason, in words; empty for a run that decides."""
    part = [f"{len(suite.samples)} of {suite.whole} items"] if len(suite.samples) < suite.whole else []
    asked = [suite.solver.look] if suite.solver.look else []
    return (*config.provisional, *asked, *part, *why_provisional(measured))
