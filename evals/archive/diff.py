"""Two kept reports compared: each arm on the items that both have, and all else in which the two runs differ.

An item is paired by its key, which is of its content, so nothing is compared with another question. What has no partner
is counted. Reports whose items were asked or scored in another way are not compared: their figures stand side by side,
with the reason. Pure but for reading the items; `diff_shown.py` prints it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.archive import sums
from evals.archive.cost_change import CostChange, cost_change
from evals.archive.items import Item, anchor
from evals.archive.library import Kept
from evals.archive.sums import Adds
from lifecycle.errors import InvalidInput
from lifecycle.report import ArmResult, Comparison, Interval, Report
from lifecycle.version import Digest, Frozen, VersionSpec

if TYPE_CHECKING:
    from evals.scorers.scorer import Scorer

SpecOf = Callable[[ArmResult], VersionSpec | None]
_ALIKE = 1e-9
_WIDE = 60
"""Characters of a value that are shown."""


class Change(Frozen):
    """Something in which the two runs differ."""

    what: str
    before: str
    after: str


class Flip(Frozen):
    """An item whose score is another now."""

    key: str
    name: str
    anchor: str
    before: float
    after: float


class ArmDiff(Frozen):
    """One arm before and after. Figures of each whole report, and the difference on the items that both have."""

    before_arm: str
    after_arm: str
    before_ref: str
    after_ref: str
    metric: str
    before: Interval | None
    after: Interval | None
    paired: Comparison | None = None
    """After less before, over `paired.n` items; None where they cannot be compared, and then `why_not` says why."""
    why_not: str = ""
    before_paired: float | None = None
    """The figure on those items alone."""
    after_paired: float | None = None
    unscored_before: int = 0
    """Items of both reports that had no figure before, …"""
    unscored_after: int = 0
    """… or have none now: in no pair."""
    cost: CostChange | None = None
    """None without prices in both reports."""
    told_by: str = ""
    """The figure of `flips`, where `metric` is one of all items together."""
    flips: tuple[Flip, ...] = ()
    """Items whose score is another now: what got worse first, then the largest change, then as the report has them."""

    @property
    def worse(self) -> int:
        return sum(flip.after < flip.before for flip in self.flips)

    @property
    def better(self) -> int:
        return sum(flip.after > flip.before for flip in self.flips)


class ReportDiff(Frozen):
    before: Digest
    after: Digest
    task: str
    comparable: bool
    reasons: tuple[str, ...] = ()
    """Why they are not."""
    both: int = 0
    """Items that both have."""
    only_before: int = 0
    only_after: int = 0
    changed: int = 0
    """Of those: items of one name in both whose content is another."""
    arms: tuple[ArmDiff, ...]
    arms_only_before: tuple[str, ...] = ()
    arms_only_after: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    """What is kept of an item in memory: a file may have 100,000."""

    name: str
    cluster: str | None
    scores: Mapping[str, float | None]
    """Arm → score."""
    adds: Mapping[str, Sequence[Adds]]
    """Arm → what each of its answers adds to a figure of all items together."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A figure of all items together: who makes it, of what each answer of a report adds."""

    scorer: Scorer
    was: str
    now: str
    """By what name each report keeps that."""
    told_by: str
    """The figure by which single items are told apart."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """The items of both reports, by key."""

    metric: str
    was: Mapping[str, _Row]
    now: Mapping[str, _Row]
    both: Sequence[str]
    """Keys in the order of the newer report."""
    why_not: str
    whole: _Whole | None


def compare(
    before: Kept,
    after: Kept,
    *,
    metric: str = "",
    pairs: Sequence[tuple[str, str]] = (),
    spec_of: SpecOf = lambda _: None,
) -> ReportDiff:
    """`metric` is the deciding figure unless named, `pairs` are arms (before, after), those of one label unless named.

    Where both reports have one arm, those are a pair whatever their labels. `spec_of` gives the recipe of an arm's
    version where it is known, so that it can be told in what two versions differ. Raises `NotFound` for an arm that is
    not there, `InvalidInput` when no arm is in both, and `Corrupt` for items that cannot be read.
    """
    first, second = before.report, after.report
    metric = metric or second.metric
    chosen = list(pairs) or _pairs(first, second)
    if not chosen:
        there = f"{', '.join(a.arm for a in first.arms)} before, {', '.join(a.arm for a in second.arms)} after"
        raise InvalidInput(f"no arm is in both reports: {there}; name two, such as --arm adapter=hybrid")
    arms = [(first.result(old), second.result(new)) for old, new in chosen]
    reasons = incomparable(first, second, metric)
    for when, kept in (("before", before), ("after", after)):
        if not kept.has_items:
            tool = kept.report.imported
            why = f"were not in {tool.file}" if tool else f"are not on this machine: copy {kept.folder}"
            reasons.append(f"the items of {kept.name} ({when}) {why}")
    whole = _whole(before, after, metric)
    told_by = whole.told_by if whole else metric
    was = {} if reasons else _rows(before, told_by, whole.was if whole else "")
    now = {} if reasons else _rows(after, told_by, whole.now if whole else "")
    both = [key for key in now if key in was]
    if not reasons and not both:
        reasons.append("no item is in both")
    names = {row.name for key, row in was.items() if key not in now}
    sides = _Sides(metric, was, now, both, "; ".join(reasons), whole)
    return ReportDiff(
        before=first.digest,
        after=second.digest,
        task=second.task if second.task == first.task else f"{first.task}, {second.task}",
        comparable=not reasons,
        reasons=tuple(reasons),
        both=len(both),
        only_before=len(was) - len(both),
        only_after=len(now) - len(both),
        changed=sum(row.name in names for key, row in now.items() if key not in was),
        arms=tuple(
            _arm(sides, *pair).model_copy(update={"cost": cost_change((first, pair[0]), (second, pair[1]))})
            for pair in arms
        ),
        arms_only_before=_only(first, second, {old for old, _ in chosen}),
        arms_only_after=_only(second, first, {new for _, new in chosen}),
        changes=(*_changes(first, second), *_recipes(arms, spec_of)),
    )


def incomparable(first: Report, second: Report, metric: str) -> list[str]:
    """Why scores in `metric` of the two cannot be set against each other, in words; empty when they can."""
    reasons = [
        f"no arm of the report {when} has the figure {metric}"
        for when, report in (("before", first), ("after", second))
        if not any(metric in arm.metrics for arm in report.arms)
    ]
    tools = [report.imported.tool if report.imported else "" for report in (first, second)]
    if tools[0] != tools[1]:
        named = [tool or "dabt" for tool in tools]
        return [*reasons, f"{named[0]} measured before and {named[1]} after: their scorers are not known to be one"]
    if first.task_digest == second.task_digest:
        return reasons
    if first.scoring and second.scoring:
        if first.scoring != second.scoring:
            reasons.append("the items were asked or scored in another way (the task's scorers, solver or settings)")
    else:
        reasons.append("the task is another, and one of the reports does not say how its items were scored")
    return reasons


def _only(report: Report, other: Report, chosen: set[str]) -> tuple[str, ...]:
    """Arms that the other has not, and that are in no pair."""
    there = chosen | {arm.arm for arm in other.arms}
    return tuple(arm.arm for arm in report.arms if arm.arm not in there)


def _pairs(first: Report, second: Report) -> list[tuple[str, str]]:
    labels = [arm.arm for arm in first.arms]
    same = [(arm.arm, arm.arm) for arm in second.arms if arm.arm in labels]
    alone = len(first.arms) == len(second.arms) == 1
    return same or ([(first.arms[0].arm, second.arms[0].arm)] if alone else [])


def _whole(before: Kept, after: Kept, metric: str) -> _Whole | None:
    """None where one of the reports does not keep what its answers add to the figure, or single items have it."""
    was, now = (sums.scorer_of(sums.together_of(kept.folder), metric) for kept in (before, after))
    if was is None or now is None or metric in (graded := sums.graded(now[1])):
        return None
    return _Whole(now[1], was[0], now[0], next(iter(graded), after.report.of_items))


def _rows(kept: Kept, metric: str, key: str) -> dict[str, _Row]:
    return {item.key: _row(item, metric, key) for item in kept.items()}


def _row(item: Item, metric: str, key: str) -> _Row:
    scores = {arm: answer.score(metric) for arm, answer in item.arms.items()}
    adds = {arm: [each[key] for each in answer.adds if key in each] for arm, answer in item.arms.items()} if key else {}
    return _Row(item.name, item.cluster, scores, adds)


def _arm(sides: _Sides, before: ArmResult, after: ArmResult) -> ArmDiff:
    metric, why_not = sides.metric, sides.why_not
    was = [sides.was[key].scores.get(before.arm) for key in sides.both]
    now = [sides.now[key].scores.get(after.arm) for key in sides.both]
    scored = [
        (key, first, second)
        for key, first, second in zip(sides.both, was, now, strict=True)
        if first is not None and second is not None
    ]
    names = {"arm": f"{after.arm}, after", "against": f"{before.arm}, before", "metric": metric}
    told = sums.Difference(None, None, (was.count(None), now.count(None)))
    if not why_not and sides.whole:
        told = _together(sides, sides.whole, names, (before.arm, after.arm))
    elif not why_not and scored:
        clusters = [sides.now[key].cluster for key, _, _ in scored]
        olds, news = [old for _, old, _ in scored], [new for *_, new in scored]
        figures = (sum(olds) / len(olds), sum(news) / len(news))
        told = told._replace(comparison=_paired(news, olds, clusters, names), figures=figures)
    if not why_not and told.comparison is None:
        why_not = _lacks(metric, (before, after))
    return ArmDiff(
        before_arm=before.arm,
        after_arm=after.arm,
        before_ref=before.ref,
        after_ref=after.ref,
        metric=metric,
        before=before.metrics.get(metric),
        after=after.metrics.get(metric),
        paired=told.comparison,
        why_not=why_not,
        before_paired=told.figures[0] if told.figures else None,
        after_paired=told.figures[1] if told.figures else None,
        unscored_before=told.without[0],
        unscored_after=told.without[1],
        told_by=sides.whole.told_by if sides.whole and told.comparison else "",
        flips=_flips(scored, sides.now) if told.comparison else (),
    )


def _lacks(metric: str, arms: tuple[ArmResult, ArmResult]) -> str:
    if all(metric in arm.metrics for arm in arms):
        return (
            f"{metric} is of all items together, and one of the reports does not keep what each item adds to it: if it "
            "is our own, run its evaluation again, in which no finished answer is asked for again"
        )
    return f"no item has {metric} in both reports"


def _together(sides: _Sides, whole: _Whole, names: dict[str, str], arms: tuple[str, str]) -> sums.Difference:
    was, now = (
        [side[key].adds.get(arm, ()) for key in sides.both]
        for side, arm in zip((sides.was, sides.now), arms, strict=True)
    )
    clusters = [sides.now[key].cluster for key in sides.both]
    most = max(len(sides.was), len(sides.now))
    return sums.difference(whole.scorer, (was, now), clusters, names, most=most)


def _paired(
    now: Sequence[float], was: Sequence[float], clusters: Sequence[str | None], names: dict[str, str]
) -> Comparison:
    """By the newer report's clusters: its intervals are the ones that a reader knows."""
    from evals.statistics import clusters as statistics
    from evals.statistics.comparison import paired
    from evals.statistics.intervals import t_bounds

    labels = None if any(label is None for label in clusters) else list(clusters)
    made = paired(now, was, labels, **names)
    if all(0.0 <= score <= 1.0 for score in (*now, *was)):
        return made
    # A figure without such ends: its differences have none either.
    spread = statistics.spread(*statistics.totals([new - old for new, old in zip(now, was, strict=True)], labels))
    alone = spread.clusters < 2
    low, high = (made.delta, made.delta) if alone else t_bounds(spread, -math.inf, math.inf)
    return made.model_copy(update={"low": low, "high": high})


def _flips(scored: Sequence[tuple[str, float, float]], now: Mapping[str, _Row]) -> tuple[Flip, ...]:
    flips = [
        Flip(key=key, name=now[key].name, anchor=anchor(key), before=before, after=after)
        for key, before, after in scored
        if abs(after - before) > _ALIKE
    ]
    return tuple(sorted(flips, key=lambda flip: (flip.after > flip.before, -abs(flip.after - flip.before))))


_RUN = ("task", "base", "metric", "safety_metric", "n_items", "repeats", "task_digest", "scoring", "seed",
        "noise_floor", "prod", "n_train")  # fmt: skip


def _changes(first: Report, second: Report) -> list[Change]:
    """In what the runs differ besides their answers and the recipes of their versions."""
    parts = [(key, getattr(first, key), getattr(second, key)) for key in _RUN]
    parts.append(("provisional", "; ".join(first.provisional), "; ".join(second.provisional)))
    tellers: dict[str, Callable[[Report], Any]] = {
        "arms": lambda report: {arm.arm: arm.ref for arm in report.arms},
        "suite": lambda report: _told(report.suite, {"task", "task_digest", "metric", "safety_metric"}),
        "deployment": lambda report: _told(report.deployment, set()),
        "served": lambda report: {label: str(now) for label, now in report.served.items()},
        "tool": lambda report: _told(report.imported, {"file", "file_digest"}),
        "prices": lambda report: _told(report.prices, {"unused"}),
    }
    parts += [(name, tell(first), tell(second)) for name, tell in tellers.items()]
    return [change for name, was, now in parts for change in differences(name, was, now)]


def _told(part: Frozen | None, known: set[str]) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude=known) if part else {}


def _recipes(arms: Sequence[tuple[ArmResult, ArmResult]], spec_of: SpecOf) -> list[Change]:
    changes = []
    for before, after in arms:
        was, now = spec_of(before), spec_of(after)
        if was and now and before.version_digest != after.version_digest:
            changes += differences(f"recipe of {after.arm}", _told(was, set()), _told(now, set()))
    return changes


def differences(place: str, before: Any, after: Any) -> list[Change]:
    """Of two values as JSON: every place in which they differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys([*before, *after])
        return [change for key in keys for change in differences(f"{place}.{key}", before.get(key), after.get(key))]
    if before == after:
        return []
    was, now = _brief(before), _brief(after)
    same = next((at for at, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    start = max(0, same - 10) if max(len(was), len(now)) > _WIDE else 0
    return [Change(what=place, before=_cut(was, start), after=_cut(now, start))]


def _brief(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.removeprefix("sha256:")[:12] if text.startswith("sha256:") else " ".join(text.split())


def _cut(text: str, start: int) -> str:
    """Of a long text what lies around its first difference."""
    part = text[start : start + _WIDE]
    return f"{'…' if start else ''}{part}{'…' if start + _WIDE < len(text) else ''}"
