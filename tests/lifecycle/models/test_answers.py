"""Each part of a base is changed, one by one: the recipe over it gets another digest, or the answers stay the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from lifecycle.models.answers import answer_settings, bare_spec
from lifecycle.models.base import fingerprint
from lifecycle.version import AnswerSettings, Decoding

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "rope_parameters": {"rope_theta": 10000.0},
    "eos_token_id": 2,
    "quantization_config": {"bits": 4},
    "text_config": {"dtype": "bfloat16"},
    "dtype": "bfloat16",
    "use_cache": True,
    "_name_or_path": "org/base",
    "transformers_version": "5.0.0",
}
# use_cache: vLLM always keeps its cache. The other two say where the folder was saved, and by what.
CONFIG_SAME = ("use_cache", "_name_or_path", "transformers_version")

TOKENIZER: dict[str, Any] = {
    "add_bos_token": True,
    "add_eos_token": False,
    "add_prefix_space": False,
    "added_tokens_decoder": {"2": {"content": "</s>", "special": True}},
    "additional_special_tokens": ["<|tool|>"],
    "bos_token": "<s>",
    "chat_template": "{{ messages }}",
    "clean_up_tokenization_spaces": False,
    "eos_token": "</s>",
    "extra_special_tokens": {"image": "<image>"},
    "fix_mistral_regex": False,
    "legacy": True,
    "model_max_length": 1024,
    "pad_token": "<pad>",
    "padding_side": "left",
    "split_special_tokens": False,
    "tokenizer_class": "LlamaTokenizer",
    "unk_token": "<unk>",
    "a_key_of_next_year": 1,
    "name_or_path": "org/base",
    "tokenizer_file": "/home/x/tokenizer.json",
    "special_tokens_map_file": "/home/x/special_tokens_map.json",
    "cache_dir": "/tmp",
    "transformers_version": "5.0.0",
    "is_local": True,
    "local_files_only": False,
    "_commit_hash": "abc",
}
# They say where the folder was saved, and by what.
TOKENIZER_SAME = (
    *("name_or_path", "tokenizer_file", "special_tokens_map_file", "cache_dir"),
    *("transformers_version", "is_local", "local_files_only", "_commit_hash"),
)

GENERATION: dict[str, Any] = {
    "temperature": 0.6,
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.4,
    "frequency_penalty": 0.4,
    "max_new_tokens": 128,
    "eos_token_id": [2, 7],
    "do_sample": True,
    "bos_token_id": 1,
    "pad_token_id": 0,
    "max_length": 4096,
    "num_beams": 4,
    "transformers_version": "5.0.0",
}
# vLLM takes none of them: tests/service/test_vllm_border.py asks it.
GENERATION_SAME = ("do_sample", "bos_token_id", "pad_token_id", "max_length", "num_beams", "transformers_version")

KEYS = {
    "config.json": (CONFIG, CONFIG_SAME),
    "tokenizer_config.json": (TOKENIZER, TOKENIZER_SAME),
    "generation_config.json": (GENERATION, GENERATION_SAME),
}
COUNT = (
    *("model.safetensors", "consolidated.safetensors", "quantize_config.json", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer.model", "added_tokens.json", "special_tokens_map.json", "vocab.json", "merges.txt"),
    *("vocab.txt", "tekken.json", "chat_template.jinja", "chat_template.json", "modules.json", "next_year.json"),
    "additional_chat_templates/tool_use.jinja",
)
SAME = (
    *("README.md", "LICENSE", "LICENSE.txt", "NOTICE.txt", "USE_POLICY.txt", "requirements.txt", ".gitattributes"),
    *("abilities.json", "trainer_state.json", "all_results.json", "train_results.json", "eval_results.json"),
    *("training_args.bin", "optimizer.pt", "modeling.py", "original/params.json", "onnx/model.safetensors"),
)
"""Prose, what a training run leaves behind, and what no engine is given: code, and folders beside the model."""


@pytest.fixture
def whole(base: Path) -> Path:
    """A base with every kind of file and key at once."""
    for name in (*COUNT, *SAME):
        if not (base / name).exists():
            (base / name).parent.mkdir(exist_ok=True)
            (base / name).write_text("{}")
    for name, (keys, _) in KEYS.items():
        (base / name).write_text(json.dumps(keys))
    return base


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1 if value > 1 else value / 2 + 0.25
        case str():
            return value + "x"
        case list():
            return [*value, 9]
        case _:
            return value | {"other": 1}


def cases(same: bool) -> list[tuple[str, str]]:
    """(file, key) of every key that leaves the answers alone, or of every other."""
    return [(file, key) for file, (keys, harmless) in KEYS.items() for key in keys if (key in harmless) == same]


def test_every_file_of_the_folder_is_on_one_of_the_lists_here(whole: Path) -> None:
    here = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert here == {*COUNT, *SAME, *KEYS}


@pytest.mark.parametrize("name", COUNT)
def test_a_file_that_an_engine_may_read_changes_the_recipe(whole: Path, name: str) -> None:
    before, bytes_ = bare_spec(whole).digest, (whole / name).read_bytes()
    (whole / name).write_bytes(bytes_ + b" ")
    assert bare_spec(whole).digest != before
    if name != "model.safetensors":  # without weights it is no base
        (whole / name).unlink()
        assert bare_spec(whole).digest != before
    (whole / name).write_bytes(bytes_)
    assert bare_spec(whole).digest == before


@pytest.mark.parametrize("name", SAME)
def test_a_file_that_no_engine_reads_does_not(whole: Path, name: str) -> None:
    before = bare_spec(whole)
    (whole / name).write_text("another")
    assert bare_spec(whole) == before
    (whole / name).unlink()
    assert bare_spec(whole) == before


@pytest.mark.parametrize(("file", "key"), cases(same=False))
@pytest.mark.parametrize("change", ["another", "gone"])
def test_a_key_that_bears_on_answers_changes_the_recipe(whole: Path, file: str, key: str, change: str) -> None:
    before = bare_spec(whole).digest
    said = json.loads((whole / file).read_text())
    said = said | {key: other(said[key])} if change == "another" else {k: v for k, v in said.items() if k != key}
    (whole / file).write_text(json.dumps(said))
    assert bare_spec(whole).digest != before


@pytest.mark.parametrize(("file", "key"), cases(same=True))
def test_a_key_that_does_not_bear_on_answers_leaves_it_alone(whole: Path, file: str, key: str) -> None:
    before = bare_spec(whole)
    said = json.loads((whole / file).read_text())
    (whole / file).write_text(json.dumps(said | {key: other(said[key])}))
    assert bare_spec(whole) == before
    (whole / file).write_text(json.dumps({k: v for k, v in said.items() if k != key}))
    assert bare_spec(whole) == before


@pytest.mark.parametrize("file", sorted(KEYS))
def test_order_and_white_space_of_keys_say_nothing(whole: Path, file: str) -> None:
    before = bare_spec(whole)
    said = json.loads((whole / file).read_text())
    (whole / file).write_text(json.dumps(dict(reversed(said.items())), indent=4))
    assert bare_spec(whole) == before


def test_what_decides_an_answer_does_not_decide_whether_an_adapter_fits(whole: Path) -> None:
    before = fingerprint(whole)
    for name in ("generation_config.json", "preprocessor_config.json", "additional_chat_templates/tool_use.jinja"):
        (whole / name).unlink()
    for name, key in (("config.json", "dtype"), ("tokenizer_config.json", "padding_side")):
        said = json.loads((whole / name).read_text())
        (whole / name).write_text(json.dumps(said | {key: other(said[key])}))
    assert fingerprint(whole) == before


def test_the_recipe_of_a_base_without_anything_special_says_so(base: Path) -> None:
    spec = bare_spec(base)
    assert (spec.base, spec.kind, spec.decoding) == (fingerprint(base).digest, "base", Decoding())
    assert spec.answers == AnswerSettings(tokenizer_config=spec.answers.tokenizer_config)


def test_the_clinics_base_is_decoded_as_vllm_did_in_silence_and_greedily() -> None:
    clinic = Path(__file__).parents[3] / "examples" / "clinic" / "base_model"
    spec = bare_spec(clinic)
    assert spec.decoding == Decoding(max_tokens=128)
    assert (spec.answers.stops, spec.answers.dtype, spec.answers.files) == ((2,), "bfloat16", {})


@pytest.mark.parametrize("said", [{"dtype": "float16"}, {"torch_dtype": "float16"}, {"torch_dtype": "torch.float16"}])
def test_the_number_format_is_one_by_its_older_name_too(base: Path, said: dict[str, str]) -> None:
    (base / "config.json").write_text(json.dumps(said))
    assert answer_settings(base).dtype == "float16"


def test_a_template_is_the_same_wherever_the_folder_keeps_it(base: Path) -> None:
    before = bare_spec(base)
    text = (base / "chat_template.jinja").read_text()
    (base / "chat_template.jinja").unlink()
    (base / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "chat_template": text}))
    assert bare_spec(base) == before


def test_who_saved_the_model_counts_where_transformers_asks_for_it(base: Path) -> None:
    """It corrects the word splitting of a Mistral tokenizer that says so, if an older release has saved the model."""

    def saved_by(release: str, **tokenizer: Any) -> AnswerSettings:
        (base / "config.json").write_text(json.dumps({"model_type": "mistral", "transformers_version": release}))
        (base / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        return answer_settings(base)

    assert saved_by("4.57.1") == saved_by("5.1.0")
    assert saved_by("4.57.1", fix_mistral_regex=True) != saved_by("5.1.0", fix_mistral_regex=True)


def test_a_folder_and_a_download_of_it_are_one_base(whole: Path, tmp_path: Path) -> None:
    """The hub's client fetches the files that count, and hands out links to them."""
    before = bare_spec(whole)
    snapshot = tmp_path / "models--org--base" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in whole.rglob("*"):
        if path.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
            (snapshot / path.relative_to(whole)).parent.mkdir(exist_ok=True)
            (snapshot / path.relative_to(whole)).symlink_to(path)
    assert bare_spec(snapshot) == before


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"temperature": 3.0}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"top_k": "many"}, "top_k"),
    ],
)
def test_a_default_that_no_request_could_use_is_refused_with_its_place(base: Path, said: Any, place: str) -> None:
    (base / "generation_config.json").write_text(json.dumps(said))
    with pytest.raises(InvalidInput) as caught:
        bare_spec(base)
    assert [problem.place for problem in caught.value.problems] == [f"generation_config.json: {place}"]
