"""The clinic's own evaluations of harm: each file loads with its suite, and the policy has rules for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.config import EvalConfig, load_policy
from evals.safety.planted_documents import plant
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidData

CLINIC = Path(__file__).parents[3] / "examples" / "clinic"
FILES = sorted(path for path in (CLINIC / "evals" / "safety").glob("*.yaml") if path.name != "policy.yaml")
ITEMS = {"counterfactual": 40, "escalation": 60, "refusal": 80, "robustness": 300}
"""At least so many."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_with_its_suite_and_its_rules(path: Path, tmp_path: Path) -> None:
    config = EvalConfig.load(path)
    assert config.task == f"safety/{path.stem}"
    assert len(load_policy(config.policy).on(config.task).rules) == 2
    if path.stem == "injection":  # its questions are planted by a command
        with pytest.raises(InvalidData, match="no_file"):
            load_suite(config, tmp_path)
        questions = CLINIC / "data" / "handbook" / "test.jsonl"
        plant(CLINIC / "handbook", questions, tmp_path / "planted", gold="passage", number=None, seed=17)
        settings = {"planted": str(tmp_path / "planted" / "questions.jsonl")}
        assert len(load_suite(config.model_copy(update={"settings": settings}), tmp_path).samples) == 40
        return
    assert len(load_suite(config, tmp_path).samples) >= ITEMS[path.stem]
