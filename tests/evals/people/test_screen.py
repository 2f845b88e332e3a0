"""What a rater sees: at most 80 cells wide, in Arabic too, and nothing of a text steers the terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from evals.people.screen import WORDS, Instead, printable, shown, typed
from lifecycle.rating import Ballot, CampaignProgress, Choice

PROGRESS = CampaignProgress(pairs=4, settled=0, resting=0, wanted=8, votes=3, waiting=1, skipped=0, raters={"amal": 2})
ARABIC = "عندي ألم شديد في الصدر منذ الصباح، وأشعر بضيق في التنفس عند صعود الدرج، فماذا أفعل الآن يا دكتور؟ " * 3


def ballot(**changes):
    facts = {"id": "ballot-1", "campaign": "c", "question": "Which answer is better?", "a": "alpha", "b": "beta"}
    return Ballot(**{**facts, "messages": ({"role": "user", "content": "why?"},), **changes})


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(language, width):
    long = {"messages": ({"role": "user", "content": ARABIC},), "a": ARABIC, "b": "x" * 300 + " 漢字" * 60}
    lines = shown(ballot(**long), PROGRESS, "amal", language, width)
    assert max(map(cell_len, lines)) <= width
    text = "".join(lines).replace(" ", "")
    assert text.count(ARABIC.replace(" ", "")) == 2
    assert "x" * 300 in text
    assert "漢字" * 60 in text


def test_the_answers_stand_one_above_the_other_whole_lines_each():
    lines = shown(ballot(a="الأولى", b="second"), PROGRESS, "amal", "en", 80)
    assert lines.index("الأولى") < lines.index("second")
    assert [line.split()[1:3] for line in lines if line.startswith("══")] == [["Answer", "A"], ["Answer", "B"]]
    assert lines[0] == "2 of yours; 3 of 8 votes"


def test_an_answer_without_text_is_said_to_be_so_and_earlier_turns_are_shown():
    turns = (
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "3"},
    )
    lines = shown(ballot(a=" \n", messages=turns, target="right"), PROGRESS, "badr", "ar", 80)
    assert WORDS["ar"]["empty"] in lines
    assert [text for text in lines if text in ("one", "two", "3", "right")] == ["one", "two", "3", "right"]
    assert WORDS["ar"]["question"] in lines


def test_a_campaigns_own_question_is_asked_as_it_is_written():
    assert "Which is kinder?" in shown(ballot(question="Which is kinder?"), PROGRESS, "amal", "ar", 80)


def test_no_text_steers_the_terminal():
    assert printable("a\x1b[2Jb\x07\x7f\x85c\r\nd\te") == "a␛[2Jb␇␡�c\nd   e"
    assert printable("x\u202eevil\u2066y\u200fنعم\u200dz") == "xevily\u200fنعم\u200dz"
    assert printable("\ud800") == "�"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("1", Choice.A), ("a", Choice.A), (" A ", Choice.A), ("١", Choice.A), ("أ", Choice.A), ("2", Choice.B),
        ("ب", Choice.B), ("3", Choice.TIE), ("٤", Choice.BOTH_BAD), ("x", Choice.BOTH_BAD), ("5", Choice.SKIP),
        ("9", Instead.UNDO), ("٠", Instead.STOP), ("q", Instead.STOP), ("7", None), ("", None), ("ab", None),
        ("²", None),
    ],
)  # fmt: skip
def test_digits_of_any_script_and_letters_are_understood_and_nothing_else(line, meant):
    assert typed(line) == meant


def test_both_languages_have_the_same_words():
    assert WORDS["en"].keys() == WORDS["ar"].keys()
