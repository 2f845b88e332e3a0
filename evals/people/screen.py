"""What a rater sees in the terminal, and what they may type.

The two answers stand one above the other: a terminal that writes right to left turns whole lines, and would mix two
columns of Arabic. Texts are wrapped at spaces and have no frame. No text of an answer steers the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

from lifecycle.conversation import texts_in
from lifecycle.rating import QUESTION, Ballot, CampaignProgress, Choice

Language = Literal["en", "ar"]


class Instead(StrEnum):
    """What may be typed beside a choice."""

    UNDO = "undo"
    STOP = "stop"


Typed = Choice | Instead

_KEYS: dict[str, Typed] = {
    **dict.fromkeys(("1", "a", "أ", "ا"), Choice.A),
    **dict.fromkeys(("2", "b", "ب"), Choice.B),
    **dict.fromkeys(("3", "t"), Choice.TIE),
    **dict.fromkeys(("4", "x"), Choice.BOTH_BAD),
    **dict.fromkeys(("5", "s"), Choice.SKIP),
    **dict.fromkeys(("9", "u"), Instead.UNDO),
    **dict.fromkeys(("0", "q"), Instead.STOP),
}
WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "question": QUESTION,
        "target": "What would be right",
        "answer": "Answer",
        "empty": "(no text)",
        "keys": "1 A   2 B   3 tie   4 both bad   5 skip   9 undo   0 stop",
        "again": "Please type one of the numbers.",
        "done": "Nothing is left for you in {name}. Thank you.",
        "stopped": "Stopped. `dabt rate vote {name}` goes on where you were.",
        "undone": "Your last vote is taken back.",
        "were": "A was {a}, B was {b}.",
        "far": "{mine} of yours; {votes} of {wanted} votes",
        "system": "Instructions", "user": "Question", "assistant": "Answer before", "tool": "Tool",
    },
    "ar": {
        "question": "أي الإجابتين أفضل؟",
        "target": "الإجابة الصحيحة",
        "answer": "الإجابة",
        "empty": "(بلا نص)",
        "keys": "1 الأولى A   2 الثانية B   3 تعادل   4 كلتاهما سيئة   5 تخطٍّ   9 تراجع   0 توقف",
        "again": "اكتب أحد الأرقام من فضلك.",
        "done": "لم يبق لك شيء في {name}. شكرًا لك.",
        "stopped": "توقفنا. الأمر `dabt rate vote {name}` يكمل من حيث وصلت.",
        "undone": "تم التراجع عن صوتك الأخير.",
        "were": "كانت A من {a} وكانت B من {b}.",
        "far": "أصواتك {mine}؛ المجموع {votes} من {wanted}",
        "system": "التعليمات", "user": "السؤال", "assistant": "إجابة سابقة", "tool": "أداة",
    },
}  # fmt: skip

_BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Marks that turn what follows them, even beyond their text."""


def typed(line: str) -> Typed | None:
    """What a line means; digits of any script are digits. None for anything else."""
    text = line.strip().lower()
    if len(text) == 1 and text.isdecimal():
        text = str(unicodedata.decimal(text))
    return _KEYS.get(text)


def shown(ballot: Ballot, progress: CampaignProgress, rater: str, language: Language, width: int) -> list[str]:
    """The lines of one ballot, none wider than `width` cells."""
    words = WORDS[language]
    lines = [_far(progress, rater, words), ""]
    for message in ballot.messages:
        lines += _part(words.get(str(message.get("role")), str(message.get("role"))), _text(message), width)
    if ballot.target is not None:
        lines += _part(words["target"], ballot.target, width)
    for name, text in (("A", ballot.a), ("B", ballot.b)):
        lines += _part(f"{words['answer']} {name}", text if text.strip() else words["empty"], width, mark="═")
    question = words["question"] if ballot.question == QUESTION else ballot.question
    return [*lines, *_wrapped(question, width), *_wrapped(words["keys"], width)]


def printable(text: str) -> str:
    """Without what steers a terminal: control characters are shown, marks that turn text are left out."""
    cleaned = text.replace("\r\n", "\n").expandtabs(4).translate(_BIDI)
    return "".join(_visible(char) for char in cleaned)


def _visible(char: str) -> str:
    if char == "\n" or unicodedata.category(char) not in ("Cc", "Cs"):
        return char
    return "�" if ord(char) > 0x7F else chr(0x2400 + ord(char)) if ord(char) < 0x20 else "␡"


def _far(progress: CampaignProgress, rater: str, words: dict[str, str]) -> str:
    mine = progress.raters.get(rater, 0)
    return words["far"].format(mine=mine, votes=progress.votes, wanted=progress.wanted)


def _text(message: dict[str, object]) -> str:
    return texts_in(message.get("content"))


def _part(title: str, text: str, width: int, mark: str = "─") -> list[str]:
    """A title with a rule behind it, then the text."""
    from rich.cells import cell_len

    head = f"{mark * 2} {title} "
    return [head + mark * max(width - cell_len(head), 0), *_wrapped(text, width), ""]


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells, broken at spaces; a word that is longer is broken where it must be."""
    from rich.cells import chop_cells

    for paragraph in printable(text).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            for piece in chop_cells(word, width) or [""]:
                if line and _cells(line) + 1 + _cells(piece) > width:
                    yield line
                    line = piece
                else:
                    line = f"{line} {piece}" if line else piece
        yield line


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
