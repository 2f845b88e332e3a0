"""Every metric on right, wrong, partly right, malformed and empty answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import metrics
from lifecycle.errors import InvalidData

TARGET = json.dumps({"intent": "symptom", "urgency": "emergency", "reply": "اتصل الآن على 997"}, ensure_ascii=False)
EMERGENCY = {"urgency": "emergency"}


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"a": "x", "b": "y"}', 1),
        (' {"a": "x", "b": 3, "more": null}\n', 1),
        ('{"a": "x"}', 0),
        ('{"a": "x", "b": ""}', 0),
        ('{"a": "x", "b": null}', 0),
        ('{"a": "x", "b": ["y"]}', 0),
        ('Here it is: {"a": "x", "b": "y"}', 0),
        ('```json\n{"a": "x", "b": "y"}\n```', 0),
        ('["a", "b"]', 0),
        ('{"a": "x", "b": "y"', 0),
        ("", 0),
        ("[" * 100_000, 0),
    ],
)
def test_valid_json_is_one_whole_object_with_every_key(answer: str, score: float) -> None:
    assert metrics.valid_json(answer, ["a", "b"]) == score


def test_fields_are_scored_one_by_one() -> None:
    answer = '{"intent": " symptom ", "urgency": "routine"}'
    assert metrics.field_accuracy(answer, TARGET, ["intent", "urgency"]) == {"intent": 1.0, "urgency": 0.0}


def test_labels_are_compared_exactly_because_programs_branch_on_them() -> None:
    assert metrics.field_accuracy('{"intent": "Symptom"}', TARGET, ["intent"]) == {"intent": 0.0}


@pytest.mark.parametrize("answer", ["", "symptom", '["symptom"]', '{"intent": {"symptom": 1}}'])
def test_an_answer_that_is_no_object_has_every_field_wrong(answer: str) -> None:
    assert metrics.field_accuracy(answer, TARGET, ["intent"]) == {"intent": 0.0}


def test_a_target_without_a_scored_field_is_the_datas_fault() -> None:
    with pytest.raises(InvalidData) as error:
        metrics.field_accuracy("{}", TARGET, ["department", "floor"])
    assert [problem.place for problem in error.value.problems] == ["target.department", "target.floor"]


@pytest.mark.parametrize("score", [metrics.exact_match, metrics.token_f1, metrics.chrf])
def test_an_empty_target_measures_nothing_and_raises(score) -> None:
    with pytest.raises(InvalidData):
        score("an answer", " ")


def test_exact_match_reads_arabic_as_people_do() -> None:
    assert metrics.exact_match("إلى العِيادة", "الى العياده.") == 1.0
    assert metrics.exact_match("إلى العيادة الآن", "الى العياده") == 0.0


def test_token_f1_by_hand() -> None:
    # two of three answer words, two of four target words: P = 2/3, R = 1/2, F1 = 4/7
    assert metrics.token_f1("open at nine", "opens at nine daily") == pytest.approx(4 / 7)
    assert metrics.token_f1("من ٩ إلى ٥", "من 9 الى 5") == 1.0
    assert metrics.token_f1("", "nine") == 0.0


def test_token_f1_counts_repeated_words_once_each() -> None:
    assert metrics.token_f1("nine nine nine", "nine") == pytest.approx(0.5)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.text(), st.text(alphabet="abc ابج", min_size=1).filter(str.strip))
def test_text_scores_lie_between_nothing_and_all(answer: str, target: str) -> None:
    for score in (metrics.token_f1, metrics.chrf, metrics.exact_match):
        try:
            assert 0.0 <= score(answer, target) <= 1.0 + 1e-9
        except InvalidData:  # a target of articles alone
            assert set(target.split()) == {"a"}


def test_chrf_agrees_with_sacrebleu_and_is_a_share() -> None:
    from sacrebleu import sentence_chrf

    answer, target = "العيادة تفتح في التاسعة", "تفتح العيادة في الساعة التاسعة"
    assert metrics.chrf(answer, target) == pytest.approx(sentence_chrf(answer, [target]).score / 100)
    assert metrics.chrf(target, target) == pytest.approx(1.0)
    assert metrics.chrf("", target) == 0.0


@pytest.mark.parametrize(
    ("source", "score"), [("h07", 1), ("[H07]", 1), (["h07"], 1), ("h08", 0), (["h07", "h08"], 0), ("", 0), (None, 0)]
)
def test_a_citation_names_the_passage_of_the_target_and_no_other(source: object, score: float) -> None:
    answer, target = json.dumps({"answer": "x", "source": source}), '{"answer": "x", "source": "h07"}'
    assert metrics.citation(answer, target, "source") == score


def test_a_target_that_cites_nothing_raises() -> None:
    with pytest.raises(InvalidData):
        metrics.citation("{}", '{"answer": "x", "source": ""}', "source")


def test_escalation_counts_emergencies_alone() -> None:
    routine = '{"urgency": "routine"}'
    assert metrics.escalated(TARGET, routine, EMERGENCY) is None
    assert metrics.escalated(TARGET, TARGET, EMERGENCY) == 1.0
    assert metrics.escalated(routine, TARGET, EMERGENCY) == 0.0


def test_an_emergency_told_in_plain_words_calls_nobody() -> None:
    assert metrics.escalated("This is an emergency!", TARGET, EMERGENCY) == 0.0


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        ("at nine", "at nine"),
        ('{"answer": "at nine", "source": "h1"}', "at nine"),
        ('{"reply": "at nine"}', "at nine"),
        ("", ""),
    ],
)
def test_what_is_said_is_found_whatever_its_form(answer: str, spoken: str) -> None:
    assert metrics.spoken_text(answer, "answer") == spoken


def test_metrics_of_a_task_file_come_from_lm_evals_registry() -> None:
    from lm_eval.api.registry import get_metric, get_metric_aggregation, is_higher_better

    from evals.lmeval_metrics import register

    register()
    register()  # a second evaluation in the process
    scored = get_metric("json_fields")(references=[TARGET], predictions=['{"intent": "symptom"}'], fields=["intent"])
    assert scored == {"intent": 1.0, "fields": 1.0}
    assert get_metric_aggregation("json_fields")([1.0, 0.0]) == 0.5
    assert is_higher_better("escalation_recall")


def test_free_text_inside_json_gets_a_figure_per_field_and_their_mean() -> None:
    from evals.lmeval_metrics import json_text

    target = '{"summary": "العيادة مغلقة", "english": "the clinic is closed"}'
    answer = '{"summary": "العياده مغلقه", "english": "open"}'
    figures = json_text([target], [answer], fields=["summary", "english"], measures=["exact", "f1"])
    assert (figures["summary_exact"], figures["english_exact"], figures["text_exact"]) == (1.0, 0.0, 0.5)
    plain = json_text([target], ["العيادة مغلقة"], fields=["summary"], measures=["f1", "chrf"])
    assert plain == {"summary_f1": 0.0, "summary_chrf": 0.0}


def test_answer_f1_tells_knowledge_from_format() -> None:
    from evals.lmeval_metrics import json_text, spoken_f1

    target, answer = '{"answer": "at nine", "source": "h1"}', "It opens at nine"
    assert spoken_f1([target], [answer], field="answer")["answer_f1"] == pytest.approx(2 / 3)
    assert json_text([target], [answer], fields=["answer"], measures=["exact"]) == {"answer_exact": 0.0}
