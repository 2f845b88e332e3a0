"""Questions with their labels: the rows that training or evaluation reads, or a question and its passages alone.

    {"question": "When does the pharmacy open?", "passages": ["h09"]}

A row that ends in an answer may be here as well; what is searched for is its last question, as in a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.retrieval.gold import FIELD, gold_of, gold_problems
from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.rows.faults import bad_rows
from lifecycle.rows.files import Reading
from lifecycle.rows.kinds import Preference, Question
from retrieval.analysis import is_arabic


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """What is searched for, and what would be right."""

    id: str
    place: str
    text: str
    gold: tuple[str, ...]
    """Ids; empty where nothing is to be found."""
    language: str
    """The row's own word (`meta.language`), else `ar` or `other` by its letters."""
    cluster: str | None = None


def read_questions(path: Path, gold: str = FIELD, cluster: str | None = None) -> tuple[LabelledQuestion, ...]:
    """All of them. `gold` names the labels' field, of the row or of its `meta`; `cluster` a field of `meta`.

    Raises `NotFound`, and `InvalidData` with file and line of every row without a question, label or cluster.
    """
    reading = Reading(path, put={gold: "meta"}, questions=True)
    problems: list[Problem] = []
    questions = []
    for row in reading:
        meta: dict[str, Any] = row.meta if isinstance(row, Conversation | Preference | Question) else {}
        text = _asked(row)
        faults = gold_problems(meta, gold, f"{row.place} meta")
        if not text.strip():
            faults.append(Problem(row.place, "it asks nothing", "a question, or a conversation with a user's turn"))
        if cluster and meta.get(cluster) is None:
            faults.append(Problem(row.place, f"its meta has no '{cluster}'", "add it, or take --cluster out"))
        problems += faults
        if not faults:
            language = str(meta.get("language") or ("ar" if is_arabic(text) else "other"))
            group = str(meta[cluster]) if cluster else None
            name = row.id or f"{path.stem}-{row.place.rpartition(':')[2]}"
            questions.append(LabelledQuestion(name, row.place, text, gold_of(meta, gold), language, group))
    problems = [*reading.told, *problems]
    if not questions and not problems:
        problems = [Problem(str(path), "it has no rows", "a row is a question with its passages")]
    if problems:
        raise bad_rows(problems, str(path))
    return tuple(questions)


def _asked(row: Any) -> str:
    """The text of the last turn of the user."""
    turns = row.messages if isinstance(row, Conversation | Preference | Question) else ()
    return next((turn.content or "" for turn in reversed(turns) if turn.role == "user"), "")
