"""Edges of the evaluation's pure parts: defaults, order, what is not there, and bounds that are met exactly."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from evals import chat_rows
from evals.advice.rules import advise
from evals.asking.answers import AnswerStore
from evals.asking.measure import ItemResult
from evals.gate.case import Claim, Level, rival_of
from evals.gate.policy import Policy
from evals.report.advice import Findings
from evals.statistics.comparison import agreement, paired
from evals.statistics.evidence import p_above, smallest_seen
from evals.statistics.intervals import items_for_power, mean_interval
from lifecycle.errors import InvalidData, InvalidInput
from lifecycle.report import Comparison
from lifecycle.text import scores
from lifecycle.verdict import Check, Ruling
from tests.evals.conftest import RECIPES

RULES = [{"rule": "beats"}]
POLICY = Policy.model_validate({"rules": RULES})
PASSED = (Check(rule="beats base", ruling=Ruling.PASSED, detail="yes"),)


def compared(wins: int, losses: int, n: int) -> Comparison:
    rest = [0.0] * (n - wins - losses)
    first, second = [1.0] * wins + [0.0] * losses + rest, [0.0] * wins + [1.0] * losses + rest
    return paired(first, second, None, arm="adapter", against="base", metric="fields")


def result(**scores: float) -> ItemResult:
    return ItemResult(answer="", scores=scores, latency=0.1, prompt_tokens=1, completion_tokens=1)


# advice


def test_the_baseline_may_stand_anywhere_among_the_arms(make_report) -> None:
    report = make_report({"adapter": 0.9, "base": 0.1})
    case = Findings(report, {arm: RECIPES[arm] for arm in ("adapter", "base")}, {"adapter": PASSED}, POLICY)
    assert case.baseline == "base"
    assert "against base; it passes" in advise(case)[0]


def test_what_ships_is_not_among_the_simpler_arms_that_it_left_behind(make_report) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.5, "adapter": 0.9})
    specs = {arm.arm: RECIPES[arm.arm] for arm in report.arms}
    words = advise(Findings(report, specs, {"few-shot": PASSED, "adapter": PASSED}, POLICY))[0]
    assert "nothing simpler (few-shot) comes near it" in words


def test_where_every_arm_is_trained_nothing_is_said_of_training(make_report) -> None:
    report = make_report({"base": 0.1, "adapter": 0.9})
    words = advise(
        Findings(report, dict.fromkeys(("base", "adapter"), RECIPES["adapter"]), {"adapter": PASSED}, POLICY)
    )
    assert not any(one.startswith("Training") and "pay" in one for one in words)


# claims, evidence


def test_a_claim_without_a_comparison_has_the_p_of_no_evidence() -> None:
    assert Claim("beats base", "base", 0.0, None).p == 1.0


def test_a_run_that_would_just_have_seen_what_is_worth_finding_rejects() -> None:
    claim = Claim("beats base", "base", 0.0, compared(40, 40, 2_000))
    sees = smallest_seen(claim.comparison, 0.0, 0.005)

    def ruling(worth: float) -> Ruling:
        level = Level(0.005, "words", worth)
        return claim.check(level, rejects_from=0.0, worth_seeing=True).ruling

    assert ruling(sees) is Ruling.FAILED
    assert ruling(math.nextafter(sees, 0.0)) is Ruling.UNDECIDED


def test_an_arm_that_is_called_prod_is_what_the_name_means(make_report) -> None:
    report = make_report({"base": 0.1, "prod": 0.2}).model_copy(update={"prod": "base"})
    assert rival_of(report, "prod") == "prod"
    assert rival_of(report, "few-shot") == "few-shot"


def test_p_of_a_graded_loss_is_a_probability() -> None:
    differences = [-0.2, -0.1, 0.05, -0.3, -0.2, 0.1, -0.1, -0.25]
    lost = paired(differences, [0.0] * 8, None, arm="adapter", against="base", metric="f1")
    assert lost.delta < 0
    assert lost.effective_clusters is None
    assert 0.5 < p_above(lost) <= 1.0


def test_a_comparison_that_kept_half_of_its_counts_proves_nothing() -> None:
    half = compared(30, 0, 40).model_copy(update={"losses": None})
    assert (p_above(half), smallest_seen(half, 0.0, 0.01)) == (1.0, math.inf)


def test_few_items_see_no_difference_from_a_margin() -> None:
    assert smallest_seen(compared(1, 1, 4), 0.02, 0.001) == math.inf


# policy, agreement


def test_a_policy_has_a_name_and_at_least_one_try() -> None:
    assert POLICY.name == "policy"
    assert Policy.model_validate({"rules": RULES, "tries": 1}).tries == 1
    with pytest.raises(ValueError, match="tries"):
        Policy.model_validate({"rules": RULES, "tries": 0})


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_of_a_policy_may_be_0_and_1(share: float) -> None:
    policy = Policy.model_validate({"rules": [{"rule": "errors", "at_most": share}]})
    assert policy.model_dump()["rules"][0]["at_most"] == share


def test_an_arm_without_a_score_agrees_with_a_wrong_one() -> None:
    assert agreement([result(fields=1.0), result()], "fields") == 1.0
    assert agreement([result(fields=0.0), result()], "fields") == 0.0


# figures


def test_yes_no_scores_in_clusters_prove_no_more_than_as_many_items_alone() -> None:
    # Each cluster holds one right and one wrong item: their means vary less than chance would have them.
    values, clusters = [1.0, 0.0] * 30, [place // 2 for place in range(60)]
    alone, together = mean_interval(values), mean_interval(values, clusters=clusters)
    assert together.value == alone.value == 0.5
    assert together.high - together.low >= alone.high - alone.low


def test_every_item_may_be_discordant_and_no_more_than_every_item() -> None:
    assert items_for_power(1.0, 1.0) >= 1
    with pytest.raises(InvalidInput, match="cannot come from"):
        items_for_power(0.5, 1.01)


@pytest.mark.parametrize("target", ["", "yes", "[1]", "null"])
def test_a_target_that_is_no_object_is_the_datas_fault(target: str) -> None:
    with pytest.raises(InvalidData, match="a target is not a JSON object"):
        scores.target_object(target)


def test_the_rules_of_scoring_are_the_second_and_a_change_of_them_is_seen_here() -> None:
    assert scores.RULES == 2, "a task's digest names them: raise this with every change of what an answer scores"


# files


def test_an_empty_file_of_answers_stays_empty_when_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.touch()
    AnswerStore(file)
    assert file.read_bytes() == b""


def test_a_folder_with_a_colon_does_not_hide_the_line_and_arabic_stays_arabic(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    file = folder / "test.jsonl"
    system = '{"role": "system", "content": "أجب"}'
    turns = '{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}'
    file.write_text(f'\n{{"messages": [{system}, {turns}]}}\n', encoding="utf-8")
    (row,) = chat_rows.documents(file)
    assert row["id"] == "test-2"
    assert "أجب" in row["messages_before"]
    file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InvalidData, match=r"a:b/test\.jsonl:1"):
        chat_rows.documents(file)
