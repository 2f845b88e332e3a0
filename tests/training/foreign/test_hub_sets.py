"""A data set that another tool names on the hub keeps its name, and its rows are held against the tool's reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.rows import hub
from tests.lifecycle.rows.stub_hub import StubHub, used
from tests.training.foreign import test_axolotl, test_llama_factory, test_trl
from tests.training.foreign.conftest import Place, problems

TRIAGE = json.dumps({"instruction": "سؤال", "input": "", "output": "جواب"}).encode() + b"\n"
TALK = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}).encode()
CARD = b"---\nconfigs:\n- config_name: ar\n  data_files:\n  - {split: train, path: a.jsonl}\n---\n"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with used(monkeypatch, tmp_path) as stub:
        yield stub


def factory(place: Place, **entry: Any) -> dict[str, Any]:
    place.info(triage={"hf_hub_url": "org/set", **entry})
    return test_llama_factory.LEAST


def test_llama_factorys_hub_sets_keep_their_names(stub: StubHub, place: Place) -> None:
    stub.put("org/set", {"train.jsonl": TRIAGE * 20, "test.jsonl": TRIAGE * 20})
    stub.put("org/parts", {"README.md": CARD, "a.jsonl": TRIAGE * 20})
    for entry, name in (
        ({}, "org/set"),
        ({"split": "test", "ms_hub_url": "other/set", "file_name": "none.jsonl"}, "org/set:test"),
        ({"hf_hub_url": "org/parts", "subset": "ar"}, "org/parts:ar:train"),
    ):
        made = place.translate(factory(place, **entry))
        assert [setting.value for setting in made.settings if setting.path == ("data", "train")] == [name]
    online = {**test_llama_factory.LEAST, "dataset_dir": "ONLINE", "dataset": "org/set", "eval_dataset": "org/set"}
    made = place.translate(online)
    named = {setting.path[1]: setting.value for setting in made.settings if setting.path[0] == "data"}
    assert named == {"train": "org/set", "validation": "org/set"}


def test_axolotls_hub_sets_keep_their_names(stub: StubHub, place: Place) -> None:
    commit = stub.put("org/set", {"train.jsonl": TALK + b"\n", "test.jsonl": TALK})
    stub.put("org/parts", {"README.md": CARD, "a.jsonl": TALK})
    for said, name in (
        ({"path": "org/set"}, "org/set"),
        ({"path": "org/set", "split": "test", "revision": commit}, f"org/set@{commit}:test"),
        ({"path": "org/parts", "name": "ar"}, "org/parts:ar:train"),
    ):
        made = place.translate({**test_axolotl.LEAST, "datasets": [{"type": "chat_template", **said}]})
        assert [setting.value for setting in made.settings if setting.path == ("data", "train")] == [name]
    for said in ({"path": "org/set", "data_files": ["train.jsonl"]}, {"path": "s3://bucket/rows"}, {"path": "squad"}):
        raw = {**test_axolotl.LEAST, "datasets": [{"type": "chat_template", **said}]}
        assert "whole splits alone" in problems(lambda raw=raw: place.translate(raw))["datasets[0].path"]


def test_trls_hub_sets_keep_their_names(stub: StubHub, place: Place) -> None:
    stub.put("org/set", {"train.jsonl": TALK + b"\n", "test.jsonl": TALK})
    stub.put("org/parts", {"README.md": CARD, "a.jsonl": TALK})
    for said, names in (
        ({"dataset_name": "org/set", "eval_strategy": "epoch"}, ["org/set:train", "org/set:test"]),
        ({"dataset_name": "org/parts", "dataset_config": "ar"}, ["org/parts:ar:train"]),
        ({"datasets": [{"path": "org/parts", "name": "ar"}], "dataset_name": None}, ["org/parts:ar:train"]),
    ):
        made = place.translate({**test_trl.LEAST, **said})
        told = {setting.path: setting.value for setting in made.settings}
        assert [told.get(("data", key)) for key in ("train", "validation")][: len(names)] == names
    hub._fetched.cache_clear()
    wrong = problems(lambda: place.translate({**test_trl.LEAST, "dataset_name": "org/none", "packing": True}))
    assert [*wrong] == ["dataset_name", "packing"], "it is told beside all else"
    assert "no data set org/none on the hub" in wrong["dataset_name"]


def test_what_the_hub_does_not_have_and_rows_that_differ_are_refused_with_all_else(stub: StubHub, place: Place) -> None:
    wanted = factory(place)
    assert "no data set org/set on the hub" in problems(lambda: place.translate(wanted))["dataset.triage"]
    hub._fetched.cache_clear()
    stub.put("org/set", {"train.jsonl": TRIAGE + TALK})
    assert "row 2 of set" in problems(lambda: place.translate(wanted))["dataset.triage"]
