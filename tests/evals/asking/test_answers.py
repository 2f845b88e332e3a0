"""The cache gives an answer back only to the very same request of the very same version."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evals.asking.answers import Answer, AnswerStore, Conditions, _Line, span_of
from lifecycle.version import digest_of

CONDITIONS = Conditions(
    version=digest_of("v"),
    task=digest_of("t"),
    endpoint="http://models.test",
    deployment=digest_of("d"),
    concurrency=8,
    seed=1,
)
KEY = CONDITIONS.key("chat", "item", {"max_tokens": 5})


def answer(key: str = KEY, **changes: Any) -> Answer:
    given = {"key": key, "version": "toy:1", "item": "i", "text": "أهلا\n{x}", "latency": 0.1, "concurrency": 8}
    given |= {"served": CONDITIONS.version, "deployment": CONDITIONS.deployment}
    return Answer(**(given | {"at": datetime(2026, 1, 1, tzinfo=UTC)} | changes))


def test_an_answer_is_kept_in_the_form_that_it_had_and_comes_back_as_it_was(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.jsonl")
    given = answer(
        text="a",
        tool_calls=({"function": {"name": "book", "arguments": "{}"}},),
        logprob=-0.5,
        passages=("p",),
        texts=("نص",),
        first_token=0.01,
    )
    store.add(given)
    assert store.path.read_text(encoding="utf-8") == _Line(**given.model_dump(), form=2).model_dump_json() + "\n"
    for read in (store, AnswerStore(store.path)):
        kept = read.get(KEY)
        assert type(kept) is Answer
        assert kept == given
        assert kept.model_dump() == given.model_dump()


@pytest.mark.parametrize(
    "other",
    [
        {"version": digest_of("another version")},
        {"task": digest_of("another task")},
        {"endpoint": "http://models.test:8001"},
        {"deployment": digest_of("another engine")},
        {"deployment": None},
        {"concurrency": 16},
        {"seed": 2},
        {"take": 1},
    ],
)
def test_any_other_condition_has_another_key(other: dict[str, Any]) -> None:
    changed = CONDITIONS.model_copy(update=other)
    assert changed.key("chat", "item", {"max_tokens": 5}) != KEY


def test_another_item_or_decoding_has_another_key() -> None:
    keys = {
        KEY,
        CONDITIONS.key("completions", "item", {"max_tokens": 5}),
        CONDITIONS.key("chat", "another", {"max_tokens": 5}),
        CONDITIONS.key("chat", "item", {"max_tokens": 6}),
    }
    assert len(keys) == 4


def test_a_key_is_the_digest_of_all_that_it_is_of_so_that_what_is_kept_stays_known() -> None:
    request = {"stop": ["؟"], "max_tokens": 5}
    told = CONDITIONS.model_dump(mode="json")
    assert CONDITIONS.model_copy(update={"repeat": 1}).key("chat", "نص", request) == digest_of(
        [told | {"repeat": 1}, "chat", "نص", request]
    )
    del told["repeat"]
    assert CONDITIONS.key("chat", "نص", request) == digest_of([told, "chat", "نص", request])


def test_lines_are_found_before_and_after_the_database_knows_them_and_the_newest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.asking.answers._TOGETHER", 4)
    store, keys = AnswerStore(tmp_path / "a.jsonl"), [digest_of(number) for number in range(10)]
    for key in keys:
        assert store.get(key) is None
        store.add(answer(key, text=key))
    for key in keys[:3]:
        store.add(answer(key, text=f"again {key}"))
    for read in (store, AnswerStore(store.path)):
        texts = [kept.text for key in keys if (kept := read.get(key))]
        assert texts == [f"again {key}" for key in keys[:3]] + keys[3:]


def test_a_finished_answer_survives_the_process(tmp_path: Path) -> None:
    AnswerStore.of_version(tmp_path, CONDITIONS.version).add(answer())
    assert AnswerStore.of_version(tmp_path, CONDITIONS.version).get(KEY) == answer()
    assert AnswerStore.of_version(tmp_path, digest_of("another version")).get(KEY) is None


def test_a_line_that_was_torn_by_a_crash_costs_one_item_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    store, second = AnswerStore(path), digest_of("second")
    store.add(answer())
    store.add(answer(second))
    path.write_bytes(path.read_bytes()[:-20])
    again = AnswerStore(path)
    assert (again.get(KEY), again.get(second)) == (answer(), None)
    again.add(answer(second))
    assert AnswerStore(path).get(second) == answer(second)


@pytest.mark.parametrize("final", [True, False])
def test_no_failure_is_kept_because_limits_and_keys_change(tmp_path: Path, final: bool) -> None:
    path = tmp_path / "a.jsonl"
    store = AnswerStore(path)
    store.add(answer(error="HTTP 400: too long", final=final))
    assert store.get(KEY) is not None, "it counts in this run"
    assert AnswerStore(path).get(KEY) is None
    assert not path.exists()


@pytest.mark.parametrize("unsaid", ["served", "deployment"])
def test_an_answer_of_which_it_is_not_known_who_gave_it_is_not_kept(tmp_path: Path, unsaid: str) -> None:
    path = tmp_path / "a.jsonl"
    store = AnswerStore(path)
    store.add(answer(**{unsaid: ""}))
    assert store.get(KEY) is not None
    assert AnswerStore(path).get(KEY) is None


@pytest.mark.parametrize("change", [{"form": None}, {"form": 1}, {"form": 3}, {"moon": "full"}])
def test_a_line_of_another_form_is_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.jsonl"
    AnswerStore(path).add(answer())
    line = json.loads(path.read_text(encoding="utf-8"))
    assert line["form"] == 2
    changed = {key: value for key, value in (line | change).items() if value is not None}
    path.write_text(json.dumps(changed) + "\n", encoding="utf-8")
    store = AnswerStore(path)
    assert store.get(KEY) is None
    store.add(answer())
    assert AnswerStore(path).get(KEY) == answer()


def test_a_line_from_before_deployments_is_passed_over_and_costs_nothing_else(tmp_path: Path) -> None:
    """Word for word as the release before wrote it."""
    old = (
        '{"key":"%s","version":"toy:1","item":"i","text":"x","logprob":null,"greedy":null,"finish_reason":"stop",'
        '"latency":0.1,"concurrency":8,"prompt_tokens":1,"completion_tokens":1,"passages":[],"retries":0,"error":"",'
        '"final":true,"at":"2026-01-01T00:00:00Z"}\n'
    )
    path = tmp_path / "a.jsonl"
    path.write_text(old % KEY)
    store = AnswerStore(path)
    assert store.get(KEY) is None
    store.add(answer())
    assert AnswerStore(path).get(KEY) == answer()


def test_bounds_and_defaults() -> None:
    plain = Conditions(**CONDITIONS.model_dump(exclude={"take"}))
    assert plain == CONDITIONS
    assert plain.take == 0
    assert Conditions(**(CONDITIONS.model_dump() | {"concurrency": 1})).concurrency == 1
    for wrong in ({"concurrency": 0}, {"take": -1}):
        with pytest.raises(ValidationError):
            Conditions(**(CONDITIONS.model_dump() | wrong))
    given = {"key": KEY, "version": "toy:1", "item": "i", "latency": 0.0, "concurrency": 8}
    bare = Answer(**given, at=datetime(2026, 1, 1, tzinfo=UTC))
    unsaid = {name: value for name, value in bare.model_dump().items() if name not in {*given, "at"}}
    assert unsaid == {
        "text": "",
        "tool_calls": (),
        "logprob": None,
        "greedy": None,
        "finish_reason": "",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "first_token": None,
        "searched": 0.0,
        "shared": 1,
        "passages": (),
        "texts": (),
        "retries": 0,
        "served": "",
        "deployment": "",
        "error": "",
        "final": True,
    }
    with pytest.raises(ValidationError):
        answer(latency=-0.1)


def test_a_whole_file_is_read_as_it_is_and_two_runs_may_write_it(tmp_path: Path) -> None:
    path, second = tmp_path / "folder" / "a.jsonl", digest_of("second")
    one, other = AnswerStore(path), AnswerStore(path)
    one.add(answer())
    other.add(answer(second))
    before = path.read_bytes()
    assert before.count(b"\n") == 2
    again = AnswerStore(path)
    assert (again.get(KEY), again.get(second)) == (answer(), answer(second))
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 & ~0o022 == 0o644
    assert AnswerStore(tmp_path / "none.jsonl").get(KEY) is None


def test_a_versions_file_is_named_by_its_digest(tmp_path: Path) -> None:
    store = AnswerStore.of_version(tmp_path, CONDITIONS.version)
    assert store.path == tmp_path / f"{CONDITIONS.version[7:]}.jsonl"


def opened_here(folder: Path) -> list[str]:
    """Files of the folder that this process has open; others of it are other tests' threads'."""
    opened = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            opened.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [path for path in opened if path.startswith(str(folder))]


def test_a_store_leaves_no_file_open_however_many_answers_are_kept_and_one_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation keeps thousands, and a process may have a thousand files open."""
    store = AnswerStore(tmp_path / "answers.jsonl")
    for number in range(20):
        store.add(answer(CONDITIONS.key("chat", str(number), {})))
    again = AnswerStore(store.path)
    assert all(again.get(CONDITIONS.key("chat", str(number), {})) for number in range(20))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="disk full"):
        store.add(answer(CONDITIONS.key("chat", "another", {})))
    assert opened_here(tmp_path) == []


def test_answers_that_came_with_one_reply_have_its_span() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    given = {"key": KEY, "version": "toy:1", "item": "i", "concurrency": 8, "at": at}
    alone, shared = Answer(**given, latency=2.0), Answer(**given, latency=0.5, shared=4)
    assert span_of(alone) == span_of(shared) == (at.timestamp() - 2.0, at.timestamp())
