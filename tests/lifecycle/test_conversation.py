"""The one way in which a prompt is put around messages, corner by corner."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lifecycle.conversation import Conversation, Message, ToolCall, texts_in, with_prompt
from lifecycle.version import Prompt, Shot

S = "You triage.\n\nAnswer in JSON."
SHOT = Shot(user="سؤال", assistant="جواب")
WORKED = [{"role": "user", "content": "سؤال"}, {"role": "assistant", "content": "جواب"}]
Q = {"role": "user", "content": "متى؟"}
A = {"role": "assistant", "content": "غدا"}
RLM = "\u200f"


def system(text: Any) -> dict[str, Any]:
    return {"role": "system", "content": text}


def developer(text: Any) -> dict[str, Any]:
    return {"role": "developer", "content": text}


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def test_system_text_then_shots_then_the_conversation():
    assert with_prompt(Prompt(system=S, shots=(SHOT,)), [Q, A, Q]) == [system(S), *WORKED, Q, A, Q]


def test_an_empty_prompt_leaves_the_messages_as_they_are():
    assert with_prompt(Prompt(), [system(" own "), Q, A, system("later"), Q]) == [
        system(" own "), Q, A, system("later"), Q,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("leading", "own"),
    [
        ([], []),
        ([system("mine")], ["mine"]),
        ([developer("mine")], ["mine"]),
        ([system("  mine\n")], ["mine\n"]),
        ([system("one \n\n"), system("two\n")], ["one \n\n", "two\n"]),
        ([system("one"), developer("two")], ["one", "two"]),
        ([system(parts("one", "two"))], ["one\ntwo"]),
        ([system([*parts("one"), IMAGE])], ["one"]),
        ([system(f"{RLM}بالعربية{RLM}")], [f"{RLM}بالعربية{RLM}"]),
        # nothing to say
        ([system("")], []),
        ([system(" \n")], []),
        ([system(None)], []),
        ([{"role": "system"}], []),
        # what repeats the version's
        ([system(S)], []),
        ([system(f"\n {S}\n")], []),
        ([developer(S)], []),
        ([system(parts(S))], []),
        ([system(S), system(S)], []),
        ([system("mine"), system(S)], ["mine"]),
        ([system(S), system("mine")], ["mine"]),
        ([system(f"{S}\n\nmine")], ["mine"]),
        ([system(f"{S}\n\n{S}\n\nmine")], ["mine"]),
        ([system(f"\n{S}\n\n {S}\n\nmine ")], ["mine "]),
        ([system(f"{S}\n\n{S} \n\n")], []),
        # what only looks like it
        ([system(S + "!")], [S + "!"]),
        ([system(S.lower())], [S.lower()]),
        ([system(S + RLM)], [S + RLM]),
        ([system(f"mine\n\n{S}")], [f"mine\n\n{S}"]),
        ([system(f"{S}###")], [f"{S}###"]),
    ],
)
def test_leading_system_texts_follow_the_versions_and_none_is_said_twice(leading, own):
    said = with_prompt(Prompt(system=S, shots=(SHOT,)), [*leading, Q])
    assert said == [system("\n\n".join([S, *own])), *WORKED, Q]


@pytest.mark.parametrize("nothing", ["", "  ", "\n"])
def test_without_a_system_text_of_the_versions_the_callers_stand_as_they_are_before_the_shots(nothing):
    own = [system(" one "), developer("two"), system("")]
    assert with_prompt(Prompt(system=nothing, shots=(SHOT,)), [*own, Q]) == [
        system(" one "), system("two"), system(""), *WORKED, Q,
    ]  # fmt: skip


@pytest.mark.parametrize("mine", ["\nmine", "\n\n\n mine\n", " mine", "\n\nmine"])
@pytest.mark.parametrize("text", [S, S + "\n"])
def test_a_text_that_begins_with_the_versions_and_goes_on_behind_white_space_stands_as_it_is(text, mine):
    joined = text + mine
    assert with_prompt(Prompt(system=text), [system(joined), system("more"), Q]) == [system(f"{joined}\n\nmore"), Q]
    assert with_prompt(Prompt(system=text), [system(text + "\n"), Q]) == [system(text), Q], "it says nothing more"


@pytest.mark.parametrize("mine", ["###mine", "|mine", "—شرح", "***\nmine", "1. mine"])
def test_words_behind_another_sign_than_white_space_are_joined_already_too(mine):
    text = "You are terse."
    assert with_prompt(Prompt(system=text), [system(text + mine), Q]) == [system(text + mine), Q]


@pytest.mark.parametrize(
    ("text", "joined"),
    [("You answer", "You answering machine"), ("أجب", "أجبني باختصار"), ("كتب", "كتبَ بسرعة"),
     ("Be 1", "Be 100 words long"),
     ("می", "می\u200cخواهم"), ("a", "a_b c")],
)  # fmt: skip
def test_a_last_word_that_only_begins_alike_is_not_the_versions(text, joined):
    assert with_prompt(Prompt(system=text), [system(joined), Q]) == [system(f"{text}\n\n{joined}"), Q]


def test_a_version_text_that_repeats_itself_keeps_what_it_says():
    assert with_prompt(Prompt(system="a\n\na"), [system("a\n\na"), Q]) == [system("a\n\na"), Q]


def test_white_space_around_the_versions_text_is_kept_and_hides_no_repetition():
    assert with_prompt(Prompt(system=f" {S}\n"), [system(S), Q]) == [system(f" {S}\n"), Q]


@pytest.mark.parametrize("late", [system(S), developer("now in English")])
def test_a_system_turn_further_down_is_a_turn_like_any_other(late):
    assert with_prompt(Prompt(system=S), [Q, A, late, Q]) == [system(S), Q, A, late, Q]


def test_text_parts_become_one_text_and_parts_with_an_image_stay():
    mixed = {"role": "user", "content": [*parts("look"), IMAGE]}
    said = with_prompt(Prompt(), [{"role": "user", "content": parts("one", "", "two"), "name": "n"}, A, mixed])
    assert said == [{"role": "user", "content": "one\n\ntwo", "name": "n"}, A, mixed]


@pytest.mark.parametrize(
    "content", [None, "", [], "text", ["text"], [{"type": "input_text", "text": "x"}], [{"type": "text", "text": 1}]]
)
def test_a_content_that_is_no_list_of_texts_is_left_alone(content):
    call = {"role": "assistant", "content": content, "tool_calls": [{"id": "c1"}]}
    assert with_prompt(Prompt(system=S), [Q, call, Q]) == [system(S), Q, call, Q]
    bare = {"role": "assistant", "tool_calls": [{"id": "c1"}]}
    assert with_prompt(Prompt(), [Q, bare]) == [Q, bare]


def test_messages_that_are_all_system_turns_have_a_prompt_too():
    assert with_prompt(Prompt(system=S, shots=(SHOT,)), [system("mine")]) == [system(f"{S}\n\nmine"), *WORKED]


def test_what_was_given_stays_as_it_was():
    given = [system(parts("mine")), {"role": "user", "content": parts("q")}]
    before = copy.deepcopy(given)
    with_prompt(Prompt(system=S), given)
    assert given == before


def test_putting_a_prompt_around_what_already_has_it_adds_nothing():
    prompt = Prompt(system=S)
    for mine in ("mine", " mine\n\n"):
        once = with_prompt(prompt, [system(mine), Q])
        assert with_prompt(prompt, once) == once


def test_a_row_is_sent_turn_by_turn():
    row = Conversation("f:1", "r", (Message("system", "a"), Message("system", "b"), Message("user", "q"),
                                    Message("assistant", "x", trained=False), Message("user", "q2"),
                                    Message("assistant", "y")))  # fmt: skip
    assert row.sent() == [
        system("a"), system("b"), {"role": "user", "content": "q"}, {"role": "assistant", "content": "x"},
        {"role": "user", "content": "q2"}, {"role": "assistant", "content": "y"},
    ]  # fmt: skip
    assert (row.system, row.question, row.answer) == ("a\n\nb", "q\nq2", "y")


def test_the_text_of_a_content_leaves_out_what_is_no_text():
    others = [IMAGE, "text", {"type": "input_text", "text": "x"}, {"type": "text", "text": None}]
    assert texts_in([*parts("a"), *others, *parts("b")]) == "a\nb"
    assert (texts_in("a"), texts_in(None), texts_in([])) == ("a", "", "")


def test_all_that_a_turn_says_is_among_its_texts():
    call = ToolCall(id="c1", name="book", arguments='{"day": "غدا"}')
    said = Message(role="assistant", content="نعم", name="sara", reasoning="she asked", tool_calls=(call,))
    assert said.texts == ("نعم", "she asked", "sara", "book", '{"day": "غدا"}')
    assert Message(role="assistant", content="", tool_calls=(call,)).texts == ("book", '{"day": "غدا"}')
