"""The forms that rows come in: which of them a row has, by its keys, and what it is then read as.

    chat               {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    prompt/completion  {"prompt": "…", "completion": "…"}, as text or each as a list of turns
    alpaca             {"instruction": "…", "input": "…", "output": "…"}, optional `history`
    dolly              {"instruction": "…", "context": "…", "response": "…"}
    sharegpt           {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}
    pair               {"user": "…", "assistant": "…"}, {"patient": "…", "chatbot": "…"}
    turns              [{"user": "…", "assistant": "…"}, …], or a list of turns in the words of chat or sharegpt
    preference         {"prompt": "…", "chosen": "…", "rejected": "…"}, OpenAI's `preferred_output`, …
    judged             any conversation with `kto_tag` or `label`: true or false
    classification     {"text": "…", "label": "…"}
    text               {"text": "…"}

Each may have an `id` and a `meta` object; a conversation may have a `system` text and `tools`. Any other key is an
error, and so is a row that has all keys of two forms. `conversations.py` and `answers.py` read what is recognised here;
`files.py` reads whole files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from lifecycle.conversation import Conversation
from lifecycle.rows import answers, conversations
from lifecycle.rows.faults import Fault, Unreadable, unreadable
from lifecycle.rows.kinds import KINDS, Judged, Row
from lifecycle.rows.pairs import PAIRS, is_pair, is_turn
from lifecycle.rows.turns import kind

FORMS = (
    "messages, prompt/completion, alpaca (instruction/input/output), sharegpt (conversations from/value), "
    "user/assistant, prompt/chosen/rejected, text/label or text"
)

_ANY = {"id", "meta"}
_TALK = {"system", "tools", "parallel_tool_calls"}
_VERDICTS = ("kto_tag", "label")


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A form: the keys that it must have and may have."""

    name: str
    keys: tuple[str, ...]
    may: frozenset[str]
    read: Callable[[dict[str, Any], str], Row]
    sure: bool = True
    """Whether the keys are this format's own; others are words that any data could have."""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.keys)})" if self.keys else self.name


def _form(name: str, keys: str, may: str, read: Callable[[dict[str, Any], str], Row], *, sure: bool = True) -> Form:
    return Form(name, tuple(keys.split()), frozenset({*may.split(), *_ANY}), read, sure)


def _talk(name: str, keys: str, may: str, read: Callable[[dict[str, Any], str], Row], *, sure: bool = True) -> Form:
    return _form(name, keys, " ".join([may, *_TALK]), read, sure=sure)


_FORMS = (
    _talk("chat", "messages", "", conversations.chat),
    _talk("prompt/completion", "prompt completion", "", conversations.prompt_completion),
    _talk("alpaca", "instruction output", "input context history", conversations.alpaca),
    _talk("dolly", "instruction response", "input context category", conversations.dolly),
    _talk("sharegpt", "conversations", "", conversations.sharegpt),
    _talk("sharegpt", "conversation", "", conversations.sharegpt),
    *(_talk("pair", " ".join(pair), "", conversations.pair, sure=pair == PAIRS[0]) for pair in PAIRS),
    _form("preference", "input preferred_output non_preferred_output", "", answers.openai_preference),
    _talk("preference", "prompt chosen rejected", "", answers.trl_preference),
    _talk("preference", "chosen rejected", "", answers.trl_preference),
    _talk("preference", "instruction chosen rejected", "input", answers.alpaca_preference),
    _talk("preference", "conversations chosen rejected", "", answers.sharegpt_preference),
    _form("classification", "text label", "", answers.labelled, sure=False),
    _form("text", "text", "label", answers.plain_text, sure=False),
)
_TURNS = Form("turns", (), frozenset(), conversations.turns, sure=False)
_JUDGED = "judged"
QUESTION = Form("question", (), frozenset(), conversations.chat)
"""Of rows that `questions.py` reads, before they come here."""

_SIGNS = {
    *("messages", "conversations", "conversation", "prompt", "completion", "instruction", "user", "assistant"),
    *("patient", "chatbot", "chosen", "rejected", "preferred_output", "non_preferred_output"),
}
"""Keys by one of which a form is meant, although others of it are missing."""


def read(value: Any, place: str) -> tuple[Form, Row]:
    """The row and its form. Raises `Unreadable` with every fault of the row."""
    if isinstance(value, list) and value and all(is_turn(part) or is_pair(part) for part in value):
        return _TURNS, conversations.turns({"turns": value}, place)
    if not isinstance(value, dict):
        raise unreadable("not_an_object", f"the row is {kind(value)}, not a JSON object", f"expected {FORMS}")
    form = None if None in value.values() else _plain(frozenset(value))
    if form is not None:
        return form, form.read(value, place)
    given = {key for key, part in value.items() if part is not None}
    form = _recognised(value, given)
    talks = form.may >= _TALK and form.name != "preference"
    verdict = next((key for key in _VERDICTS if talks and key in given - {*form.keys}), None)
    faults = [
        Fault("unknown_key", f"{key} is no key of the form {form} and would be left out", _UNKNOWN, key)
        for key in value
        if key in given and key not in {*form.keys} | form.may and key != verdict
    ]
    try:
        row = form.read({key: part for key, part in value.items() if key in given or key in form.keys}, place)
        if form.name == "text" and "label" in value:
            faults.append(Fault("missing_key", "label is empty", "give every text its label, or none", "label"))
    except Unreadable as wrong:
        raise Unreadable([*faults, *wrong.faults]) from None
    if verdict and not isinstance(value[verdict], bool):
        faults.append(Fault("wrong_type", f"{verdict} is {kind(value[verdict])}, not true or false", _UNKNOWN, verdict))
    if faults:
        raise Unreadable(faults)
    if verdict and isinstance(row, Conversation):
        return _judged(form, verdict), Judged(row, value[verdict])
    return form, row


@lru_cache(maxsize=1024)  # the rows of a file have few sets of keys
def _plain(there: frozenset[str]) -> Form | None:
    """The form of a row that has these keys with a value each, if it has them all: as nearly every row's."""
    fits = _fitting(there)
    return fits[0] if len(fits) == 1 and there <= {*fits[0].keys} | fits[0].may else None


@cache
def _judged(form: Form, verdict: str) -> Form:
    return Form(_JUDGED, (*form.keys, verdict), form.may, form.read)


_UNKNOWN = "put it under meta (dabt data convert --meta), or leave it out (--ignore)"


def _recognised(row: dict[str, Any], given: set[str]) -> Form:
    fits = _fitting(frozenset(given)) or _fitting(frozenset(row))
    if len(fits) == 1:
        return fits[0]
    if fits:
        first, second = fits[:2]
        apart = [
            " and ".join(key for key in one.keys if key not in other.keys)
            for one, other in ((first, second), (second, first))
        ]
        cure = f"take out {apart[1]}, or {apart[0]}: that decides"
        raise unreadable("two_forms", f"fits two forms: {' and '.join(map(str, fits))}", cure)
    keys = ", ".join(map(str, row)) or "(none)"
    meant = max(_FORMS, key=lambda form: len(set(form.keys) & set(row) & _SIGNS))
    if not set(meant.keys) & set(row) & _SIGNS:
        holds = [key for key, part in row.items() if isinstance(part, list) and part and isinstance(part[0], dict)]
        cure = f"write the list under {holds[0]} alone, as one array of rows" if holds else f"expected {FORMS}"
        raise unreadable("unknown_form", f"unknown form with the keys {keys}", cure)
    missing = [key for key in meant.keys if key not in row]
    raise Unreadable(Fault("missing_key", f"{key} is missing", f"the form {meant} has it", key) for key in missing)


@lru_cache(maxsize=1024)
def _fitting(there: frozenset[str]) -> list[Form]:
    """The forms all of whose keys are there, without those whose keys are a part of another's."""
    fits = [form for form in _FORMS if there >= set(form.keys)]
    return [form for form in fits if not any(set(form.keys) < set(other.keys) for other in fits)]


def conversation(row: Any, place: str) -> Conversation:
    """The row's conversation. Raises `Unreadable` with every fault of the row, and for a row of another kind."""
    _, made = read(row, place)
    if not isinstance(made, Conversation):
        other = KINDS[type(made)]
        raise unreadable(
            "wrong_kind", f"is one of {other.name}, and no conversation", f"{other.method} learns from them"
        )
    return made
