"""Citations, abstention, faithfulness, and whose fault a wrong answer is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from evals.asking.answers import Answer
from evals.judging.grounded import Grounded
from evals.judging.judge import Judge
from evals.sample import Sample
from evals.scorers.faithfulness import Faithfulness
from evals.scorers.knowledge import PHRASES, Abstention, Citations
from evals.scorers.missed import Missed
from evals.scorers.scorer import Score, Scorer, ScoringContext
from evals.scorers.table import SCORERS
from evals.solvers.solver import Attempt
from lifecycle.version import digest_of

TEXTS = {"h01": "The pharmacy opens at 8:30.", "h02": "Dr Rima Haddad is the dentist.", "h03": "تفتح العيادة الساعة 9."}
RETRIEVES = ScoringContext(retrieves=True)


def sample(*gold: str, target: Any = "8:30") -> Sample:
    return Sample(key="k", id="i", messages=(), target=target, metadata={"passages": list(gold)})


def answered(text: str, *passages: str, error: str = "") -> Attempt:
    answer = Answer(
        key=digest_of("k"),
        version="toy:1",
        item="i",
        text=text,
        latency=0.1,
        concurrency=1,
        passages=passages,
        texts=tuple(TEXTS[name] for name in passages),
        error=error,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Attempt.of(answer)


async def score(scorer: Scorer, of: Sample, attempt: Attempt, context: ScoringContext = RETRIEVES) -> Score:
    assert scorer.problems(of) == []
    return await scorer.score(of, attempt, context)


@pytest.mark.parametrize(
    ("answer", "precision", "recall"),
    [
        ("At 8:30 [h01].", 1.0, 0.5),
        ("At 8:30 [H01][h02]", 1.0, 1.0),
        ("At 8:30 [h01, h09]", 0.5, 0.5),
        ("At 8:30 [h01] and [h01].", 1.0, 0.5),
        ("الساعة \u200f[h01، h02]", 1.0, 1.0),
        ("At 8:30", 0.0, 0.0),
        ("see [h01](http://x.y)", 0.0, 0.0),
        ("[none]", 0.0, 0.0),
    ],
)
async def test_citations_are_held_against_the_labels(answer, precision, recall):
    made = await score(Citations(), sample("h01", "h02"), answered(answer, "h01"))
    assert made.figures["citation_precision"] == precision
    assert made.figures["citation_recall"] == recall


@pytest.mark.parametrize(
    ("answer", "recall"),
    [
        ('{"answer": "8:30", "source": "h01"}', 1.0),
        ('{"answer": "8:30", "source": ["h01"]}', 1.0),
        ('{"answer": "8:30", "source": "[h01]"}', 1.0),
        ('{"answer": "8:30 [h01]", "source": "none"}', 0.0),
        ('{"answer": "8:30", "source": {"id": "h01"}}', 0.0),
        ("[h01]", 0.0),
    ],
)
async def test_a_json_answer_cites_in_its_field(answer, recall):
    assert (await score(Citations(field="source"), sample("h01"), answered(answer))).figures[
        "citation_recall"
    ] == recall


async def test_what_is_cited_must_have_stood_before_the_version():
    invented = await score(Citations(), sample("h01"), answered("At 8:30 [h01]", "h02"))
    assert invented.figures["citation_given"] == 0.0
    assert (await score(Citations(), sample("h01"), answered("[h01]", "h02", "h01"))).figures["citation_given"] == 1.0
    assert (await score(Citations(), sample("h01"), answered("[h01]"))).figures["citation_given"] == 0.0
    alone = await score(Citations(), sample("h01"), answered("[h01]"), ScoringContext())
    assert "citation_given" not in alone.figures, "a version without knowledge was given nothing"
    assert (await score(Citations(), sample(), answered("[h01]", "h01"))).figures == {}


@pytest.mark.parametrize("phrase", PHRASES["abstention-1"])
async def test_every_phrase_of_the_list_is_heard_within_a_sentence(phrase):
    made = await score(Abstention(), sample(), answered(f"Sorry, {phrase}. عذرا."))
    assert made.figures == {"abstains": 1.0}


@pytest.mark.parametrize("answer", ["The clinic is blue.", "", "I do now know: 8:30", "لا"])
async def test_an_answer_where_none_is_right_is_no_abstention(answer):
    assert (await score(Abstention(), sample(), answered(answer))).figures == {"abstains": 0.0}


@pytest.mark.parametrize(
    ("answer", "value"), [("8:30", 1.0), ("I don’t know", 0.0), ("لا أَعرِف", 0.0), ("", 0.0), ("\u200f", 0.0)]
)
async def test_who_abstains_though_something_is_right_is_counted_too(answer, value):
    assert (await score(Abstention(), sample("h01"), answered(answer))).figures == {"answers": value}


async def test_a_version_may_abstain_in_its_own_words_and_in_a_field():
    own = Abstention(phrases=("not in the handbook",))
    assert (await score(own, sample(), answered("Not in the handbook!"))).figures == {"abstains": 1.0}
    assert (await score(own, sample(), answered("I do not know"))).figures == {"abstains": 0.0}
    field = Abstention(field="answer")
    said = '{"answer": "8:30", "note": "I do not know"}'
    assert (await score(field, sample(), answered(said))).figures == {"abstains": 0.0}


@pytest.mark.parametrize(
    ("answer", "before", "figures"),
    [
        ("9:15", ("h02",), {"retriever_missed": 1.0, "model_missed": 0.0}),
        ("9:15", (), {"retriever_missed": 1.0, "model_missed": 0.0}),
        ("9:15", ("h02", "h01"), {"retriever_missed": 0.0, "model_missed": 1.0}),
        ("8:30", ("h01",), {"retriever_missed": 0.0, "model_missed": 0.0}),
        ("8:30", ("h02",), {"retriever_missed": 0.0, "model_missed": 0.0}),
    ],
)
async def test_what_the_retriever_missed_and_what_the_model_missed_are_apart(answer, before, figures):
    made = await score(Missed(answer="exact"), sample("h01"), answered(answer, *before))
    assert made.figures == figures
    column = "right" if answer == "8:30" else "wrong"
    assert [*made.cells.values()] == [("passage there" if "h01" in before else "passage not there", column)]


async def test_no_fault_is_found_where_nothing_is_right_or_nothing_is_retrieved():
    assert (await score(Missed(answer="exact"), sample(), answered("9:15", "h01"))).figures == {}
    assert (await score(Missed(answer="exact"), sample("h01"), answered("9:15"), ScoringContext())).figures == {}


@pytest.mark.parametrize(("need", "whose"), [("all", "retriever_missed"), ("any", "model_missed")])
async def test_an_answer_may_take_all_right_passages_or_one(need, whose):
    made = await score(Missed(answer="exact", need=need), sample("h01", "h02"), answered("9:15", "h01"))
    assert made.figures[whose] == 1.0


async def test_an_answer_is_right_by_the_scorer_that_is_named():
    missed = Missed(answer={"type": "json", "fields": ["answer"]}, figure="answer")
    of = sample("h01", target='{"answer": "8:30", "source": "h01"}')
    settled = missed.settled([of])
    made = await score(settled, of, answered('{"answer": "8:30", "source": "h02"}', "h01"))
    assert made.figures["model_missed"] == 0.0
    partly = Missed(answer="f1", at_least=0.5)
    assert (await score(partly, sample("h01", target="a b c"), answered("a b", "h01"))).figures["model_missed"] == 0.0


@pytest.mark.parametrize("answer", ["exactly", {"type": "regex"}, 7])
def test_a_scorer_of_answers_that_is_none_is_refused(answer):
    scorer, problems = SCORERS.read({"type": "missed", "answer": answer}, "scorers.0")
    assert scorer is None
    assert problems


async def test_sentences_are_faithful_when_one_passage_has_their_words_and_numbers():
    said = "The pharmacy opens at 8:30 [h01]. The dentist is Dr Rima Haddad. The roof is blue."
    made = await score(Faithfulness(), sample("h01"), answered(said, "h01", "h02"))
    assert made.figures == {"faithful": pytest.approx(2 / 3), "all_faithful": 0.0}
    assert made.explanation == "no passage supports: The roof is blue."
    arabic = await score(Faithfulness(), sample("h03"), answered("العيادة تفتح الساعة ٩", "h03"))
    assert arabic.figures["all_faithful"] == 1.0


async def test_another_number_is_not_supported_however_many_words_are():
    made = await score(Faithfulness(support=0.5), sample("h01"), answered("The pharmacy opens at 9:15.", "h01"))
    assert made.figures["faithful"] == 0.0


@pytest.mark.parametrize(("text", "before"), [("I do not know.", ("h01",)), ("", ("h01",)), ("At 8:30.", ())])
async def test_who_says_nothing_or_was_given_nothing_is_neither_faithful_nor_not(text, before):
    assert (await score(Faithfulness(), sample("h01"), answered(text, *before))).figures == {}


class Judges:
    def __init__(self, says: str) -> None:
        self.says, self.asked = says, []

    async def ask(self, judge: Judge, item: str, messages: Any) -> tuple[str, str]:
        self.asked.append(messages[0]["content"])
        return self.says, ""


async def test_a_judge_sees_the_passages_and_an_unread_verdict_is_no_figure():
    scorer = Grounded(judge=Judge(model="judge"))
    judges = Judges('{"supported": true}')
    context = ScoringContext(judges, retrieves=True)
    made = await score(scorer, sample("h01"), answered("At 8:30.", "h01"), context)
    assert made.figures == {"grounded": 1.0, "supported": 1.0}
    assert "<passages>\n[h01] The pharmacy opens at 8:30.\n</passages>" in judges.asked[0]
    nonsense = ScoringContext(Judges("perhaps"), retrieves=True)
    unread = await score(scorer, sample("h01"), answered("At 8:30.", "h01"), nonsense)
    assert (unread.figures, set(unread.unscored)) == ({}, {"grounded", "supported"})
    assert (await score(scorer, sample("h01"), answered("At 8:30."), context)).figures == {}


async def test_a_failed_request_is_a_miss_only_where_an_answer_would_have_a_figure():
    failed = answered("", error="400")
    assert (await Citations().failed(sample("h01"), failed)).figures == {
        "citation_precision": 0.0, "citation_recall": 0.0
    }  # fmt: skip
    assert (await Citations().failed(sample(), failed)).figures == {}
    assert (await Abstention().failed(sample(), failed)).figures == {"abstains": 0.0}
    assert (await Abstention().failed(sample("h01"), failed)).figures == {"answers": 0.0}
    assert set((await Missed(answer="exact").failed(sample("h01"), failed)).unscored) == {
        "retriever_missed", "model_missed"
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["citations", "abstention", {"type": "missed", "answer": "exact"}])
def test_a_row_without_a_label_is_told_before_anything_is_asked(kind):
    scorer, _ = SCORERS.read(kind, "scorers.0")
    (problem,) = scorer.problems(Sample(key="k", id="i", messages=(), target="8:30"))
    assert problem.place == "metadata.passages"
