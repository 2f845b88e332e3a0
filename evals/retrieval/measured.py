"""Questions with labels, searched for in an index by words, by meaning and by both → figures with their intervals.

Nothing is generated, and no service runs: it is the index's own search, as the service calls it. `shown.py` prints it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from evals.retrieval import figures
from evals.retrieval.questions import LabelledQuestion
from evals.statistics.comparison import paired
from evals.statistics.intervals import mean_interval
from lifecycle.errors import InvalidData, InvalidInput, Problem
from lifecycle.report import Comparison, Interval
from lifecycle.version import Digest, Frozen, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from retrieval.index import Index, Mode

Unit = Literal["passage", "document"]
MODES: dict[str, Mode] = {"words": "lexical", "meaning": "dense", "fused": "hybrid"}
"""What a ranking is called here → what the index calls it."""
CUTS = (1, 3, 10)
ALL = "all"
"""The questions of every language."""
_TOLD = 20


class QuestionResult(Frozen):
    """What was found for one question."""

    id: str
    question: str
    language: str
    gold: tuple[str, ...]
    ranked: tuple[str, ...]
    """As far as the last cut, best first."""
    scores: dict[str, float]
    """Empty where nothing is to be found."""


class RankingResult(Frozen):
    """One ranking of one index over all questions."""

    index: str
    digest: Digest
    ranking: str
    figures: dict[str, dict[str, Interval]]
    """Language, or `all` → figure → its mean over the questions that have something to find."""
    answered_nothing: Interval | None
    """Of the questions with nothing to find: the share for which nothing was found."""
    against: Comparison | None
    """With the first ranking of the report, by the last figure, on the same questions."""
    questions: tuple[QuestionResult, ...]

    @property
    def label(self) -> str:
        return f"{self.index}, {self.ranking}"


class RetrievalReport(Frozen):
    """What `dabt measure-index` found."""

    title: str
    questions: int
    nothing_to_find: int
    """Questions without a right passage; they are in no figure but `answered_nothing`."""
    digest: Digest
    """Of the questions and their labels."""
    unit: Unit
    cuts: tuple[int, ...]
    rankings: tuple[RankingResult, ...]
    created_at: datetime


def measure_indexes(
    title: str,
    questions: Sequence[LabelledQuestion],
    indexes: Sequence[tuple[str, Digest, Index]],
    *,
    cuts: Sequence[int] = CUTS,
    unit: Unit = "passage",
) -> RetrievalReport:
    """Every index of `indexes` (name, digest, index) by each of its rankings; `meaning` and `fused` need an embedding
    model in the index. With `unit` "document", labels name documents by path, with or without the suffix, and a
    document stands where its first passage does.

    Raises `InvalidData` for labels that an index has no passage of, and `InvalidInput` for cuts that it cannot reach.
    """
    cuts = tuple(sorted(set(cuts)))
    if not cuts or cuts[0] < 1:
        raise InvalidInput("k is a list of whole numbers from 1, such as 1,3,10")
    if not any(question.gold for question in questions):
        raise InvalidInput("no question has a right passage: there is nothing that could be found")
    rankings: list[RankingResult] = []
    for name, digest, index in indexes:
        if cuts[-1] > index.config.depth:
            raise InvalidInput(f"the index {name} ranks {index.config.depth} passages: k must not be above it")
        names = _names(index, unit)
        _require_known(questions, name, names, unit)
        for ranking, mode in MODES.items():
            if mode != "lexical" and index.facts.dense_model is None:
                continue
            results = tuple(_asked(question, index, mode, cuts, names) for question in questions)
            against = _against(rankings[0], results, f"{name}, {ranking}", questions) if rankings else None
            rankings.append(_ranking(name, digest, ranking, results, questions, against))
    return RetrievalReport(
        title=title,
        questions=len(questions),
        nothing_to_find=sum(not question.gold for question in questions),
        digest=digest_of([[question.text, sorted(question.gold)] for question in questions]),
        unit=unit,
        cuts=cuts,
        rankings=tuple(rankings),
        created_at=datetime.now(UTC),
    )


def scores_of(ranked: Sequence[str], gold: Sequence[str], cuts: Sequence[int]) -> dict[str, float]:
    """Every figure of one question, in the order of the table; the last one is nDCG at the last cut."""
    by_cut: dict[str, Callable[[int], float]] = {
        "recall": partial(figures.recall, ranked, gold),
        "precision": partial(figures.precision, ranked, gold),
    }
    scores = {f"{name}@{k}": figure(k) for name, figure in by_cut.items() for k in cuts}
    scores[f"mrr@{cuts[-1]}"] = figures.reciprocal_rank(ranked, gold, cuts[-1])
    return scores | {f"ndcg@{k}": figures.ndcg(ranked, gold, k) for k in cuts}


def _asked(
    question: LabelledQuestion, index: Index, mode: Mode, cuts: Sequence[int], names: dict[str, str]
) -> QuestionResult:
    passages = index.search(question.text, index.config.depth, mode)
    gold = tuple(dict.fromkeys(names[label] for label in question.gold))
    ranked = tuple(dict.fromkeys(names[passage.id] for passage in passages))[: cuts[-1]]
    return QuestionResult(
        id=question.id,
        question=question.text,
        language=question.language,
        gold=gold,
        ranked=ranked,
        scores=scores_of(ranked, gold, cuts) if gold else {},
    )


def _ranking(
    name: str,
    digest: Digest,
    ranking: str,
    results: tuple[QuestionResult, ...],
    questions: Sequence[LabelledQuestion],
    against: Comparison | None,
) -> RankingResult:
    pairs = [(result, question) for result, question in zip(results, questions, strict=True) if question.gold]
    groups = {ALL: pairs}
    languages = sorted({question.language for _, question in pairs})
    for language in languages if len(languages) > 1 else ():
        groups[language] = [pair for pair in pairs if pair[1].language == language]
    empty = [float(not result.ranked) for result in results if not result.gold]
    return RankingResult(
        index=name,
        digest=digest,
        ranking=ranking,
        figures={group: _intervals(members) for group, members in groups.items()},
        answered_nothing=mean_interval(empty) if empty else None,
        against=against,
        questions=results,
    )


def _intervals(pairs: Sequence[tuple[QuestionResult, LabelledQuestion]]) -> dict[str, Interval]:
    clusters = _clusters([question for _, question in pairs])
    values = [result.scores for result, _ in pairs]
    return {name: mean_interval([scores[name] for scores in values], clusters=clusters) for name in values[0]}


def _against(
    first: RankingResult, results: Sequence[QuestionResult], label: str, questions: Sequence[LabelledQuestion]
) -> Comparison:
    places = [at for at, question in enumerate(questions) if question.gold]
    metric = list(results[places[0]].scores)[-1]
    ours = [results[at].scores[metric] for at in places]
    theirs = [first.questions[at].scores[metric] for at in places]
    clusters = _clusters([questions[at] for at in places])
    return paired(ours, theirs, clusters, arm=label, against=first.label, metric=metric)


def _clusters(questions: Sequence[LabelledQuestion]) -> list[Hashable] | None:
    return None if questions[0].cluster is None else [question.cluster for question in questions]


def _names(index: Index, unit: Unit) -> dict[str, str]:
    """What a passage or a label may be called → what is ranked: the passage itself, or its document."""
    if unit == "passage":
        return {passage.id: passage.id for passage in index.passages}
    documents = {passage.id: passage.source.rpartition(":")[0] for passage in index.passages}
    paths = set(documents.values())
    stems = Counter(_stem(path) for path in paths)
    alone = {_stem(path): path for path in paths if stems[_stem(path)] == 1}
    return alone | documents | {path: path for path in paths}


def _require_known(questions: Sequence[LabelledQuestion], name: str, names: dict[str, str], unit: Unit) -> None:
    problems = [
        Problem(question.place, f"the index {name} has no {unit} {label}", "mend the label, or index its document")
        for question in questions
        for label in question.gold
        if label not in names
    ]
    if problems:
        more = [Problem(name, f"and {len(problems) - _TOLD} more")] if len(problems) > _TOLD else []
        raise InvalidData("labels name what can never be found", [*problems[:_TOLD], *more])


def _stem(path: str) -> str:
    return PurePosixPath(path).with_suffix("").as_posix()
