"""Prompting: the version's recipe around the caller's messages."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from lifecycle.states import State
from lifecycle.version import Version, VersionSpec
from retrieval.passage import Passage
from service.openai.messages import check_messages
from service.openai.prompting import with_recipe

SHOT = {"user": "سؤال", "assistant": '{"intent": "موعد"}'}
PASSAGES = [Passage(id="h07", text="الزيارة من التاسعة.", score=0.5, source="a.md:1")]


def version(**spec: Any) -> Version:
    recipe = VersionSpec.model_validate({"base": "sha256:" + "b" * 64, **spec})
    return Version(
        name="triage", number=3, spec=recipe, state=State.APPROVED, created_at=datetime.now(UTC), created_by="test"
    )


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def messages(made: Version, *given: dict[str, Any], passages: list[Passage] | None = None) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = with_recipe(made, "chat", {"messages": list(given)}, passages)["messages"]
    return result


def test_system_then_shots_then_the_callers_messages() -> None:
    made = version(prompt={"system": "You triage.", "shots": [SHOT]})
    assert messages(made, user("hi")) == [
        system("You triage."),
        user("سؤال"),
        {"role": "assistant", "content": '{"intent": "موعد"}'},
        user("hi"),
    ]


def test_the_callers_system_text_follows_the_versions_after_a_blank_line() -> None:
    made = version(prompt={"system": "You triage."})
    assert messages(made, system("Be brief."), user("hi")) == [system("You triage.\n\nBe brief."), user("hi")]


def test_without_a_system_text_of_its_own_the_callers_comes_before_the_shots() -> None:
    made = version(prompt={"shots": [SHOT]})
    roles = [one["role"] for one in messages(made, system("Be brief."), user("hi"))]
    assert roles == ["system", "user", "assistant", "user"]


def test_the_last_user_message_is_wrapped_with_the_passages_and_no_other() -> None:
    made = version(knowledge={"index": "sha256:" + "c" * 64, "template": "P:\n{passages}\nQ: {question}"})
    got = messages(made, user("one"), {"role": "assistant", "content": "two"}, user("متى؟"), passages=PASSAGES)
    assert [one["content"] for one in got] == ["one", "two", "P:\n[h07] الزيارة من التاسعة.\nQ: متى؟"]


def test_the_callers_body_is_left_as_it_was() -> None:
    made = version(prompt={"system": "S", "shots": [SHOT]}, knowledge={"index": "sha256:" + "c" * 64})
    body = {"messages": [system("own"), user("hi")], "temperature": None}
    before = copy.deepcopy(body)
    with_recipe(made, "chat", body, PASSAGES)
    assert body == before


@pytest.mark.parametrize(
    "spec", [{"prompt": {"system": "S"}}, {"prompt": {"shots": [SHOT]}}, {"knowledge": {"index": "sha256:" + "c" * 64}}]
)
def test_a_plain_completion_on_a_recipe_that_needs_messages_is_refused_with_the_cure(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"triage:3.*/v1/chat/completions"):
        with_recipe(version(**spec), "completion", {"prompt": "x"}, None)


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (None, ["messages"]),
        ([], ["messages"]),
        ("hi", ["messages"]),
        (["hi", {"role": "user", "content": 3}], ["messages.0", "messages.1.content"]),
        ([{"content": "x"}], ["messages.0.role"]),
        ([{"role": "user", "content": [{"type": "text"}, 5]}], ["messages.0.content.0.text", "messages.0.content.1"]),
    ],
)
def test_bad_messages_are_reported_together_with_their_places(given: object, places: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_messages({"messages": given})
    assert [problem.place for problem in caught.value.problems] == places


def test_text_parts_are_messages_too() -> None:
    made = version(
        prompt={"system": "S"}, knowledge={"index": "sha256:" + "c" * 64, "template": "{passages}|{question}"}
    )
    parts = [{"type": "text", "text": "متى؟"}]
    got = messages(
        made,
        {"role": "system", "content": [{"type": "text", "text": "own"}]},
        {"role": "user", "content": parts},
        passages=PASSAGES,
    )
    assert got[0] == system("S\n\nown")
    assert got[1] == user("[h07] الزيارة من التاسعة.|متى؟")
