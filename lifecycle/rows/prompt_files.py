"""A version's prompt as people write it: a text file, and a file of rows as worked examples."""

from __future__ import annotations

from pathlib import Path

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.rows.files import scan
from lifecycle.version import Prompt, Shot, TemplateKwargs

_SHOT = "one message of the user and one of the assistant: the version's own system text stands before all of them"


def read_prompt(system: Path | None, shots: Path | None = None, kwargs: TemplateKwargs | None = None) -> Prompt:
    """The prompt, without white space around the system text; system texts of the examples' rows are left out.

    `kwargs` are the switches of the base's chat template.

    Raises `InvalidConfig` with every bad row as file:line, and a system text that is no UTF-8.
    """
    problems: list[Problem] = []
    text = ""
    if system is not None:
        try:
            text = system.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(str(system), f"cannot be read as a text: {error}", "save it as UTF-8"))
    examples, bad = scan(shots) if shots is not None else ([], [])
    problems += bad
    read = []
    for row in examples:
        turns = [message for message in row.messages if message.role != "system"]
        if row.tools or any(message.sent().keys() - {"role", "content"} for message in turns):
            problems.append(Problem(row.place, "has tools, a name or reasoning and is no example", _SHOT))
        elif len(turns) == 2:
            read.append(Shot(user=turns[0].content, assistant=turns[1].content))
        else:
            problems.append(Problem(row.place, f"has {len(turns)} turns and is no example", _SHOT))
    if problems:
        raise InvalidConfig("the prompt cannot be used", problems)
    return Prompt(system=text, shots=tuple(read), chat_template_kwargs=kwargs or {})
