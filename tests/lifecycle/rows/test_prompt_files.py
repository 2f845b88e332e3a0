"""A prompt as people write it: a text file, and rows of any form as worked examples."""

from __future__ import annotations

import pytest

from lifecycle.errors import InvalidConfig
from lifecycle.rows.prompt_files import read_prompt
from lifecycle.version import Prompt, Shot

SHOTS = [
    {"user": "q", "assistant": "a"},
    {"system": "S", "user": "q", "assistant": "a"},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    {"prompt": "q", "completion": "a"},
    {"instruction": "q", "output": "a"},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
]


def test_nothing_named_is_an_empty_prompt():
    assert read_prompt(None) == Prompt()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_system_text_is_read_without_white_space_or_a_byte_order_mark(tmp_path, mark):
    (tmp_path / "s.txt").write_text(f"{mark}\nأجب\n\nبإيجاز \n", encoding="utf-8")
    assert read_prompt(tmp_path / "s.txt") == Prompt(system="أجب\n\nبإيجاز")


def test_examples_come_in_every_form_of_row_and_in_order(jsonl):
    rows = [*SHOTS, {"user": "last", "assistant": "one"}]
    shots = read_prompt(None, jsonl("shots.jsonl", rows)).shots
    assert shots == (*[Shot(user="q", assistant="a")] * len(SHOTS), Shot(user="last", assistant="one"))


def test_every_fault_of_both_files_is_told_at_once(jsonl, tmp_path):
    (tmp_path / "s.txt").write_bytes(b"\xff")
    long = {"instruction": "q", "output": "a", "history": [["q0", "a0"]]}
    shots = jsonl("shots.jsonl", [SHOTS[0], "{", {"user": "q", "assistant": " "}, long])
    with pytest.raises(InvalidConfig, match="the prompt cannot be used") as caught:
        read_prompt(tmp_path / "s.txt", shots)
    assert [one.place for one in caught.value.problems] == [
        str(tmp_path / "s.txt"),
        *(f"{shots}:{n}" for n in (2, 3, 4)),
    ]
    assert "has 4 turns" in caught.value.problems[-1].fault


def test_a_system_text_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidConfig) as caught:
        read_prompt(tmp_path / "none.txt")
    (problem,) = caught.value.problems
    assert problem.place == str(tmp_path / "none.txt")
    assert "No such file" in problem.fault


@pytest.mark.parametrize("text", ["", "\n"])
def test_examples_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "shots.jsonl").write_text(text)
    with pytest.raises(InvalidConfig, match="has no rows"):
        read_prompt(None, tmp_path / "shots.jsonl")


TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("extra", "of_the_answer"), [({"tools": [TOOL]}, {}), ({}, {"name": "n"}), ({}, {"reasoning_content": "r"})]
)
def test_an_example_that_a_shot_cannot_hold_is_refused(jsonl, extra, of_the_answer):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **of_the_answer}]
    with pytest.raises(InvalidConfig, match="has tools, a name or reasoning and is no example"):
        read_prompt(None, jsonl("shots.jsonl", [{"messages": turns, **extra}]))
