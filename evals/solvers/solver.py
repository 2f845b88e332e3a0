"""The seam of asking: how a version is asked about a sample, and what it made of it.

inspect_ai's users know the noun: there a solver changes a `TaskState` and calls `generate`; here it gets the sample,
calls `asker.chat`, and gives an `Attempt`. Whatever goes through the `Asker` is kept, so that no finished request is
asked twice, and its time and tokens are counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evals.asking.answers import Answer
from evals.asking.asker import Asker
from evals.sample import Sample
from lifecycle.errors import Problem
from lifecycle.version import Frozen, Version


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a version made of one sample: every request's answer, in order, and what is scored."""

    answers: tuple[Answer, ...]
    text: str
    """The final answer, as it is scored."""
    tool_calls: tuple[dict[str, Any], ...] = ()
    """What it called in the final answer, as the OpenAI API writes it."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Passages that the solver itself put before the version: id → text."""

    @property
    def passages(self) -> dict[str, str]:
        """Id → text of the passages that stood before the version, best first: retrieved by the service, or given."""
        retrieved = {
            name: text for answer in self.answers for name, text in zip(answer.passages, answer.texts, strict=True)
        }
        return {**self.given, **retrieved}

    @property
    def shown(self) -> str:
        """The final answer as a reader sees it: its text, and behind it what it calls."""
        calls = [call.get("function") or {} for call in self.tool_calls]
        told = [f"{call.get('name')}({call.get('arguments')})" for call in calls]
        return "\n".join(part for part in (self.text, *told) if part)

    @property
    def error(self) -> str:
        """Why a request failed, the first of them; empty when all were answered."""
        return next((answer.error for answer in self.answers if answer.error), "")

    @classmethod
    def of(cls, *answers: Answer) -> Attempt:
        """Whose final answer is the last."""
        return cls(answers, answers[-1].text, answers[-1].tool_calls)


class Solver(Frozen, ABC):
    """How a version is asked. The fields are its settings: the keys under `solver:` in a task file.

    A package brings its own by an entry point of the group `dabt.solvers`, named as `type` is.
    """

    type: str

    look: ClassVar[str] = ""
    """Why an evaluation that asks so decides nothing, where callers are not answered so."""

    def described(self) -> Any:
        """What decides its answers, as JSON: a suite's digest covers it."""
        return self.model_dump(mode="json")

    def problems(self, sample: Sample) -> list[Problem]:
        """Why it cannot ask about the sample, each with its place inside it; asked of every sample before anything is
        sent."""
        return []

    def greedy(self, version: Version) -> bool:
        """Whether the version is asked so that it answers the same again, and several answers tell no more than one. A
        solver that sets the temperature says it here too."""
        return version.spec.classifier is not None or version.spec.decoding.temperature == 0

    def sampled_by(self) -> str:
        """What to write where, so that answers are drawn by chance though no arm's decoding says so; empty where
        nothing does that."""
        return ""

    def check(self, versions: Sequence[Version]) -> None:
        """Raises `InvalidConfig` when these versions, all that are compared, cannot be asked alike."""

    def requests(self, sample: Sample) -> int:
        """How many requests it will send about the sample, at most; progress is counted by it."""
        return 1

    @abstractmethod
    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        """Ask. A request that fails is an answer with an `error`: return it, and the sample counts as failed.

        Raises `NotAllowed` for a sample that this version cannot be asked.
        """
