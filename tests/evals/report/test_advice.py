"""The advice follows from the figures: each case of it, with the figures in the words."""

from __future__ import annotations

import pytest

from evals.advice.rules import advise
from evals.gate.policy import Policy, check
from evals.report.advice import Findings, recommend
from lifecycle.deployment import Deployment
from lifecycle.report import Interval, Report, Tries
from lifecycle.verdict import Check, Ruling
from lifecycle.version import digest_of
from tests.evals.conftest import RECIPES

POLICY = Policy.model_validate({"rules": [{"rule": "beats"}]})
OK, BAD, OPEN = (
    (Check(rule="beats base", ruling=Ruling.PASSED, detail="yes"),),
    (Check(rule="safety", ruling=Ruling.FAILED, detail="0.4"),),
    (Check(rule="items", ruling=Ruling.UNDECIDED, detail="12"),),
)


def findings(
    report: Report,
    *,
    rejected: tuple[str, ...] = (),
    undecided: tuple[str, ...] = (),
    kinds: dict[str, str] | None = None,
) -> Findings:
    arms = [arm.arm for arm in report.arms]
    checks = {arm: BAD if arm in rejected else OPEN if arm in undecided else OK for arm in arms if arm != "base"}
    specs = {arm: RECIPES[(kinds or {}).get(arm, arm)] for arm in arms}
    return Findings(report, specs, checks, POLICY)


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
    assert any("not shown to pay here" in one for one in words)


def test_a_tie_with_the_baseline_is_no_lead_and_the_change_no_simpler(make_report) -> None:
    words = advise(findings(make_report({"base": 0.5, "few-shot": 0.5})))[0]
    assert words.startswith("Ship few-shot (toy:2): fields 0.500")
    assert words.endswith(
        "base has the same figure and is as simple to keep up: nothing measured here speaks for a change."
    )
    for sentence in ("lead", "-0.000", "is simpler to keep up"):
        assert sentence not in words


def test_a_baseline_that_leads_by_chance_is_not_called_harder_to_keep_up(make_report) -> None:
    words = advise(findings(make_report({"base": 0.51, "adapter": 0.5})))[0]
    assert words.endswith("base has the highest figure (0.510), but its lead of +0.010 [-0.020, +0.040] may be chance.")


def test_no_difference_turned_round_is_none(make_report) -> None:
    (gap,) = make_report({"base": 0.5, "few-shot": 0.5}).comparisons
    turned = gap.model_copy(update={"least": 0.0, "most": 0.0}).turned
    assert [f"{x:+.3f}" for x in (turned.delta, turned.least, turned.most)] == ["+0.000"] * 3


def test_an_adapter_that_loses_to_rag_is_not_worth_it(make_report) -> None:
    case = findings(make_report({"base": 0.1, "rag": 0.9, "adapter": 0.5}))
    assert shipped(case) == "rag"
    assert any(
        "Training does not pay here: adapter is -0.400 [-0.430, -0.370] against rag" in one for one in advise(case)
    )


def test_of_arms_with_one_figure_the_simplest_is_the_best(make_report) -> None:
    for arms in (("base", "few-shot", "adapter"), ("base", "adapter", "few-shot")):
        case = findings(make_report({arm: 0.1 if arm == "base" else 0.9 for arm in arms}))
        assert case.best.arm == "few-shot"


def test_no_miss_of_several_arms_is_a_bound_by_the_fewest_items(make_report) -> None:
    few, many = (Interval(value=1.0, low=0.9, high=1.0, n=n) for n in (40, 100))
    safety = {"base": few, "few-shot": few, "adapter": many}
    words = advise(findings(make_report({"base": 0.1, "few-shot": 0.8, "adapter": 0.9}, safety=safety)))
    assert any("No miss on escalation_recall in 40 items (few-shot, adapter)" in line for line in words)


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
    assert advise(case)[0].endswith("and no other arm passes.")


def test_nothing_new_ships_when_the_base_is_best(make_report) -> None:
    case = findings(make_report({"base": 0.9, "few-shot": 0.5, "adapter": 0.6}), rejected=("few-shot", "adapter"))
    assert shipped(case) is None
    assert advise(case)[0] == "Ship nothing new: no arm is better than base (fields 0.900 [0.870, 0.930])."


def test_kinds_and_not_labels_say_what_is_simple(make_report) -> None:
    report = make_report({"base": 0.1, "v2": 0.9, "short prompt": 0.9})
    case = findings(report, kinds={"base": "base", "v2": "adapter", "short prompt": "few-shot"})
    assert shipped(case) == "short prompt"


def test_of_trained_arms_an_adapter_is_the_simplest_and_whole_weights_the_hardest_to_keep_up(make_report) -> None:
    arms = ("base", "hybrid", "weights", "classifier", "adapter", "rag", "few-shot")
    case = findings(make_report({arm: 0.1 if arm == "base" else 0.9 for arm in arms}))
    assert [arm.arm for arm in case.judged] == ["few-shot", "rag", "adapter", "classifier", "weights", "hybrid"]


@pytest.mark.parametrize("kind", ["weights", "classifier"])
def test_whole_weights_and_classifiers_are_training_too(make_report, kind) -> None:
    words = advise(findings(make_report({"base": 0.1, "rag": 0.5, kind: 0.9})))
    assert any(f"Training pays here: {kind} is +0.400" in one for one in words)


@pytest.mark.parametrize(("kind", "named"), [("adapter", True), ("weights", False), ("classifier", False)])
def test_a_hybrids_part_is_what_was_trained_in_the_same_way(make_report, kind, named) -> None:
    words = advise(findings(make_report({"base": 0.1, kind: 0.9, "hybrid": 0.5})))
    assert any(one.startswith(f"hybrid loses to {kind}") for one in words) is named


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
    assert any("No miss on escalation_recall in 40 items (adapter)" in one and "7.2%" in one for one in clean)
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


def test_answers_cut_by_their_limit_are_told_from_more_than_three_percent_on(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.5, "adapter": 0.9}, n=200)
    base, rag, adapter = report.arms

    def words(cut: int) -> str:
        arms = (base, rag.model_copy(update={"cut": 6}), adapter.model_copy(update={"cut": cut}))
        return " ".join(advise(findings(report.model_copy(update={"arms": arms}))))

    assert "cut" not in words(6)
    assert "cut by their limit of tokens and scored as they stand (adapter 7, of 200 items each)" in words(7)
    assert "raise max_tokens" in words(7)


def test_the_price_of_an_equal_arm_is_told(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.9, "adapter": 0.9})
    slow = report.arms[1].model_copy(update={"latency_p95": 4.0, "prompt_tokens": 900})
    report = report.model_copy(update={"arms": (report.arms[0], slow, report.arms[2])})
    assert any(
        "adapter is the quickest: p95 1.00 s and 100 prompt tokens, against 4.00 s and 900 of rag" in one
        for one in advise(findings(report))
    )


def test_an_arm_that_is_undecided_does_not_ship_and_is_not_called_a_failure(make_report) -> None:
    case = findings(make_report({"base": 0.1, "few-shot": 0.4, "adapter": 0.9}), undecided=("few-shot", "adapter"))
    assert shipped(case) is None
    assert advise(case)[0] == (
        "Ship nothing yet: adapter, the best arm, is neither passed nor rejected by the policy (items: 12), and no "
        "other arm passes."
    )


@pytest.mark.parametrize(("high", "ships"), [(0.0, "few-shot"), (-0.001, "adapter")])
def test_an_arm_whose_interval_just_reaches_the_best_is_near_it(make_report, high, ships) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.85, "adapter": 0.9})
    touching = report.difference("few-shot", "adapter").model_copy(update={"low": -0.1, "high": high})
    others = tuple(one for one in report.comparisons if one.against != "few-shot")
    assert shipped(findings(report.model_copy(update={"comparisons": (*others, touching)}))) == ships


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.001, 0.1, "Training pays here"),
        (0.0, 0.1, "is not shown to pay here"),
        (-0.1, 0.0, "is not shown to pay here"),
        (-0.1, -0.001, "Training does not pay here"),
    ],
)
def test_whether_training_pays_is_told_by_an_interval_that_leaves_out_0(make_report, low, high, said) -> None:
    report = make_report({"base": 0.1, "rag": 0.85, "adapter": 0.9})
    (one,) = [one for one in report.comparisons if (one.arm, one.against) == ("adapter", "rag")]
    rest = tuple(other for other in report.comparisons if other is not one)
    report = report.model_copy(update={"comparisons": (*rest, one.model_copy(update={"low": low, "high": high}))})
    assert sum(said in sentence for sentence in advise(findings(report))) == 1


def test_the_smallest_difference_that_could_be_seen_is_told_of_the_arm_that_matters(make_report) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.5, "adapter": 0.9})
    policy = Policy.model_validate({"rules": [{"rule": "beats"}, {"rule": "not_worse", "arms": ["few-shot"]}]})
    case = Findings(
        report,
        {arm: RECIPES[arm] for arm in ("base", "few-shot", "adapter")},
        check(report, policy, ["adapter"]),
        policy,
    )
    (said,) = [one for one in advise(case) if one.startswith("What this run could see of adapter")]
    beats, loses = (one.sees for one in case.checks["adapter"] if one.sees is not None)
    assert said.endswith(f": beats base from {beats:+.3f} on, does not lose to few-shot from {loses:+.3f} on.")
    assert not any("could see" in one for one in advise(findings(report)))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, None),
        (2, "This is try 2 of 20 on these items: each is held to a stricter level than the one before."),
        (9, "This is try 9 of 20 on these items: each is held to a stricter level than the one before."),
        (10, "This is try 10 of 20 on these items: 10 are left. Make fresh items; they renew it."),
        (19, "This is try 19 of 20 on these items: 1 is left. Make fresh items; they renew it."),
        (20, "This is try 20 of 20 on these items: none is left. Make fresh items; they renew it."),
        (21, "This is try 21 on these items, and the policy allows 20: nothing is decided on them any more. "
             "Fresh items renew it."),
    ],
)  # fmt: skip
def test_tries_are_told_before_the_budget_is_used_up(make_report, number, said) -> None:
    words = advise(findings(make_report({"base": 0.1, "adapter": 0.9}, tries=Tries(number=number))))
    assert [one for one in words if one.startswith("This is try")] == ([said] if said else [])


def test_a_look_is_no_try(make_report) -> None:
    report = make_report({"base": 0.1, "adapter": 0.9}, tries=Tries(number=19), provisional=("a dry run",))
    assert not any(one.startswith("This is try") for one in advise(findings(report)))


@pytest.mark.parametrize(("half", "said"), [(0.05, False), (0.051, True)])
def test_items_are_too_few_when_the_interval_is_wider_than_what_is_worth_finding(make_report, half, said) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.60, "rag": 0.62}, half=half)
    assert any("too few" in one for one in advise(findings(report))) == said


def test_what_is_worth_finding_is_the_policys(make_report) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.60, "rag": 0.62}, half=0.12, n=60)
    case = findings(report)
    coarse = Findings(case.report, case.specs, case.checks, POLICY.model_copy(update={"worth": 0.1}))
    assert any("to find a difference of 10 points with 80 % power takes about 180." in one for one in advise(coarse))


def test_one_arm_alone_has_no_other_to_be_quicker_than(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.9})
    at_once = report.arms[1].model_copy(update={"latency_p95": 0.0})
    report = report.model_copy(update={"arms": (report.arms[0], at_once)})
    assert not any("is the quickest" in one for one in advise(findings(report)))


@pytest.mark.parametrize(("slow", "told"), [(1.5, True), (1.49, False)])
def test_the_price_is_told_from_half_as_much_again_on(make_report, slow, told) -> None:
    report = make_report({"base": 0.1, "rag": 0.9, "adapter": 0.9})
    slower = report.arms[1].model_copy(update={"latency_p95": slow})
    report = report.model_copy(update={"arms": (report.arms[0], slower, report.arms[2])})
    assert any("is the quickest" in one for one in advise(findings(report))) is told


def test_the_seconds_of_another_deployment_are_no_price(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.9, "adapter": 0.9})
    elsewhere = Deployment(engine="vllm 0.32.0", dtype="float32", base=digest_of("another"))
    slower = report.arms[1].model_copy(update={"latency_p95": 9.0, "deployment": elsewhere})
    report = report.model_copy(update={"arms": (report.arms[0], slower, report.arms[2])})
    assert not any("is the quickest" in one for one in advise(findings(report)))


def test_what_could_be_seen_is_told_of_what_ships_and_of_the_best_where_nothing_does(make_report) -> None:
    for few_shot, rules, of in (
        (0.89, [{"rule": "beats"}], "few-shot"),
        (0.89, [{"rule": "beats"}, {"rule": "at_least", "value": 0.99}], "adapter"),
    ):
        report = make_report({"base": 0.1, "few-shot": few_shot, "adapter": 0.90})
        policy = Policy.model_validate({"rules": rules})
        specs = {arm: RECIPES[arm] for arm in ("base", "few-shot", "adapter")}
        case = Findings(report, specs, check(report, policy, ["few-shot", "adapter"]), policy)
        assert any(line.startswith(f"What this run could see of {of}, ") for line in advise(case))
