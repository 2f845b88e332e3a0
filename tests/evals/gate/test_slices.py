"""Rules on slices: no part of the items carries another, and luck gets no more chances than before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evals.config import EvalConfig
from evals.gate.policy import Policy, check, ruling_of
from evals.gate.suites import make_gate, require_slices
from evals.run import evaluate
from evals.statistics.thin import THIN
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidConfig
from lifecycle.report import Comparison, Report, Slice
from lifecycle.verdict import Check, Ruling

PASSED, FAILED, UNDECIDED = Ruling.PASSED, Ruling.FAILED, Ruling.UNDECIDED
AR = {"language": "ar"}
BEATS = {"rule": "beats"}
BEATS_IN_ARABIC = {"rule": "beats", "slice": AR}
Counts = tuple[int, int, int]
"""Items of a language, those that only the candidate has right, and those that only the base has right."""


@dataclass(frozen=True)
class Simulated:
    """Reports of simulated yes/no answers: per arm and language, how many were won and lost against the base."""

    make_report: Any
    pairs: dict[tuple[str, int, int, int], Comparison] = field(default_factory=dict)

    def __call__(self, **arms: Mapping[str, Counts]) -> Report:
        whole = self._of({arm: tuple(map(sum, zip(*own.values(), strict=True))) for arm, own in arms.items()})  # type: ignore[misc]
        first = next(iter(arms.values()))
        parts = []
        for language, (n, *_) in first.items():
            part = self._of({arm: own[language] for arm, own in arms.items()})
            where = {"language": language}
            parts.append(Slice(where=where, n=n, thin=n < THIN, arms=part.arms, comparisons=part.comparisons))
        return whole.model_copy(update={"slices": tuple(parts)})

    def _of(self, arms: Mapping[str, Counts]) -> Report:
        n = next(iter(arms.values()))[0]
        values = {"base": 0.5} | {arm: 0.5 + (wins - losses) / n for arm, (_, wins, losses) in arms.items()}
        pairs = tuple(self._pair(arm, *counts) for arm, counts in arms.items())
        return self.make_report(values, n=n, comparisons=pairs)

    def _pair(self, arm: str, n: int, wins: int, losses: int) -> Comparison:
        """Made once: the intervals of a thousand reports are the same few."""
        if (arm, n, wins, losses) not in self.pairs:
            self.pairs[arm, n, wins, losses] = self.make_report.shares(arm, "base", wins, losses, n)
        return self.pairs[arm, n, wins, losses]


@pytest.fixture
def simulated(make_report) -> Simulated:
    return Simulated(make_report)


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return Policy.model_validate({"name": "test", "rules": rules, **more})


def checks(report: Report, *rules: dict[str, Any], arm: str = "adapter", **more: Any) -> dict[str, Check]:
    return {one.rule: one for one in check(report, policy(*rules, **more), [arm])[arm]}


def ruling(report: Report, *rules: dict[str, Any], **more: Any) -> Ruling:
    return ruling_of(list(checks(report, *rules, **more).values()))


def test_english_cannot_carry_arabic(simulated) -> None:
    worse = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 5, 30)})
    flat = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 10, 10)})
    both = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 30, 4)})
    assert [ruling(report, BEATS) for report in (worse, flat, both)] == [PASSED, PASSED, PASSED]
    assert [ruling(report, BEATS, BEATS_IN_ARABIC) for report in (worse, flat, both)] == [FAILED, UNDECIDED, PASSED]
    for kind in ({"rule": "not_worse", "arms": ["base"]}, {"rule": "at_least", "value": 0.5}):
        assert [ruling(report, BEATS, {**kind, "slice": AR}) for report in (worse, both)] == [FAILED, PASSED]


def test_a_check_on_a_slice_says_which_and_has_its_own_figures(simulated) -> None:
    report = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 30, 4)})
    given = checks(report, BEATS, BEATS_IN_ARABIC)
    assert [*given] == ["beats base", "beats base in language ar", "errors", "errors in language ar"]
    assert (given["beats base"].slice, given["beats base in language ar"].slice) == (None, AR)
    assert "+0.265" in given["beats base"].detail
    assert "over 400 items" in given["beats base"].detail
    assert "+0.260" in given["beats base in language ar"].detail
    assert "over 100 items" in given["beats base in language ar"].detail
    assert given["beats base"] == checks(report, BEATS)["beats base"]


@pytest.mark.parametrize(
    "rule",
    [
        BEATS,
        {"rule": "not_worse", "arms": ["base"]},
        {"rule": "at_least", "value": 0.1},
        {"rule": "items", "at_least": 5},
    ],
)
@pytest.mark.parametrize(("n", "ruled"), [(29, UNDECIDED), (30, PASSED)])
def test_a_thin_slice_decides_nothing(simulated, rule, n, ruled) -> None:
    report = simulated(adapter={"latin": (300, 90, 10), "ar": (n, 29, 0)})
    assert ruling(report, {**rule, "slice": AR}) is ruled
    losing = simulated(adapter={"latin": (300, 90, 10), "ar": (n, 0, 29)})
    assert ruling(losing, {"rule": "beats", "slice": AR}) is (UNDECIDED if ruled is UNDECIDED else FAILED)


def test_a_slice_that_the_report_lacks_is_undecided(simulated) -> None:
    report = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 30, 4)})
    given = checks(report, {"rule": "beats", "slice": {"language": "cyrillic"}})
    assert {one.ruling for name, one in given.items() if "cyrillic" in name} == {UNDECIDED}


def test_a_rule_on_a_slice_takes_no_implied_rule_of_the_whole_away(simulated) -> None:
    report = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 30, 4)})
    adapter = report.arms[1].model_copy(update={"errors": 3})
    failing = report.model_copy(update={"arms": (report.arms[0], adapter)})
    given = checks(failing, BEATS, {"rule": "errors", "at_most": 1.0, "slice": AR})
    assert (given["errors"].ruling, given["errors in language ar"].ruling) == (FAILED, PASSED)


def test_failures_that_the_whole_may_have_may_not_all_be_in_a_slice(simulated) -> None:
    report = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 30, 4)})
    errors = {"rule": "errors", "at_most": 0.01}

    def failed(part: Any) -> Any:
        return part.model_copy(update={"arms": (part.arms[0].model_copy(update={"errors": 4}), part.arms[1])})

    latin, ar = report.slices
    failing = failed(report).model_copy(update={"slices": (latin, failed(ar))})
    assert ruling(failing, BEATS, errors) is PASSED
    given = checks(failing, BEATS, BEATS_IN_ARABIC, errors)
    assert given["errors of base in language ar"].ruling is UNDECIDED


def test_the_items_of_the_whole_are_not_counted_in_a_slice(simulated) -> None:
    report = simulated(adapter={"latin": (300, 90, 10), "ar": (100, 30, 4)})
    given = checks(report, BEATS_IN_ARABIC, BEATS, {"rule": "items", "at_least": 400})
    assert given["items"].ruling is PASSED


def test_a_policy_without_slices_has_the_digest_that_it_had() -> None:
    plain = policy(BEATS, {"rule": "at_least", "value": 0.5})
    assert plain.digest == "sha256:323bcb59968266600f54905270e8c7edef9efed1dd21c402425d28a44ceb646e"
    assert policy(BEATS_IN_ARABIC).digest != policy(BEATS).digest


def test_values_are_as_items_have_them_and_no_field_is_no_slice() -> None:
    (rule,) = policy({"rule": "beats", "slice": {"urgent": True, "ward": 3}}).rules
    assert rule.slice == {"urgent": "true", "ward": "3"}
    with pytest.raises(ValidationError):
        policy({"rule": "beats", "slice": {}})


def test_a_slice_without_an_item_is_told_before_anything_is_sent(
    workplace, trained, config, registry, home, models
) -> None:

    (workplace / "policy.yaml").write_text(
        "rules: [{rule: beats, slice: {language: fr}}, {rule: items, at_least: 5, slice: {ward: a}}]"
    )
    with pytest.raises(InvalidConfig) as error:
        evaluate(config, registry, home, transport=models.transport)
    assert [(one.place, one.cure) for one in error.value.problems] == [
        ("rules.0.slice", "language is ar, latin"),
        ("rules.1.slice", "name ward in the task's `slices`: there is only language, length"),
    ]
    assert not models.asked
    with pytest.raises(InvalidConfig, match="no item of 'toy' has language fr"):
        make_gate("toy", workplace / "policy.yaml", [workplace / "toy.yaml"], registry, home.cache)


def test_of_a_sample_of_the_items_no_slice_is_asked(workplace, trained, home) -> None:
    suite = load_suite(EvalConfig.load(workplace / "toy.yaml", limit=3), home.cache)
    require_slices(policy({"rule": "beats", "slice": {"language": "fr"}}), suite)


# Luck: candidates that must not pass, and candidates that must not be rejected. 1,000 reports each; 3 standard errors.

ALPHA, LEVEL = 0.2, 0.1
"""The first try may use half of alpha. A large one, so that few draws show what is kept and what is not."""
SLICES = ("ar", "latin", "cyrillic", "mixed")
RULES = [{"rule": "beats", "slice": {"language": name}} for name in SLICES]


def rate(hits: int, draws: int = 1_000) -> float:
    """The least that the rate may truly be."""
    return hits / draws - 3 * (LEVEL * (1 - LEVEL) / draws) ** 0.5


def drawn(draw: np.random.Generator, chance: float) -> Counts:
    """60 items of which 40 are discordant, each a win with this chance."""
    wins = int(draw.binomial(40, chance))
    return 60, wins, 40 - wins


def test_candidates_with_one_slice_no_better_pass_no_more_often_than_the_level(simulated) -> None:
    draw, hits = np.random.default_rng(17), 0
    for _ in range(1_000):
        # Two candidates, each much better in all slices but one, in which it is equal to the base.
        arms = {arm: {name: drawn(draw, 0.5 if name == flat else 0.9) for name in SLICES}
                for arm, flat in (("a", "ar"), ("b", "mixed"))}  # fmt: skip
        found = check(simulated(**arms), policy(BEATS, *RULES, alpha=ALPHA), ["a", "b"])
        hits += any(ruling_of(found[arm]) is PASSED for arm in arms)
    assert hits, "some pass by luck, or nothing is measured"
    assert rate(hits) <= LEVEL


def test_candidates_that_are_equal_in_every_slice_are_rejected_no_more_often_than_the_level(simulated) -> None:
    draw, hits, alone = np.random.default_rng(18), 0, 0
    rules = [{"rule": "not_worse", "arms": ["base"], "margin": 0.0, "slice": rule["slice"]} for rule in RULES]
    for _ in range(1_000):
        report = simulated(adapter={name: drawn(draw, 0.5) for name in SLICES})
        hits += ruling(report, *rules, alpha=ALPHA) is FAILED
        # Each slice as if it were the whole: what would come of four rules that share nothing.
        alone += any(
            ruling(report.within(part), {"rule": "not_worse", "arms": ["base"], "margin": 0.0}, alpha=ALPHA) is FAILED
            for part in report.slices
        )
    assert rate(hits) <= LEVEL < rate(alone)
