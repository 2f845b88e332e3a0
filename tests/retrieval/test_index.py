"""An index finds by words without any model, is the same bytes each time, and notices damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifecycle.errors import Corrupt, InvalidConfig, NotFound
from lifecycle.store.artifacts import ArtifactStore
from retrieval import dense
from retrieval.config import IndexConfig
from retrieval.fusion import reciprocal_rank_fusion
from retrieval.index import Index, build_index

LEXICAL = IndexConfig(dense="none")


def ids(index: Index, query: str, top_k: int = 3, mode: Any = "hybrid") -> list[str]:
    return [passage.id for passage in index.search(query, top_k, mode)]


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


class LetterEncoder:
    """Stands in for a model: a text's vector counts its letters, so near spellings have near vectors."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []

    def documents(self, texts: list[str]) -> Any:
        rows = np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], np.float32) + 1e-3
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def query(self, text: str) -> Any:
        self.asked.append(text)
        return self.documents([text])[0]

    def warm(self) -> None:
        self.asked.append("warm")


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that passes for an embedding model, whose encoder counts letters."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    monkeypatch.setattr(dense, "Encoder", LetterEncoder)
    return model


def test_reciprocal_rank_fusion_adds_one_over_k_plus_rank() -> None:
    fused = reciprocal_rank_fusion([[3, 1, 2], [1, 4]], k=60)
    assert [item for item, _ in fused] == [1, 3, 4, 2]
    assert dict(fused) == pytest.approx({1: 1 / 62 + 1 / 61, 3: 1 / 61, 4: 1 / 62, 2: 1 / 63})


def test_words_find_their_passage_with_its_id_and_place(handbook: Path, tmp_path: Path) -> None:
    facts = build_index(handbook, tmp_path / "index", LEXICAL)
    assert (facts.documents, facts.passages, facts.marked, facts.dense_model) == (1, 10, 10, None)
    best = Index.load(tmp_path / "index").search("Who stamps form QX-71?", 2)[0]
    assert (best.id, best.source) == ("h02", "handbook.md:6")
    assert best.text.startswith("Form QX-71")


def test_arabic_with_diacritics_finds_arabic_without(handbook: Path, tmp_path: Path) -> None:
    build_index(handbook, tmp_path / "index", LEXICAL)
    index = Index.load(tmp_path / "index")
    assert ids(index, "مَتَى تَفْتَحُ الصَّيْدَلِيَّة؟")[0] == "h09"
    assert ids(index, "هل أصوم قبل فحوصات الدم")[0] == "h10"


def test_a_query_that_shares_no_word_finds_nothing_by_words(handbook: Path, tmp_path: Path) -> None:
    build_index(handbook, tmp_path / "index", LEXICAL)
    index = Index.load(tmp_path / "index")
    assert ids(index, "zebra") == ids(index, "") == ids(index, "the of ?") == []


def test_the_same_documents_make_the_same_bytes_in_any_process_and_place(handbook: Path, tmp_path: Path) -> None:
    facts = build_index(handbook, tmp_path / "one", LEXICAL)
    elsewhere = tmp_path / "moved"
    shutil.copytree(handbook, elsewhere)
    code = (
        "import sys; from pathlib import Path; from retrieval.config import IndexConfig;"
        "from retrieval.index import build_index;"
        "build_index(Path(sys.argv[1]), Path(sys.argv[2]), IndexConfig(dense='none'))"
    )
    for seed in ("1", "2"):  # another order of every set
        out = tmp_path / f"hash{seed}"
        subprocess.run([sys.executable, "-c", code, elsewhere, out], check=True, env={"PYTHONHASHSEED": seed})
        assert contents(out) == contents(tmp_path / "one")
    (elsewhere / "handbook.md").write_text("## h01\nAnother text.")
    assert build_index(elsewhere, tmp_path / "other", LEXICAL).recipe != facts.recipe


def test_the_recipe_follows_the_model_by_its_bytes_and_not_its_place(
    handbook: Path, tmp_path: Path, letters: Path
) -> None:
    config = IndexConfig(dense=str(letters))
    recipe = build_index(handbook, tmp_path / "one", config).recipe
    moved = shutil.copytree(letters, tmp_path / "moved-model")
    assert build_index(handbook, tmp_path / "two", IndexConfig(dense=str(moved))).recipe == recipe
    (letters / "config.json").write_text('{"changed": true}')
    assert build_index(handbook, tmp_path / "three", config).recipe != recipe


def test_both_rankings_vote_and_arabic_never_reaches_an_english_model(
    handbook: Path, tmp_path: Path, letters: Path
) -> None:
    facts = build_index(handbook, tmp_path / "index", IndexConfig(dense=str(letters)))
    assert facts.dimensions == 26
    index = Index.load(tmp_path / "index")
    assert ids(index, "pharmcy insuline pen", mode="dense")[0] == "h03"  # misspelt: no word need match
    best = index.search("insulin pens pharmacy", 10)
    assert best[0].score == pytest.approx(2 / 61)
    assert len(best) == 10
    encoder: Any = index._dense and index._dense._encoder
    asked = list(encoder.asked)
    assert ids(index, "متى تفتح الصيدلية")[0] == "h09"
    assert ids(index, "insulin", mode="lexical") == ["h03"]
    assert encoder.asked == asked
    reads = IndexConfig(dense=str(letters), dense_reads_arabic=True)
    build_index(handbook, tmp_path / "multilingual", reads)
    multilingual = Index.load(tmp_path / "multilingual")
    assert len(multilingual.search("متى تفتح الصيدلية", 10)) == 10


def test_a_changed_model_is_refused_at_load(handbook: Path, tmp_path: Path, letters: Path) -> None:
    build_index(handbook, tmp_path / "index", IndexConfig(dense=str(letters)))
    (letters / "config.json").write_text('{"changed": true}')
    with pytest.raises(Corrupt, match="build the index again"):
        Index.load(tmp_path / "index")


def test_a_model_that_is_not_to_be_had_is_a_config_problem(
    handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidConfig, match="nobody/nothing-of-the-kind"):
        build_index(handbook, tmp_path / "index", IndexConfig(dense="nobody/nothing-of-the-kind"))
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
def test_a_damaged_index_is_corrupt_and_named(handbook: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "index"
    build_index(handbook, folder, LEXICAL)
    passages = folder / "passages.jsonl"
    if damage == "cut":
        passages.write_text(
            "".join(passages.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8"
        )
    elif damage == "garbage":
        passages.write_bytes(b"\xff\x00")
    else:
        passages.unlink()
    with pytest.raises(Corrupt, match=str(folder)):
        Index.load(folder)


def test_a_folder_that_is_no_index_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="dabt index"):
        Index.load(tmp_path)


def test_an_index_of_a_later_format_is_refused(handbook: Path, tmp_path: Path) -> None:
    build_index(handbook, tmp_path / "index", LEXICAL)
    header = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps(header | {"format": 2}))
    with pytest.raises(Corrupt, match="format"):
        Index.load(tmp_path / "index")


def test_threads_get_what_one_thread_gets(handbook: Path, tmp_path: Path, letters: Path) -> None:
    build_index(handbook, tmp_path / "index", IndexConfig(dense=str(letters)))
    index = Index.load(tmp_path / "index")
    queries = ["insulin pens", "Form QX-17", "متى تفتح الصيدلية", "eight hours", "dentist Tuesdays"] * 20
    alone = [index.search(query, 3) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: index.search(query, 3), queries)) == alone


def test_searching_by_words_imports_no_torch(handbook: Path, tmp_path: Path) -> None:
    build_index(handbook, tmp_path / "index", LEXICAL)
    code = (
        "import sys; from pathlib import Path; from retrieval.index import Index;"
        "assert Index.load(Path(sys.argv[1])).search('insulin', 1);"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "index"], check=True)


def kept(store: ArtifactStore, documents: Path, folder: Path, config: IndexConfig) -> str:
    """The digest that a version names, of an index made anew."""
    build_index(documents, folder, config)
    return store.put(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"max_words": 10},
        {"max_words": 10, "overlap_sentences": 0},
        {"rrf_k": 61},
        {"depth": 49},
        {"dense_reads_arabic": True},
        {"dense": "none"},
        "a word",
        "another place",
        "another id",
        "one passage less",
        "another document",
        "the model's configuration",
        "the model's weights",
        "the model's older weights",
        "the model's tokenizer",
    ],
    ids=str,
)
def test_whatever_of_an_index_bears_on_an_answer_changes_its_digest(
    handbook: Path, tmp_path: Path, letters: Path, change: Any
) -> None:
    """`test_analyser.py` does the same for what ranks by words."""
    store = ArtifactStore(str(tmp_path / "store"), tmp_path / "cache")
    config = IndexConfig(dense=str(letters), max_words=20)
    before = kept(store, handbook, tmp_path / "before", config)
    assert kept(store, handbook, tmp_path / "same", config) == before
    file = handbook / "handbook.md"
    text = file.read_text(encoding="utf-8")
    match change:
        case dict():
            config = config.model_copy(update=change)
        case "a word":
            file.write_text(text.replace("six", "seven"), encoding="utf-8")
        case "another place":  # a passage's source is shown to callers
            file.write_text("\n" + text, encoding="utf-8")
        case "another id":
            file.write_text(text.replace("## h04", "## h44"), encoding="utf-8")
        case "one passage less":
            file.write_text(text.partition("## h10")[0], encoding="utf-8")
        case "another document":
            (handbook / "more.md").write_text("## m1\nMore.", encoding="utf-8")
        case "the model's configuration":
            (letters / "config.json").write_text('{"changed": true}')
        case "the model's weights":
            (letters / "model.safetensors").write_bytes(b"1")
        case "the model's older weights":
            (letters / "pytorch_model.bin").write_bytes(b"1")
        case "the model's tokenizer":
            (letters / "vocab.txt").write_text("a")
    assert kept(store, handbook, tmp_path / "after", config) != before


def test_what_does_not_bear_on_an_answer_leaves_an_indexs_digest_alone(
    handbook: Path, tmp_path: Path, letters: Path
) -> None:
    store = ArtifactStore(str(tmp_path / "store"), tmp_path / "cache")
    config = IndexConfig(dense=str(letters))
    before = kept(store, handbook, tmp_path / "before", config)
    (letters / "README.md").write_text("prose")
    file = handbook / "handbook.md"
    file.write_text(file.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    os.utime(file, (0, 0))
    moved = tmp_path / "moved"
    shutil.move(handbook, moved)
    assert kept(store, moved, tmp_path / "after", config) == before
