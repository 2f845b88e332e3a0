"""generation_config.json: the sampling defaults that a base's makers wrote down, and the tokens that end an answer.

vLLM applies both to every request, the defaults in silence. Here they become a `Decoding` that everybody can read: it
goes into a version's recipe when the recipe is made, and the engine is told to leave the defaults alone. Read
`answers.py` next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifecycle.errors import InvalidInput, Problem
from lifecycle.models.base import read_object
from lifecycle.validation import fault_of
from lifecycle.version import Decoding, VersionSpec

_FILE = "generation_config.json"
_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_new_tokens": "max_tokens",
}
"""Its keys, and ours. vLLM 0.32 takes these and no others (`ModelConfig.get_diff_sampling_param`); it does not look at
`do_sample`, so neither do we."""
_OLDER = ("eos_token_id", "max_new_tokens")
_ALWAYS_SAID = ("temperature", "top_p")
"""The service has always put these two of a version's decoding into its requests."""


def decoding_of(base: Path) -> Decoding:
    """The base's own defaults, as vLLM would apply them. Its `model_fields_set` are those that the folder names.

    Raises `InvalidInput` with every value that no request could be decoded with.
    """
    source, fields = _fields(base)
    said = {ours: fields[theirs] for theirs, ours in _SAMPLING.items() if fields.get(theirs) is not None}
    if said.get("top_k") == -1:  # vLLM's other way to say all of them
        said["top_k"] = 0
    try:
        return Decoding.model_validate(said)
    except ValidationError as error:
        theirs = {ours: key for key, ours in _SAMPLING.items()}
        problems = [Problem(f"{source}: {theirs[str(fault['loc'][0])]}", fault_of(fault)) for fault in error.errors()]
        raise InvalidInput(f"{base / source} has sampling defaults that no request could use", problems) from error


def stop_ids(base: Path) -> tuple[int, ...]:
    """Ids at which vLLM ends an answer besides the tokenizer's own end of sequence, ascending."""
    named = _fields(base)[1].get("eos_token_id")
    return tuple(sorted(token for token in (named if isinstance(named, list) else [named]) if isinstance(token, int)))


def decoding_in_force(spec: VersionSpec, own: Decoding) -> Decoding:
    """What the version's requests are decoded with over a base whose own decoding is `own`.

    A version from before `answers` was evaluated while vLLM applied the base's defaults in silence; it keeps them.
    """
    if spec.answers is not None:
        return spec.decoding
    plain = Decoding()
    silent = own.model_fields_set.difference(_ALWAYS_SAID)
    unsaid = {key: getattr(own, key) for key in silent if getattr(spec.decoding, key) == getattr(plain, key)}
    return spec.decoding.model_copy(update=unsaid)


def _fields(base: Path) -> tuple[str, dict[str, Any]]:
    """The file that these are read from, and what it says. In older folders config.json says it, or its inner part.

    transformers takes two keys of it; without them the ids are the architecture's, which config.json names as well.
    """
    if (base / _FILE).is_file():
        return _FILE, read_object(base / _FILE)
    config = read_object(base / "config.json")
    inner: Any = next((config[key] for key in ("decoder", "generator", "text_config") if config.get(key)), {})
    said = {key: next((part[key] for part in (config, inner) if part.get(key) is not None), None) for key in _OLDER}
    return "config.json", said
