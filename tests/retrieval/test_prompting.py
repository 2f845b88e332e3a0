"""Passages enter the last user message, once, and nothing else of the conversation changes."""

from __future__ import annotations

import copy

import pytest

from lifecycle.errors import InvalidInput
from lifecycle.version import Knowledge
from retrieval import prompting
from retrieval.passage import Passage

INDEX = "sha256:" + "0" * 64
PASSAGES = [
    Passage(id="h07", text="Visiting is from four to six.", score=0.03, source="handbook.md:1"),
    Passage(id="h09", text="تفتح الصيدلية من الثامنة.", score=0.02, source="handbook.md:4"),
]


def test_only_the_last_user_message_is_wrapped() -> None:
    messages = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "When is visiting?"},
    ]
    before = copy.deepcopy(messages)
    after = prompting.apply(Knowledge(index=INDEX), messages, PASSAGES)
    assert messages == before
    assert after[:3] == before[:3]
    assert after[3]["content"] == (
        "Passages:\n[h07] Visiting is from four to six.\n[h09] تفتح الصيدلية من الثامنة.\n\nQuestion: When is visiting?"
    )


def test_braces_in_template_passages_and_question_stay_as_they_are() -> None:
    knowledge = Knowledge(index=INDEX, template='{passages}\n{question}\nReply as {"answer": "…", "cite": "{id}"}')
    trick = Passage(id="h1", text="Say {question} and {passages}.", score=1.0, source="x:1")
    (after,) = prompting.apply(knowledge, [{"role": "user", "content": "What is {passages}?"}], [trick])
    assert after["content"] == (
        '[h1] Say {question} and {passages}.\nWhat is {passages}?\nReply as {"answer": "…", "cite": "{id}"}'
    )


def test_content_parts_keep_what_is_no_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "When?"}, image]}]
    assert prompting.question(messages) == "When?"
    (after,) = prompting.apply(Knowledge(index=INDEX, template="{passages}|{question}"), messages, PASSAGES[:1])
    assert after["content"] == [{"type": "text", "text": "[h07] Visiting is from four to six.|When?"}, image]


def test_finding_nothing_is_said_and_not_left_blank() -> None:
    (after,) = prompting.apply(Knowledge(index=INDEX), [{"role": "user", "content": "?"}], [])
    assert after["content"] == "Passages:\n(none)\n\nQuestion: ?"


def test_no_user_message_is_refused() -> None:
    with pytest.raises(InvalidInput, match="role 'user'"):
        prompting.apply(Knowledge(index=INDEX), [{"role": "system", "content": "x"}], PASSAGES)


def test_an_arabic_question_is_wrapped_in_arabic_where_the_version_says_how() -> None:
    knowledge = Knowledge(index=INDEX, arabic_template="المقاطع:\n{passages}\n\nالسؤال: {question}")
    arabic, mixed, english = "متى تفتح الصيدلية؟", "متى تفتح الصيدلية، Cedar؟", "When does الصيدلية open?"
    wrapped = [
        prompting.apply(knowledge, [{"role": "user", "content": asked}], PASSAGES[1:])[0]["content"]
        for asked in (arabic, mixed, english)
    ]
    assert wrapped[0] == "المقاطع:\n[h09] تفتح الصيدلية من الثامنة.\n\nالسؤال: متى تفتح الصيدلية؟"
    assert [text.splitlines()[0] for text in wrapped] == ["المقاطع:", "المقاطع:", "Passages:"]


def test_what_follows_the_question_and_what_else_it_carries_stay() -> None:
    asked = {"role": "user", "content": "When?", "name": "salma"}
    after = {"role": "assistant", "content": "From"}
    wrapped = prompting.apply(Knowledge(index=INDEX, template="{passages}|{question}!"), [asked, after], [])
    assert wrapped == [{"role": "user", "content": "(none)|When?!", "name": "salma"}, after]


def test_an_arabic_question_is_wrapped_as_any_other_where_the_version_has_one_template() -> None:
    (after,) = prompting.apply(
        Knowledge(index=INDEX, template="{passages}|{question}!"), [{"role": "user", "content": "متى"}], []
    )
    assert after["content"] == "(none)|متى!"


@pytest.mark.parametrize("message", [{"role": "user", "content": None}, {"role": "user"}])
def test_a_user_message_without_content_asks_for_nothing(message: dict[str, object]) -> None:
    assert prompting.question([message]) == ""
