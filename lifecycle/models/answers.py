"""What a base's folder puts into a version's recipe: its fingerprint, what else decides an answer, its own decoding.

Every file that an engine may read counts, unless it is on a list of those that change no answer: a kind of file that
next year's models bring counts until somebody has looked at it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lifecycle.models.base import (
    FETCHED_FILES,
    TOKENIZER_FILES,
    chat_template_of,
    dtype_of,
    file_hashes,
    fingerprint,
    read_object,
    tokenizer_config_of,
    weight_files,
)
from lifecycle.models.generation import decoding_of, stop_ids
from lifecycle.models.templates import served_template
from lifecycle.origin import ORIGIN_FILE
from lifecycle.version import AnswerSettings, VersionSpec, digest_of

_READ_BY_KEYS = ("config.json", "generation_config.json", "tokenizer_config.json")
"""Their keys count one by one: in the fingerprint, in the version's decoding, and in `answer_settings`."""
_PROSE = (
    *("license*", "notice*", "readme*", "use_policy*", "requirements*.txt"),
    *("*.safetensors.index.json", "*.bin.index.json"),  # the files that they name are what counts
    *(
        ORIGIN_FILE,
        "trainer_state.json",
        "all_results.json",
        "train_results.json",
        "eval_results.json",
        "abilities.json",
    ),
)
"""Names, in lower case, of files that say something about the model and are read by no engine."""
_ORIGIN = (
    *("name_or_path", "_name_or_path", "tokenizer_file", "special_tokens_map_file", "cache_dir"),
    *("transformers_version", "is_local", "local_files_only", "_commit_hash"),
)
"""Keys of tokenizer_config.json that say where it was saved, and by what."""


def bare_spec(base: Path) -> VersionSpec:
    """The recipe of the base alone, with its makers' own decoding: what every recipe over it starts from.

    Raises `InvalidInput` when the folder is not a whole model, or says what no request could be decoded with.
    """
    return VersionSpec(base=fingerprint(base).digest, answers=answer_settings(base), decoding=decoding_of(base))


def answer_settings(base: Path) -> AnswerSettings:
    """What else in the folder decides an answer. Raises `InvalidInput` when one of its files cannot be read."""
    base = base.resolve()
    config = read_object(base / "config.json")
    others = _others(base)
    hashes = file_hashes(others)
    template = served_template(base)
    return AnswerSettings(
        tokenizer_config=digest_of(_tokenizer_config(base, config)),
        stops=stop_ids(base),
        dtype=dtype_of(base),
        frozen_template=None if template is None else digest_of(template),
        files={file.relative_to(base).as_posix(): f"sha256:{hashes[file]}" for file in others},
    )


def _tokenizer_config(base: Path, config: dict[str, Any]) -> dict[str, Any]:
    said = tokenizer_config_of(base)
    kept = {key: value for key, value in said.items() if key not in _ORIGIN}
    if said.get("chat_template") == chat_template_of(base):
        kept.pop("chat_template", None)  # in the fingerprint already, wherever the folder keeps it
    if said.get("fix_mistral_regex"):
        # transformers obeys that key only when an older release has saved the model, which config.json says.
        kept["config.json: transformers_version"] = config.get("transformers_version")
    return kept


def _others(base: Path) -> list[Path]:
    """Files that an engine may read and that count nowhere else, in order."""
    counted = {*_READ_BY_KEYS, *TOKENIZER_FILES, *(file.name for file in weight_files(base))}
    if (base / "chat_template.jinja").is_file():
        counted.add("chat_template.jinja")
    elif (base / "chat_template.json").is_file():
        counted.add("chat_template.json")
    here = [file for file in base.iterdir() if file.is_file() and file.name not in counted]
    read = [file for file in here if _matches(file.name, FETCHED_FILES) and not _matches(file.name, _PROSE)]
    return sorted([*read, *(base / "additional_chat_templates").glob("*.jinja")])


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
