"""What is known before any training: the arms without training of an evaluation, the data report, and what a team says.

`before.py` holds its rules against it, `questions.py` answers by it what whoever wants to fine-tune is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from evals.cost.prices import Prices
from lifecycle.config_file import load_mapping, validated
from lifecycle.report import ArmResult, Comparison, Interval, Report
from lifecycle.version import Frozen, VersionSpec


class Expected(BaseModel):
    """Of one run over the rows."""

    seconds: float
    machine: str = ""


class DataFinding(BaseModel):
    level: str
    check: str
    message: str


class DataFacts(BaseModel):
    """What `dabt data check --json` prints, as far as it is asked here; its other keys are passed over."""

    rows: int = Field(ge=0)
    findings: tuple[DataFinding, ...]
    expected: Expected | None = None
    """Only where it was told a base."""

    def of(self, check: str) -> DataFinding | None:
        return next((finding for finding in self.findings if finding.check == check), None)

    @property
    def errors(self) -> list[DataFinding]:
        return [finding for finding in self.findings if finding.level == "error"]


class About(Frozen):
    """What no file of ours knows: a team's own words, in a YAML file or by options."""

    use_case: str = ""
    """What the model is to do, for whom."""
    tried: tuple[str, ...] = ()
    """What was tried outside of these evaluations: other prompts, other models, rules."""
    benefit: str = ""
    """What a point more is worth, and to whom."""
    owner: str = ""
    """Who renews examples, evaluates and retrains."""
    facts_change: Literal["", "never", "yearly", "monthly", "weekly", "daily"] = ""
    """How often what answers must know changes."""
    good_enough: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """The deciding figure from which on nobody would want more."""


def load_about(path: Path | None, use_case: str = "") -> About:
    """The YAML file's, with `use_case` over its own. Raises `InvalidConfig` with all problems."""
    about = validated(About, load_mapping(path), path) if path else About()
    return about.model_copy(update={"use_case": use_case}) if use_case else about


@dataclass(frozen=True)
class Prospect:
    """`report` and `specs` are of the evaluation, with all of its arms; those that are trained are not looked at."""

    report: Report | None = None
    specs: Mapping[str, VersionSpec] = field(default_factory=dict)
    data: DataFacts | None = None
    about: About = field(default_factory=About)
    prices: Prices | None = None
    gated: bool | None = None
    """Whether the name has a gate; None where nobody looked."""
    worth: float = 0.05
    """A lead that is worth finding, on the deciding figure."""

    def arms(self, wanted: Callable[[VersionSpec], bool] = lambda _: True) -> list[ArmResult]:
        """Without training, best first; of equals the simplest."""
        if self.report is None:
            return []
        arms = [arm for arm in self.report.arms if not (spec := self.specs[arm.arm]).trained and wanted(spec)]
        return sorted(arms, key=lambda arm: (-self.figure(arm).value, self.specs[arm.arm].upkeep))

    def best(self, wanted: Callable[[VersionSpec], bool] = lambda _: True) -> ArmResult | None:
        return next(iter(self.arms(wanted)), None)

    def figure(self, arm: ArmResult) -> Interval:
        assert self.report is not None, "an arm is of a report"
        return arm.metrics[self.report.metric]

    def gap(self, arm: ArmResult | None, other: ArmResult | None) -> Comparison | None:
        if self.report is None or arm is None or other is None or arm is other:
            return None
        return self.report.difference(arm.arm, other.arm)

    @property
    def enough(self) -> float:
        """The figure that a fine-tune could bring at most, or from which on nobody would want more."""
        return self.about.good_enough or 1.0

    @property
    def room(self) -> float | None:
        """From the best untrained arm's figure to that."""
        best = self.best()
        return None if best is None else self.enough - self.figure(best).value
