"""One conversation to several versions for a page without scripts: all are asked at once, and shown when all are whole.

A form holds the conversation so far: `before` is its questions and answers as JSON, which the page writes itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from console.api import Api
from console.side_by_side import MOST, Event, PaneAsked, Question, Sampling, answered
from console.viewer import Viewer
from lifecycle.errors import InvalidInput
from lifecycle.version import Frozen

_TURNS = 50


class EarlierTurn(Frozen):
    question: str
    answers: dict[str, str]
    """By the name that was asked; what failed is not there."""


_EARLIER = TypeAdapter(tuple[EarlierTurn, ...])


@dataclass(slots=True)
class WholeAnswer:
    """What came of one version."""

    asked: str
    text: str = ""
    version: str = ""
    digest: str = ""
    facts: Event = field(default_factory=dict)
    """As the stream's `done` has them; empty for what failed."""
    failed: str = ""


class Conversation(Frozen):
    models: tuple[str, ...] = Field(min_length=1, max_length=MOST)
    question: str = Field(min_length=1)
    system: str = ""
    sampling: Sampling = Sampling()
    before: tuple[EarlierTurn, ...] = Field(default=(), max_length=_TURNS)

    def messages(self, model: str) -> tuple[dict[str, Any], ...]:
        """Of one version: its own earlier answers, and the questions that it answered."""
        said = [{"role": "system", "content": self.system}] if self.system.strip() else []
        for turn in self.before:
            if model in turn.answers:
                said.append({"role": "user", "content": turn.question})
                said.append({"role": "assistant", "content": turn.answers[model]})
        return (*said, {"role": "user", "content": self.question})

    def after(self, answers: Sequence[WholeAnswer]) -> str:
        """`before` of the next question."""
        told = {answer.asked: answer.text for answer in answers if answer.facts}
        return _EARLIER.dump_json((*self.before, EarlierTurn(question=self.question, answers=told))).decode()


def earlier(text: str) -> tuple[EarlierTurn, ...]:
    """Raises `InvalidInput`."""
    try:
        return _EARLIER.validate_json(text) if text else ()
    except ValidationError as error:
        raise InvalidInput("the conversation so far cannot be read: begin a new one") from error


async def whole_answers(api: Api, viewer: Viewer, conversation: Conversation) -> list[WholeAnswer]:
    """One for each version, in their order; one that fails says why, and holds up no other."""
    panes = tuple(PaneAsked(model=name, messages=conversation.messages(name)) for name in conversation.models)
    question = Question(panes=panes, sampling=conversation.sampling)
    return list(await asyncio.gather(*(_whole(api, viewer, pane, question) for pane in panes)))


async def _whole(api: Api, viewer: Viewer, pane: PaneAsked, question: Question) -> WholeAnswer:
    answer = WholeAnswer(pane.model)
    async with aclosing(answered(api, viewer, pane, question)) as events:
        async for event in events:
            if event["kind"] == "answerer":
                answer.version, answer.digest = event["version"], event["digest"] or ""
            elif event["kind"] == "piece":
                answer.text += event["text"]
            elif event["kind"] == "done":
                answer.facts = event
            elif event["kind"] == "failed":
                answer.failed = event["message"]
    return answer
