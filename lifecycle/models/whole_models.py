"""Preflight of a whole model folder: whether it can be loaded as it stands, by transformers and by a server alike.

Every reason is told at once. Needs numpy, not torch. `artifact_kinds.py` says for which artifacts this is asked, and
`preflight.py` is the same for LoRA folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lifecycle.errors import ArtifactRefused, Corrupt, InvalidInput, Problem
from lifecycle.models.base import FETCHED_FILES, fingerprint, read_object, tokenizer_config_of, weight_files
from lifecycle.models.preflight import origin_problems, pickle_problems, several
from lifecycle.models.tensors import READABLE, TensorInfo, read, read_header
from lifecycle.version import Digest, Frozen

_HEAD = "lm_head.weight"
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
"""Ends of the names of the table that a tied output layer shares."""
_CLASSIFIER = "ForSequenceClassification"


class WeightsFacts(Frozen):
    """What preflight learned of whole weights that it lets through."""

    origin: Digest
    architecture: str
    parameters: int
    bytes: int
    """Of the weight files together."""


class ClassifierFacts(Frozen):
    """What preflight learned of a classifier that it lets through."""

    labels: tuple[str, ...]
    architecture: str
    parameters: int
    bytes: int


class _Folder(NamedTuple):
    """What every kind of whole model has in common, as far as it could be read."""

    config: dict[str, Any]
    files: list[Path]
    """Of weights."""
    tensors: dict[str, tuple[Path, TensorInfo]]
    problems: list[Problem]

    @property
    def architecture(self) -> str:
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    def facts(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "parameters": sum(info.parameters for _, info in self.tensors.values()),
            "bytes": sum(file.stat().st_size for file in self.files),
        }


def model_files(folder: Path) -> list[Path]:
    """The files of a whole model: what a base has that is taken from the hub, and nothing that a trainer left beside
    them. In order."""
    top = {file for pattern in FETCHED_FILES for file in folder.glob(pattern) if file.is_file()}
    return sorted({*top, *(folder / "additional_chat_templates").glob("*.jinja")})


def preflight_weights(folder: Path, base: Path) -> WeightsFacts:
    """Hold a model folder that was trained from `base` against what a server needs.

    Raises `ArtifactRefused` with every problem found, and `InvalidInput` when it is the base that cannot be read.
    """
    known = fingerprint(base)
    model = _read(folder, base)
    problems = [*model.problems, *_tied(model)]
    if model.architecture.endswith(_CLASSIFIER):
        problems.append(Problem("config.json: architectures", f"{model.architecture} classifies, and writes no text"))
    if not problems and fingerprint(folder).weights == known.weights:
        fault = f"are those of {known.name}, byte for byte: nothing was trained"
        problems.append(Problem("the weights", fault, "train longer, or at a higher rate"))
    if problems:
        raise ArtifactRefused(f"{folder} cannot be served as a model of its own:", problems)
    return WeightsFacts(origin=known.digest, **model.facts())


def preflight_classifier(folder: Path, base: Path) -> ClassifierFacts:
    """Hold a classifier's folder that was trained from the encoder in `base` against what the service needs.

    Raises `ArtifactRefused` with every problem found.
    """
    model = _read(folder, base)
    problems = [*model.problems]
    if model.config and not model.architecture.endswith(_CLASSIFIER):
        fault = f"is {model.architecture or 'not said'}, expected a class that ends in {_CLASSIFIER}"
        problems.append(Problem("config.json: architectures", fault, "save it with save_pretrained"))
    labels = labels_of(model.config)
    if model.config and len(labels) < 2:
        problems.append(Problem("config.json: id2label", "names fewer than two labels", "train with named labels"))
    if problems:
        raise ArtifactRefused(f"{folder} cannot be served as a classifier:", problems)
    return ClassifierFacts(labels=labels, **model.facts())


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of config.json in the order of the head's outputs; none where it names none, or leaves one out."""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return ()
    by_output = {str(output): str(label) for output, label in named.items()}
    if set(by_output) != {str(output) for output in range(len(by_output))}:
        return ()
    return tuple(by_output[str(output)] for output in range(len(by_output)))


def _read(folder: Path, base: Path) -> _Folder:
    problems = [*_pickled_and_code(folder), *origin_problems(folder, base)]
    config: dict[str, Any] = {}
    files: list[Path] = []
    tensors: dict[str, tuple[Path, TensorInfo]] = {}
    try:
        config = read_object(folder / "config.json")
        problems += _remote_code(config, tokenizer_config_of(folder))
        files = [file for file in weight_files(folder) if file.suffix == ".safetensors"]
        fingerprint(folder)
    except InvalidInput as error:
        problems += error.problems or [Problem(str(folder), error.summary)]
    stray = sorted(file.name for file in folder.glob("*.safetensors") if file not in files)
    if stray and files:
        problems.append(Problem(several(stray), "is no part of the model that config.json tells of", "remove it"))
    for file in files:
        try:
            tensors |= {name: (file, info) for name, info in read_header(file).items()}
        except (Corrupt, OSError) as error:
            problems.append(Problem(file.name, str(error)))
    return _Folder(config, files, tensors, [*problems, *_values(tensors)])


def _pickled_and_code(folder: Path) -> list[Problem]:
    scripts = sorted(path.name for path in folder.glob("*.py"))
    return [
        *pickle_problems(folder),
        *(Problem(name, "is code: a model folder holds none", "remove it") for name in scripts),
    ]


def _remote_code(*configs: Mapping[str, Any]) -> list[Problem]:
    if not any(config.get("auto_map") for config in configs):
        return []
    fault = "names code of its own, which is never run here"
    return [Problem("auto_map", fault, "train from a base whose class transformers has")]


def _values(tensors: Mapping[str, tuple[Path, TensorInfo]]) -> list[Problem]:
    """Types that no server reads as they are, and values that are no finite numbers. Reads one tensor at a time."""
    import numpy

    packed, broken = [], []
    for name, (file, info) in tensors.items():
        if not info.dtype.startswith(("F", "BF")):
            continue  # a buffer of indexes or masks
        if info.dtype not in READABLE:
            packed.append(name)
        elif not numpy.isfinite(read(file, info)).all():
            broken.append(name)
    problems = []
    if packed:
        problems.append(Problem(several(packed), "is not stored as BF16, F16 or F32", "save it unpacked"))
    if broken:
        problems.append(Problem(several(broken), "holds NaN or infinite values", "train again, at a lower rate"))
    return problems


def _tied(found: _Folder) -> list[Problem]:
    """Whether the output layer is the one that config.json says: where it is tied, a server reads the embeddings and
    leaves a head of the file aside (https://github.com/huggingface/peft/issues/2018)."""
    import numpy

    tied = found.config.get("tie_word_embeddings")
    head = found.tensors.get(_HEAD)
    if tied is False and found.tensors and head is None:
        fault = "is missing, and config.json says that it is not tied to the embeddings"
        return [Problem(_HEAD, fault, "save the model with its head")]
    table = _only(value for name, value in found.tensors.items() if name.endswith(_EMBEDDINGS))
    if tied is not True or head is None or table is None:
        return []
    if head[1].shape == table[1].shape and numpy.array_equal(read(*head), read(*table)):
        return []
    fault = "differs from the embeddings, and config.json ties the two: a server would leave it aside"
    return [Problem(_HEAD, fault, "write tie_word_embeddings: false, or train the embeddings with it")]


def _only(values: Iterable[tuple[Path, TensorInfo]]) -> tuple[Path, TensorInfo] | None:
    listed = list(values)
    return listed[0] if len(listed) == 1 else None
