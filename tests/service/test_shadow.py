"""Shadow traffic: what is copied, kept and dropped, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lifecycle.aliases import Alias, Target
from lifecycle.errors import AdapterUnloadable, DabtError, EngineDead, Overloaded
from lifecycle.states import State
from lifecycle.traffic import Shadow, TrafficPolicy
from lifecycle.version import Prompt, Version, VersionSpec
from service.engine.interface import EngineAnswer, Kind, Tally
from service.openai.answer_guards import Choice
from service.traffic.shadow import Copy, ShadowLimits, Shadows
from service.traffic.shadow_records import Records, ShadowRecord, Side, agree, answered, request_digest

pytestmark = pytest.mark.timeout(300)

BASE = "sha256:" + "b" * 64
TALLY = Tally(prompt_tokens=3, completion_tokens=5, first_token=0.2, per_token=0.05)


def version(number: int) -> Version:
    spec = VersionSpec(base=BASE, prompt=Prompt(system=str(number)))
    return Version(
        name="triage", number=number, spec=spec, state=State.EVALUATED, created_at=datetime.now(UTC), created_by="test"
    )


def alias(**shadow: Any) -> Alias:
    policy = TrafficPolicy(shadow=Shadow(version=2, **shadow))
    return Alias(name="triage", alias="prod", targets=(Target(number=1),), move=1, policy=policy)


def copy(text: str = "heart", code: str = "", **shadow: Any) -> Copy:
    choices = [] if code else [Choice(text, "stop", False)]
    keep = bool(shadow.get("record_bodies"))
    served = Side(ref="triage:1", digest=BASE, code=code)
    if not code:
        served = answered("triage:1", BASE, choices, TALLY, keep=keep)
    body = {"model": "triage", "user": "amal", "stream": True, "messages": [{"role": "user", "content": "صداع"}]}
    return Copy(alias(**shadow), version(2), "chat", body, "req-1", served, choices)


class Scene:
    def __init__(self, folder: Path, limits: ShadowLimits | None = None, **options: Any) -> None:
        self.records = Records(folder)
        self.outcomes: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.answer: str | Exception = "heart"
        self.shadows = Shadows(self.records, self, limits, **options)

    def shadowed(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    async def ask(self, kind: Kind, body: dict[str, Any], candidate: Version) -> EngineAnswer:
        self.asked.append(body)
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        message = {"role": "assistant", "content": self.answer}
        return EngineAnswer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}, TALLY)

    def kept(self) -> list[ShadowRecord]:
        return list(self.records.read("triage", "prod"))


async def test_a_copy_is_answered_and_kept_beside_what_was_served(tmp_path: Path, until: Any) -> None:
    scene = Scene(tmp_path)
    scene.shadows.offer(copy(), scene.ask)
    await until(scene.kept)
    (record,) = scene.kept()
    assert (record.alias, record.request_id, record.agree) == ("triage:prod", "req-1", True)
    assert (record.served.ref, record.candidate.ref) == ("triage:1", "triage:2")
    assert record.candidate.ttft == 0.2
    assert record.candidate.seconds == pytest.approx(0.4)
    assert scene.asked == [{"model": "triage", "messages": [{"role": "user", "content": "صداع"}]}]
    assert scene.outcomes == ["answered"]


async def test_texts_are_kept_only_where_it_is_asked_for(tmp_path: Path, until: Any) -> None:
    plain, full = Scene(tmp_path / "plain"), Scene(tmp_path / "full")
    plain.shadows.offer(copy(), plain.ask)
    full.shadows.offer(copy(record_bodies=True), full.ask)
    await until(lambda: plain.kept() and full.kept())
    written = b"".join(path.read_bytes() for path in (tmp_path / "plain").rglob("*.jsonl")).decode()
    assert all(text not in written for text in ("صداع", "heart", "amal"))
    (record,) = full.kept()
    assert (record.served.texts, record.candidate.texts) == (("heart",), ("heart",))
    assert record.body is not None
    assert record.body["messages"][0]["content"] == "صداع"
    assert "user" not in record.body


@pytest.mark.parametrize(
    ("error", "code"),
    [(AdapterUnloadable("bad rank"), "adapter_unloadable"), (DabtError("x"), "error"), (ValueError("y"), "unexpected")],
)
async def test_a_candidate_that_fails_is_kept_as_failed(
    tmp_path: Path, until: Any, error: Exception, code: str
) -> None:
    scene = Scene(tmp_path)
    scene.answer = error
    scene.shadows.offer(copy(), scene.ask)
    await until(scene.kept)
    (record,) = scene.kept()
    assert (record.candidate.code, record.agree) == (code, None)
    assert scene.outcomes == ["failed"]


@pytest.mark.parametrize("error", [EngineDead("gone"), Overloaded("full")])
async def test_what_the_engine_had_no_room_for_says_nothing_of_the_candidate(
    tmp_path: Path, until: Any, error: Exception
) -> None:
    scene = Scene(tmp_path)
    scene.answer = error
    scene.shadows.offer(copy(), scene.ask)
    await until(lambda: scene.outcomes)
    assert scene.outcomes == ["dropped"]
    assert scene.kept() == []


async def test_few_run_at_once_few_wait_and_the_rest_is_dropped_and_counted(tmp_path: Path, until: Any) -> None:
    scene = Scene(tmp_path, ShadowLimits(running=2, waiting=3))
    scene.go.clear()
    for _ in range(9):
        scene.shadows.offer(copy(), scene.ask)
    await until(lambda: len(scene.asked) == 2)
    assert scene.outcomes == ["dropped"] * 4
    scene.go.set()
    await until(lambda: len(scene.kept()) == 5)
    assert len(scene.asked) == 5


async def test_copies_give_way_while_callers_wait(tmp_path: Path, until: Any) -> None:
    scene = Scene(tmp_path, busy=lambda: True)
    scene.shadows.offer(copy(), scene.ask)
    await until(lambda: scene.outcomes)
    assert scene.outcomes == ["dropped"]
    assert scene.asked == []


async def test_a_copy_that_takes_too_long_is_ended(tmp_path: Path, until: Any) -> None:
    scene = Scene(tmp_path, ShadowLimits(seconds=0.0))
    scene.go.clear()
    scene.shadows.offer(copy(), scene.ask)
    await until(scene.kept)
    assert scene.kept()[0].candidate.code == "timeout"


async def test_stopping_ends_what_runs_and_takes_no_more(tmp_path: Path, until: Any) -> None:
    scene = Scene(tmp_path)
    scene.go.clear()
    scene.shadows.offer(copy(), scene.ask)
    await until(lambda: scene.asked)
    await scene.shadows.stop()
    scene.shadows.offer(copy(), scene.ask)
    assert not scene.shadows.on
    assert len(scene.asked) == 1
    assert scene.kept() == []


async def test_a_disk_that_cannot_be_written_hurts_nobody(tmp_path: Path, until: Any) -> None:
    (tmp_path / "file").write_text("")
    scene = Scene(tmp_path / "file")
    scene.shadows.offer(copy(), scene.ask)
    await until(lambda: scene.outcomes)
    scene.shadows.offer(copy(), scene.ask)
    await until(lambda: len(scene.outcomes) == 2)
    assert scene.outcomes == ["answered", "answered"]


def test_without_a_folder_nothing_is_copied() -> None:
    assert not Shadows(None, None).on  # type: ignore[arg-type]


# -- agreement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("heart", " heart\n", True),
        ('{"a": 1, "b": "قلب"}', '{"b":"قلب","a":1.0}', True),
        ("heart", "Heart", False),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": 1}', "a: 1", False),
        ("", "", True),
    ],
)
def test_two_answers_agree_when_they_are_the_same_text_or_the_same_json(one: str, other: str, same: bool) -> None:
    assert agree([Choice(one, "stop", False)], [Choice(other, "stop", False)]) is same


def test_as_many_choices_are_needed_to_agree() -> None:
    assert not agree([Choice("a", "stop", False)], [])


def test_equal_questions_have_one_digest_whoever_asks_whom() -> None:
    asked = {"messages": [{"role": "user", "content": "a"}], "seed": 1}
    assert request_digest({**asked, "model": "triage", "user": "x", "stream": True}) == request_digest(asked)
    assert request_digest({**asked, "seed": 2}) != request_digest(asked)


# -- what is kept ----------------------------------------------------------------------------------------------------


def record(number: int = 1) -> ShadowRecord:
    side = Side(ref=f"triage:{number}", digest=BASE)
    now = datetime.now(UTC)
    return ShadowRecord(
        at=now, alias="triage:prod", request_id="r", kind="chat", request=BASE, served=side, candidate=side, agree=True
    )


def test_the_oldest_files_go_when_there_are_too_many(tmp_path: Path) -> None:
    records = Records(tmp_path, file_bytes=1000, files=3)
    for number in range(1, 41):
        records.append("triage", "prod", record(number))
    kept = [one.served.ref for one in records.read("triage", "prod")]
    assert len(list((tmp_path / "triage" / "prod").iterdir())) == 3
    assert kept == [f"triage:{number}" for number in range(41 - len(kept), 41)], "the newest, in order"
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl")) <= 3000


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.append("triage", "prod", record())
    (file,) = tmp_path.rglob("*.jsonl")
    file.write_bytes(file.read_bytes() + b'{"at": "2026-')
    assert len(list(records.read("triage", "prod"))) == 1


def test_a_file_that_was_taken_away_is_begun_again(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.append("triage", "prod", record())
    (file,) = tmp_path.rglob("*.jsonl")
    file.unlink()
    records.append("triage", "prod", record(2))
    assert [one.served.ref for one in records.read("triage", "prod")] == ["triage:2"]


def test_two_aliases_do_not_mix(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.append("triage", "prod", record())
    assert list(records.read("triage", "canary")) == []
    assert json.loads(next(tmp_path.rglob("*.jsonl")).read_text())["agree"] is True
