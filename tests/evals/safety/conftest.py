"""An evaluation of a suite of harm on fake models: the base says one thing, the adapter another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from evals.run import evaluate
from lifecycle.home import Home
from lifecycle.registry import Registry

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
Run = Callable[..., Evaluation]


@pytest.fixture
def run_suite(models: Any, registry: Registry, home: Home, base_model: Path, trained: str, tmp_path: Path) -> Run:
    """`base` and `adapter` are what the two say to a question; `keys` are the evaluation's own."""

    def run(suite: str, base: Callable[[str], str], adapter: Callable[[str], str], **keys: Any) -> Evaluation:
        models.speaks.update(base=base, adapter=adapter)
        raw = {
            "name": "toy", "task": suite, "base": str(base_model), "noise_items": 0, "provisional": ("a test",),
            "arms": {"base": {}, "adapter": {"version": trained}}, **keys,
        }  # fmt: skip
        config = EvalConfig.model_validate(raw, context={"folder": tmp_path})
        return evaluate(config, registry, home, endpoint=QUICK, transport=models.transport)

    return run
