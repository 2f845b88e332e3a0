"""The suite that an evaluation names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from evals.config import EvalConfig
    from evals.tasks.suite import Suite


def load_suite(config: EvalConfig, cache: Path) -> Suite:
    """Loads it, and looks at every target before anything is asked. Raises what the kinds of suite raise."""
    from evals.tasks.lmeval.task import load

    return load(config, cache)
