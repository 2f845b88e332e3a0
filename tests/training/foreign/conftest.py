"""A place where another trainer is started: its data, and its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifecycle.errors import InvalidConfig, Problem
from training.config import TrainJob
from training.foreign.reading import converted
from training.foreign.translation import Asked, Translation
from training.foreign.written import written


def problems(make: Callable[[], object]) -> dict[str, str]:
    """Place → fault and cure of everything that is refused."""
    with pytest.raises(InvalidConfig) as caught:
        make()
    return {problem.place: said(problem) for problem in caught.value.problems}


def said(problem: Problem) -> str:
    return f"{problem.fault} → {problem.cure}"


class Place:
    """The folder where the tool is started; `ours` is another, where the configuration is written."""

    def __init__(self, root: Path) -> None:
        self.root = root / "tool"
        self.ours = root / "ours"
        (self.root / "data").mkdir(parents=True)
        self.ours.mkdir()

    def rows(self, name: str, rows: list[Any]) -> Path:
        path = self.root / name
        path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
        return path

    def info(self, **sets: Mapping[str, Any]) -> None:
        text = json.dumps(sets, ensure_ascii=False)
        (self.root / "data/dataset_info.json").write_text(text, encoding="utf-8")

    def translate(self, raw: Mapping[str, Any], *, accept: tuple[str, ...] = (), **more: Any) -> Translation:
        """Raises as the command does. `raw` goes through YAML, as a file does."""
        file = self.root / "theirs.yaml"
        file.write_text(yaml.safe_dump(dict(raw), allow_unicode=True), encoding="utf-8")
        asked = {"name": "triage", "root": self.root, "out": self.ours / "triage.yaml", **more}
        return converted(file, Asked(**asked, accepted=frozenset(accept)))

    def job(self, raw: Mapping[str, Any], *, accept: tuple[str, ...] = (), **more: Any) -> TrainJob:
        """What `dabt train` reads of the file that is written."""
        made = self.translate(raw, accept=accept, **more)
        out = self.ours / "triage.yaml"
        out.write_text(written(made, "theirs.yaml"), encoding="utf-8")
        for ending, text in made.texts.items():
            (self.ours / f"triage{ending}").write_text(text, encoding="utf-8")
        return TrainJob.load(out)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def told(made: Translation) -> set[str]:
    """Every key of which something is said."""
    return {key for setting in made.settings for key in setting.keys} | {*made.idle} | {*made.accepted}
