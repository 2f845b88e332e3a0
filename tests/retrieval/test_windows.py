"""What is longer than a model reads is read in windows: none of its words is left out."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from retrieval import dense
from retrieval.config import IndexConfig
from retrieval.index import Index, build_index
from retrieval.pipeline import Pipeline
from retrieval.stages.rankings import Dense
from retrieval.stages.stage import Surroundings
from retrieval.windows import Windows

LIMIT = 12


class Animals:
    """Stands in for a model that reads `LIMIT` tokens less two marks: a text's vector says which animals are in it."""

    def __init__(self, folder: Path) -> None: ...

    def documents(self, texts: list[str]) -> Any:
        read = [text.split()[: LIMIT - 2] for text in texts]
        rows = np.array([[words.count("cat"), words.count("dog"), 0.1] for words in read], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def query(self, text: str) -> Any:
        return self.documents([text])[0]

    def warm(self) -> None: ...


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "[": 1, "]": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="[ $A ]", special_tokens=[("[", 1), ("]", 2)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LIMIT}))
    monkeypatch.setattr(dense, "Encoder", Animals)
    return folder


@pytest.mark.parametrize("words", [1, 9, 10, 11, 15, 16, 40, 41])
def test_windows_fit_follow_each_other_and_hold_every_word(model: Path, words: int) -> None:
    text = " ".join(f"w{n}" for n in range(words))
    windows = Windows(model).of(text)
    assert (len(windows) == 1) == (words <= 10)
    assert all(len(window.split()) <= 10 for window in windows)
    assert list(dict.fromkeys(" ".join(windows).split())) == text.split()
    for one, other in pairwise(windows):
        assert one.split()[-5:] == other.split()[:5], "half a window is shared where 32 tokens would be more"


def test_a_piece_cut_out_of_its_word_is_counted_as_it_is_read(tmp_path: Path) -> None:
    pieces = ["?", "un", "##believ", "##able", "b", "##e", "##l", "##i", "##v", "a", "##b"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 5}))
    windows = Windows(tmp_path)
    cut = windows.of("unbelievable unbelievable unbelievable")
    assert all(windows.count(window) <= 5 for window in cut)
    assert cut[-1].endswith("able")


def test_a_model_that_says_of_no_tokenizer_or_no_limit_gets_whole_texts(tmp_path: Path, model: Path) -> None:
    assert Windows(tmp_path).of("a " * 999) == ["a " * 999]
    (model / "sentence_bert_config.json").unlink()
    assert len(Windows(model).of("a " * 999)) == 1
    (model / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 12}))
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    assert Windows(model).room == 10


def test_a_long_passage_is_found_by_its_end(model: Path, tmp_path: Path) -> None:
    long = "word " * 40 + "dog ."
    (tmp_path / "a.md").write_text(f"## p1\nA cat .\n\n## p2\n{long}\n\n## p3\nNothing here .\n")
    facts = build_index(tmp_path / "a.md", tmp_path / "index", IndexConfig(dense=str(model)))
    assert facts.windowed is not None
    assert list(facts.windowed) == [1]
    index = Index.load(tmp_path / "index")
    assert index.search("dog", 1, "dense")[0].id == "p2"
    assert len({passage.id for passage in index.search("cat", 9, "dense")}) == 3, "a passage is found once"
    question = "dog " * 40 + "cat"
    by_windows = Pipeline.of([Dense()], Surroundings(index)).search(question, 3)
    assert {passage.id for passage in by_windows[:2]} == {"p1", "p2"}
    before = Pipeline.of([Dense(long_queries="cut")], Surroundings(index)).search(question, 3)
    assert [p.id for p in before] == [p.id for p in index.search(question, 3, "dense")] == ["p2", "p3", "p1"]


def test_an_index_without_long_passages_is_the_one_that_it_was(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("## p1\nA cat .\n")
    build_index(tmp_path / "a.md", tmp_path / "index", IndexConfig(dense=str(model)))
    header = json.loads((tmp_path / "index" / "index.json").read_text())
    assert "windowed" not in header["facts"]
    assert Index.load(tmp_path / "index").facts.windowed is None
