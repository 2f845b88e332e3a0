"""From inputs to rows: order, provenance, what is set aside and why, and that nothing is paid for twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import (
    Conflict,
    Corrupt,
    InvalidConfig,
    InvalidData,
    InvalidInput,
    NotAllowed,
    NotFound,
    Unavailable,
)
from lifecycle.rows.files import Reading, read_rows
from lifecycle.rows.kinds import Labelled
from lifecycle.version import Prompt, Shot
from tests.training.distill.conftest import KEY, SCHEMA, read
from tests.training.distill.fake_teacher import FakeTeacher, Reply, failing, refusing
from training.data.distill.distillation import Distilled
from training.data.distill.inputs import Inputs
from training.data.distill.labels import Sampling
from training.data.distill.plan import Distillation, most
from training.data.distill.spending import Caps, Prices, Tokens

Make, Run = Callable[..., Distillation], Callable[[Distillation], Distilled]
GOOD = json.dumps({"intent": "billing", "note": "ok"})


def test_rows_keep_the_inputs_order_and_training_reads_them(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    together = threading.Barrier(5)

    def says(question: str) -> Reply:
        if question in asked[1:6]:  # the first is asked alone
            together.wait(30)
        return Reply(json.dumps({"note": question, "intent": "advice"}))

    teacher.says = says
    asked = [f"رسالة {number}" for number in range(20)]
    made = plan(*asked, concurrency=5)
    found = run(made)
    assert (found.labelled, found.unanswered, found.stopped) == (20, 0, None)
    (rows,) = read_rows(made.out)
    assert [row.question for row in rows] == asked
    assert rows[3].answer == '{"intent": "advice", "note": "رسالة 3"}', "the keys are in the schema's order"
    assert not made.rejected.exists()
    assert teacher.most_at_once == 5


def test_a_row_says_who_answered_what_when_and_what_it_took(plan: Make, run: Run) -> None:
    made = plan({"id": "a7", "text": "hello", "meta": {"from": "desk"}})
    run(made)
    (row,) = read(made.out)
    assert row["id"] == "a7"
    told = row["meta"].pop("distilled")
    assert row["meta"] == {"from": "desk"}
    assert told.pop("at").endswith("+00:00")
    assert told == {
        "teacher": "wise", "answered_by": "wise-2026-01-01", "schema": made.schema.digest,
        "instructions": made.instructions, "requests": 1, "prompt_tokens": 40, "completion_tokens": 10,
    }  # fmt: skip


def test_the_teacher_is_sent_instructions_examples_and_the_question(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    prompt = Prompt(system="Sort it.", shots=(Shot(user="my bill", assistant=GOOD),))
    run(plan("my head", prompt=prompt, max_tokens=99))
    (body,) = teacher.bodies
    assert body["messages"] == [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "my bill"},
        {"role": "assistant", "content": GOOD},
        {"role": "user", "content": "my head"},
    ]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "triage", "schema": SCHEMA, "strict": True},
    }
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("wise", 0.0, 99)


ANSWERED = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": '{"intent": "x"}'}]}


@pytest.mark.parametrize(
    ("row", "sent", "given"),
    [
        ({"text": "q"}, ["q"], None),
        ({"text": "q", "label": "old"}, ["q"], "old"),
        ({"prompt": "q"}, ["q"], None),
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}, ["q"], None),
        (ANSWERED, ["q"], {"intent": "x"}),
        ({"question": "q", "answer": "by hand"}, ["q"], "by hand"),
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, ["q"], "good"),
        ({"prompt": "q", "completion": "c", "label": False}, ["q"], "c"),
    ],
)
def test_any_row_is_an_input_and_the_answer_that_it_had_is_kept_and_not_shown(
    plan: Make, run: Run, teacher: FakeTeacher, row: dict[str, Any], sent: list[str], given: Any
) -> None:
    made = plan(row)
    run(made)
    assert [turn["content"] for turn in teacher.bodies[0]["messages"] if turn["role"] != "system"] == sent
    assert read(made.out)[0]["meta"]["distilled"].get("given") == given


def test_a_table_of_any_columns_is_asked_by_the_column_that_is_named(plan: Make, run: Run, tmp_path: Path) -> None:
    table = tmp_path / "tickets.csv"
    table.write_text("nr,body,desk\n007,my head,A\n", encoding="utf-8")
    made = plan(inputs=Inputs(table, {"body": "text", "nr": "meta", "desk": ""}))
    run(made)
    (row,) = read(made.out)
    assert (row["messages"][0]["content"], row["meta"]["nr"]) == ("my head", "007")


def test_bad_rows_are_told_together_before_anything_is_asked(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    tools = {"messages": [{"role": "user", "content": "q"}], "tools": [{"type": "function"}]}
    with pytest.raises(InvalidData) as refused:
        run(plan("good", {"text": ""}, {"body": "x"}, tools))
    assert [problem.place.rpartition(":")[2] for problem in refused.value.problems] == ["2", "3", "4", "4"]
    assert teacher.bodies == []


def test_label_rows_hold_one_field_of_the_answer(plan: Make, run: Run) -> None:
    made = plan({"id": "1", "text": "hello"}, label="intent")
    run(made)
    (row,) = Reading(made.out)
    assert isinstance(row, Labelled)
    assert (row.id, row.text, row.label) == ("1", "hello", "advice")


@pytest.mark.parametrize("name", ["train.json", "train.csv", "train.parquet", "train.jsonl.gz"])
def test_rows_go_into_whatever_file_the_name_says(plan: Make, run: Run, tmp_path: Path, name: str) -> None:
    made = plan("one", "two", out=tmp_path / name)
    assert made.journal.name == "train.journal.jsonl"
    run(made)
    (rows,) = read_rows(made.out)
    assert [row.question for row in rows] == ["one", "two"]


def test_the_same_question_is_asked_once(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    made = plan({"id": "1", "text": "same"}, {"id": "2", "text": "same"}, {"id": "3", "prompt": "same"}["prompt"])
    assert run(made).labelled == 3
    assert len(teacher.bodies) == 1


def test_an_invalid_answer_is_repaired_once_by_telling_its_faults(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["hello"].append(Reply('{"intent": "chat"}'))
    made = plan("hello")
    assert run(made).labelled == 1
    first, second = teacher.bodies
    assert second["messages"][: len(first["messages"])] == first["messages"]
    wrong, told = second["messages"][-2:]
    assert wrong == {"role": "assistant", "content": '{"intent": "chat"}'}
    for words in ("'note' is a required property", "$.intent: 'chat' is not one of", json.dumps(SCHEMA)):
        assert words in told["content"]
    distilled = read(made.out)[0]["meta"]["distilled"]
    assert (distilled["repaired"], distilled["requests"], distilled["prompt_tokens"]) == (True, 2, 80)


@pytest.mark.parametrize(
    ("replies", "code", "reason"),
    [
        ([Reply("no JSON"), Reply('{"intent": "x", "note": ""}')], "off_schema", "$.intent: 'x' is not one of"),
        ([Reply(None), Reply("")], "off_schema", "the answer is empty"),
        ([Reply(None, refusal="I cannot help with that.")], "refused", "I cannot help with that."),
        ([Reply("", finish="content_filter")], "refused", "the endpoint filtered the answer"),
        ([Reply('{"intent": "adv', finish="length")], "cut_off", "its limit of tokens"),
        ([Reply("{"), Reply(GOOD[:-4], finish="length")], "cut_off", "its limit of tokens"),
    ],
)
def test_what_no_good_answer_was_found_for_is_set_aside_with_its_reasons(
    plan: Make, run: Run, teacher: FakeTeacher, replies: list[Reply], code: str, reason: str
) -> None:
    teacher.script["bad"].extend(replies)
    made = plan("good", {"id": "b", "text": "bad", "meta": {"from": "desk"}}, "fine")
    found = run(made)
    assert (found.labelled, found.rejected, found.stopped) == (2, {code: 1}, None)
    assert [row["messages"][0]["content"] for row in read(made.out)] == ["good", "fine"]
    (row,) = read(made.rejected)
    assert (row["id"], row["meta"]["from"]) == ("b", "desk")
    told = row["meta"]["rejected"]
    assert told["code"] == code
    assert any(reason in said for said in told["reasons"])
    assert told["answers"] == [reply.text or "" for reply in replies]
    assert teacher.asked().count("bad") == len(replies), "a refusal and a cut answer are not repaired"


def test_a_request_that_the_endpoint_refuses_is_set_aside(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["long"].append(refusing("maximum context length", code="context_length_exceeded"))
    made = plan("short", "long", concurrency=1)
    assert run(made).rejected == {"endpoint_refused": 1}
    assert read(made.rejected)[0]["meta"]["rejected"]["reasons"] == ["HTTP 400: maximum context length"]


def test_what_was_set_aside_can_be_asked_again_and_of_another_teacher(
    plan: Make, run: Run, teacher: FakeTeacher, tmp_path: Path
) -> None:
    teacher.script["bad"].append(Reply("{", finish="length"))
    made = plan("bad", "good")
    run(made)
    assert run(plan("bad", "good")).rejected == {"cut_off": 1}
    assert teacher.asked() == ["bad", "good"] or teacher.asked() == ["good", "bad"], "without being told so it is not"
    other = plan(inputs=Inputs(made.rejected), out=tmp_path / "rest.jsonl")
    assert run(other).labelled == 1
    again = run(plan("bad", "good", retry_rejected=True))
    assert (again.labelled, again.rejected) == (2, {})
    assert not made.rejected.exists()
    assert teacher.asked().count("good") == 1


@pytest.mark.parametrize("fenced", ["```json\n%s\n```", "\n```\n%s\n```\n"])
def test_a_fence_around_the_whole_answer_is_no_part_of_it(
    plan: Make, run: Run, teacher: FakeTeacher, fenced: str
) -> None:
    teacher.says = lambda _: Reply(fenced % GOOD)
    made = plan("hello")
    run(made)
    assert read(made.out)[0]["messages"][-1]["content"] == GOOD
    assert len(teacher.bodies) == 1


def test_samples_that_agree_give_the_label_and_no_more_are_asked_than_decide(
    plan: Make, run: Run, teacher: FakeTeacher
) -> None:
    teacher.script["hello"].extend(
        Reply(json.dumps({"intent": intent, "note": str(at)}))
        for at, intent in enumerate(["billing", "advice", "advice"])
    )
    sampling = Sampling(samples=5, agree=2, agree_on=("intent",))
    made = plan("hello", sampling=sampling, temperature=0.7)
    run(made)
    (row,) = read(made.out)
    assert json.loads(row["messages"][-1]["content"]) == {"intent": "advice", "note": "1"}
    assert (row["meta"]["distilled"]["votes"], len(teacher.bodies)) == ("2 of 3", 3)


def test_samples_that_do_not_agree_are_set_aside_with_the_votes(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["hello"].extend(Reply(json.dumps({"intent": "advice", "note": str(at)})) for at in range(3))
    made = plan("hello", sampling=Sampling(samples=3, agree=3), temperature=0.7)
    assert run(made).rejected == {"no_agreement": 1}
    assert len(teacher.bodies) == 2, "after two that differ, three cannot agree"
    assert read(made.rejected)[0]["meta"]["rejected"]["reasons"][0] == '1 of 2: {"intent": "advice", "note": "0"}'


def test_a_second_run_asks_what_is_new_alone(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    run(plan("one", "two"))
    made = plan("two", "three", "one")
    assert run(made).labelled == 3
    assert sorted(teacher.asked()) == ["one", "three", "two"]
    assert [row["messages"][0]["content"] for row in read(made.out)] == ["two", "three", "one"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"model": "wiser"}, "teacher: was wise and is wiser now"),
        ({"prompt": Prompt(system="Sort it otherwise.")}, "instructions: was sha256"),
        ({"temperature": 1.0}, "temperature: was 0 and is 1 now"),
    ],
)
def test_answers_to_other_instructions_are_not_mixed(
    plan: Make, run: Run, teacher: FakeTeacher, change: dict[str, Any], names: str
) -> None:
    run(plan("one"))
    with pytest.raises(InvalidInput, match="another distillation") as refused:
        run(plan("one", **change))
    assert names in str(refused.value)
    assert len(teacher.bodies) == 1


def test_half_a_line_of_a_killed_process_is_taken_off(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    made = plan("one", "two", concurrency=1)
    run(made)
    whole = made.journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert b'"told"' in lines[-1]
    for cut in (1, len(lines[-1]) // 2, len(lines[-1]) - 1):
        teacher.bodies.clear()
        made.journal.write_bytes(whole[:-cut])
        assert run(made).labelled == 2
        assert teacher.asked() == ["two"]
        assert all(json.loads(line) for line in made.journal.read_text(encoding="utf-8").splitlines())


def test_a_journal_that_was_changed_is_told_and_not_overwritten(plan: Make, run: Run) -> None:
    made = plan("one")
    run(made)
    broken = made.journal.read_bytes().replace(b'{"ask"', b'{"ark"')
    made.journal.write_bytes(broken)
    with pytest.raises(Corrupt, match="was changed"):
        run(made)
    assert made.journal.read_bytes() == broken


def test_two_processes_do_not_write_one_journal(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    made, other = plan("one"), []

    def meanwhile(question: str) -> Reply:
        with pytest.raises(Conflict) as refused:
            run(made)
        other.append(refused)
        return Reply(GOOD)

    teacher.says = meanwhile
    assert run(made).labelled == 1
    assert len(other) == 1


def test_a_file_that_no_distillation_made_is_not_written_over(plan: Make, run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("precious\n")
    with pytest.raises(InvalidConfig, match="nothing was asked") as refused:
        run(plan("one"))
    assert "is there already" in str(refused.value)
    assert (tmp_path / "train.jsonl").read_text() == "precious\n"


def test_everything_that_is_wrong_with_a_plan_is_told_at_once(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    made = plan(
        "one",
        prompt=Prompt(shots=(Shot(user="q", assistant='{"intent": "x"}'),)),
        caps=Caps(cost=1.0),
        sampling=Sampling(samples=2, agree=3, agree_on=("mood",)),
        label="tone",
    )
    with pytest.raises(InvalidConfig) as refused:
        run(made)
    assert [problem.place for problem in refused.value.problems] == [
        *["--shots, example 1"] * 2, "--agree-on", "--label", "--max-cost", "--agree", "--temperature",
    ]  # fmt: skip
    assert teacher.bodies == []


def test_the_key_comes_from_the_environment_and_stands_in_no_file(
    plan: Make, run: Run, teacher: FakeTeacher, tmp_path: Path
) -> None:
    teacher.script["bad"].append(refusing(f"the key {KEY} may not say this"))
    run(plan("good", "bad", concurrency=1))
    assert set(teacher.keys) == {f"Bearer {KEY}"}
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (refusing(f"Incorrect API key: {KEY}", status=401), NotAllowed, "[key]; the key is read from TEACHERS_KEY"),
        (refusing("no such model", status=404), NotFound, "no such model"),
        (refusing("You exceeded your quota", code="insufficient_quota", status=429), NotAllowed, "exceeded your quota"),
    ],
)  # fmt: skip
def test_what_no_input_would_get_an_answer_for_stops_the_run(
    plan: Make, run: Run, teacher: FakeTeacher, reply: Reply, error: type[Exception], words: str
) -> None:
    teacher.refuse = lambda _: reply
    found = run(plan(*map(str, range(20)), concurrency=1))
    assert isinstance(found.stopped, error)
    assert words in str(found.stopped)
    assert KEY not in str(found.stopped)
    assert (len(teacher.bodies), found.unanswered) == (1, 20)


def test_an_endpoint_that_answers_nobody_is_not_asked_for_every_input(
    plan: Make, run: Run, teacher: FakeTeacher
) -> None:
    teacher.says = lambda _: failing(500)
    found = run(plan(*map(str, range(30)), concurrency=2, retries=0))
    assert isinstance(found.stopped, Unavailable)
    assert "8 inputs in a row" in str(found.stopped)
    assert len(teacher.bodies) < 12


def test_an_input_that_got_no_answer_is_asked_by_the_next_run(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.script["two"].extend([failing(500)] * 3)
    made = plan("one", "two", "three", concurrency=1, retries=2)
    found = run(made)
    assert (found.labelled, found.unanswered) == (2, 1)
    assert "1 inputs got no answer" in str(found.stopped)
    assert run(made).labelled == 3
    assert teacher.asked().count("one") == 1


def test_the_cap_on_requests_is_exact_over_all_runs(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    inputs = [str(number) for number in range(10)]
    found = run(plan(*inputs, caps=Caps(requests=4)))
    assert (found.labelled, found.unanswered, len(teacher.bodies)) == (4, 6, 4)
    assert isinstance(found.stopped, NotAllowed)
    assert "the cap of 4 requests" in str(found.stopped)
    assert run(plan(*inputs, caps=Caps(requests=4))).requests == 4
    assert run(plan(*inputs, caps=Caps(requests=10))).labelled == 10
    assert len(teacher.bodies) == 10


def test_a_cap_is_never_passed_and_small_answers_leave_room_for_more(
    plan: Make, run: Run, teacher: FakeTeacher
) -> None:
    inputs = [str(number) for number in range(40)]
    once = most(plan("0", max_tokens=200))[2]
    prices = Prices(prompt=1.0, completion=4.0)
    cap = prices.of(once) + 5 * prices.of(Tokens(40, 10)) + 1e-9
    made = plan(*inputs, caps=Caps(cost=cap), prices=prices, max_tokens=200, concurrency=4)
    found = run(made)
    assert found.cost is not None
    assert found.cost <= cap
    assert found.labelled == 6, "five answers leave room for a sixth at its worst, and not for a seventh"
    assert "in cost" in str(found.stopped)


def test_a_request_that_was_under_way_at_a_kill_counts_at_its_worst(plan: Make, run: Run) -> None:
    made = plan("one", "two", concurrency=1)
    run(made)
    lines = made.journal.read_text(encoding="utf-8").splitlines()
    asked = json.loads(lines[-2])
    made.journal.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    found = run(plan("one", "two", caps=Caps(requests=2)))
    assert (found.requests, found.labelled) == (2, 1)
    assert found.tokens == Tokens(40 + asked["prompt"], 10 + asked["completion"])


def test_an_endpoint_that_counts_no_tokens_is_counted_at_the_worst(plan: Make, run: Run, teacher: FakeTeacher) -> None:
    teacher.says = lambda _: Reply(GOOD, usage=None)
    made = plan("one", max_tokens=50)
    found = run(made)
    assert found.tokens == most(made)[2]
    assert read(made.out)[0]["meta"]["distilled"]["counted"] is False


def test_what_it_could_take_is_told_without_asking(plan: Make, teacher: FakeTeacher) -> None:
    inputs, different, tokens = most(plan("one", "two", "one", max_tokens=100))
    assert (inputs, different, tokens.completion) == (3, 2, 200)
    assert tokens.prompt > 2 * len(json.dumps(SCHEMA))
    assert teacher.bodies == []
