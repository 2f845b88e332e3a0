"""With the real packaged model: words and meaning together find more than either alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.config import IndexConfig
from retrieval.index import Index, build_index

pytestmark = pytest.mark.engine

QUESTIONS = [
    ("Who has to stamp form QX-71?", "h02"),
    ("What is QX-17?", "h05"),
    ("When is Haddad in?", "h07"),
    ("Where do I park my vehicle?", "h04"),
    ("May I have breakfast prior to my lab test?", "h06"),
    ("I have a toothache, who treats me and when?", "h07"),
    ("Can I settle the bill in cash?", "h08"),
    ("I want to visit my grandmother", "h01"),
    ("diabetes medication", "h03"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, handbook_text: str) -> Index:
    folder = tmp_path_factory.mktemp("dense")
    (folder / "handbook.md").write_text(handbook_text, encoding="utf-8")
    facts = build_index(folder, folder / "index", IndexConfig())
    assert facts.dimensions == 384
    index = Index.load(folder / "index")
    index.warm()
    return index


def hits(index: Index, mode: str, top_k: int) -> int:
    return sum(wanted in [p.id for p in index.search(q, top_k, mode)] for q, wanted in QUESTIONS)  # type: ignore[arg-type]


def test_fusion_finds_at_least_what_each_ranking_finds(index: Index) -> None:
    hybrid, words, meaning = (hits(index, mode, 3) for mode in ("hybrid", "lexical", "dense"))
    assert hybrid == len(QUESTIONS)
    assert hybrid > words
    assert hybrid >= meaning


def test_embedding_twice_makes_the_same_bytes(index: Index, tmp_path: Path, handbook: Path) -> None:
    for out in ("one", "two"):
        build_index(handbook, tmp_path / out, IndexConfig())
    one, two = ((tmp_path / out / "embeddings.npy").read_bytes() for out in ("one", "two"))
    assert one == two
