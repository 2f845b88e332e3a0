"""A hub's data set as the rows of a run or an evaluation: pinned, and named where it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.cli import eval_
from evals.config import EvalConfig
from lifecycle.errors import InvalidConfig, NotFound
from lifecycle.rows import hub
from tests.lifecycle.rows.stub_hub import StubHub, used
from training.config import TrainJob
from training.data.looking import Task, look
from training.data.split_files import Side, split

ROWS = b'{"prompt": "q", "completion": "a"}\n{"prompt": "another", "completion": "b"}\n'


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with used(monkeypatch, tmp_path) as stub:
        yield stub


def configured(**data: Any) -> dict[str, Any]:
    return {"name": "t", "base": "org/model", "data": data}


def test_a_run_keeps_the_commit_of_its_rows_and_reads_the_same_again(stub: StubHub, tmp_path: Path) -> None:
    first = stub.put("org/set", {"train.jsonl": ROWS, "validation.jsonl": ROWS})
    job = TrainJob.from_mapping(configured(train="org/set", validation="org/set:validation"), tmp_path / "any")
    exact = {"train": [{"path": f"org/set@{first}:train"}], "validation": f"org/set@{first}:validation"}
    told = job.anywhere()
    assert {key: told["data"][key] for key in exact} == exact
    assert job.pinned.model_dump(mode="json", exclude_none=True)["data"].items() >= exact.items()
    stub.put("org/set", {"train.jsonl": ROWS * 2, "validation.jsonl": ROWS})
    hub._fetched.cache_clear()
    again = TrainJob.from_mapping(told, tmp_path)
    assert [path.read_bytes() for path in (*again.train_paths, again.validation_path)] == [ROWS, ROWS]  # type: ignore[union-attr]


def test_rows_that_no_hub_has_are_told_with_all_other_faults(stub: StubHub, tmp_path: Path) -> None:
    raw = configured(train=["org/none", "nofile.jsonl"], colour="red")
    with pytest.raises(InvalidConfig) as told:
        TrainJob.from_mapping(raw, tmp_path)
    places = [problem.place for problem in told.value.problems]
    assert places == ["data.colour", "data.train[0]", "data.train[1]"]
    assert "no data set org/none on the hub" in told.value.problems[1].fault


def test_a_file_beside_the_configuration_comes_before_a_data_set(stub: StubHub, tmp_path: Path) -> None:
    (tmp_path / "there/org").mkdir(parents=True)
    (tmp_path / "there/org/set").write_bytes(ROWS)
    job = TrainJob.from_mapping(configured(train="org/set"), tmp_path / "there")
    assert job.train_paths == (tmp_path / "there/org/set",)
    assert stub.asked == []


def test_data_sets_are_looked_at_and_split_by_their_name(stub: StubHub, tmp_path: Path) -> None:
    stub.put("org/set", {"train.jsonl": ROWS, "test.jsonl": ROWS[:35]})
    report = look(Task((Path("org/set"),), against=(Path("org/set:test"),)))
    assert (report.rows, report.of("error")[0].check) == (2, "leakage")
    sides = [Side("train", tmp_path / "a.jsonl", None), Side("test", tmp_path / "b.jsonl", 1)]
    split(Path("org/set"), sides)
    assert (tmp_path / "a.jsonl").read_bytes() + (tmp_path / "b.jsonl").read_bytes() in (ROWS, ROWS[35:] + ROWS[:35])


def test_the_rows_of_the_command_may_be_a_data_sets(stub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Exception):
        """Nothing is asked of the rows."""

    def of_rows(items: str, arms: str, **_: Any) -> None:
        raise Taken(Path(items).read_bytes())

    stub.put("org/set", {"train.jsonl": b"", "test.jsonl": ROWS})
    monkeypatch.setattr(EvalConfig, "of_rows", of_rows)
    with pytest.raises(Taken) as taken:
        eval_(None, data=Path("org/set:test"), arms="base,t:1")
    assert taken.value.args == (ROWS,)
    with pytest.raises(NotFound, match="no data set org/none"):
        eval_(None, data=Path("org/none"), arms="base,t:1")


def test_an_evaluations_rows_may_be_a_data_sets(stub: StubHub, tmp_path: Path) -> None:
    stub.put("org/set", {"train.jsonl": b"", "test.jsonl": ROWS})
    raw = {"name": "e", "data": "org/set:test", "tasks": ["t"], "arms": [{"name": "base", "base": True}]}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({**raw, "data": "org/none"}))
    with pytest.raises(InvalidConfig, match="no data set org/none"):
        EvalConfig.load(tmp_path / "e.yaml")
