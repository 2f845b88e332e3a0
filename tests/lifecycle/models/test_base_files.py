"""Which files make a base's fingerprint: each file of the tokenizer, and each weight file by its name and content."""

from __future__ import annotations

import shutil

import pytest

from lifecycle.errors import InvalidInput
from lifecycle.models.base import fingerprint, weight_files


@pytest.mark.parametrize(
    "name",
    ["tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json", "special_tokens_map.json"],
)
def test_each_file_of_the_tokenizer_counts(base, name):
    before = fingerprint(base)
    (base / name).write_text("{}")
    after = fingerprint(base)
    assert after.tokenizer != before.tokenizer
    assert (after.weights, after.chat_template) == (before.weights, before.chat_template)
    (base / name).write_text("[]")
    assert fingerprint(base).tokenizer != after.tokenizer


def test_each_weight_file_counts_by_its_name_and_content(base):
    before = fingerprint(base).weights
    shutil.move(base / "model.safetensors", base / "model-00001.safetensors")
    renamed = fingerprint(base).weights
    assert renamed != before
    shutil.copy(base / "model-00001.safetensors", base / "model-00002.safetensors")
    assert fingerprint(base).weights not in (before, renamed)


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_the_models_own_index_names_its_files_whatever_their_format(base, index):
    (base / "second.bin").write_bytes(b"x")
    (base / "first.bin").write_bytes(b"y")
    (base / index).write_text('{"weight_map": {"a": "second.bin", "b": "first.bin", "c": "second.bin"}}')
    assert [file.name for file in weight_files(base)] == ["first.bin", "second.bin"]


def test_pickled_weights_count_only_where_there_are_no_others(base):
    before = fingerprint(base).weights
    (base / "pytorch_model.bin").write_bytes(b"x")
    assert fingerprint(base).weights == before
    (base / "model.safetensors").unlink()
    assert fingerprint(base).weights != before
    (base / "pytorch_model.bin").unlink()
    with pytest.raises(InvalidInput, match="holds no weights"):
        fingerprint(base)


def test_files_that_no_index_names_come_in_the_order_of_their_names(tmp_path):
    names = [f"{letter}.safetensors" for letter in "hcagbfed"]
    for name in names:
        (tmp_path / name).touch()
    assert [file.name for file in weight_files(tmp_path)] == sorted(names)
