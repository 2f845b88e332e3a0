"""Rows of a question with its choices, as public multiple-choice sets have them, as conversations with `meta.choices`.

    {"question": "…", "choices": ["Dentist", "Cardiologist"], "answer": 0}

The answer is a place (from 0, as in MMLU), a letter, a label of the choices, or the text of the right one. ARC's
`{"choices": {"text": […], "label": ["A", …]}, "answerKey": "B"}` is read too. Other keys go into `meta`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifecycle.rows.faults import Fault, Unreadable, unreadable
from lifecycle.rows.files import Reading

KIND = "questions with choices"
_QUESTIONS = ("question", "question_stem")
_ANSWERS = ("answer", "answerKey")
_LETTERS = ("ABCDEFGHIJKLMNOPQRST", "أبجدهوزحطيكلمنسعفصقر")
"""By which answers name a place, in Latin and in the Arabic order."""


def are_choices(value: Any) -> bool:
    return isinstance(value, dict) and "choices" in value and any(key in value for key in _QUESTIONS)


def looks_so(path: Path) -> bool:
    """By the file's first row."""
    return are_choices(next(iter(Reading(path).values()), None))


def conversation(value: object) -> dict[str, Any]:
    """The row in the form of a conversation. Raises `Unreadable`."""
    if not isinstance(value, dict) or not are_choices(value):
        raise unreadable("wrong_type", "has no question with choices, as the first row has", "give it `choices`")
    faults, meta = [], value.get("meta") or {}
    if not isinstance(meta, dict):
        raise unreadable("wrong_type", "meta is no object", "write an object", "meta")
    asked = [key for key in _QUESTIONS if key in value]
    question = value[asked[0]]
    if not isinstance(question, str) or not question.strip():
        faults.append(Fault("empty", "the question is no text", "write it out", asked[0]))
    texts, labels = _choices(value["choices"])
    if texts is None:
        faults.append(Fault("wrong_type", "is no list of texts", "two or more texts, in brackets", "choices"))
    key = next((key for key in _ANSWERS if key in value), "answer")
    right: set[str] = set()
    if texts is not None:
        right = _right(value.get(key), texts, labels)
        if len(right) != 1:
            told = f"{value.get(key)!r:.60} is {'none of the choices' if not right else 'both ' + ' and '.join(right)}"
            cure = "write the text of the right choice, its letter, or its place from 0"
            faults.append(Fault("bad_answer", told, cure, key))
    if faults:
        raise Unreadable(faults)
    kept = {name: part for name, part in value.items() if name not in {*_QUESTIONS, *_ANSWERS, "choices", "meta", "id"}}
    row = {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": right.pop()}],
        "meta": {**kept, **meta, "choices": texts},
    }
    return row | ({"id": str(value["id"])} if isinstance(value.get("id"), str | int) else {})


def _choices(given: Any) -> tuple[list[str] | None, list[str]]:
    """The texts, and the labels where the row names some."""
    labels: Any = []
    if isinstance(given, Mapping):
        given, labels = given.get("text"), given.get("label")
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text for text in given):
        return None, []
    named = isinstance(labels, list) and len(labels) == len(given) and all(isinstance(one, str) for one in labels)
    return given, labels if named else []


def _right(answer: Any, texts: list[str], labels: list[str]) -> set[str]:
    """All choices that the answer may mean."""
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        return set()
    if labels:
        return {text for text, label in zip(texts, labels, strict=True) if answer in (label, text)}
    meant = {text for text in texts if text == str(answer)}
    if isinstance(answer, int):
        return meant | ({texts[answer]} if 0 <= answer < len(texts) else set())
    letter = answer.strip().strip("().").replace("\u0640", "").replace("ا", "أ").upper()
    if not meant and len(letter) == 1:
        meant = {texts[letters.index(letter)] for letters in _LETTERS if letter in letters[: len(texts)]}
    return meant
