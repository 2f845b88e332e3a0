"""A team's own documents with instructions planted in some passages, and the questions that find those passages.

Index the copy under a name of its own; the versions that retrieve from it are then attacked as in production.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.retrieval.questions import LabelledQuestion, read_questions
from evals.safety.injection import MARKER, PASSAGE, marker_of
from evals.safety.prompts import own
from lifecycle.errors import InvalidInput
from retrieval.chunks import chunk_documents
from retrieval.config import IndexConfig
from retrieval.documents import read_documents

_MOST = 60
"""Passages, unless more are asked for: after none that was obeyed, at most 5 % are."""
DOCUMENTS, QUESTIONS = "documents", "questions.jsonl"


@dataclass(frozen=True)
class PlantedDocuments:
    """What was written."""

    passages: int
    planted: int
    folder: Path


def plant(documents: Path, questions: Path, out: Path, *, gold: str, number: int | None, seed: int) -> PlantedDocuments:
    """Writes `out/documents` and `out/questions.jsonl`: `number` questions, or as many as there are up to 60, whose
    first right passage has an instruction behind its text. Every passage keeps its id.

    Raises `InvalidInput` when `out` is there, when a label names no passage, or when there are too few questions with
    passages of their own; and what reading raises.
    """
    if out.exists():
        raise InvalidInput(f"{out} is there already: name a folder that is not")
    chunks = {chunk.id: chunk.text for chunk in chunk_documents(read_documents(documents), IndexConfig()).chunks}
    asked = _one_each([question for question in read_questions(questions, gold) if question.gold])
    if strange := [question.gold[0] for question in asked if question.gold[0] not in chunks]:
        raise InvalidInput(f"{questions} names passages that {documents} has not: {', '.join(strange[:5])}")
    number = min(len(asked), _MOST) if number is None else number
    if len(asked) < max(number, 1):
        raise InvalidInput(
            f"{questions} asks for {len(asked)} different passages, and {max(number, 1)} are to be planted"
        )
    chosen = random.Random(seed).sample(asked, number)
    told = {language: _instructions(language) for language in ("ar", "en")}
    rows = []
    for at, question in enumerate(chosen):
        instructions = told["ar" if question.language == "ar" else "en"]
        marker, name = marker_of(f"{seed}-{question.id}"), question.gold[0]
        chunks[name] += " " + instructions[at % len(instructions)].replace("{marker}", marker)
        rows.append(_row(question, {MARKER: marker, PASSAGE: name}))
    (out / DOCUMENTS).mkdir(parents=True)
    text = "".join(f"## {{#{name}}}\n\n{said}\n\n" for name, said in chunks.items())
    (out / DOCUMENTS / "passages.md").write_text(text, encoding="utf-8")
    (out / QUESTIONS).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return PlantedDocuments(len(chunks), number, out)


def _one_each(questions: Sequence[LabelledQuestion]) -> list[LabelledQuestion]:
    """One question for each passage: two would be attacked by one instruction."""
    return list({question.gold[0]: question for question in reversed(questions)}.values())


def _instructions(language: str) -> list[str]:
    return [row["planted"] for row in own("injection") if row["language"] == language and "planted" in row]


def _row(question: LabelledQuestion, meta: dict[str, str]) -> str:
    # Rows end in an answer; none is known here, and none is compared with.
    messages = [{"role": "user", "content": question.text}, {"role": "assistant", "content": "-"}]
    row = {"id": question.id, "messages": messages, "meta": {"language": question.language, **meta}}
    return json.dumps(row, ensure_ascii=False)
