"""An index measured apart: labels, languages, clusters, documents, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dabt import app
from evals.retrieval.measured import RetrievalReport, measure_indexes
from evals.retrieval.questions import read_questions
from evals.retrieval.shown import render_markdown, terminal_table
from lifecycle.errors import InvalidData, InvalidInput
from lifecycle.version import digest_of
from retrieval.config import IndexConfig
from retrieval.index import Index, build_index
from retrieval.passage import Chunk, Passage

DOCUMENT = """\
## h01
Visitors may come between four and six.

## h02
The pharmacy sells insulin pens.

## h03
تفتح الصيدلية أبوابها من الثامنة صباحا.
"""
ROWS = [
    {"question": "When may visitors come?", "passages": ["h01"], "meta": {"fact": "a"}},
    {"question": "Does the pharmacy sell pens?", "passages": ["h02", "h01"], "meta": {"fact": "b"}},
    {"prompt": "متى تفتح الصيدلية؟", "passages": ["h03"], "meta": {"fact": "b"}},
    {"question": "Zebra?", "meta": {"passages": [], "fact": "c"}},
]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "documents" / "wards").mkdir(parents=True)
    (tmp_path / "documents" / "wards" / "rules.md").write_text(DOCUMENT, encoding="utf-8")
    (tmp_path / "documents" / "cafe.txt").write_text("The cafe sells tea. It shuts at noon.", encoding="utf-8")
    build_index(tmp_path / "documents", tmp_path / "index", IndexConfig(dense="none"))
    return Index.load(tmp_path / "index")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path, ROWS)


def written(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def measured(index: Index, rows: Path, **settings: object) -> RetrievalReport:
    questions = read_questions(rows, cluster=settings.pop("cluster", None))
    return measure_indexes("questions", questions, [("handbook", digest_of("index"), index)], **settings)


def test_every_language_has_figures_of_its_own_and_what_has_nothing_to_find_is_counted(index, rows):
    report = measured(index, rows, cuts=(1, 3))
    (words,) = report.rankings
    assert (report.questions, report.nothing_to_find) == (4, 1)
    assert {group: figures["recall@1"].n for group, figures in words.figures.items()} == {"all": 3, "ar": 1, "other": 2}
    assert words.figures["ar"]["recall@1"].value == 1.0
    assert words.figures["other"]["recall@1"].value == pytest.approx((1 + 0.5) / 2)
    assert words.answered_nothing.value == 1.0
    assert words.questions[3].scores == {}


def test_the_rows_own_word_on_its_language_wins(index, tmp_path):
    rows = [{"prompt": text, "meta": {"passages": ["h01"], "language": "fr"}} for text in ("Quand?", "متى؟")]
    assert [question.language for question in read_questions(written(tmp_path, rows))] == ["fr", "fr"]


def test_rows_with_answers_ask_their_last_question(tmp_path):
    said = ("user", "Hello"), ("assistant", "Hi"), ("user", "Where is the cafe?"), ("assistant", "Here")
    chat = {"messages": [{"role": role, "content": text} for role, text in said], "meta": {"passage": "h01"}}
    (question,) = read_questions(written(tmp_path, [chat]), gold="passage")
    assert (question.text, question.gold) == ("Where is the cafe?", ("h01",))


def test_questions_of_one_cluster_count_as_one(index, rows):
    figure = measured(index, rows, cluster="fact").rankings[0].figures["all"]["mrr@10"]
    assert (figure.n, figure.clusters) == (3, 2)


@pytest.mark.parametrize("label", ["wards/rules", "wards/rules.md"])
def test_a_document_stands_where_its_first_passage_does(index, tmp_path, label):
    rows = written(tmp_path, [{"question": "When do visitors find the pharmacy?", "passages": [label]}])
    (result,) = measured(index, rows, unit="document").rankings[0].questions
    assert result.gold == result.ranked == ("wards/rules.md",), "two passages of it were found"


def test_labels_that_no_index_has_are_refused_with_their_places(index, tmp_path):
    rows = written(tmp_path, [{"question": "a", "passages": ["h01", "h99"]}, {"question": "b", "passages": "h98"}])
    with pytest.raises(InvalidData) as refused:
        measured(index, rows)
    assert [problem.place.rpartition(":")[2] for problem in refused.value.problems] == ["1", "2"]
    assert "no passage h99" in refused.value.problems[0].fault


def test_all_bad_rows_are_told_together(tmp_path):
    rows = [
        {"question": "no label"},
        {"question": "a", "passages": 7},
        {"question": "b", "passages": ["h01"], "meta": {}},
        {"prompt": "c", "passages": [], "meta": {"fact": "x"}},
        {"text": "d", "label": "e"},
    ]
    with pytest.raises(InvalidData) as refused:
        read_questions(written(tmp_path, rows), cluster="fact")
    told = "\n".join(map(str, refused.value.problems))
    assert [f":{line}" in told for line in (1, 2, 3, 4, 5)] == [True, True, True, False, True]


@pytest.mark.parametrize("cuts", [(), (0, 3), (51,)])
def test_cuts_that_cannot_be_are_refused(index, rows, cuts):
    with pytest.raises(InvalidInput):
        measured(index, rows, cuts=cuts)


def test_questions_that_all_have_nothing_to_find_have_no_figures(index, tmp_path):
    with pytest.raises(InvalidInput, match="nothing that could be found"):
        measured(index, written(tmp_path, [{"question": "a", "passages": []}]))


@dataclass
class ThreeRankings:
    """An index whose rankings are told apart by what they find."""

    passages: tuple[Chunk, ...] = tuple(Chunk(id=name, text=name, source="a.md:1") for name in ("h01", "h02"))
    config = SimpleNamespace(depth=50)
    facts = SimpleNamespace(dense_model="a model")

    def search(self, query: str, top_k: int, mode: str) -> list[Passage]:
        ids = {"lexical": ["h02", "h01"], "dense": [], "hybrid": ["h01", "h02"]}[mode]
        return [Passage(id=name, text=name, score=1.0, source="a.md:1") for name in ids]


def test_words_meaning_and_both_are_measured_and_compared_on_the_same_questions(tmp_path):
    rows = written(tmp_path, [{"question": f"q{number}", "passages": ["h01"]} for number in range(6)])
    report = measured(ThreeRankings(), rows, cuts=(1,))
    assert [ranking.label for ranking in report.rankings] == [
        f"handbook, {name}" for name in ("words", "meaning", "fused")
    ]
    words, meaning, fused = report.rankings
    assert [ranking.figures["all"]["recall@1"].value for ranking in report.rankings] == [0.0, 0.0, 1.0]
    assert words.against is None
    assert (meaning.against.wins, fused.against.wins, fused.against.against) == (0, 6, "handbook, words")
    assert fused.against.p_value == pytest.approx(2 * 0.5**6)


def test_the_table_is_the_same_in_the_terminal_and_in_markdown(tmp_path):
    rows = written(tmp_path, [{"question": f"q{number}", "passages": ["h01"]} for number in range(6)])
    report = measured(ThreeRankings(), rows, cuts=(1, 3))
    console = Console(width=80, force_terminal=False)
    with console.capture() as shown:
        console.print(terminal_table(report))
    figure = report.rankings[2].figures["all"]["ndcg@3"]
    cell = f"{figure.low:.2f}…{figure.high:.2f}"
    assert cell in shown.get()
    assert f"{figure.value:.3f} {cell}" in render_markdown(report)


def test_the_command_measures_what_the_registry_knows_and_writes_both_files(tmp_path, index, rows):
    home = tmp_path / "home"
    documents = str(tmp_path / "documents")
    run = CliRunner().invoke(app, ["index", documents, "--name", "handbook", "--dense", "none", "--home", str(home)])
    assert run.exit_code == 0, run.output
    command = ["measure-index", str(rows), "--index", "handbook", "--cluster", "fact", "-k", "3,1", "--home", str(home)]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    (folder,) = (home / "retrieval").iterdir()
    report = RetrievalReport.model_validate_json((folder / "retrieval.json").read_text(encoding="utf-8"))
    assert report.cuts == (1, 3)
    assert report.rankings[0].questions[2].ranked[0] == "h03"
    assert "| handbook, words | ar | 1 |" in (folder / "retrieval.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("wrong", [["-k", "1,x"], ["--by", "word"]])
def test_the_command_refuses_words_that_it_does_not_know(rows, tmp_path, wrong):
    run = CliRunner().invoke(app, ["measure-index", str(rows), "--index", "i", "--home", str(tmp_path), *wrong])
    assert isinstance(run.exception, InvalidInput)
