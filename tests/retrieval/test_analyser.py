"""What the analyser gives is pinned: whoever changes it raises its version, and indexes of before are then refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import Corrupt
from retrieval import analysis, lexical
from retrieval.analysis import analyse, analyser, is_arabic
from retrieval.config import IndexConfig
from retrieval.index import Index, build_index

LEXICAL = IndexConfig(dense="none")


def test_version_1_of_the_analyser_gives_these_terms_and_no_others() -> None:
    """An assertion here changes together with `analysis.VERSION` alone: indexes that exist say which one they need."""
    assert analysis.VERSION == 1
    assert [analyse(text) for text in analysis._SAMPLE] == [
        [
            "patient",
            "appoint",
            "were",
            "cancel",
            "happili",
            "run",
            "nurs",
            "generous",
            "organis",
            "12",
            "relat",
            "activ",
        ],
        ["nfkc", "fine", "strass", "ça", "va", "e", "mail", "snake_cas", "3", "5", "mg", "34", "56", "x2"],
        ["صيدل", "عياد", "اطباء", "مواعيد", "مرض", "صف", "قسم", "غاء", "اخر", "مسوول", "شو"],
        ["عياد", "مواعيد", "طبيب", "مستشف", "ممرض", "زاير", "عرب", "مدرست"],
        ["حجز", "appoint", "موعد", "ساع", "9"],
        ["b", "ج"],
    ]
    assert [is_arabic(text) for text in analysis._SAMPLE] == [False, False, True, True, False, False]
    assert analyser().model_dump() == {
        "name": "snowball-english+light10",
        "version": 1,
        "tables": "sha256:0f0bbb2dbbb15f65a33106864f1a81e259352ece1d98e3ec6e5fba620315679a",
    }


def test_version_1_ranks_by_these_scores(handbook: Path, tmp_path: Path) -> None:
    build_index(handbook, tmp_path / "index", LEXICAL)
    ranking = Index.load(tmp_path / "index")._lexical
    scores: Any = ranking._bm25
    vocabulary = ranking._vocabulary
    ids = [vocabulary[term] for term in analyse("form stamped registrar")]
    assert [round(float(score), 4) for score in scores.get_scores(ids)] == [
        0.0,
        2.1866,
        0.0,
        0.0,
        0.5926,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    ]


CHANGES: list[tuple[Any, str, Any]] = [
    (analysis, "VERSION", 2),
    (analysis, "_STOP_WORDS", analysis._STOP_WORDS | {"form"}),
    (analysis, "_PREFIXES", analysis._PREFIXES[1:]),
    (analysis, "_SUFFIXES", analysis._SUFFIXES[1:]),
    (analysis, "_FORMS", {}),
    (analysis, "normalise", str.casefold),
    (analysis, "light_stem", str.strip),
    (analysis, "_english_stem", str.strip),
    (analysis, "is_arabic", str.isascii),
    (lexical, "K1", 1.2),
    (lexical, "B", 0.5),
    (lexical, "METHOD", "robertson"),
]


@pytest.mark.parametrize(("module", "name", "value"), CHANGES, ids=[name for _, name, _ in CHANGES])
def test_an_index_made_to_be_searched_otherwise_is_refused_with_the_cure(
    handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: Any
) -> None:
    facts = build_index(handbook, tmp_path / "before", LEXICAL)
    monkeypatch.setattr(module, name, value)
    if name == "light_stem":  # a default of `analyse`
        monkeypatch.setattr(analysis.analyse, "__defaults__", (value,))
    with pytest.raises(Corrupt, match="build it again with `dabt index`"):
        Index.load(tmp_path / "before")
    again = build_index(handbook, tmp_path / "after", LEXICAL)
    assert again.recipe != facts.recipe, "`dabt index` would not build it again"
    assert (tmp_path / "after" / "index.json").read_bytes() != (tmp_path / "before" / "index.json").read_bytes()
    assert len(Index.load(tmp_path / "after")) == 10


def test_an_index_from_before_analysers_were_named_is_searched_by_version_1_alone(
    handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(handbook, tmp_path / "index", LEXICAL)
    header = json.loads((tmp_path / "index" / "index.json").read_text())
    del header["word_ranking"]
    (tmp_path / "index" / "index.json").write_text(json.dumps(header))
    assert Index.load(tmp_path / "index").search("form QX-71", 1)[0].id == "h02"
    monkeypatch.setattr(analysis, "VERSION", 2)
    with pytest.raises(Corrupt, match=r"version 1.*snowball-english\+light10 2.*`dabt index`"):
        Index.load(tmp_path / "index")
