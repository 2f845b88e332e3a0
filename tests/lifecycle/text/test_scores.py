"""Every metric on right, wrong, partly right, malformed and empty answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.text import scores

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
        ('{"a": true, "b": false}', 1),
        ('{"a": 0, "b": -0.0}', 1),
        ('{"a": "\u200f", "b": "y"}', 0),  # empty to a reader
        ('{"a": "x", "b": {"c": "y"}}', 0),
    ],
)
def test_valid_json_is_one_whole_object_with_every_key(answer: str, score: float) -> None:
    assert scores.valid_json(answer, ["a", "b"]) == score


def test_fields_are_scored_one_by_one() -> None:
    answer = '{"intent": " symptom ", "urgency": "routine"}'
    assert scores.field_accuracy(answer, TARGET, ["intent", "urgency"]) == {"intent": 1.0, "urgency": 0.0}


def test_labels_are_compared_exactly_because_programs_branch_on_them() -> None:
    assert scores.field_accuracy('{"intent": "Symptom"}', TARGET, ["intent"]) == {"intent": 0.0}


@pytest.mark.parametrize("answer", ["", "symptom", '["symptom"]', '{"intent": {"symptom": 1}}'])
def test_an_answer_that_is_no_object_has_every_field_wrong(answer: str) -> None:
    assert scores.field_accuracy(answer, TARGET, ["intent"]) == {"intent": 0.0}


UNREADABLE = {
    "a number of 4,301 digits": '{"a": %s}' % ("9" * 4301),
    "a number of 309 digits": '{"a": %s}' % ("9" * 309),
    "an exponent of 400": '{"a": 1e400}',
    "not a number": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "nested too deeply": '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
    "one key twice": '{"a": 1, "a": 1}',
    "half of a surrogate pair": '{"a": "\\ud83d"}',
    "a byte-order mark": '\ufeff{"a": 1}',
    "a direction mark before it": '\u200f{"a": 1}',
    "a no-break space before it": '\u00a0{"a": 1}',
    "a comment": '{"a": 1} // one',
    "a comma too many": '{"a": 1,}',
    "a control character": '{"a": "\x00"}',
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_programs_read_differently_or_not_at_all_is_no_json_and_scores_nothing(answer: str) -> None:
    assert scores.parse_object(answer) is None
    assert scores.valid_json(answer, ["a"]) == 0.0
    assert scores.field_accuracy(answer, '{"a": 1}', ["a"]) == {"a": 0.0}
    assert scores.field_accuracy(answer, '{"a": null}', ["a"]) == {"a": 0.0}  # no answer is not null
    assert scores.escalated(answer, '{"a": true}', {"a": True}) == 0.0
    assert scores.citation(answer, '{"a": "h07"}', "a") == 0.0
    assert scores.spoken_text(answer, "a") == answer


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("true", "true"),
        ("null", "null"),
        ("1", "1.0"),
        ("1e2", "100"),
        ("-0", "0.0"),
        ("0.1", "0.10000000000000001"),  # one double
        (str(2**70), str(2**70)),
        ('" a "', '"a"'),
        ('"\\u0623"', '"أ"'),  # another way to write it in JSON
        ('[1, "a", null]', '[1.0, "a ", null]'),
        ("[]", "[]"),
        ('{"x": 1, "y": [true]}', '{"y": [true], "x": 1.0}'),
    ],
)
def test_a_field_is_right_when_a_program_sees_the_same_value(answer: str, target: str) -> None:
    pair = f'{{"a": {answer}}}', f'{{"a": {target}}}'
    assert scores.field_accuracy(*pair, ["a"]) == {"a": 1.0}
    assert scores.field_accuracy(*reversed(pair), ["a"]) == {"a": 1.0}


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("true", '"true"'),
        ("true", "false"),
        ("true", "1"),
        ("false", "0"),
        ("1", '"1"'),
        ("1", "2"),
        ("-1", "1"),
        ("0.30000000000000004", "0.3"),
        (str(2**70), str(2**70 + 1)),
        ("null", '"null"'),
        ("null", "false"),
        ('""', "null"),
        ("[1]", "1"),
        ("[1, 2]", "[2, 1]"),
        ("[1]", "[1, 1]"),
        ("[true]", "[1]"),
        ("{}", "[]"),
        ('{"x": 1}', '{"x": 1, "y": 2}'),
        ('{"x": 1}', '{"y": 1}'),
        ('"Symptom"', '"symptom"'),
        ('"symptom\u200f"', '"symptom"'),  # nobody sees it, and a program stumbles over it
        ('"عيادة"', '"عياده"'),
    ],
)
def test_a_field_is_wrong_when_a_program_sees_another_value(answer: str, target: str) -> None:
    pair = f'{{"a": {answer}}}', f'{{"a": {target}}}'
    if target != '""':
        assert scores.field_accuracy(*pair, ["a"]) == {"a": 0.0}
    if answer != '""':
        assert scores.field_accuracy(*reversed(pair), ["a"]) == {"a": 0.0}


def test_a_key_is_found_as_a_program_finds_it() -> None:
    assert scores.field_accuracy('{"a\u200f": 1}', '{"a": 1}', ["a"]) == {"a": 0.0}


@pytest.mark.parametrize("value", ['""', '" "', '"\u200f"'])
def test_a_target_that_is_empty_to_a_reader_is_the_datas_fault(value: str) -> None:
    with pytest.raises(InvalidData, match="missing or empty"):
        scores.field_accuracy("{}", f'{{"a": {value}}}', ["a"])


def test_a_target_without_a_scored_field_is_the_datas_fault() -> None:
    with pytest.raises(InvalidData) as error:
        scores.field_accuracy("{}", TARGET, ["department", "floor"])
    assert [problem.place for problem in error.value.problems] == ["target.department", "target.floor"]


@pytest.mark.parametrize("target", ["", " ", "\u200f", "\ufeff\n"])
@pytest.mark.parametrize("score", [scores.exact_match, scores.token_f1, scores.chrf])
def test_an_empty_target_measures_nothing_and_raises(score, target: str) -> None:
    with pytest.raises(InvalidData):
        score("an answer", target)


def test_exact_match_reads_arabic_as_people_do() -> None:
    assert scores.exact_match("إلى العِيادة", "الى العياده.") == 1.0
    assert scores.exact_match("إلى العيادة الآن", "الى العياده") == 0.0


def test_token_f1_by_hand() -> None:
    # two of three answer words, two of four target words: P = 2/3, R = 1/2, F1 = 4/7
    assert scores.token_f1("open at nine", "opens at nine daily") == pytest.approx(4 / 7)
    assert scores.token_f1("من ٩ إلى ٥", "من 9 الى 5") == 1.0
    assert scores.token_f1("", "nine") == 0.0


def test_token_f1_counts_repeated_words_once_each() -> None:
    assert scores.token_f1("nine nine nine", "nine") == pytest.approx(0.5)


JSON_LIKE = st.lists(
    st.sampled_from(['{"a":', '"a"', '"h07"', "}", "{", "[", "]", ",", ":", "1", "-", ".", "e", "9" * 5000, "1e400",
                     "NaN", "true", "null", "\\ud800", "\ud800", "\ufeff", " ", "العيادة", "٩٫٥", "< 5", "[" * 300]),
    max_size=8,
).map("".join)  # fmt: skip
ANSWERS = st.one_of(st.text(), JSON_LIKE, st.text(st.characters(codec=None)))
TARGETS = st.text("abc ابج-+5.٫%<👍!؟", min_size=1).filter(str.strip)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(ANSWERS, TARGETS)
def test_every_answer_gets_a_figure_between_nothing_and_all(answer: str, target: str) -> None:
    texts = [score(answer, target) for score in (scores.token_f1, scores.chrf, scores.exact_match)]
    row = '{"a": "h07", "b": true}'
    fields = [
        *scores.field_accuracy(answer, row, ["a", "b"]).values(),
        scores.valid_json(answer, ["a"]),
        scores.citation(answer, row, "a"),
        scores.escalated(answer, row, {"b": True}),
        scores.token_f1(scores.spoken_text(answer, "a"), target),
    ]
    assert all(figure is not None and 0.0 <= figure <= 1.0 + 1e-9 for figure in texts + fields)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TARGETS)
def test_the_target_itself_is_always_right(target: str) -> None:
    for score in (scores.token_f1, scores.exact_match):
        assert score(target, target) == 1.0
    assert scores.chrf(target, target) == pytest.approx(1.0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, -0.0, 0.5]) | st.sampled_from("ab1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=6,
)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(VALUES, VALUES)
def test_equal_is_what_json_says_of_type_and_value(one: object, other: object) -> None:
    def typed(value: object) -> object:
        """The value with its type written out, by an independent way: through its JSON text."""
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, (int, float)):
            return f"number {float(value) + 0.0:g}"
        if isinstance(value, list):
            return [typed(part) for part in value]
        return {key: typed(part) for key, part in value.items()}

    assert scores.equal(one, one)
    assert scores.equal(one, other) == (typed(one) == typed(other)) == scores.equal(other, one)


def test_a_target_of_signs_alone_is_compared_as_it_stands() -> None:
    assert scores.exact_match(" 👍\u200f", "👍") == scores.token_f1("👍", "👍") == 1.0
    assert scores.exact_match("👎", "👍") == scores.token_f1("👎", "👍") == scores.token_f1("good", "👍") == 0.0


def test_what_nobody_sees_counts_nothing_in_chrf() -> None:
    assert scores.chrf("\u202bالعيادة\u202c", "\u200fالعيادة") == pytest.approx(1.0)


def test_token_f1_leaves_articles_out_and_counts_signs() -> None:
    assert scores.token_f1("the clinic opens", "a clinic closes") == pytest.approx(1 / 2)
    assert scores.token_f1("-5", "5") == 0.0
    assert scores.token_f1("5 %", "5") == pytest.approx(2 / 3)


def test_chrf_agrees_with_sacrebleu_and_is_a_share() -> None:
    from sacrebleu import sentence_chrf

    answer, target = "العيادة تفتح في التاسعة", "تفتح العيادة في الساعة التاسعة"
    assert scores.chrf(answer, target) == pytest.approx(sentence_chrf(answer, [target]).score / 100)
    assert scores.chrf(target, target) == pytest.approx(1.0)
    assert scores.chrf("", target) == 0.0


@pytest.mark.parametrize(
    ("source", "score"),
    [
        ("h07", 1),
        ("[H07]", 1),
        (["h07"], 1),
        ("h08", 0),
        (["h07", "h08"], 0),
        ("", 0),
        (None, 0),
        ("\u200fh07", 1),
        ([], 0),
        (["h07", "H07"], 1),
        (7, 0),
        (True, 0),
    ],
)
def test_a_citation_names_the_passage_of_the_target_and_no_other(source: object, score: float) -> None:
    answer, target = json.dumps({"answer": "x", "source": source}), '{"answer": "x", "source": "h07"}'
    assert scores.citation(answer, target, "source") == score


def test_a_target_that_cites_nothing_raises() -> None:
    with pytest.raises(InvalidData):
        scores.citation("{}", '{"answer": "x", "source": ""}', "source")


def test_escalation_counts_emergencies_alone() -> None:
    routine = '{"urgency": "routine"}'
    assert scores.escalated(TARGET, routine, EMERGENCY) is None
    assert scores.escalated(TARGET, TARGET, EMERGENCY) == 1.0
    assert scores.escalated(routine, TARGET, EMERGENCY) == 0.0


def test_escalation_branches_on_any_value_of_a_label() -> None:
    urgent = {"emergency": True, "level": 3}
    target = '{"emergency": true, "level": 3}'
    assert scores.escalated('{"emergency": true, "level": 3.0}', target, urgent) == 1.0
    assert scores.escalated('{"emergency": true, "level": 2}', target, urgent) == 0.0
    assert scores.escalated('{"emergency": "true", "level": 3}', target, urgent) == 0.0
    assert scores.escalated(target, '{"emergency": false, "level": 3}', urgent) is None
    assert scores.escalated(target, '{"level": 3}', urgent) is None


def test_an_emergency_told_in_plain_words_calls_nobody() -> None:
    assert scores.escalated("This is an emergency!", TARGET, EMERGENCY) == 0.0


def test_a_spoken_scalar_has_no_space_around_it() -> None:
    assert (scores.spoken("  at eight\n"), scores.spoken(8), scores.spoken(" \u200f ")) == ("at eight", "8", "")


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        ("at nine", "at nine"),
        ('{"answer": "at nine", "source": "h1"}', "at nine"),
        ('{"reply": "at nine"}', "at nine"),
        ('{"reply": "at", "more": [1], "n": 9, "sure": true}', "at 9 true"),
        ('{"answer": "\u200f", "reply": "at nine"}', "at nine"),
        ("", ""),
    ],
)
def test_what_is_said_is_found_whatever_its_form(answer: str, spoken: str) -> None:
    assert scores.spoken_text(answer, "answer") == spoken


def test_metrics_of_a_task_file_come_from_lm_evals_registry() -> None:
    from lm_eval.api.registry import get_metric, get_metric_aggregation, is_higher_better

    from evals.tasks.lmeval.metrics import register

    register()
    register()  # a second evaluation in the process
    scored = get_metric("json_fields")(references=[TARGET], predictions=['{"intent": "symptom"}'], fields=["intent"])
    assert scored == {"intent": 1.0, "fields": 1.0}
    assert get_metric_aggregation("json_fields")([1.0, 0.0]) == 0.5
    assert is_higher_better("escalation_recall")


def test_free_text_inside_json_gets_a_figure_per_field_and_their_mean() -> None:
    from evals.tasks.lmeval.metrics import json_text

    target = '{"summary": "العيادة مغلقة", "english": "the clinic is closed"}'
    answer = '{"summary": "العياده مغلقه", "english": "open"}'
    figures = json_text([target], [answer], fields=["summary", "english"], measures=["exact", "f1"])
    assert (figures["summary_exact"], figures["english_exact"], figures["text_exact"]) == (1.0, 0.0, 0.5)
    plain = json_text([target], ["العيادة مغلقة"], fields=["summary"], measures=["f1", "chrf"])
    assert plain == {"summary_f1": 0.0, "summary_chrf": 0.0}


def test_answer_f1_tells_knowledge_from_format() -> None:
    from evals.tasks.lmeval.metrics import json_text, spoken_f1

    target, answer = '{"answer": "at nine", "source": "h1"}', "It opens at nine"
    assert spoken_f1([target], [answer], field="answer")["answer_f1"] == pytest.approx(2 / 3)
    assert json_text([target], [answer], fields=["answer"], measures=["exact"]) == {"answer_exact": 0.0}


@pytest.mark.parametrize("target", ['{"answer": null}', '{"answer": ["a"]}', '{"answer": " "}', "{}"])
def test_a_target_without_a_text_to_score_names_its_field(target: str) -> None:
    from evals.tasks.lmeval.metrics import json_text, spoken_f1

    for figures in (
        lambda: json_text([target], ["{}"], fields=["answer"], measures=["exact"]),
        lambda: spoken_f1([target], [""], field="answer"),
    ):
        with pytest.raises(InvalidData) as error:
            figures()
        assert [problem.place for problem in error.value.problems] == ["target.answer"]


@pytest.mark.parametrize("value", ["0", "false", "0.0"])
def test_a_target_of_zero_or_false_is_a_target(value: str) -> None:
    from evals.tasks.lmeval.metrics import json_text, spoken_f1

    row = f'{{"answer": {value}}}'
    assert json_text([row], [row], fields=["answer"], measures=["exact", "f1"]) == {
        "answer_exact": 1.0,
        "answer_f1": 1.0,
    }
    assert json_text([row], ["{}"], fields=["answer"], measures=["exact"]) == {"answer_exact": 0.0}
    assert spoken_f1([row], [f"it is {value}"], field="answer")["answer_f1"] == pytest.approx(1 / 2)


def test_text_metrics_take_the_normaliser_that_the_task_names() -> None:
    from evals.tasks.lmeval.metrics import json_text, rules, spoken_f1

    row = '{"answer": "nine"}'
    for measured in (
        lambda name: json_text([row], [row], fields=["answer"], measures=["exact"], normaliser=name),
        lambda name: spoken_f1([row], [row], field="answer", normaliser=name),
        lambda name: rules([{"metric": "spoken_f1", "normaliser": name}]),
    ):
        measured("light-1")
        with pytest.raises(InvalidConfig, match="there is no 'light-9'"):
            measured("light-9")


def test_what_a_task_scores_by_is_told_whether_it_names_it_or_not() -> None:
    from evals.tasks.lmeval.metrics import rules

    both = {"rules": scores.RULES, "normalisers": ["light-1"]}
    assert rules([{"metric": "json_text"}]) == rules([{"metric": "json_text", "normaliser": "light-1"}]) == both
    assert rules([{"metric": "json_fields"}]) == {"rules": scores.RULES, "normalisers": []}
    assert rules([{"metric": "exact_match"}, {"metric": "acc"}]) == rules([]) == {}


def test_a_target_that_is_no_object_is_shown_by_its_first_eighty_characters() -> None:
    with pytest.raises(InvalidData) as caught:
        scores.target_object("x" * 81)
    assert [problem.fault for problem in caught.value.problems] == [repr("x" * 80)]


def test_a_scalar_of_marks_and_spaces_alone_is_nothing_to_a_reader() -> None:
    assert scores.spoken("\u200f \u200f") == ""


def test_another_way_to_score_is_another_number() -> None:
    """It is part of every task's digest, so it changes with what is scored and for no other reason."""
    assert scores.RULES == 2
