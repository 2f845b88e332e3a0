"""With tools: the version calls, what the row recorded for that call is handed back, until it answers in words."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from evals.asking.answers import Answer
from evals.asking.asker import Asker
from evals.sample import Sample
from evals.scorers.tool_calls import Call, calls_of
from evals.solvers.chat import Chat
from evals.solvers.solver import Attempt
from lifecycle.errors import NotAllowed


class Tools(Chat):
    """Begins at the row's last question. A call that the row has no result for is told so, as a tool would fail."""

    type: Literal["tools"] = "tools"  # type: ignore[assignment]
    steps: int = Field(default=8, ge=1, le=64)
    """Requests about one sample, at most; the last answer is scored as it stands."""

    def requests(self, sample: Sample) -> int:
        return self.steps

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        if asker.classifies:
            raise NotAllowed(f"{asker.version.ref} is a classifier, which calls no tools")
        last = max(at for at, message in enumerate(sample.messages) if message["role"] == "user")
        said: list[dict[str, Any]] = list(sample.messages[: last + 1])
        recorded = _recorded(sample.messages)
        answers: list[Answer] = []
        for number in range(1, self.steps + 1):
            answer = await self.ask(sample, asker, said, number)
            answers.append(answer)
            if answer.error or not answer.tool_calls:
                break
            said.append({"role": "assistant", "content": answer.text, "tool_calls": list(answer.tool_calls)})
            for asked, call in zip(answer.tool_calls, calls_of(answer.tool_calls), strict=True):
                result = next((result for known, result in recorded if call.same(known)), "error: no result")
                said.append({"role": "tool", "tool_call_id": str(asked.get("id") or ""), "content": result})
        return Attempt.of(*answers)


def _recorded(messages: tuple[dict[str, Any], ...]) -> list[tuple[Call, str]]:
    """Each call of the row with what its tool gave."""
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    made = [call for message in messages for call in message.get("tool_calls", ())]
    pairs = zip(made, calls_of(made), strict=True)
    return [(call, results[asked["id"]]) for asked, call in pairs if asked["id"] in results]
