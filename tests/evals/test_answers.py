"""The cache gives an answer back only to the very same request of the very same version."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals.answers import Answer, AnswerStore, Conditions
from lifecycle.version import digest_of

CONDITIONS = Conditions(version=digest_of("v"), task=digest_of("t"), concurrency=8, seed=1)
KEY = CONDITIONS.key("chat", "item", {"max_tokens": 5})


def answer(key: str = KEY, **changes: Any) -> Answer:
    given = {"key": key, "version": "toy:1", "item": "i", "text": "أهلا\n{x}", "latency": 0.1, "concurrency": 8}
    return Answer(**(given | {"at": datetime(2026, 1, 1, tzinfo=UTC)} | changes))


@pytest.mark.parametrize(
    "other",
    [
        {"version": digest_of("another version")},
        {"task": digest_of("another task")},
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


def test_a_passing_failure_counts_in_this_run_and_is_asked_again_in_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    store = AnswerStore(path)
    store.add(answer(error="HTTP 500", final=False))
    assert store.get(KEY) is not None
    assert AnswerStore(path).get(KEY) is None


def test_a_final_failure_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    AnswerStore(path).add(answer(error="HTTP 400: too long", final=True))
    kept = AnswerStore(path).get(KEY)
    assert kept is not None
    assert kept.error == "HTTP 400: too long"
