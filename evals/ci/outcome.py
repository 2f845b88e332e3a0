"""How an evaluation ends a step of a pipeline: passed, failed or undecided, by the arms that decide there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from lifecycle.aliases import PROD
from lifecycle.errors import InvalidInput
from lifecycle.report import ArmResult
from lifecycle.verdict import Ruling, Verdict


class Outcome(IntEnum):
    """The command's exit code. 1 is what every command of ours ends with on an error."""

    PASSED = 0
    ERROR = 1
    FAILED = 2
    UNDECIDED = 3


_STRANGE = "--arm: {strange} is no arm that is judged; there is {judged}"
_OUTCOMES = {Ruling.PASSED: Outcome.PASSED, Ruling.FAILED: Outcome.FAILED, Ruling.UNDECIDED: Outcome.UNDECIDED}


@dataclass(frozen=True)
class Judged:
    """An arm with its verdict."""

    arm: ArmResult
    verdict: Verdict
    decides: bool
    """Whether the step passes or fails by it; the others are there to be compared with."""

    @property
    def outcome(self) -> Outcome:
        """A look that would have passed is undecided: nothing green may come of a part of the items."""
        outcome = _OUTCOMES[self.verdict.ruling]
        return Outcome.UNDECIDED if outcome is Outcome.PASSED and self.verdict.provisional else outcome


@dataclass(frozen=True)
class Step:
    evaluation: Evaluation
    judged: tuple[Judged, ...]

    @property
    def deciding(self) -> tuple[Judged, ...]:
        return tuple(judged for judged in self.judged if judged.decides)

    @property
    def outcome(self) -> Outcome:
        """Failed where any arm that decides failed, passed where all of them did."""
        outcomes = {judged.outcome for judged in self.deciding}
        return next((worst for worst in (Outcome.FAILED, Outcome.UNDECIDED) if worst in outcomes), Outcome.PASSED)

    @property
    def why(self) -> str:
        """`adapter (triage:5) passed`, or what did not."""
        told = [judged for judged in self.deciding if judged.outcome is self.outcome]
        return "; ".join(f"{judged.arm.arm} ({judged.arm.ref}) {_said(judged)}" for judged in told)


def require_judged(config: EvalConfig, arms: Sequence[str]) -> None:
    """Raises `InvalidInput` for an arm that the run will not judge, before it asks anything."""
    judged = [label for label in config.arms if label not in (config.baseline, PROD)]
    if strange := [label for label in arms if label not in judged]:
        raise InvalidInput(_STRANGE.format(strange=", ".join(strange), judged=", ".join(judged) or "none"))


def step_of(evaluation: Evaluation, arms: Sequence[str] = ()) -> Step:
    """By `arms`, or by those that name a version, or else by all that were judged.

    What is written out in the evaluation and not trained is a rival (`SuiteFacts.rivals`), which nobody means to ship.
    Raises `InvalidInput` for an arm that was not judged, and where none was.
    """
    report = evaluation.report
    judged = [(arm, verdict) for arm in report.arms if (verdict := evaluation.verdict(arm))]
    labels = [arm.arm for arm, _ in judged]
    if strange := [label for label in arms if label not in labels]:
        raise InvalidInput(_STRANGE.format(strange=", ".join(strange), judged=", ".join(labels) or "none"))
    if not judged:
        raise InvalidInput("no arm was judged: add the candidate as an arm")
    rivals = report.suite.rivals if report.suite else {}
    deciding = list(arms) or [label for label in labels if label not in rivals] or labels
    return Step(evaluation, tuple(Judged(arm, verdict, arm.arm in deciding) for arm, verdict in judged))


def _said(judged: Judged) -> str:
    verdict = judged.verdict
    if judged.outcome is Outcome.PASSED:
        return "passed"
    if verdict.passed:
        return f"would have passed, and a look decides nothing: {'; '.join(verdict.provisional)}"
    return f"{verdict.ruling}: {verdict.why}"
