"""The seam of methods: which there are, how one is asked for, and that a package outside the house can bring one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig
from training.config import TrainJob
from training.methods import method_class, names, read_method
from training.recipes.lora import Lora

_TOY = '''
from typing import Literal
from training.method import Method, Trained

class Parrot(Method):
    """Learns nothing and says so."""
    type: Literal["parrot"] = "parrot"
    words: int = 3
    def examples(self, task, rows):
        return rows
    def train(self, task, training, validation):
        return Trained(task.folder, {})

def no_method():
    return None
'''


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that is installed beside the product, with two entry points."""
    folder = tmp_path / "site"
    told = folder / "toy_methods-1.0.dist-info"
    told.mkdir(parents=True)
    (folder / "toy_methods.py").write_text(_TOY)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-methods\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[dabt.methods]\nparrot = toy_methods:Parrot\nhollow = toy_methods:no_method\nabsent = no_such_package:Thing\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return folder


def job(folder: Path, method: Any) -> TrainJob:
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    raw = {"name": "toy", "base": ".", "data": {"train": "rows.jsonl"}}
    return TrainJob.from_mapping(raw if method is None else {**raw, "method": method}, folder)


def test_a_method_is_lora_unless_another_is_asked_for(tmp_path: Path) -> None:
    assert job(tmp_path, None).config.method == Lora()
    assert job(tmp_path, "lora").config.method == Lora()
    assert job(tmp_path, {"r": 8}).config.method == Lora(r=8)
    assert job(tmp_path, {"type": "lora", "r": 8}).config.method == Lora(r=8)


def test_a_method_of_another_package_is_found_by_its_entry_point(foreign: Path, tmp_path: Path) -> None:
    assert {"parrot", "hollow", "absent"} <= set(names())
    method: Any = job(tmp_path, {"type": "parrot", "words": 5}).config.method
    assert (type(method).__name__, method.words) == ("Parrot", 5)
    assert job(tmp_path, "parrot").config.model_dump(mode="json")["method"] == {"type": "parrot", "words": 3}


def test_a_foreign_method_counts_with_its_code_in_the_run(foreign: Path) -> None:
    parrot = method_class("parrot")
    assert {module.__name__ for module in parrot.code()} == {"toy_methods", "training.method"}


@pytest.mark.parametrize(
    ("method", "place", "said"),
    [
        ("lara", "method.type", "'lara' is no method → the methods are lora, full, last_layers, merged_lora"),
        ({"type": "lara", "r": 8}, "method.type", "'lara' is no method"),
        (["lora"], "method", "neither a method's name nor a mapping"),
        ({"type": 3}, "method", "neither a method's name nor a mapping"),
        ({"type": "lora", "rang": 8}, "method.rang", "is no key here"),
        ({"type": "lora", "alpha": 0}, "method.alpha", "more than 0"),
        ("hollow", "method.type", "no subclass of training.method.Method"),
        ("absent", "method.type", "cannot be imported: No module named 'no_such_package'"),
        ({"type": "parrot", "words": "many"}, "method.words", "a whole number"),
    ],
)
def test_what_is_wrong_with_a_method_is_told_with_its_place(
    foreign: Path, tmp_path: Path, method: Any, place: str, said: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        job(tmp_path, method)
    (problem,) = caught.value.problems
    assert problem.place == place
    assert said in str(problem)


def test_the_old_place_of_loras_settings_is_named_with_the_new_one() -> None:
    with pytest.raises(InvalidConfig, match=r"lora: is no key here.*method: \{type: lora"):
        TrainJob.from_mapping({"name": "toy", "base": ".", "data": {"train": __file__}, "lora": {"r": 8}}, Path("."))


def test_other_keys_are_still_looked_at_when_the_method_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    raw = {"name": "Bad Name", "base": ".", "data": {"train": "rows.jsonl"}, "method": "lara"}
    with pytest.raises(InvalidConfig) as caught:
        TrainJob.from_mapping(raw, tmp_path)
    assert {problem.place for problem in caught.value.problems} == {"name", "method.type"}


def test_nothing_is_read_as_a_method() -> None:
    method, problems = read_method(None)
    assert method is None
    assert [problem.place for problem in problems] == ["method"]
