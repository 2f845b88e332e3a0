"""One turn: the sample's messages and tools are sent, and the reply is the answer. A classifier gets the text alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from evals.asking.answers import Answer
from evals.asking.asker import Asker
from evals.sample import Sample, Turn
from evals.solvers.solver import Attempt, Solver
from lifecycle.errors import NotAllowed
from lifecycle.version import Version, digest_of


class Chat(Solver):
    """What is not written here is the version's own decoding."""

    type: Literal["chat"] = "chat"
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    stop: tuple[str, ...] = Field(default=(), max_length=4)

    def greedy(self, version: Version) -> bool:
        if self.temperature is None or version.spec.classifier is not None:
            return super().greedy(version)
        return self.temperature == 0

    def sampled_by(self) -> str:
        return "write `temperature: 0.7` under the task file's `solver`"

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        if asker.classifies:
            return Attempt.of(await asker.classify(digest_of([sample.key, 1]), text_alone(sample)))
        return Attempt.of(await self.ask(sample, asker, sample.messages, 1))

    async def ask(self, sample: Sample, asker: Asker, messages: Sequence[Turn], number: int) -> Answer:
        """The `number`th request about the sample."""
        return await asker.chat(
            digest_of([sample.key, number]),
            messages,
            decoding=self.decoding,
            tools=sample.tools,
            parallel=sample.parallel_tool_calls,
        )

    @property
    def decoding(self) -> dict[str, Any]:
        """As a request says it."""
        said = {"max_tokens": self.max_tokens, "temperature": self.temperature, "stop": list(self.stop) or None}
        return {key: value for key, value in said.items() if value is not None}


def text_alone(sample: Sample) -> str:
    """The question. A system text of the items says what to write, which a classifier does not need.

    Raises `NotAllowed` where there are turns before the question: a classifier reads one text.
    """
    if any(message["role"] != "system" for message in sample.messages[:-1]):
        raise NotAllowed(f"the item {sample.id} has turns before its question, and a classifier reads one text")
    return sample.question
