"""Log-likelihoods over the service, by lm-eval's own API model and by `dabt eval`, against lm-eval on the same weights
in transformers.
"""

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
        "description": "Choose one. اختر واحدًا.\n\n",
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
    task: Path, model: str, arguments: dict[str, Any], **more: Any
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
        **more,
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


SYSTEM = "Answer shortly. أجب باختصار."


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_dabt_eval_gives_what_transformers_gives_for_text_and_behind_a_system_text(
    real: Any, task: Path, tmp_path: Path, chat: bool
) -> None:
    """With a prompt, lm-eval's chat template and system instruction are what the service does."""
    from evals.config import EvalConfig
    from evals.run import evaluate

    (tmp_path / "system.txt").write_text(SYSTEM, encoding="utf-8")
    (tmp_path / "choice.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "choice-chat" if chat else "choice-text",
                "task": "clinic_choice",
                "task_files": str(task),
                "base": str(real.reference.base),
                "metric": "acc",
                "provisional": ["a look"],
                "noise_items": 0,
                "arms": {
                    "base": {"prompt": {"system": "system.txt"}} if chat else {},
                    "red": {"adapter": "red:1", "prompt": {"system": "system.txt"}} if chat else {"version": "red:1"},
                },
            }
        )
    )
    config = EvalConfig.load(tmp_path / "choice.yaml", endpoint=f"{real.url}/v1")
    made = evaluate(config, real.house.registry, real.house.home)
    rows = [json.loads(line) for line in (made.folder / "items.jsonl").read_text("utf-8").splitlines()]
    for arm in made.report.arms:
        hf = {"pretrained": str(real.reference.base), "dtype": "float32", "max_length": 512}
        if arm.arm == "red":
            hf["peft"] = str(real.reference.adapters["red"])
        more = {"apply_chat_template": True, "system_instruction": SYSTEM} if chat else {}
        scores, choices = measured(task, "hf", hf, **more)
        assert {name: arm.metrics[name].value for name in scores} == scores
        told = [[float(value) for value in row["arms"][arm.arm]["answer"].split()] for row in rows]
        for mine, theirs in zip(told, choices, strict=True):
            assert mine == pytest.approx([value for value, _ in theirs], abs=0.0051), "two digits are told"
