"""A row of stages: the default is the index's ranking; order, settings and fingerprints count; packages add more."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import Corrupt, InvalidConfig
from lifecycle.version import Knowledge, VersionSpec, digest_of
from retrieval.config import IndexConfig
from retrieval.fusion import reciprocal_rank_fusion
from retrieval.index import Index, build_index
from retrieval.pipeline import Pipeline
from retrieval.stages.rankings import Lexical
from retrieval.stages.stage import Search, Surroundings
from retrieval.stages.table import STAGES, declared, ready

PLUGIN = Path(__file__).parent / "plugin"
FACTS = {"dense_model": "m"}


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    copy = shutil.copytree(PLUGIN, tmp_path / "plugin")
    monkeypatch.syspath_prepend(str(copy))
    return copy


@pytest.fixture
def index(handbook: Path, tmp_path: Path) -> Index:
    build_index(handbook, tmp_path / "index", IndexConfig(dense="none"))
    return Index.load(tmp_path / "index")


def pipeline(index: Index, *written: Any) -> Pipeline:
    stages, problems = declared(written, "stages", FACTS)
    assert problems == []
    return Pipeline.load(stages, Surroundings(index))


def faults(*written: Any, facts: Any = FACTS) -> str:
    _, problems = declared(written, "arms.rag.knowledge.stages", facts)
    return "\n".join(map(str, problems))


def test_the_stages_of_an_index_written_out_find_what_it_finds_without_any(index: Index) -> None:
    rows = pipeline(index, "lexical", "dense", "fusion")
    for query in ("Form QX-71", "eight hours", "متى تفتح الصيدلية", "zebra", ""):
        assert list(rows.search(query, 3)) == index.search(query, 3)


def test_fused_scores_are_reciprocal_rank_fusions_bit_for_bit_and_say_why() -> None:
    class Two:
        config = IndexConfig(dense="none")
        chunks = Index.chunks
        by_words = staticmethod(lambda query, depth: [3, 1, 2][:depth])
        by_meaning = staticmethod(lambda query, depth, whole: [1, 4][:depth])

    from retrieval.passage import Chunk

    corpus: Any = Two()
    Two.chunks = [Chunk(id=f"c{n}", text="x", source="") for n in range(5)]  # type: ignore[assignment]
    stages, _ = declared(["lexical", "dense", "fusion"], "stages", FACTS)
    shown = Pipeline.load(stages, Surroundings(corpus)).search("q", 9)
    fused = reciprocal_rank_fusion([[3, 1, 2], [1, 4]], 60)
    assert [(passage.id, passage.score) for passage in shown] == [(f"c{n}", score) for n, score in fused]
    assert shown[0].why == {"lexical": 2, "dense": 1}
    one_each = declared([{"type": "lexical", "depth": 1}, {"type": "dense", "depth": 1}], "stages", FACTS)[0]
    assert [p.id for p in Pipeline.load(one_each, Surroundings(corpus)).search("q", 9)] == ["c3", "c1"]


def test_a_version_without_stages_keeps_its_digest_and_each_stage_changes_it(tmp_path: Path) -> None:
    index, base = digest_of("index"), digest_of("base")
    plain = VersionSpec(base=base, knowledge=Knowledge(index=index))
    assert plain.digest == digest_of({"base": base, "knowledge": {"index": index}})

    def digest(*written: Any) -> str:
        stages, problems = declared(written, "stages", FACTS)
        assert problems == []
        return VersionSpec(base=base, knowledge=Knowledge(index=index, stages=stages)).digest

    rows: list[tuple[Any, ...]] = [
        ("lexical",),
        ("lexical", "dense"),
        ("dense", "lexical"),
        ("lexical", "dense", "fusion"),
        ("lexical", "dense", {"type": "fusion", "k": 61}),
        ("multi_query", "lexical"),
        ("lexical", {"type": "token_budget", "tokens": 9}),
    ]
    assert len({plain.digest, *(digest(*row) for row in rows)}) == len(rows) + 1
    assert digest("lexical") == digest({"type": "lexical", "depth": None})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["lexcal"], "'lexcal' is no stage"),
        (["rerank"], "stages.0.model"),
        (["fusion", "lexical"], "stages.0: fusion has nothing to order"),
        (["lexical", "multi_query"], "stages.1: what multi_query asks is searched by no stage"),
        (["multi_query"], "no stage finds passages"),
        ([{"type": "lexical", "depth": 0}], "stages.0.depth"),
        ([{"type": "lexical", "dpeth": 3}], "is no key here"),
        (["lexical", {"type": "token_budget"}], "stages.1.tokens"),
        (["lexical", 7], "neither a stage's name nor a mapping"),
    ],
)
def test_what_is_wrong_with_a_row_of_stages_is_told_with_its_place(written: list[Any], said: str) -> None:
    assert said in faults(*written)


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(faults("fusion", "lexcal", {"type": "dense", "depth": 0}).splitlines()) >= 3


def test_dense_is_refused_for_an_index_without_vectors() -> None:
    assert "without an embedding model" in faults("lexical", "dense", facts={"dense_model": None})


def test_a_stage_of_another_package_is_named_as_ours_are_and_orders_what_ours_found(index: Index, plugin: Path) -> None:
    shown = pipeline(index, "lexical", {"type": "shortest", "words": 9}).search("the form eight hours", 5)
    lengths = [len(passage.text) for passage in shown]
    assert len(lengths) > 1
    assert lengths == sorted(lengths)
    assert min(len(passage.text.split()) for passage in shown) >= 9
    assert STAGES.named("lexical", "stages.0") is Lexical, "no package changes what a name of ours means"
    assert "is no subclass of retrieval.stages.stage.Stage" in faults("lexical", "broken")


def test_a_stage_is_refused_when_its_package_is_not_the_one_that_was_evaluated(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stage = declared(["lexical", {"type": "shortest", "words": 2}], "stages", FACTS)[0]
    assert ready(stage).words == 2  # type: ignore[attr-defined]
    info = plugin / "our_stages-1.0.dist-info"
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("1.0", "1.1"))
    info.rename(plugin / "our_stages-1.1.dist-info")
    with pytest.raises(Corrupt, match="not the one that the version was made with"):
        ready(stage)
    shutil.rmtree(plugin)
    with pytest.raises(InvalidConfig, match="no such stage"):
        ready(stage)


def test_one_question_that_holds_several_finds_the_passages_of_each(index: Index) -> None:
    question = "Who stamps form QX-71 and when is the dentist in?"
    shown = pipeline(index, "multi_query", {"type": "lexical", "depth": 1}, "fusion").search(question, 3)
    assert {"h02", "h07"} <= {passage.id for passage in shown}
    alone = pipeline(index, {"type": "lexical", "depth": 1}, "fusion").search(question, 3)
    assert len(alone) == 1


def test_a_search_is_left_as_it_was(index: Index) -> None:
    before = Search("form", 3)
    step = Lexical().load(Surroundings(index))
    assert step(before).candidates
    assert before.candidates == ()
