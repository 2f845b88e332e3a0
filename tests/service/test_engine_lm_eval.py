"""Log-likelihoods by lm-eval's own API model over the service, against lm-eval on the same weights in transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TOLERANCE = 0.001
"""Nats over a whole continuation of up to 30 tokens, both in float32: sums are made in another order."""

ROWS = [
    {"question": "The clinic opens at", "choices": [" eight in the morning.", " the second floor.", " a"], "answer": 0},
    {"question": "العيادة تفتح الساعة", "choices": [" الثامنة صباحاً", " clinic", " أهلاً وسهلاً بكم."], "answer": 0},
    {"question": '{"intent": "', "choices": ['appointment", "department"', 'dentistry"}', "low"], "answer": 1},
    {"question": "The clinic opens at eight in the morning. " * 4, "choices": [" The", " العيادة", " {}"], "answer": 2},
    {"question": "a", "choices": ["b", " b", "ب"], "answer": 1},
]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with one multiple-choice task, for lm-eval's own reader."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    config = {
        "task": "clinic_choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}, "cache_dir": str(tmp_path / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "clinic_choice.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "tasks"


def measured(
    task: Path, model: str, arguments: dict[str, Any]
) -> tuple[dict[str, float], list[list[tuple[float, bool]]]]:
    """The scores, and the log-likelihood and greediness of every choice of every item."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=["clinic_choice"],
        task_manager=TaskManager(include_path=str(task), include_defaults=False),
        device="cpu",
        batch_size=1,
        bootstrap_iters=0,
        log_samples=True,
    )
    scores = {name: found["results"]["clinic_choice"][f"{name},none"] for name in ("acc", "acc_norm")}
    samples = sorted(found["samples"]["clinic_choice"], key=lambda one: one["doc_id"])
    choices = [[(float(value), greedy in (True, "True")) for value, greedy in one["filtered_resps"]] for one in samples]
    return scores, choices


@pytest.mark.parametrize("model", ["random-llama", "red", "green"])
def test_local_completions_gives_what_transformers_gives(real: Any, task: Path, model: str) -> None:
    base = str(real.reference.base)
    hf = {"pretrained": base, "dtype": "float32", "max_length": 512}
    if model in real.reference.adapters:
        hf["peft"] = str(real.reference.adapters[model])
    api = {
        "model": model,
        "base_url": f"{real.url}/v1/completions",
        "tokenizer": base,
        "tokenized_requests": True,
        "num_concurrent": 4,
        "max_retries": 1,
        "max_length": 512,
    }
    scores, choices = measured(task, "local-completions", api)
    wanted_scores, wanted = measured(task, "hf", hf)
    assert scores == wanted_scores
    for item, wanted_item in zip(choices, wanted, strict=True):
        assert [value for value, _ in item] == pytest.approx([value for value, _ in wanted_item], abs=TOLERANCE)
        assert [greedy for _, greedy in item] == [greedy for _, greedy in wanted_item]
