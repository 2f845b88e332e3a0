"""Rows that training reads, as samples: what stands before the last answer is sent, the last answer is the target.

Conversations keep their turns, tools and calls; of a text with a label the label is the target; of a preference row the
better answer is, and the worse one stands in the metadata as `rejected`. Questions with choices: `choice_rows.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import chat_rows
from evals.asking.spilled import Spilled
from evals.sample import Sample
from evals.slices import named, required
from evals.tasks import choice_rows
from lifecycle.conversation import Conversation, Message
from lifecycle.errors import Problem
from lifecycle.rows.faults import bad_rows
from lifecycle.rows.files import Scan
from lifecycle.rows.kinds import Labelled, Preference
from lifecycle.text import strict_json
from lifecycle.version import Digest, digest_of

Row = Conversation | Labelled | Preference


@dataclass(frozen=True)
class Rows:
    """A file's samples, each with its place and the digest of what it says: rows on the disk, as a file may have
    100,000."""

    samples: Sequence[Sample]
    places: Sequence[str]
    digests: Sequence[Digest]
    kind: str
    """As `lifecycle/rows/kinds.py` calls the rows, or `choice_rows.py`."""


def read(path: Path, cluster: str | None = None, slices: Sequence[str] = ()) -> Rows:
    """The file's samples. `cluster` and `slices` name fields of the rows' `meta`; a slice that is worked out of the
    item (`evals/slices.py`) need not be there.

    Raises `InvalidData` with file and line of each row that is no item.
    """
    of_choices = choice_rows.looks_so(path)
    kinds = (Conversation, Labelled, Preference)
    rows = Scan(path, (Conversation,), becomes=choice_rows.conversation) if of_choices else Scan(path, kinds)
    problems: list[Problem] = []
    names: dict[str, str] = {}
    samples: Spilled[Sample] = Spilled()
    places: Spilled[str] = Spilled()
    digests: Spilled[Digest] = Spilled()
    for row in rows:
        line = row.place.rpartition(":")[2]
        name = row.id or chat_rows.unnamed(f"{path.stem}-{line}", names)
        if name in names:
            problems.append(Problem(row.place, f"the id {name} is that of line {names[name]}", "one id, one item"))
        names.setdefault(name, line)
        problems += _faults(row, [*([cluster] if cluster else []), *required(slices)])
        if not problems:
            digest = digest_of(_content(row, name))
            digests.append(digest)
            places.append(row.place)
            samples.append(_sample(row, name, digest, cluster, slices))
    problems += rows.problems
    if problems:
        raise bad_rows(sorted(problems, key=chat_rows.line_of), str(path))
    return Rows(samples, places, digests, choice_rows.KIND if of_choices else rows.kind)


def _faults(row: Row, fields: Sequence[str]) -> list[Problem]:
    faults = [
        Problem(row.place, f"its meta has no '{field}'", "add it, or take it out of `cluster` and `slices`")
        for field in fields
        if row.meta.get(field) is None
    ]
    if isinstance(row, Conversation) and not row.messages[-1].trained:
        faults.append(Problem(row.place, "the last answer has weight 0, so it is no target", "leave weight out"))
    return faults


def _content(row: Row, name: str) -> Any:
    """What the row says, as JSON. Of rows of texts it is as lm-eval's tasks over them have it: the same items."""
    if isinstance(row, Labelled) or (isinstance(row, Conversation) and not chat_rows.beyond_texts(row)):
        return chat_rows.document(row, name)
    messages, target, tools, parallel = _parts(row)
    return [name, messages, target, list(tools), parallel, row.meta]


def _sample(row: Row, name: str, digest: Digest, cluster: str | None, slices: Sequence[str]) -> Sample:
    messages, target, tools, parallel = _parts(row)
    rejected = {"rejected": _target(row.rejected)} if isinstance(row, Preference) else {}
    return Sample(
        key=f"{name}/{digest[7:19]}",
        id=name,
        messages=tuple(messages),
        target=target,
        metadata={**row.meta, **rejected},
        cluster=str(row.meta[cluster]) if cluster else None,
        slices=named(slices, row.meta),
        tools=tools,
        parallel_tool_calls=parallel,
    )


def _parts(row: Row) -> tuple[list[dict[str, Any]], Any, tuple[dict[str, Any], ...], bool | None]:
    """What is sent, what would be right, and the tools with their rule."""
    if isinstance(row, Labelled):
        return [{"role": "user", "content": row.text}], str(row.label), (), None
    if isinstance(row, Preference):
        sent = [message.sent() for message in row.messages]
        return sent, _target(row.chosen), row.tools, row.parallel_tool_calls
    return row.sent()[:-1], _target(row.messages[-1:]), row.tools, row.parallel_tool_calls


def _target(said: Sequence[Message]) -> Any:
    """A text, or the calls of the answer with what it says beside them."""
    last = said[-1]
    if not last.tool_calls:
        return last.content
    calls = [{"name": call.name, "arguments": strict_json.parse(call.arguments)} for call in last.tool_calls]
    return {"tool_calls": calls} | ({"content": last.content} if last.content else {})
