"""What the fields of a request may be: kind and range of each that reaches the engine, checked before anything is done.

An engine checks some of this itself, some of it only once the request is in its core, and some not at all: a number
that no 64 bits hold is an error of the engine's there. `structured.py` has the fields that constrain an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lifecycle.errors import InvalidInput, Problem
from service.engine.interface import Kind

Check = Callable[[Any], str]
"""What is wrong with a value that is not null; empty when nothing is."""

_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_MOST_STOPS, _LONGEST_STOP = 16, 1000
_MOST_WORDS = 1000
_MOST_IDS = 100_000
_MOST_BIASES = 4096


def check_fields(kind: Kind, body: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` with every field that is of the wrong kind or out of its range.

    Numbers may come as text, as engines take them.
    """
    table = _CHAT if kind == "chat" else _COMPLETION
    problems = []
    for name, value in body.items():
        check = table.get(name)
        if check is not None and value is not None and (fault := check(value)):
            problems.append(Problem(name, fault))
    if not problems:
        problems = _together(body)
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def _together(body: Mapping[str, Any]) -> list[Problem]:
    """Fields that are right alone and wrong together. All of them are of their kinds."""
    problems = []
    if body.get("stream_options") and body.get("stream") is not True:
        fault = "is for streamed answers, and this one is not streamed"
        problems.append(Problem("stream_options", fault, "send stream: true, or leave it out"))
    least = _float(body.get("min_tokens"))
    for name in ("max_completion_tokens", "max_tokens"):
        most = _float(body.get(name))
        if most is not None:
            if least is not None and least > most:
                problems.append(Problem("min_tokens", f"is more than {name}, {most:g}", "lower it"))
            break  # the first of the two is the one that counts
    return problems


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> str:
        number = _float(value)
        if number is None or not number.is_integer() or not least <= _exact(value) <= most:
            return f"must be a whole number from {least} to {most}"
        return ""

    return check


def _number(least: float, most: float, *, above: bool = False) -> Check:
    """From `least`, or `above` it."""

    def check(value: Any) -> str:
        number = _float(value)
        if number is None or not least <= number <= most or (above and number == least):
            return f"must be a number {'above' if above else 'from'} {least:g} to {most:g}"
        return ""

    return check


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) or value in (0, 1, "true", "false") else "must be true or false"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "must be a string"


def _object(value: Any) -> str:
    return "" if isinstance(value, dict) else "must be an object"


def _stops(value: Any) -> str:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return "must be a string, or a list of strings"
    if len(texts) > _MOST_STOPS:
        return f"has {len(texts)} strings; at most {_MOST_STOPS} are looked for"
    return "" if all(0 < len(text) <= _LONGEST_STOP for text in texts) else f"must have 1 to {_LONGEST_STOP} characters"


def _words(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        return "must be a list of strings that are not empty"
    return "" if len(value) <= _MOST_WORDS else f"has {len(value)} strings; at most {_MOST_WORDS} are taken"


def _ids(value: Any) -> str:
    if not isinstance(value, list) or not all(_is_id(token) for token in value):
        return "must be a list of token ids, whole numbers from 0"
    return "" if len(value) <= _MOST_IDS else f"has {len(value)} ids; at most {_MOST_IDS} are taken"


def _biases(value: Any) -> str:
    if not isinstance(value, dict):
        return "must be an object from token ids to numbers from -100 to 100"
    for token, bias in value.items():
        if not (token.isascii() and token.isdigit() and int(token[:20]) <= _INT32):
            return f"{token[:40]!a} is no token id: a whole number from 0, as text"
        if _number(-100, 100)(bias):
            return f"the bias of {token} must be a number from -100 to 100"
    return "" if len(value) <= _MOST_BIASES else f"has {len(value)} ids; at most {_MOST_BIASES} are taken"


def _repetition(value: Any) -> str:
    names = ("max_pattern_size", "min_pattern_size", "min_count")
    if not isinstance(value, dict) or not value.keys() <= set(names):
        return f"must be an object of {', '.join(names)}"
    wrong = [name for name in names if value.get(name) is not None and _whole(0, 1000)(value[name])]
    return f"{wrong[0]} must be a whole number from 0 to 1000" if wrong else ""


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _INT32


def _float(value: Any) -> float | None:
    """The number that `value` is or says; None when it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _exact(value: Any) -> int:
    """`value` as an int, which a double would round; it is a whole number."""
    try:
        return int(value)
    except ValueError:
        return int(float(value))  # such as "5.0"


_FLAGS = (
    *("stream", "use_beam_search", "watermarking", "include_stop_str_in_output", "ignore_eos", "echo"),
    *("skip_special_tokens", "spaces_between_special_tokens", "add_special_tokens"),
    *("return_tokens_as_token_ids", "return_token_ids", "return_token_offsets"),
)
_BOTH: Mapping[str, Check] = {
    **{name: _whole(1, 128) for name in ("n", "best_of")},
    "min_tokens": _whole(0, _INT32),
    "seed": _whole(-_INT64 - 1, _INT64),
    "priority": _whole(-_INT64 - 1, _INT64),
    "top_k": _whole(-1, _INT32),
    "prompt_logprobs": _whole(-1, _INT32),
    "truncate_prompt_tokens": _whole(-1, _INT32),
    "stream_interval": _whole(1, _INT32),
    "routed_experts_prompt_start": _whole(0, _INT32),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1, above=True),
    "min_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "repetition_penalty": _number(0, 100, above=True),
    "length_penalty": _number(-100, 100),
    "stop": _stops,
    "stop_token_ids": _ids,
    "allowed_token_ids": _ids,
    "logprob_token_ids": _ids,
    "bad_words": _words,
    "logit_bias": _biases,
    "repetition_detection": _repetition,
    "user": _text,
    "stream_options": _object,
    **dict.fromkeys(_FLAGS, _flag),
}
_CHAT: Mapping[str, Check] = {
    **_BOTH,
    "max_tokens": _whole(1, _INT32),
    "max_completion_tokens": _whole(1, _INT32),
    "logprobs": _flag,
    "top_logprobs": _whole(-1, _INT32),
    "thinking_token_budget": _whole(-1, _INT32),
    "parallel_tool_calls": _flag,
    "include_reasoning": _flag,
    "add_generation_prompt": _flag,
    "continue_final_message": _flag,
    "return_prompt_text": _flag,
    "chat_template_kwargs": _object,
}
_COMPLETION: Mapping[str, Check] = {
    **_BOTH,
    "max_tokens": _whole(0, _INT32),
    "logprobs": _whole(-1, _INT32),
    "suffix": _text,
}
