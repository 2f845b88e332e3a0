"""Whether the answers of rows are what the answer schema of their task says, before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lifecycle.answer_schema import AnswerSchema
from lifecycle.conversation import Conversation, Message
from lifecycle.errors import InvalidData, Problem
from lifecycle.rows.faults import bad_rows
from lifecycle.rows.kinds import Preference, Row

_CURE = "mend the answer or the schema, or have it labelled anew (dabt data distill)"


def require_answers(schema: AnswerSchema | None, *parts: Sequence[Row]) -> None:
    """Raises `InvalidData` with every answer that is learnt and does not fit; calls of tools are no such answer."""
    if schema is None:
        return
    problems = [
        Problem(row.place, f"the answer does not fit {schema.name}: {fault}", _CURE)
        for rows in parts
        for row in rows
        for message in _learnt(row)
        for fault in schema.faults(message.content)
    ]
    if problems:
        raise _refused(problems)


def order_note(schema: AnswerSchema | None, rows: Sequence[Row]) -> Iterator[str]:
    """Says so where answers have their keys in another order than structured decoding writes them in."""
    if schema is None:
        return
    values = [json.loads(message.content) for row in rows for message in _learnt(row)]
    if other := sum(schema.written(value) != json.dumps(value, ensure_ascii=False) for value in values):
        yield (
            f"{other:,} of {len(values):,} answers have their keys in another order than {schema.name}, in which "
            "structured decoding writes them: the model is then held to an order that it did not learn"
        )


def _learnt(row: Row) -> Iterator[Message]:
    said = row.messages if isinstance(row, Conversation) else row.chosen if isinstance(row, Preference) else ()
    for message in said:
        if message.role == "assistant" and message.trained and not message.tool_calls:
            yield message


def _refused(problems: list[Problem]) -> InvalidData:
    files = dict.fromkeys(problem.place.rpartition(":")[0] for problem in problems)
    return bad_rows(problems, ", ".join(files))
