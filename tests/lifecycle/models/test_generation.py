"""generation_config.json is read as vLLM reads it; `tests/service/test_vllm_border.py` holds the two side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.models.generation import decoding_in_force, decoding_of, stop_ids
from lifecycle.version import AnswerSettings, Decoding, VersionSpec, digest_of


def says(base: Path, file: str = "generation_config.json", **said: Any) -> Path:
    before = json.loads((base / file).read_text()) if (base / file).is_file() else {}
    (base / file).write_text(json.dumps(before | said))
    return base


def test_only_what_the_folder_names_is_set(base: Path) -> None:
    assert decoding_of(base).model_fields_set == set()
    decoding = decoding_of(says(base, temperature=0.6, max_new_tokens=64, top_p=None, do_sample=False))
    assert decoding.model_fields_set == {"temperature", "max_tokens"}
    assert (decoding.temperature, decoding.max_tokens) == (0.6, 64)


@pytest.mark.parametrize("every", [0, -1])
def test_both_ways_to_say_all_tokens_are_one(base: Path, every: int) -> None:
    assert decoding_of(says(base, top_k=every)).top_k == 0


@pytest.mark.parametrize(
    ("named", "ids"), [(2, (2,)), ([7, 2], (2, 7)), (None, ()), ([], ()), (0, (0,)), ("</s>", ()), ([3, None], (3,))]
)
def test_the_tokens_that_end_an_answer_are_one_or_several(base: Path, named: Any, ids: tuple[int, ...]) -> None:
    assert stop_ids(says(base, eos_token_id=named)) == ids


def test_without_the_file_older_folders_say_it_in_config_json(base: Path) -> None:
    says(base, "config.json", repetition_penalty=1.2, text_config={"eos_token_id": 9, "top_k": 4})
    assert (stop_ids(base), decoding_of(base)) == ((9,), Decoding())
    says(base, "config.json", eos_token_id=[5, 6], max_new_tokens=7)
    assert (stop_ids(base), decoding_of(base)) == ((5, 6), Decoding(max_tokens=7))
    says(base, eos_token_id=2)
    assert (stop_ids(base), decoding_of(base)) == ((2,), Decoding())


def test_a_recipe_that_records_its_settings_is_decoded_by_itself_alone() -> None:
    own = Decoding(repetition_penalty=1.2, max_tokens=9, temperature=0.7)
    spec = VersionSpec(base=digest_of("base"), decoding=Decoding(top_k=3, temperature=0.1))
    new = spec.model_copy(update={"answers": AnswerSettings(tokenizer_config=digest_of({}))})
    assert decoding_in_force(new, own) == spec.decoding
    assert decoding_in_force(spec, own) == Decoding(top_k=3, temperature=0.1, repetition_penalty=1.2, max_tokens=9)
    assert decoding_in_force(spec, Decoding()) == spec.decoding
