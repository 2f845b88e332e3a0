"""Multiple choice: the version is not asked to write, but how likely each of the sample's choices is as its answer.

Every version is asked alike, through the chat template, with its own prompt and passages. The choice that is likeliest
as a whole is the answer's text, so any scorer of texts can look at it; `scorers/choices.py` also has the one that is
likeliest for its length.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from evals.asking.asker import Asker
from evals.sample import Sample
from evals.solvers.chat import text_alone
from evals.solvers.solver import Attempt, Solver
from lifecycle.errors import Problem
from lifecycle.version import Version, digest_of


class Choices(Solver):
    """A classifier is asked for its label. A sample's target is one of its choices."""

    type: Literal["choices"] = "choices"
    choices: tuple[str, ...] = ()
    """The same for every sample. Without it they are in the samples' metadata."""
    field: str = Field(default="choices", min_length=1)
    """Of the metadata: a list of texts."""

    def problems(self, sample: Sample) -> list[Problem]:
        place = "solver.choices" if self.choices else f"meta.{self.field}"
        if sample.tools:
            return [Problem("tools", "are not offered where choices are scored", "take them out")]
        choices = self.of(sample)
        if choices is None:
            return [Problem(place, "is no list of texts", "write the item's choices there, or `choices` in the solver")]
        if len(choices) < 2 or len({*choices}) < len(choices) or "" in choices:
            return [Problem(place, "needs two or more texts, each another and none empty", "mend the choices")]
        if sample.target not in choices:
            return [Problem("target", f"{sample.shown_target!r:.80} is none of the choices", f"one of {place}")]
        return []

    def greedy(self, version: Version) -> bool:
        """Likelihoods are computed and not drawn."""
        return True

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        if asker.classifies:
            return Attempt.of(await asker.classify(digest_of([sample.key, 1]), text_alone(sample)))
        choices = self.of(sample)
        assert choices is not None, "looked at before anything is asked"
        items = [digest_of([sample.key, "choice", number]) for number in range(len(choices))]
        given = await asker.likelihoods(items, sample.messages, choices)
        answers = [answer.model_copy(update={"text": text}) for answer, text in zip(given, choices, strict=True)]
        if any(answer.logprob is None for answer in answers):
            return Attempt(tuple(answers), "")
        return Attempt(tuple(answers), max(answers, key=lambda answer: answer.logprob or 0.0).text)

    def of(self, sample: Sample) -> list[str] | None:
        """None where there is no list of texts."""
        given: Any = list(self.choices) or sample.metadata.get(self.field)
        texts = isinstance(given, list) and all(isinstance(text, str) for text in given)
        return given if texts else None
