"""Where a request constrains its answer, by whatever field, and what is wrong there: one check for every way in.

`response_format`, `structured_outputs` and the parameters of tools are all of them; `/v1/responses` has become a chat
request by now (`response_request.py`). `lifecycle/schema_limits.py` has the limits. What passes is compiled on trial
before the engine is given it (`service/engine/grammar/trial.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lifecycle.errors import InvalidInput, Problem
from lifecycle.schema_limits import (
    choice_problems,
    expression_problems,
    grammar_problems,
    schema_problems,
    tag_problems,
)
from lifecycle.text import strict_json

_FORMATS = ("text", "json_object", "json_schema", "structural_tag")
_FORMS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_REMOVED = (
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    *("guided_decoding_backend", "guided_whitespace_pattern"),
)


def check_constraints(body: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` with all that is wrong with the request's constraints, before any of them is compiled."""
    problems = [
        Problem(name, "is not taken any more, so the answer would not keep to it", "send structured_outputs")
        for name in _REMOVED
        if body.get(name) is not None
    ]
    for name, check in (("response_format", _format), ("structured_outputs", _outputs), ("tools", _tools)):
        if body.get(name) is not None:
            problems += check(body)
    formatted = isinstance(asked := body.get("response_format"), dict) and asked.get("type") != "text"
    if formatted and body.get("structured_outputs") is not None:
        fault = "constrains the answer, as response_format does already"
        problems.append(Problem("structured_outputs", fault, "send one of the two"))
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def place_of_constraint(body: Mapping[str, Any]) -> str:
    """The field that an answer is held to: what is wrong with it is the caller's to mend there."""
    if body.get("tools") and body.get("tool_choice", "auto") not in ("auto", "none", None):
        return "tools"  # a call that must be made goes before a format
    for name in ("response_format", "structured_outputs"):
        if body.get(name) is not None:
            return name + (_format_place(body) if name == "response_format" else _form(body))
    return "tools"


def _kind(body: Mapping[str, Any]) -> str:
    kind = body["response_format"].get("type") if isinstance(body["response_format"], dict) else None
    return kind if isinstance(kind, str) else ""


def _format_place(body: Mapping[str, Any]) -> str:
    return ".json_schema.schema" if _kind(body) == "json_schema" else ""


def _form(body: Mapping[str, Any]) -> str:
    given = body["structured_outputs"]
    forms = [form for form in _FORMS if isinstance(given, dict) and given.get(form) is not None]
    return f".{forms[0]}" if forms else ""


def _format(body: Mapping[str, Any]) -> list[Problem]:
    place, given, kind = "response_format", body["response_format"], _kind(body)
    if kind not in _FORMATS:
        fault = "must have a type that is known" if isinstance(given, dict) else "must be an object with a type"
        where = f"{place}.type" if isinstance(given, dict) else place
        return [Problem(where, fault, f"one of {', '.join(_FORMATS)}")]
    if kind == "structural_tag":
        return tag_problems(given, place)
    return _json_schema(given.get("json_schema"), f"{place}.json_schema") if kind == "json_schema" else []


def _json_schema(given: Any, place: str) -> list[Problem]:
    if not isinstance(given, dict):
        return [Problem(place, "must be an object with name and schema")]
    named = isinstance(given.get("name"), str) and given["name"]
    problems = [] if named else [Problem(f"{place}.name", "must be a string")]
    if not isinstance(given.get("schema"), dict):
        return [*problems, Problem(f"{place}.schema", "must be a JSON schema, an object")]
    return [*problems, *schema_problems(given["schema"], f"{place}.schema")]


def _outputs(body: Mapping[str, Any]) -> list[Problem]:
    place, given = "structured_outputs", body["structured_outputs"]
    cure = f"one of {', '.join(_FORMS)}"
    if not isinstance(given, dict):
        return [Problem(place, "must be an object", cure)]
    problems = [Problem(f"{place}.{name[:80]}", "is not known here", cure) for name in given if name not in _FORMS]
    forms = [form for form in _FORMS if given.get(form) is not None]
    if len(forms) != 1:
        fault = "says nothing that the answer is to keep to" if not forms else f"says {' and '.join(forms)}"
        return [*problems, Problem(place, fault, cure)]
    (form,), value = forms, given[forms[0]]
    return [*problems, *_form_problems(form, value, f"{place}.{form}")]


def _form_problems(form: str, value: Any, place: str) -> list[Problem]:
    if form in ("json", "structural_tag") and isinstance(value, str):
        try:
            value = strict_json.parse(value)
        except ValueError as error:
            return [Problem(place, f"the text {error}")]
    if form == "json_object":
        return [] if value is True else [Problem(place, "must be true", "leave structured_outputs out for free text")]
    checks: dict[str, Callable[[Any, str], list[Problem]]] = {
        "json": schema_problems,
        "regex": expression_problems,
        "choice": choice_problems,
        "grammar": grammar_problems,
        "structural_tag": tag_problems,
    }
    return checks[form](value, place)


def _tools(body: Mapping[str, Any]) -> list[Problem]:
    tools, problems = body["tools"], []
    if not isinstance(tools, list):
        return [Problem("tools", "must be a list")]
    choice = body.get("tool_choice")
    for at, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        place = f"tools.{at}.function"
        if not isinstance(function, dict):
            problems.append(Problem(place, "must be an object with name and parameters"))
            continue
        if not isinstance(function.get("name"), str) or not function["name"]:
            problems.append(Problem(f"{place}.name", "must be a string"))
        if function.get("strict") not in (None, False, True):
            problems.append(Problem(f"{place}.strict", "must be true or false"))
        if function.get("parameters") is not None:
            obeyed = choice not in ("none", "auto", None) or function.get("strict") is True
            problems += schema_problems(function["parameters"], f"{place}.parameters", obeyed=obeyed)
    return problems
