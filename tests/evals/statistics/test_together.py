"""Figures of all items together decide: intervals hold, equal arms pass as often as is allowed, an item counts once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.asking.measure import ItemResult, MeasuredArm
from evals.scorers.labels import Label
from evals.scorers.scorer import Score
from evals.statistics import together
from evals.statistics.comparison import arm_result, comparisons
from evals.statistics.evidence import mcnemar, p_above, p_below, smallest_seen
from evals.statistics.labels import summed_f1
from evals.statistics.slices import slices
from evals.statistics.together import Summed, gap, interval
from lifecycle.errors import InvalidInput
from lifecycle.report import Comparison
from tests.evals.statistics.test_comparison import measured, task

NAMES = {"arm": "new", "against": "base", "metric": "macro_f1"}


def drawn(rng: np.random.Generator, right: list[str], labels: str, skill: float) -> list[str]:
    """Answers that are right with a chance of `skill`, and else another label."""
    others = {label: [other for other in labels if other != label] for label in labels}
    return [want if rng.random() < skill else str(rng.choice(others[want])) for want in right]


def compare(first: list[str], second: list[str], right: list[str], labels: str, clusters=None) -> Comparison:
    return gap(*(summed_f1(said, right, labels) for said in (first, second)), clusters, **NAMES)


@pytest.mark.parametrize(("shares", "n"), [((0.5, 0.5), 60), ((0.9, 0.1), 100), ((0.5, 0.3, 0.2), 80)])
def test_of_equal_arms_no_more_pass_than_are_allowed_and_the_interval_holds_none(
    shares: tuple[float, ...], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "DRAWS", 499)
    rng, labels = np.random.default_rng(11), "abc"[: len(shares)]
    runs, passed, held = 250, 0, 0
    for _ in range(runs):
        right = [str(label) for label in rng.choice(list(labels), n, p=shares)]
        made = compare(drawn(rng, right, labels, 0.8), drawn(rng, right, labels, 0.8), right, labels)
        passed += p_above(made) <= 0.05
        held += made.low <= 0 <= made.high
    assert passed / runs <= 0.08  # 0.05, and two standard errors of 250 runs
    assert held / runs >= 0.92


def test_one_that_loses_the_margin_is_rarely_shown_to_lose_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right with chances of 0.8 and 0.7 on two even labels: a macro-F1 of 0.8 and 0.7."""
    monkeypatch.setattr(together, "DRAWS", 9)  # against a bound Student's alone decides
    rng, right = np.random.default_rng(5), ["a", "b"] * 50
    made = [compare(drawn(rng, right, "ab", 0.7), drawn(rng, right, "ab", 0.8), right, "ab") for _ in range(250)]
    assert sum(p_above(one, -0.1) <= 0.05 for one in made) / 250 <= 0.08
    assert sum(one.low <= -0.1 <= one.high for one in made) / 250 >= 0.92


def test_the_standard_error_is_that_of_a_paired_bootstrap_over_clusters() -> None:
    rng = np.random.default_rng(2)
    right = [str(label) for label in rng.choice(list("abc"), 90) for _ in range(3)]
    clusters = [at // 3 for at in range(270)]
    first, second = (drawn(rng, right, "abc", skill) for skill in (0.85, 0.7))
    made = compare(first, second, right, "abc", clusters)
    one, other = (summed_f1(said, right, "abc") for said in (first, second))
    chosen = rng.multinomial(90, np.full(90, 1 / 90), size=2000)
    sums = [chosen @ side.counts.reshape(90, 3, -1).sum(axis=1) for side in (one, other)]
    assert made.se == pytest.approx(float(np.std(one.value(sums[0]) - other.value(sums[1]))), rel=0.1)
    assert (made.n, made.clusters, made.test) == (270, 90, "approximate-randomisation")
    assert made.low < made.delta < made.high


def test_of_a_share_the_randomisation_test_is_mcnemars() -> None:
    wins, losses, n = 14, 5, 40
    first = np.array([1.0] * wins + [0.0] * losses + [1.0] * (n - wins - losses))
    second = np.array([0.0] * wins + [1.0] * losses + [1.0] * (n - wins - losses))
    counts = [np.stack([hits, np.ones(n)], axis=1) for hits in (first, second)]
    made = gap(*(Summed(rows, lambda sums: sums[..., 0] / sums[..., 1]) for rows in counts), None, **NAMES)
    assert made.delta == pytest.approx((wins - losses) / n)
    assert made.p_value == pytest.approx(2 * mcnemar(wins, losses), abs=0.01)
    assert made.effective_clusters == n


def test_the_other_way_round_it_is_the_same_and_more_items_see_less() -> None:
    rng = np.random.default_rng(3)
    right = ["a", "b"] * 60
    first, second = drawn(rng, right, "ab", 0.95), drawn(rng, right, "ab", 0.6)
    made, turned = compare(first, second, right, "ab"), compare(second, first, right, "ab")
    assert made.delta == -turned.delta
    assert p_above(made) == pytest.approx(p_below(turned))
    assert p_above(made) < 0.001
    more = compare(first * 4, second * 4, right * 4, "ab")
    assert smallest_seen(more, 0.0, 0.05) < 0.55 * smallest_seen(made, 0.0, 0.05)


def test_a_rare_label_counts_as_what_it_has_and_not_as_all_items() -> None:
    right = ["a"] * 97 + ["b"] * 3
    alike = compare(right, right, right, "ab")
    assert alike.effective_clusters == 6
    assert (alike.delta, alike.se) == (0.0, 0.0)
    assert p_above(alike, -0.05) > 0.5  # three items of b prove little of b
    assert interval(summed_f1(right, right, "ab")).low < 0.65
    even = ["a", "b"] * 50
    assert p_above(compare(even, even, even, "ab"), -0.05) < 0.01


def test_nothing_and_unequal_samples_are_refused() -> None:
    two, one = summed_f1(["a", "b"], ["a", "b"], "ab"), summed_f1(["a"], ["a"], "ab")
    with pytest.raises(InvalidInput, match="differ in length: 2 and 1"):
        gap(two, one, None, **NAMES)
    with pytest.raises(InvalidInput, match="1 cluster labels for 2 items"):
        gap(two, two, ["x"], **NAMES)
    with pytest.raises(InvalidInput, match="no items"):
        interval(Summed(np.zeros((0, 2)), lambda sums: sums[..., 0]))
    single = compare(["a"], ["b"], ["a"], "ab")
    assert (single.low, single.high, p_above(single)) == (-1.0, 1.0, 1.0)


def arm(label: str, said: list[tuple[str, ...]], right: list[str]) -> MeasuredArm:
    """One that gave these answers to each item."""

    def result(answer: str, want: str) -> ItemResult:
        figures = {"accuracy": float(answer == want)}
        return ItemResult(answer=answer, scores=figures, latency=1.0, prompt_tokens=1, completion_tokens=1)

    outcomes = tuple(
        ItemResult.of([result(answer, want) for answer in answers]) for answers, want in zip(said, right, strict=True)
    )
    said_of = [(want, answer) for answers, want in zip(said, right, strict=True) for answer in answers]
    cells = [Score(cells={} if answer == "?" else {"confusion": (want, answer)}) for want, answer in said_of]
    return replace(measured(label, [1.0] * len(right)), outcomes=outcomes, parts=(tuple(cells),))


def suite_of(right: list[str]):
    whole = task(len(right), safety=None, metric="macro_f1")
    samples = tuple(
        replace(sample, target=want, slices={"half": "first" if at < len(right) // 2 else "second"})
        for at, (sample, want) in enumerate(zip(whole.samples, right, strict=True))
    )
    return replace(whole, samples=samples, scorers=(Label(labels=("a", "b", "c")),))


def test_several_answers_to_an_item_count_once() -> None:
    rng = np.random.default_rng(8)
    right = [str(label) for label in rng.choice(list("abc"), 80)]
    once = [drawn(rng, right, "abc", skill) for skill in (0.9, 0.7)]
    suite = suite_of(right)
    plain = comparisons(
        [arm("base", [(a,) for a in once[1]], right), arm("new", [(a,) for a in once[0]], right)], suite
    )[0]
    thrice = [arm("base", [(a,) * 3 for a in once[1]], right), arm("new", [(a,) for a in once[0]], right)]
    made = comparisons(thrice, suite)[0]
    assert made.model_copy(update={"repeats": None}) == plain
    assert made.repeats is not None
    assert (made.repeats.per_item, made.repeats.answers, made.repeats.sampling) == (3, 320, 0.0)
    mixed = [arm("base", [(a, b) for a, b in zip(*once, strict=True)], right), thrice[1]]
    figure = arm_result(mixed[0], suite).metrics["macro_f1"]
    assert (figure.n, figure.answers) == (80, 160)
    assert figure.repeats is not None
    share = arm_result(mixed[0], suite).metrics["accuracy"].repeats
    assert share is not None
    assert figure.repeats.sampling == pytest.approx(share.sampling, rel=0.15)  # even labels: nearly the share's


def test_a_slice_is_over_the_labels_that_are_right_in_it_and_thin_by_the_rarest() -> None:
    right = ["a", "b"] * 40 + ["a"] * 78 + ["c"] * 2
    base = arm("base", [("a",)] * 160, right)
    new = arm("new", [(want,) for want in right], right)
    first, second = slices([base, new], suite_of(right), "base", [{"half": "first"}, {"half": "second"}])
    assert first.arms[1].metrics["macro_f1"].value == 1.0
    assert first.comparisons[0].delta == pytest.approx(2 / 3)
    assert (first.thin, second.thin, second.n) == (False, True, 80)
    assert first.arms[0].tables == {}


def test_an_answer_without_a_score_is_in_neither_arm() -> None:
    right = ["a", "b", "c", "a"]
    base, new = arm("base", [("a",)] * 4, right), arm("new", [("a",), ("?",), ("c",), ("a",)], right)
    made = comparisons([base, new], suite_of(right))[0]
    assert made.n == 3
    assert arm_result(new, suite_of(right)).metrics["macro_f1"].n == 3


def test_a_slice_compares_by_the_labels_of_the_items_that_both_arms_have() -> None:
    right = ["a", "b", "c", "a"]
    base, new = arm("base", [("a",), ("b",), ("?",), ("b",)], right), arm("new", [(want,) for want in right], right)
    part, *_ = slices([base, new], suite_of(right), "base", [{"half": "second"}])
    assert part.comparisons[0].n == 1
    assert part.comparisons[0].delta == 1.0


def test_exchanges_thrown_in_parts_are_those_thrown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    right = ["a", "b"] * 60
    first, second = drawn(rng, right, "ab", 0.8), drawn(rng, right, "ab", 0.7)
    whole = compare(first, second, right, "ab")
    assert 0.01 < whole.p_value < 0.99
    monkeypatch.setattr(together, "_COINS", 100)
    assert compare(first, second, right, "ab") == whole
