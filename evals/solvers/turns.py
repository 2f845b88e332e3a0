"""Several turns: the user's are sent one by one, and the version's own answers take the place of the row's."""

from __future__ import annotations

from typing import Any, Literal

from evals.asking.answers import Answer
from evals.asking.asker import Asker
from evals.sample import Sample
from evals.solvers.chat import Chat
from evals.solvers.solver import Attempt
from lifecycle.errors import NotAllowed


class Turns(Chat):
    """The answer to the last turn is scored; what the version said before is its own context. Tools are not played."""

    type: Literal["turns"] = "turns"  # type: ignore[assignment]

    def requests(self, sample: Sample) -> int:
        return sum(message["role"] == "user" for message in sample.messages)

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        if asker.classifies:
            raise NotAllowed(f"{asker.version.ref} is a classifier, which reads one text and takes no turns")
        said: list[dict[str, Any]] = []
        answers: list[Answer] = []
        for message in sample.messages:
            if message["role"] in ("assistant", "tool"):
                continue
            said.append(message)
            if message["role"] != "user":
                continue
            answer = await self.ask(sample, asker, said, len(answers) + 1)
            answers.append(answer)
            if answer.error:  # what follows would answer something that was never said
                break
            said.append({"role": "assistant", "content": answer.text})
        return Attempt.of(*answers)
