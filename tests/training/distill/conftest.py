"""A fake teacher, and plans that ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.answer_schema import AnswerSchema
from lifecycle.version import Prompt
from tests.training.distill.fake_teacher import FakeTeacher, teaching
from training.data.distill.distillation import Distilled, distil
from training.data.distill.inputs import Inputs
from training.data.distill.plan import Distillation
from training.data.distill.teacher import Clock, TeacherSettings

SCHEMA = {
    "type": "object",
    "properties": {"intent": {"enum": ["advice", "billing"]}, "note": {"type": "string"}},
    "required": ["intent", "note"],
    "additionalProperties": False,
}
KEY = "sk-secret-of-the-test"


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTeacher]:
    monkeypatch.setenv("TEACHERS_KEY", KEY)
    with teaching() as fake:
        yield fake


@pytest.fixture
def plan(teacher: FakeTeacher, tmp_path: Path) -> Callable[..., Distillation]:
    """A plan over rows (texts or dicts); settings of the teacher and other parts of the plan by name."""

    def make(*rows: str | dict[str, Any], **parts: Any) -> Distillation:
        source = tmp_path / "inputs.jsonl"
        written = [row if isinstance(row, dict) else {"text": row} for row in rows]
        if rows:
            source.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in written), encoding="utf-8")
        own = {key: parts.pop(key) for key in list(parts) if key in TeacherSettings.model_fields}
        settings = {"url": teacher.url, "model": "wise", "key_env": "TEACHERS_KEY", "pause": 0.001, "timeout": 20.0}
        given: dict[str, Any] = {
            "inputs": Inputs(source),
            "out": tmp_path / "train.jsonl",
            "schema": AnswerSchema.of(SCHEMA, "triage"),
            "prompt": Prompt(system="Sort the message."),
        }
        return Distillation(**given | {"teacher": TeacherSettings.model_validate(settings | own)} | parts)

    return make


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the run wanted to sleep."""
    return []


@pytest.fixture
def run(waits: list[float]) -> Callable[[Distillation], Distilled]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    clock = Clock(lambda: sum(waits), sleep)
    return lambda plan: distil(plan, lambda _: None, clock)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
