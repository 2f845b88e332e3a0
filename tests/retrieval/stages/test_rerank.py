"""A cross-encoder orders the first candidates anew; a tiny random one is loaded as a real one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import Corrupt, InvalidConfig
from retrieval.passage import Chunk
from retrieval.pipeline import Pipeline
from retrieval.stages import rerank
from retrieval.stages.rerank import Rerank
from retrieval.stages.stage import Candidate, Search, Step, Surroundings
from retrieval.stages.table import declared, ready

LOADED: list[Path] = []


class Vowels:
    """Stands in for a model: the more a's, the better."""

    def __init__(self, folder: Path) -> None:
        LOADED.append(folder)

    def scores(self, query: str, texts: list[str]) -> list[float]:
        return [float(text.count("a")) for text in texts]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def loaded(stage: Rerank) -> Step:
    return stage.load(Surroundings(corpus=None))  # type: ignore[arg-type]


def found(*texts: str) -> Search:
    chunks = (Chunk(id=text, text=text, source="") for text in texts)
    return Search(
        "q", 9, candidates=tuple(Candidate(n, chunk, ranks={"lexical": n + 1}) for n, chunk in enumerate(chunks))
    )


def test_the_first_candidates_are_ordered_anew_and_the_others_stay_behind(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank, "CrossEncoder", Vowels)
    step = loaded(Rerank(model=str(model), depth=4))
    before = len(LOADED)
    for _ in range(2):
        search = step(found("b", "aa", "c", "a", "aaaa"))
        assert [c.chunk.id for c in search.candidates] == ["aa", "a", "b", "c", "aaaa"]
    assert [c.score for c in search.candidates][:2] == [2.0, 1.0]
    assert search.candidates[0].ranks == {"lexical": 2, "rerank": 1}
    assert search.candidates[4].ranks == {"lexical": 5}
    assert step(Search("q", 9)).candidates == ()
    assert len(LOADED) == before, "it is loaded once"


def test_the_models_files_are_in_the_fingerprint_and_other_files_are_refused(model: Path, tmp_path: Path) -> None:
    written = ["lexical", {"type": "rerank", "model": str(model)}]
    (_, stage), problems = declared(written, "stages", {})
    assert problems == []
    assert ready(stage)
    (model / "README.md").write_text("prose")
    assert declared(written, "stages", {})[0][1] == stage
    (model / "config.json").write_text('{"other": 1}')
    assert declared(written, "stages", {})[0][1].fingerprint != stage.fingerprint
    with pytest.raises(Corrupt, match="not the one that the version was made with"):
        Pipeline.load([stage], Surroundings(corpus=None))  # type: ignore[arg-type]


def test_a_model_that_is_not_to_be_had_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _, (problem,) = declared(["lexical", {"type": "rerank", "model": "nobody/nothing"}], "stages", {})
    assert problem.place == "stages.1.model"
    with pytest.raises(InvalidConfig, match="No such cross-encoder"):
        loaded(Rerank(model="nobody/nothing"))


@pytest.mark.e2e
def test_a_real_cross_encoder_reads_a_long_passage_whole(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{n}" for n in range(60))]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special: dict[str, Any] = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=16, **special).save_pretrained(tmp_path)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, num_labels=1, initializer_range=2.0,
    )  # fmt: skip
    BertForSequenceClassification(shape).save_pretrained(tmp_path)
    encoder = rerank.CrossEncoder(tmp_path)
    short, long = "w1 w2 w3", " ".join(f"w{n}" for n in range(40))
    once = encoder.scores("w5 w6", [short, long])
    assert encoder.scores("w5 w6", [short, long]) == once
    windows = encoder._windows.of(long, 11)  # 16 without the three marks and the question's two
    assert len(windows) > 3
    assert " ".join(windows).split()[-1] == "w39"
    assert once[1] == pytest.approx(max(encoder.scores("w5 w6", windows)), abs=1e-6)
