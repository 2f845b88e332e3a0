"""What an example asks at the end: every model at once, then each alone, and both must answer the same.

What writes text is asked through the OpenAI client's chat, a classifier by the same client at `/v1/classify`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from rich.console import Console


@dataclass(frozen=True)
class Said:
    """One answer, and the version that gave it."""

    version: str
    text: str


@dataclass(frozen=True)
class Asked:
    """One question to one model; `together` was answered in the mixed batch, `alone` afterwards by itself."""

    model: str
    question: str
    version: str
    together: str
    alone: str


def ask_all(
    endpoint: str, asked: Sequence[tuple[str, str]], max_tokens: int, classifiers: Collection[str] = ()
) -> list[Asked]:
    """Each (model, question), all in flight together, then one by one. `classifiers` are those models that label."""
    return asyncio.run(_ask_all(endpoint, asked, max_tokens, classifiers))


async def _ask_all(
    endpoint: str, asked: Sequence[tuple[str, str]], max_tokens: int, classifiers: Collection[str]
) -> list[Asked]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=endpoint, api_key="none", max_retries=0) as client:

        async def ask(model: str, question: str) -> Said:
            if model in classifiers:
                return await _label(client, model, question)
            return await _chat(client, model, question, max_tokens)

        together = await asyncio.gather(*(ask(*pair) for pair in asked))
        alone = [await ask(*pair) for pair in asked]
    return [
        Asked(model, question, first.version, first.text, second.text)
        for (model, question), first, second in zip(asked, together, alone, strict=True)
    ]


async def _chat(client: AsyncOpenAI, model: str, question: str, max_tokens: int) -> Said:
    answer = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=max_tokens
    )
    version = (answer.model_extra or {}).get("dabt", {}).get("version", "")
    return Said(str(version), answer.choices[0].message.content or "")


async def _label(client: AsyncOpenAI, model: str, question: str) -> Said:
    answer = await client.post("/classify", body={"model": model, "input": question}, cast_to=dict[str, Any])
    return Said(str(answer["dabt"]["version"]), str(answer["data"][0]["label"]))


def questions(test: Path, count: int) -> list[str]:
    """The first of the test split, so that nothing here was chosen for looking good."""
    lines = test.read_text(encoding="utf-8").splitlines()[:count]
    return [turn["content"] for line in lines for turn in json.loads(line)["messages"] if turn["role"] == "user"]


def print_answers(answers: list[Asked], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "answered by", "question", "answer", "same alone", show_lines=True)
    for one in answers:
        same = "yes" if one.together == one.alone else "NO"
        table.add_row(one.model, one.version, Text(one.question), Text(one.together), same)
    console.print(table)
