"""The base model as a folder: where it is, its fingerprint, and the shapes of its linear layers.

The fingerprint decides whether an adapter fits the base; what else decides an answer is in `answers.py`. All of it
reads files only, without torch. Read `preflight.py` next: it holds an adapter against these.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidInput, NotFound, Problem
from lifecycle.models import hub
from lifecycle.models.gguf_base import gguf_file, unpacked
from lifecycle.models.packed import Part, packed_shape
from lifecycle.models.tensors import read_header
from lifecycle.version import Digest, Frozen, digest_of

EMBEDDINGS = ("embed_tokens", "wte", "wpe", "word_embeddings", "embed_in", "position_embeddings")
"""Two-dimensional weights that are looked up rather than multiplied."""

FETCHED_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""What is taken from the hub. A base runs with these alone, so these are what an engine may read."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
_PART = re.compile(r"\.(?P<part>weight(_\w+|\..+)?|qweight|qzeros|scales|g_idx|SCB)$")
"""What follows a layer's name in the names of its tensors, packed or not."""
_MOST_KEPT = 4_000
"""Hashes in the cache's file: without a bound it grows with every file that ever was."""
_ASKED: dict[Path, dict[str, str]] = {}
"""By cache, what this process has asked for. A service asks the same of its base at every load of an adapter, in a
thread that its event loop waits for while JSON is read."""
_TOKENIZER_KEYS = ("bos_token", "eos_token", "pad_token", "unk_token", "add_bos_token", "add_eos_token")
# Keys of config.json that change with the tool that saved the folder, and not what the model computes.
_VOLATILE = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")


class BaseFingerprint(Frozen):
    """What an adapter depends on, in three parts, so that a mismatch can say which of them differs."""

    name: str
    """The hub id, or the folder's own name. It is for people and takes no part in `digest`."""
    weights: Digest
    """Over the weight files and config.json (without the keys that only name the tool that saved it)."""
    tokenizer: Digest
    chat_template: Digest

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"name"}))


def resolve_base(name_or_path: str) -> Path:
    """The local folder of a model: `name_or_path` itself, a GGUF file unpacked, or the hub repository downloaded.

    A folder with one .gguf file and no config.json is that file. Raises `NotFound` when there is none of these,
    `Unavailable` when the hub cannot be reached and holds no local copy, and what `gguf_base.unpack` raises.
    """
    folder = Path(name_or_path).expanduser()
    packed = None if (folder / "config.json").is_file() else gguf_file(folder)
    if packed is not None:
        return unpacked(packed.resolve(), file_hashes([packed.resolve()])[packed.resolve()], _cache() / "bases")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise NotFound(f"{folder} is no model folder: it has no config.json")
        return folder.resolve()
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name_or_path, re.ASCII) or name_or_path.startswith("."):
        raise NotFound(f"no folder {folder}; give a model folder, a .gguf file or a hub id such as org/name")
    return hub.fetched(name_or_path, FETCHED_FILES)


def named_base(word: str) -> tuple[str, str]:
    """(name, base) of `BASE`, or of `NAME=BASE`, as `--base` takes it; the name is empty where none is given."""
    found = re.fullmatch(r"([^=\s/]+)=(\S.*)", word)
    return ("", word) if found is None or Path(word).expanduser().exists() else (found[1], found[2])


def fingerprint(path: Path, *, cache: Path | None = None) -> BaseFingerprint:
    """Fingerprint of the model folder. Unchanged files (path, size, modification time) are not hashed twice.

    `cache` is the JSON file that remembers the hashes (default: `dabt/hashes.json` in the user's cache folder).
    Raises `InvalidInput` when the folder lacks weights, a configuration or a tokenizer.
    """
    path = path.resolve()
    config = read_object(path / "config.json")
    tokenizer_config = tokenizer_config_of(path)
    weights = weight_files(path)
    tokenizer = [path / name for name in TOKENIZER_FILES if (path / name).is_file()]
    problems = [] if weights else [Problem(str(path), "holds no weights", "expected *.safetensors")]
    if not tokenizer:
        problems.append(Problem(str(path), "holds no tokenizer", "expected tokenizer.json or tokenizer.model"))
    if problems:
        raise InvalidInput(f"{path} is not a whole model folder", problems)
    hashes = file_hashes([*weights, *tokenizer], cache)
    return BaseFingerprint(
        name=name_of(path),
        weights=digest_of(
            {
                "files": [[file.name, hashes[file]] for file in weights],
                "config": {key: value for key, value in config.items() if key not in _VOLATILE},
            }
        ),
        tokenizer=digest_of(
            {
                "files": [[file.name, hashes[file]] for file in tokenizer],
                "config": {key: tokenizer_config.get(key) for key in _TOKENIZER_KEYS},
            }
        ),
        chat_template=digest_of(chat_template_of(path)),
    )


def name_of(path: Path) -> str:
    """What people call the base in this folder: `org/name` when the hub's cache keeps it, else the folder's name.

    The cache has folders such as `models--org--name/snapshots/<revision>`, whose own name nobody wrote.
    """
    repository, kept_as = path.parent.parent.name, path.parent.name
    if kept_as == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/", 1)
    return path.name


def linear_shapes(path: Path) -> dict[str, tuple[int, int]]:
    """`(out_features, in_features)` of every linear layer, by module name, from the safetensors headers alone.

    Packed weights are read as `packed.py` says. Raises `InvalidInput` when the weights are not safetensors, or are
    packed in another way, and `Corrupt` when a file is cut short. Files that are as they were are not read again: a
    service asks this of its base at every load of an adapter.
    """
    files = [file for file in weight_files(path) if file.suffix == ".safetensors"]
    if not files:
        raise InvalidInput(f"{path} has no safetensors weights; convert them with save_pretrained")
    return dict(_linear_shapes(path, tuple(files), tuple(map(_state, [*files, path / "config.json"]))))


@lru_cache(maxsize=16)
def _linear_shapes(path: Path, files: tuple[Path, ...], states: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """`states` tell files that were written anew from those that are as they were."""
    quantization = quantization_of(path)
    bits = quantization.get("bits")
    shapes: dict[str, tuple[int, int]] = {}
    packed: dict[str, dict[str, Part]] = {}  # one layer's tensors may lie in two files
    for file in files:
        for name, info in read_header(file).items():
            module, _, kind = name.rpartition(".")
            floating = info.dtype.startswith(("F", "BF"))
            if kind == "weight" and len(info.shape) == 2 and floating and not module.endswith(EMBEDDINGS):
                shapes[module] = (info.shape[0], info.shape[1])
            elif quantization and (split := _PART.search(name)) is not None:
                packed.setdefault(name[: split.start()], {})[split["part"]] = Part(file, info)
    for module, parts in packed.items():
        shape = packed_shape(parts, bits if isinstance(bits, int) else None)
        if shape is not None and not module.endswith(EMBEDDINGS):
            shapes[module] = shape
    if quantization and not any(not module.endswith("lm_head") for module in shapes):
        method = quantization.get("quant_method", "an unknown method")
        raise InvalidInput(
            f"{path}: its layers are packed by {method}, whose shapes cannot be read here, so no adapter could be held "
            "against them; take one that is not packed, or packed by AWQ, GPTQ, compressed-tensors or bitsandbytes"
        )
    return shapes


def packed_in_words(path: Path) -> bool:
    """Whether layers are packed into integers of several weights each: AWQ, GPTQ, and compressed-tensors in 4 bits."""
    files = [file for file in weight_files(path) if file.suffix == ".safetensors"] if quantization_of(path) else []
    return any(name.endswith((".qweight", ".weight_packed")) for file in files for name in read_header(file))


def quantization_of(path: Path) -> dict[str, Any]:
    """What config.json says of how the weights are packed; nothing when they are not."""
    packing = read_object(path / "config.json").get("quantization_config") if (path / "config.json").is_file() else None
    return packing if isinstance(packing, dict) else {}


def dtype_of(path: Path) -> str:
    """The number format that config.json names for the weights, as "bfloat16"; empty where it names none."""
    said = read_object(path / "config.json") if (path / "config.json").is_file() else {}
    return str(said.get("dtype") or said.get("torch_dtype") or "").removeprefix("torch.")


def weight_files(path: Path) -> list[Path]:
    """The files that the model's own index names, so that a second format in the same folder does not count."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (path / index).is_file():
            return [path / name for name in sorted(set(read_object(path / index).get("weight_map", {}).values()))]
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    return sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))


def tokenizer_config_of(path: Path) -> dict[str, Any]:
    """What tokenizer_config.json says; nothing when there is none."""
    file = path / "tokenizer_config.json"
    return read_object(file) if file.is_file() else {}


def chat_template_of(path: Path) -> Any:
    """The template's text wherever this folder keeps it; transformers reads chat_template.jinja first.

    A list or an object when tokenizer_config.json names several.
    """
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    if (path / "chat_template.json").is_file():
        return read_object(path / "chat_template.json").get("chat_template", "")
    return tokenizer_config_of(path).get("chat_template") or ""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises `InvalidInput` when it cannot be read or holds another thing."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} should hold a JSON object")
    return value


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dabt"


def file_hashes(files: list[Path], cache: Path | None = None) -> dict[Path, str]:
    """SHA-256 of each file, from the cache where path, size and modification time are as they were."""
    cache = cache or _cache() / "hashes.json"
    keys = dict(_keys(files))
    asked = _ASKED.setdefault(cache, {})
    if not asked.keys() >= set(keys.values()):
        asked |= _kept_hashes(keys, cache)
    return {file: asked[key] for file, key in keys.items()}


def _kept_hashes(keys: dict[Path, str], cache: Path) -> dict[str, str]:
    """The hash of each key, from the cache's file, into which new ones are written."""
    known: dict[str, str] = {}
    # The cache only saves time: one that is missing or broken means hashing again.
    with suppress(OSError, ValueError):
        loaded = json.loads(cache.read_text(encoding="utf-8"))
        known = loaded if isinstance(loaded, dict) else {}
    fresh = {key: sha256_of(file) for file, key in keys.items() if key not in known}
    if fresh:
        newest = list((known | fresh).items())[-_MOST_KEPT:]
        with suppress(OSError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=cache.parent, delete=False, encoding="utf-8") as file:
                json.dump(dict(newest), file)
            Path(file.name).replace(cache)
    known |= fresh
    return {key: known[key] for key in keys.values()}


def _keys(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for file in files:
        try:
            file.stat()
        except OSError as error:
            raise InvalidInput(f"{file} cannot be read: {error.strerror}; the model folder is not whole") from error
        yield file, _state(file)


def _state(file: Path) -> str:
    """Another one once the file was written again; the same for every file that is not there."""
    try:
        stat = file.stat()
    except OSError:
        return ""
    return f"{file}:{stat.st_size}:{stat.st_mtime_ns}"


def sha256_of(file: Path) -> str:
    """Lower-case hex SHA-256 of the file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
