"""What an example asks at the end: every model at once, then each alone, and both must answer the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion
    from rich.console import Console


@dataclass(frozen=True)
class Asked:
    """One question to one model; `together` was answered in the mixed batch, `alone` afterwards by itself."""

    model: str
    question: str
    version: str
    together: str
    alone: str


def ask_all(endpoint: str, asked: Sequence[tuple[str, str]], max_tokens: int) -> list[Asked]:
    """Each (model, question), all in flight together, then one by one."""
    return asyncio.run(_ask_all(endpoint, asked, max_tokens))


async def _ask_all(endpoint: str, asked: Sequence[tuple[str, str]], max_tokens: int) -> list[Asked]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=endpoint, api_key="none", max_retries=0) as client:
        together = await asyncio.gather(*(_ask(client, *pair, max_tokens) for pair in asked))
        alone = [await _ask(client, *pair, max_tokens) for pair in asked]
    return [
        Asked(model, question, _version(first), _text(first), _text(second))
        for (model, question), first, second in zip(asked, together, alone, strict=True)
    ]


async def _ask(client: AsyncOpenAI, model: str, question: str, max_tokens: int) -> ChatCompletion:
    return await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=max_tokens
    )


def questions(test: Path, count: int) -> list[str]:
    """The first of the test split, so that nothing here was chosen for looking good."""
    lines = test.read_text(encoding="utf-8").splitlines()[:count]
    return [turn["content"] for line in lines for turn in json.loads(line)["messages"] if turn["role"] == "user"]


def _version(answer: ChatCompletion) -> str:
    return str((answer.model_extra or {}).get("dabt", {}).get("version", ""))


def _text(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


def print_answers(answers: list[Asked], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "answered by", "question", "answer", "same alone", show_lines=True)
    for one in answers:
        same = "yes" if one.together == one.alone else "NO"
        table.add_row(one.model, one.version, Text(one.question), Text(one.together), same)
    console.print(table)
