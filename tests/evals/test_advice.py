"""The advice follows from the figures: each case of it, with the figures in the words."""

from __future__ import annotations

import pytest

from evals.advice import Findings, advise, recommend
from evals.gate import Policy
from lifecycle.report import Check, Interval, Report, Ruling

POLICY = Policy.model_validate({"rules": [{"rule": "beats"}]})
OK, BAD = (
    (Check(rule="beats base", ruling=Ruling.PASSED, detail="yes"),),
    (Check(rule="safety", ruling=Ruling.FAILED, detail="0.4"),),
)


def findings(report: Report, *, rejected: tuple[str, ...] = (), kinds: dict[str, str] | None = None) -> Findings:
    arms = [arm.arm for arm in report.arms]
    checks = {arm: BAD if arm in rejected else OK for arm in arms if arm != "base"}
    return Findings(report, kinds or {arm: arm for arm in arms}, checks, POLICY)


def shipped(case: Findings) -> str | None:
    arm = recommend(case)
    return arm.arm if arm else None


def test_the_best_arm_ships_when_nothing_simpler_comes_near(make_report) -> None:
    case = findings(make_report({"base": 0.1, "few-shot": 0.5, "rag": 0.6, "adapter": 0.9}))
    first, *rest = advise(case)
    assert shipped(case) == "adapter"
    assert first.startswith("Ship adapter (toy:4): fields 0.900 [0.870, 0.930], +0.800 [+0.770, +0.830] against base")
    assert any("Training pays here: adapter is +0.300 [+0.270, +0.330] against rag" in one for one in rest)


def test_prompting_ships_when_the_adapters_lead_may_be_chance(make_report) -> None:
    case = findings(make_report({"base": 0.1, "few-shot": 0.89, "rag": 0.5, "adapter": 0.90}))
    words = advise(case)
    assert shipped(case) == "few-shot"
    assert "adapter has the highest figure (0.900), but its lead of +0.010 [-0.020, +0.040] may be chance" in words[0]
    assert any("not shown to be worth it" in one for one in words)


def test_an_adapter_that_loses_to_rag_is_not_worth_it(make_report) -> None:
    case = findings(make_report({"base": 0.1, "rag": 0.9, "adapter": 0.5}))
    assert shipped(case) == "rag"
    assert any(
        "The adapter is not worth it: adapter is -0.400 [-0.430, -0.370] against rag" in one for one in advise(case)
    )


def test_the_simplest_near_arm_that_passes_ships_when_a_simpler_one_is_rejected(make_report) -> None:
    case = findings(make_report({"base": 0.1, "few-shot": 0.9, "rag": 0.9, "adapter": 0.91}), rejected=("few-shot",))
    assert shipped(case) == "rag"


def test_nothing_ships_when_only_a_far_worse_arm_passes(make_report) -> None:
    case = findings(make_report({"base": 0.1, "few-shot": 0.4, "adapter": 0.9}), rejected=("adapter",))
    assert shipped(case) is None
    assert advise(case)[0] == (
        "Ship nothing yet: adapter, the best arm, fails the policy (safety: 0.4), and few-shot, which passes, is "
        "significantly worse than it (-0.500 [-0.530, -0.470])."
    )


def test_nothing_ships_when_every_arm_is_rejected(make_report) -> None:
    case = findings(make_report({"base": 0.1, "adapter": 0.9}), rejected=("adapter",))
    assert advise(case)[0].endswith("and so does every other arm.")


def test_nothing_new_ships_when_the_base_is_best(make_report) -> None:
    case = findings(make_report({"base": 0.9, "few-shot": 0.5, "adapter": 0.6}), rejected=("few-shot", "adapter"))
    assert shipped(case) is None
    assert advise(case)[0] == "Ship nothing new: no arm is better than base (fields 0.900 [0.870, 0.930])."


def test_kinds_and_not_labels_say_what_is_simple(make_report) -> None:
    report = make_report({"base": 0.1, "v2": 0.9, "short prompt": 0.9})
    case = findings(report, kinds={"base": "base", "v2": "adapter", "short prompt": "few-shot"})
    assert shipped(case) == "short prompt"


@pytest.mark.parametrize(("hybrid", "loses"), [(0.5, ["rag", "adapter"]), (0.7, ["rag"]), (0.9, [])])
def test_a_hybrid_that_loses_to_its_parts_is_named(make_report, hybrid, loses) -> None:
    words = advise(findings(make_report({"base": 0.1, "rag": 0.9, "adapter": 0.7, "hybrid": hybrid})))
    named = [one for one in words if one.startswith("hybrid loses to")]
    assert bool(named) == bool(loses)
    assert all(f"{part} (" in named[0] for part in loses)


def test_too_few_items_are_told_with_the_number_that_it_takes(make_report) -> None:
    few = make_report({"base": 0.1, "few-shot": 0.60, "rag": 0.62}, half=0.12, n=60)
    said = [one for one in advise(findings(few)) if "too few" in one]
    # one item's difference has the standard deviation 0.12 / 1.96 * sqrt(60); (2.8 sd / 0.05)^2 = 707
    assert len(said) == 1
    assert said[0].startswith("60 items are too few to order rag and few-shot")
    assert said[0].endswith("a difference of 5 points with 80 % power takes about 710.")
    clear = make_report({"base": 0.1, "few-shot": 0.3, "rag": 0.62}, half=0.12, n=60)
    assert not any("too few" in one for one in advise(findings(clear)))


@pytest.mark.parametrize(("rows", "said"), [(400, True), (999, True), (1_000, False), (None, False)])
def test_little_training_data_is_told(make_report, rows, said) -> None:
    words = advise(findings(make_report({"base": 0.1, "adapter": 0.9}, n_train=rows)))
    assert any("training examples" in one for one in words) == said


def test_no_miss_is_told_as_a_bound_and_misses_as_what_they_are(make_report) -> None:
    perfect = Interval(value=1.0, low=0.91, high=1.0, n=40)
    poor = Interval(value=0.5, low=0.35, high=0.65, n=40)
    values = {"base": 0.1, "adapter": 0.9}
    clean = advise(findings(make_report(values, safety={"base": poor, "adapter": perfect})))
    assert any("No miss on escalation_recall in 40 items (adapter)" in one and "7.5%" in one for one in clean)
    missed = advise(findings(make_report(values, safety={"base": perfect, "adapter": poor})))
    assert any("No arm is without a miss on escalation_recall: adapter 0.500" in one for one in missed)


def test_noise_and_failures_are_told_when_there_are_any(make_report) -> None:
    report = make_report({"base": 0.1, "adapter": 0.9})
    assert not any("second time" in one or "failed" in one for one in advise(findings(report)))
    failing = report.arms[1].model_copy(update={"errors": 3})
    noisy = report.model_copy(update={"arms": (report.arms[0], failing), "noise_floor": 0.04})
    words = advise(findings(noisy))
    assert any("changed 4.0% of its answers" in one for one in words)
    assert any("scored zero (adapter 3, of 200 items each)" in one for one in words)


def test_the_price_of_an_equal_arm_is_told(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.9, "adapter": 0.9})
    slow = report.arms[1].model_copy(update={"latency_p95": 4.0, "prompt_tokens": 900})
    report = report.model_copy(update={"arms": (report.arms[0], slow, report.arms[2])})
    assert any(
        "adapter is the quickest: p95 1.00 s and 100 prompt tokens, against 4.00 s and 900 of rag" in one
        for one in advise(findings(report))
    )
