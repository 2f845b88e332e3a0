"""Another model that is asked for its verdict, over the API: what it says, or why that is none.

A judge must answer with one JSON object. An empty, refused, late or nonsense answer is no verdict: it leaves the item
unscored, with the reason, and is never a tie, a hit or a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import Field

from lifecycle.text.scores import parse_object
from lifecycle.version import Frozen

_FENCE = "```"


class Judge(Frozen):
    """Who judges, and how it is asked."""

    model: str = Field(min_length=1)
    """As its endpoint calls it. A judge that is one of the arms favours itself: take another."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """With /v1. Without it, the evaluation's own. Its key is read from DABT_JUDGE_API_KEY."""
    max_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    patience: float = Field(default=60.0, gt=0.0)
    """Seconds after which a verdict is late."""


class Judgement(Frozen):
    """What the judge said, or why that is no verdict."""

    said: dict[str, Any] = Field(default_factory=dict)
    fault: str = ""


class Judges(Protocol):
    """How a scorer reaches a judge; `asking/judges.py` has the real one."""

    async def ask(self, judge: Judge, item: str, messages: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        """The judge's text, and why there is none; one of them is empty."""


async def judgement(judges: Judges | None, judge: Judge, item: str, messages: Sequence[Mapping[str, Any]]) -> Judgement:
    """The judge's JSON object. `item` names what the request is about, so that no verdict is asked for twice."""
    if judges is None:
        return Judgement(fault="there is no judge to ask")
    text, fault = await judges.ask(judge, item, messages)
    if fault:
        return Judgement(fault=f"the judge did not answer: {fault}"[:300])
    if not text.strip():
        return Judgement(fault="the judge's answer is empty")
    said = parse_object(_unfenced(text))
    if said is None:
        return Judgement(fault="the judge's answer is no verdict: it is no JSON object")
    return Judgement(said=said)


def _unfenced(text: str) -> str:
    """Without the code fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text:
        return text.partition("\n")[2].removesuffix(_FENCE).strip()
    return text


def shown(messages: Sequence[Mapping[str, Any]]) -> str:
    """The conversation as a judge reads it."""
    return "\n\n".join(f"{turn['role']}: {turn.get('content') or ''}" for turn in messages)
