"""What an evaluation found. `evals` writes it, `registry.py` keeps it; `verdict.py` is what a policy says of it."""

from __future__ import annotations

from datetime import datetime
from itertools import zip_longest
from typing import Self

from pydantic import Field, model_validator

from lifecycle.costs import Cost, PricesUsed, Timing
from lifecycle.deployment import Deployment
from lifecycle.errors import NotFound
from lifecycle.gates import SuiteFacts
from lifecycle.interval import Interval as Interval  # noqa: PLC0414  (it is read from here too)
from lifecycle.people import PeopleComparison
from lifecycle.repeats import Repeats
from lifecycle.version import Digest, Frozen, digest_of

RANDOMISATION = "approximate-randomisation"
"""The test of a comparison by a figure of all items together (`evals/statistics/together.py`)."""

Where = dict[str, str]
"""A slice of the items: what its fields are, such as {"language": "ar"}; of several fields, all of them."""


class Failures(Frozen):
    """How often a figure that stands for safety failed, and the most that the true share may be."""

    count: int = Field(ge=0)
    n: int = Field(ge=1)
    """Items, or clusters where items belong together: one of which any item failed counts as failed."""
    at_most: float
    """The exact one-sided upper bound of 95 % (Clopper & Pearson 1934); after none in n, 1 - 0.05^(1/n)."""
    clustered: bool = False


class ArmResult(Frozen):
    """One version's figures on one task."""

    arm: str
    """Its label in the comparison: base, few-shot, rag, adapter, hybrid, or the config's own word."""
    ref: str
    version_digest: Digest
    metrics: dict[str, Interval]
    latency_p50: float
    """Seconds from request to the last byte of the answer."""
    latency_p95: float
    prompt_tokens: float
    """Mean per item, as the engine counted (with system text, shots and passages)."""
    completion_tokens: float
    errors: int = 0
    """Answers that the endpoint refused or failed; each is scored zero, never left out."""
    cut: int = 0
    """Answers that were cut by their limit of tokens; each is scored as it stands."""
    cached_tokens: float = 0.0
    """Of the prompt's, those that the endpoint says it need not compute again; mean per item."""
    timing: Timing | None = None
    """None in reports from before it was kept, of slices, and where nothing was answered."""
    cost: Cost | None = None
    """At the report's prices; None without them."""
    deployment: Deployment | None = None
    """What answered, where that is another service than the report's."""
    unscored: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Figure → reason → answers that it has no number for: they are in no mean, and are no miss, hit or tie."""
    tables: dict[str, dict[str, dict[str, int]]] = Field(default_factory=dict)
    """Table → row → column → items, such as a confusion table: what was right, and what was said."""
    failures: dict[str, Failures] = Field(default_factory=dict)
    """Of each figure that stands for safety."""


class Comparison(Frozen):
    """`arm` against `against` on the same items: the mean paired difference `delta` and its 95 % interval.

    From `wins` and `losses`, or from `se` and what follows it, any bound can be tested at any level later
    (`evals/statistics/evidence.py`). Reports from before that have neither, and nothing can be decided by them any
    more.
    """

    arm: str
    against: str
    metric: str
    delta: float
    low: float
    high: float
    p_value: float
    """Two-sided, for no difference at all."""
    p_adjusted: float | None = None
    """In reports from before gates: after Holm's correction over all comparisons. Verdicts now say their own."""
    test: str
    """`mcnemar-exact` for yes/no metrics of independent items, `approximate-randomisation` for figures of all items
    together, `sign-flip` otherwise (`paired-bootstrap` formerly)."""
    n: int
    wins: int | None = None
    """Of yes/no metrics of independent items: items that only `arm` got right."""
    losses: int | None = None
    """Items that only `against` got right."""
    se: float | None = None
    """Standard error of `delta`, by leaving out one cluster at a time; of all other metrics."""
    clusters: int | None = None
    """Groups of items that belong together; None where each item stands for itself."""
    effective_clusters: float | None = None
    """How many clusters of one size would tell as much: fewer than there are when sizes differ. Of figures that weigh
    groups of items alike, such as labels, fewer too where one is rare; without clusters, of items."""
    least: float | None = None
    """The lowest mean difference of a cluster."""
    most: float | None = None
    """The highest."""
    repeats: Repeats | None = None
    """Where an arm answered the items several times: the difference is that of its means."""

    @property
    def turned(self) -> Self:
        """The same, seen from the other arm. Taken from 0, as no difference turned round is none, and not -0.000."""
        return self.model_copy(
            update={
                "arm": self.against,
                "against": self.arm,
                "delta": 0.0 - self.delta,
                "low": 0.0 - self.high,
                "high": 0.0 - self.low,
                "wins": self.losses,
                "losses": self.wins,
                "least": None if self.most is None else 0.0 - self.most,
                "most": None if self.least is None else 0.0 - self.least,
            }
        )


class Example(Frozen):
    """One item with every arm's answer, for reading side by side."""

    item: str
    question: str
    target: str
    answers: dict[str, str]
    scores: dict[str, float]
    samples: dict[str, tuple[tuple[str, float], ...]] = Field(default_factory=dict)
    """Of arms that answered it several times: each answer with its score."""


class Slice(Frozen):
    """The figures of the items in one part of the suite. Intervals are of 95 % each, one slice at a time."""

    where: Where
    n: int = Field(ge=1)
    clusters: int | None = None
    thin: bool
    """Too few items, or clusters of such, to decide anything by (`evals/statistics/slices.py`)."""
    arms: tuple[ArmResult, ...]
    """Without tables and text statistics that do not pair; an arm has no figure that none of these items bears on."""
    comparisons: tuple[Comparison, ...] = ()
    """Of every arm with the baseline; of all pairs where a rule names the slice."""

    def __str__(self) -> str:
        return words_of(self.where)


def words_of(where: Where) -> str:
    """`language ar, length short`"""
    return ", ".join(" ".join(f"{field} {value}".split()) for field, value in where.items())


class Tries(Frozen):
    """How often these items have been used to decide: the bound on false promotions is spent over the tries."""

    number: int = Field(default=1, ge=1)
    """Which try on these items this run is. The same candidates in the same deployment again are the same try."""
    looks: int = Field(default=0, ge=0)
    """Candidates looked at on them in provisional runs so far; that decides nothing and spends nothing."""


class Served(Frozen):
    """What an alias stood for when a run began. An arm that is named by an alias is this version, and no other."""

    alias: str
    """`triage:prod`"""
    ref: str | None = None
    """None while it serves nothing: then there is no such arm."""
    version_digest: Digest | None = None
    shares: str = ""
    """Of an alias that is split: who has which share. The arm is its incumbent, or the version with the most."""

    def __str__(self) -> str:
        if self.ref is None:
            return f"{self.alias} serves nothing yet: a first deploy, which is compared with nothing"
        return f"{self.alias} is {self.ref}" + (f", of {self.shares}" if self.shares else "")


class Imported(Frozen):
    """Of a report that another tool measured. Nothing binds it to what serves: it opens no gate."""

    tool: str
    """`lm-eval 0.4.13`"""
    file: str
    """Its name, without a folder."""
    file_digest: Digest
    settings: dict[str, str] = Field(default_factory=dict)
    """What the tool says of its model and its run."""
    notes: tuple[str, ...] = ()
    """What is not in the file, or was left out."""


class Ground(Frozen):
    """What a sentence of the advice stands on."""

    rule: str
    """Its name in docs/guides/advice.md."""
    source: str


class Report(Frozen):
    """The whole evaluation of one task. Its digest is what a verdict names."""

    task: str
    task_digest: Digest
    """Of the task file, its data and its metrics' configuration."""
    base: str
    metric: str
    """The metric that decides; it is a key of every arm's `metrics`."""
    item_metric: str | None = None
    """By which single items are told apart, where the deciding one is of all items together."""
    safety_metric: str | None = None
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    slices: tuple[Slice, ...] = ()
    """Parts of the items, by each way of parting them that parts these; and those that a rule names."""
    people: tuple[PeopleComparison, ...] = ()
    """Of every two arms whose answers people have rated, on all items and on slices that a rule names."""
    noise_floor: float = 0.0
    """Share of items whose answer changed when the base arm answered them a second time."""
    n_items: int
    repeats: int = 1
    """How often each item was asked of an arm that samples its answers."""
    suite: SuiteFacts | None = None
    """What was measured; None in reports from before gates."""
    deployment: Deployment | None = None
    """What answered; None when the endpoint did not say."""
    scoring: Digest | None = None
    """Of how the items are asked and scored, apart from the items themselves; None in reports from before."""
    served: dict[str, Served] = Field(default_factory=dict)
    """Of the arms that are named by an alias: what it stood for when the run began."""
    imported: Imported | None = None
    """Where another tool measured; None for our own."""
    prod: str | None = None
    """The arm that `prod` of this name served when the run began; None when it served none, or no rule asked."""
    provisional: tuple[str, ...] = ()
    """Why this run is a look and no verdict: a part of the items, other data, a dry run, …"""
    tries: Tries = Tries()
    n_train: int | None = None
    prices: PricesUsed | None = None
    """By which the arms' costs are."""
    seed: int
    advice: tuple[str, ...] = ()
    grounds: tuple[Ground, ...] = ()
    """Of each sentence of the advice, in its order."""
    examples: tuple[Example, ...] = ()
    created_at: datetime

    @model_validator(mode="after")
    def _speaks_of_its_own_arms(self) -> Self:
        labels = [arm.arm for arm in self.arms]
        if len(set(labels)) < len(labels):
            raise ValueError(f"two arms share a label: {', '.join(labels)}")
        if lacking := [arm.arm for arm in self.arms if self.metric not in arm.metrics]:
            raise ValueError(f"the deciding metric {self.metric} is missing from {', '.join(lacking)}")
        compared = {label for pair in self.comparisons for label in (pair.arm, pair.against)}
        if unknown := sorted(compared - set(labels)):
            raise ValueError(f"a comparison names {', '.join(unknown)}, which is no arm")
        if self.prod is not None and self.prod not in labels:
            raise ValueError(f"prod is said to be {self.prod}, which is no arm")
        return self

    @property
    def of_items(self) -> str:
        """The figure by which single items are told apart."""
        return self.item_metric or self.metric

    def result(self, arm: str) -> ArmResult:
        """The arm's figures. Raises `NotFound`, naming the arms that there are."""
        for result in self.arms:
            if result.arm == arm:
                return result
        raise NotFound(f"the report has no arm '{arm}'; its arms are {', '.join(result.arm for result in self.arms)}")

    def difference(self, arm: str, against: str) -> Comparison | None:
        """`arm` against `against` on the deciding metric, turned round when it was compared the other way; or None."""
        for comparison in self.comparisons:
            if comparison.metric == self.metric and (comparison.arm, comparison.against) == (arm, against):
                return comparison
            if comparison.metric == self.metric and (comparison.arm, comparison.against) == (against, arm):
                return comparison.turned
        return None

    def rated(self, arm: str, against: str, where: Where | None = None) -> PeopleComparison | None:
        """What people say of `arm` beside `against`, turned round when it was told the other way; or None."""
        for told in self.people:
            if told.where == (where or {}) and {told.arm, told.against} == {arm, against}:
                return told if told.arm == arm else told.turned
        return None

    def slice(self, where: Where) -> Slice | None:
        return next((part for part in self.slices if part.where == where), None)

    def within(self, part: Slice) -> Report:
        """The same of the slice's items alone: its arms have only the figures that those give."""
        return self.model_copy(update={"arms": part.arms, "comparisons": part.comparisons, "n_items": part.n})

    @property
    def grounded(self) -> list[tuple[str, Ground | None]]:
        """Each sentence of the advice with what it stands on; None in reports from before that was kept."""
        return list(zip_longest(self.advice, self.grounds[: len(self.advice)]))

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))
