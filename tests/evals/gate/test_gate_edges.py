"""The gate, its evidence and its advice at their edges: nothing measured, nothing to compare, and exact ties."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from evals.advice.rules import advise
from evals.asking.answers import AnswerStore
from evals.asking.measure import ItemResult
from evals.chat_rows import documents
from evals.gate.case import Claim, Level, rival_of
from evals.gate.policy import Policy, check
from evals.report.advice import Findings
from evals.statistics.comparison import agreement, paired
from evals.statistics.evidence import p_above, p_below, smallest_seen
from lifecycle.errors import InvalidData
from lifecycle.report import Comparison
from lifecycle.text.scores import target_object
from lifecycle.verdict import Check, Ruling
from tests.evals.conftest import RECIPES

NAMES = {"arm": "adapter", "against": "base", "metric": "fields"}


def policy(*rules: dict[str, object], **more: object) -> Policy:
    return Policy.model_validate({"rules": [{"rule": "beats"}, *rules], **more})


# -- the policy -------------------------------------------------------------------------------------------------------


def test_a_policy_without_a_name_is_called_policy_and_decides_twenty_times() -> None:
    assert (policy().name, policy().tries) == ("policy", 20)


@pytest.mark.parametrize(("tries", "fits"), [(0, False), (1, True)])
def test_the_same_items_decide_once_at_least(tries: int, fits: bool) -> None:
    if fits:
        assert policy(tries=tries).tries == 1
    else:
        with pytest.raises(ValidationError):
            policy(tries=tries)


@pytest.mark.parametrize(("share", "fits"), [(-0.01, False), (0.0, True), (1.0, True), (1.01, False)])
def test_a_share_of_failures_goes_from_none_to_all(share: float, fits: bool) -> None:
    rule = {"rule": "errors", "at_most": share}
    if fits:
        policy(rule)
    else:
        with pytest.raises(ValidationError):
            policy(rule)


def test_the_fewest_clusters_of_all_that_is_compared_count(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    (one,) = report.comparisons
    report = report.model_copy(
        update={"comparisons": (one.model_copy(update={"clusters": 19, "effective_clusters": 19}),)}
    )
    arms = tuple(
        arm.model_copy(
            update={
                "metrics": {name: figure.model_copy(update={"clusters": 30}) for name, figure in arm.metrics.items()}
            }
        )
        for arm in report.arms
    )
    report = report.model_copy(update={"arms": arms})
    (found,) = [line for line in check(report, policy(), ["adapter"])["adapter"] if line.rule == "clusters"]
    assert found.ruling is not Ruling.PASSED
    assert found.detail == "19 clusters of items that belong together; at least 20 are asked for"


# -- a claim ----------------------------------------------------------------------------------------------------------


def test_prod_is_the_arm_that_it_serves_unless_an_arm_has_that_name(make_report) -> None:
    served = make_report({"base": 0.5, "adapter": 0.9}, prod="base")
    assert (rival_of(served, "prod"), rival_of(served, "adapter")) == ("base", "adapter")
    assert rival_of(make_report({"base": 0.5}), "prod") is None
    assert rival_of(make_report({"prod": 0.5, "base": 0.5}, prod="base"), "prod") == "prod"


def test_a_claim_on_what_was_not_compared_is_open_and_its_p_is_1() -> None:
    claim = Claim("beats base", "base", 0.0, None)
    assert claim.p == 1.0
    assert claim.check(Level(0.01, "x", 0.05), rejects_from=0.0, worth_seeing=True).ruling is Ruling.UNDECIDED


def test_a_lead_that_could_just_have_been_seen_and_was_not_rejects() -> None:
    one = Comparison(
        **NAMES, delta=0.0, low=-0.1, high=0.1, p_value=1.0, test="mcnemar-exact", n=200, wins=10, losses=10
    )
    sees = smallest_seen(one, 0.0, 0.01)
    for worth, ruling in ((sees, Ruling.FAILED), (sees - 1e-9, Ruling.UNDECIDED)):
        found = Claim("beats base", "base", 0.0, one).check(
            Level(0.01, "x", worth), rejects_from=-0.9, worth_seeing=True
        )
        assert found.ruling is ruling
        assert found.sees == sees
    unseen = Claim("beats base", "base", 0.0, one).check(Level(0.01, "x", sees), rejects_from=-0.9, worth_seeing=False)
    assert unseen.ruling is Ruling.UNDECIDED


# -- evidence ---------------------------------------------------------------------------------------------------------


def graded(differences: list[float], clusters: list[int] | None = None) -> Comparison:
    return paired([0.5 + one / 2 for one in differences], [0.5 - one / 2 for one in differences], clusters, **NAMES)


def test_a_difference_the_other_way_is_the_complement_of_its_sign_flip() -> None:
    one = graded([-0.2, -0.1, -0.3, 0.05, -0.15, -0.25])
    assert one.delta < 0
    assert p_above(one) == pytest.approx(1 - one.p_value / 2, abs=0.05)
    assert p_above(one) <= 1.0
    assert p_below(one) < 0.1
    level = graded([0.2, -0.2, 0.1, -0.1])
    assert p_above(level) == pytest.approx(0.5, abs=0.5)
    assert p_above(level) <= 1.0


@pytest.mark.parametrize("half", [{"wins": 30}, {"losses": 30}])
def test_one_count_of_two_proves_nothing(half: dict[str, int]) -> None:
    one = Comparison(**NAMES, delta=0.3, low=0.2, high=0.4, p_value=0.001, test="paired-bootstrap", n=100, **half)
    assert p_above(one) == 1.0
    assert smallest_seen(one, 0.0, 0.01) == math.inf


def test_where_only_a_perfect_lead_would_do_nothing_is_seen() -> None:
    one = paired([1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], None, **NAMES)
    assert smallest_seen(one, 0.02, 0.001) == math.inf
    many = paired([1.0, 0.0] * 500, [0.0, 1.0] * 500, None, **NAMES)
    assert 0.02 < smallest_seen(many, 0.02, 0.001) < 1


# -- comparisons ------------------------------------------------------------------------------------------------------


def test_clusters_are_told_only_where_there_are_any() -> None:
    alone, together = graded([0.1, 0.2, -0.1]), graded([0.1, 0.2, -0.1, 0.3], [1, 1, 2, 3])
    assert (alone.clusters, alone.effective_clusters) == (None, None)
    assert together.clusters == 3
    assert 1 < (together.effective_clusters or 0) < 3


def test_an_item_that_an_arm_did_not_score_counts_as_zero_in_how_far_the_arms_are_apart() -> None:
    def outcome(**scores: float) -> ItemResult:
        return ItemResult(answer="a", scores=scores, latency=1, prompt_tokens=1, completion_tokens=1, error="")

    assert agreement([outcome(), outcome(score=0.25)], "score") == 0.25
    assert agreement([outcome(), outcome(score=0.0)], "score") == 0.0
    assert agreement([outcome(score=1.0), outcome(score=0.4)], "score") == 0.6


# -- rows and answers -------------------------------------------------------------------------------------------------


def test_a_target_that_is_no_object_is_the_datas_fault() -> None:
    assert target_object('{"a": 1}') == {"a": 1}
    for target in ("[1]", "text", ""):
        with pytest.raises(InvalidData, match="not a JSON object"):
            target_object(target)


def test_a_row_is_named_by_its_line_whatever_its_file_is_called(tmp_path) -> None:
    path = tmp_path / "a:b.jsonl"
    turns = [("system", "موجز"), ("user", "q"), ("assistant", "a")]
    path.write_text("\n" + json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}))
    (document,) = documents(path)
    assert document["id"] == "a:b-2"
    assert document["messages_before"] == '[{"role": "system", "content": "موجز"}]'


def test_an_empty_file_of_answers_is_left_as_it_is(tmp_path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"")
    AnswerStore(path)
    assert path.read_bytes() == b""


# -- advice -----------------------------------------------------------------------------------------------------------

OK = (Check(rule="beats base", ruling=Ruling.PASSED, detail="yes"),)


def findings(report, *judged: str, kinds: dict[str, str] | None = None) -> Findings:
    specs = {arm.arm: RECIPES[(kinds or {}).get(arm.arm, arm.arm)] for arm in report.arms}
    return Findings(report, specs, dict.fromkeys(judged, OK), policy())


def test_the_baseline_is_the_arm_that_was_not_judged_wherever_it_stands(make_report) -> None:
    case = findings(make_report({"adapter": 0.9, "base": 0.1}), "adapter")
    assert case.baseline == "base"
    assert "against base; it passes the policy." in advise(case)[0]


def test_nothing_simpler_is_named_where_the_best_is_the_simplest(make_report) -> None:
    best = findings(make_report({"base": 0.1, "few-shot": 0.9}), "few-shot")
    assert "nothing simpler" not in advise(best)[0]
    twins = make_report({"base": 0.1, "few-shot": 0.2, "other": 0.9})
    case = findings(twins, "few-shot", "other", kinds={"base": "base", "few-shot": "few-shot", "other": "few-shot"})
    assert "nothing simpler" not in advise(case)[0]
    harder = findings(make_report({"base": 0.1, "few-shot": 0.2, "adapter": 0.9}), "few-shot", "adapter")
    assert "nothing simpler (few-shot) comes near it" in advise(harder)[0]


@pytest.mark.parametrize("kinds", [{"one": "adapter", "two": "hybrid"}, {"one": "base", "two": "rag"}])
def test_where_all_arms_are_trained_or_none_is_training_is_not_weighed(make_report, kinds) -> None:
    case = findings(make_report({"one": 0.1, "two": 0.9}), "two", kinds=kinds)
    assert not any(line.startswith("Training") and "pay" in line for line in advise(case))
