"""How the teacher is asked: patient with what may pass, and in whatever way the endpoint takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from lifecycle.answer_schema import AnswerSchema
from tests.training.distill.conftest import SCHEMA, read
from tests.training.distill.fake_teacher import FakeTeacher, Reply, failing, refusing
from training.data.distill.distillation import Course, Distilled
from training.data.distill.plan import Distillation
from training.data.distill.spending import Tokens

Make, Run = Callable[..., Distillation], Callable[[Distillation], Distilled]
GOOD = json.dumps({"intent": "billing", "note": "ok"})
HTML = Reply(raw=b"<html>busy</html>", headers={"content-type": "text/html"})
LOOSE = {"name": "triage", "schema": SCHEMA, "strict": False}
TORN = Reply(raw=b'{"choices": [{"mess')


@pytest.mark.parametrize("reply", [failing(429), failing(500), failing(503), failing(529), failing(408), failing(409)])
def test_a_failure_that_may_pass_is_tried_again_with_longer_pauses(
    plan: Make, run: Run, teacher: FakeTeacher, waits: list[float], reply: Reply
) -> None:
    teacher.script["one"].extend([reply] * 3)
    found = run(plan("one", retries=3, pause=1.0))
    assert (found.labelled, found.requests, len(teacher.bodies)) == (1, 4, 4)
    assert [1 <= waits[0] <= 1.25, 2 <= waits[1] <= 2.5, 4 <= waits[2] <= 5.0] == [True] * 3


def test_after_the_last_try_the_input_is_left_for_another_run(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["one"].extend([failing(500)] * 3)
    found = run(plan("one", retries=2))
    assert (found.unanswered, len(teacher.bodies)) == (1, 3)
    assert "HTTP 500: no" in str(found.stopped)


@pytest.mark.parametrize(
    ("headers", "least"),
    [({"retry_after": "7"}, 7.0), ({"retry_after_ms": "2500"}, 2.5), ({"retry_after": "9999"}, 60.0)],
)
def test_an_endpoint_is_given_the_time_that_it_asks_for_up_to_a_minute(
    plan: Make, run: Run, teacher: FakeTeacher, waits: list[float], headers: dict[str, str], least: float
) -> None:
    teacher.script["one"].append(failing(429, **headers))
    run(plan("one"))
    assert least - 0.1 <= sum(waits) <= least + 0.1


def test_a_pause_that_the_endpoint_asks_for_is_everybodys(
    plan: Make, run: Run, teacher: FakeTeacher, waits: list[float]
) -> None:
    run(plan("zero"))
    teacher.script["one"].append(failing(429, retry_after="30"))
    found = run(plan("zero", "one", "two", "three", concurrency=1))
    assert found.labelled == 4
    assert 30 <= sum(waits) <= 30.1, "and those behind do not wait again"


def test_a_date_is_a_time_to_wait_for_too(plan: Make, run: Run, teacher: FakeTeacher, waits: list[float]) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    teacher.script["one"].append(failing(429, retry_after=then))
    run(plan("one"))
    assert 20 <= sum(waits) <= 40


def test_an_endpoint_that_wants_no_other_try_gets_none(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["one"].append(failing(500, x_should_retry="false"))
    assert run(plan("one")).unanswered == 1
    assert len(teacher.bodies) == 1


@pytest.mark.parametrize(
    ("reply", "paid"),
    [
        (failing(429), False),
        (failing(500), False),
        (failing(504), True),
        (Reply(GOOD, hang=4.0), True),
        (Reply(cut=True), True),
        (HTML, True),
        (TORN, True),
        (Reply(raw=b"{}"), True),
        (Reply(raw=b'{"choices": []}'), True),
    ],
)
def test_a_failure_that_may_have_been_paid_for_counts_at_its_worst(
    plan: Make, run: Run, teacher: FakeTeacher, reply: Reply, paid: bool
) -> None:
    teacher.script["one"].append(reply)
    made = plan("one", timeout=2.0 if reply.hang else 20.0)
    found = run(made)
    first = json.loads(made.journal.read_text(encoding="utf-8").splitlines()[1])
    worst = Tokens(first["prompt"], first["completion"]) if paid else Tokens()
    assert (found.labelled, found.requests) == (1, 2)
    assert found.tokens == Tokens(40, 10) + worst
    assert run(made).tokens == found.tokens, "and so after a restart"


def test_nobody_was_paid_where_nobody_was_reached(plan: Make, run: Run) -> None:
    found = run(plan("one", url="http://127.0.0.1:1/v1", retries=1))
    assert (found.tokens, found.requests) == (Tokens(), 2)
    assert "Connect" in str(found.stopped)


def refused_formats(*kinds: str) -> Callable[[dict[str, Any]], Reply | None]:
    def refuse(body: dict[str, Any]) -> Reply | None:
        given = body.get("response_format", {"type": "text"})
        strict = given.get("json_schema", {}).get("strict")
        kind = f"{given['type']}{' strict' if strict else ''}"
        return refusing(f"unknown response_format {kind}", param="response_format") if kind in kinds else None

    return refuse


@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        (["json_schema strict"], {"type": "json_schema", "json_schema": LOOSE}),
        (["json_schema strict", "json_schema"], {"type": "json_object"}),
        (["json_schema strict", "json_schema", "json_object"], None),
    ],
)  # fmt: skip
def test_an_endpoint_that_refuses_a_format_is_asked_in_a_weaker_one_from_then_on(
    plan: Make, run: Run, teacher: FakeTeacher, refused: list[str], asked: dict[str, Any] | None
) -> None:
    teacher.refuse = refused_formats(*refused)
    made = plan(*map(str, range(6)), concurrency=3)
    found = run(made)
    assert found.labelled == 6
    assert len(teacher.bodies) == 6 + len(refused), "it is found out once"
    assert teacher.bodies[-1].get("response_format") == asked
    said = teacher.bodies[-1]["messages"][0]["content"]
    assert (json.dumps(SCHEMA) in said) == (len(refused) > 1), "where no format says it, the words do"
    assert len(found.notes) == len(refused)
    assert "the endpoint refused response_format json_schema, strict (HTTP 400: unknown" in found.notes[0]
    assert found.requests == 6 + len(refused)
    assert found.tokens == Tokens(240, 60), "a refused request costs nothing"


def test_a_schema_that_openai_cannot_hold_to_strictly_is_not_asked_for_strictly(
    plan: Make, run: Run, teacher: FakeTeacher
) -> None:
    loose = AnswerSchema.of(SCHEMA | {"additionalProperties": True})
    run(plan("one", schema=loose))
    assert teacher.bodies[0]["response_format"]["json_schema"]["strict"] is False


def test_a_reasoning_model_is_asked_with_the_fields_that_it_takes(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    def refuse(body: dict[str, Any]) -> Reply | None:
        if "max_tokens" in body:
            return refusing("Unsupported parameter: use 'max_completion_tokens' instead.", param="max_tokens")
        if "temperature" in body:
            return refusing("Unsupported value: 'temperature' does not support 0.", param="temperature")
        return None

    teacher.refuse = refuse
    found = run(plan("one", "two", max_tokens=77))
    assert found.labelled == 2
    last = teacher.bodies[-1]
    assert (last["max_completion_tokens"], last["response_format"]["type"]) == (77, "json_schema")
    assert [note.split(" (")[0] for note in found.notes] == [
        "the endpoint refused max_tokens", "the endpoint refused a temperature",
    ]  # fmt: skip


def test_one_input_that_is_refused_weakens_nothing_for_the_others(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["first"].extend([refusing("too long", code="context_length_exceeded")] * 4)
    made = plan("first", "second", concurrency=1)
    found = run(made)
    assert (found.labelled, found.rejected, found.notes) == (1, {"endpoint_refused": 1}, [])
    assert teacher.bodies[-1]["response_format"]["json_schema"]["strict"] is True


def test_half_a_character_in_an_answer_harms_no_file(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    raw = json.dumps({"choices": [{"message": {"content": "\ud83d"}, "finish_reason": "stop"}]}).encode()
    teacher.script["one"].extend([Reply(raw=raw)] * 2)
    made = plan("one")
    assert run(made).rejected == {"off_schema": 1}
    assert read(made.rejected)[0]["meta"]["rejected"]["answers"] == ["?", "?"]


@pytest.mark.parametrize(
    ("course", "words"),
    [
        (Course(0, 100, 0, 0.0, 0, 0, None), "0 of 100 inputs, 0.0 a second, 0 requests, 0 tokens"),
        (
            Course(60, 100, 40, 80.0, 45, 12_345, 0.5),
            "60 of 100 inputs, 0.5 a second, 45 requests, 12,345 tokens, cost 0.5000, 1 min left",
        ),
        (
            Course(10, 9_000, 10, 10.0, 10, 500, None),
            "10 of 9,000 inputs, 1.0 a second, 10 requests, 500 tokens, 2 h 29 min left",
        ),
    ],
)
def test_progress_says_rate_cost_and_time_left(course: Course, words: str) -> None:
    assert course.words == words
