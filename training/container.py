"""A training run in a container that SageMaker or Vertex AI starts: where its inputs lie, where the model goes, and how
it ends. Read `run.py` for the run itself.

SageMaker lays everything under /opt/ml: what was asked for in input/config/hyperparameters.json, each channel of data
as a folder under input/data; it keeps model/, checkpoints/ and output/failure
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html). Vertex AI tells its places by
variables that begin with AIP_, and mounts every bucket under /gcs
(https://cloud.google.com/vertex-ai/docs/training/code-requirements).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle.config_file import load_mapping, mapping_of
from lifecycle.errors import DabtError, InvalidConfig, Problem
from lifecycle.home import Home
from lifecycle.publishing import Shelf
from training.config import TrainJob

_ML = Path("opt/ml")
_FAILURE = 1024
"""Characters of its end that SageMaker tells."""
_OURS = ("config", "base")
"""Asked for by name; everything else is a key of the configuration: `optimisation.lr`."""


@dataclass(frozen=True)
class Container:
    """What a platform gave and wants, whichever it is."""

    config: Path
    """The run's YAML file."""
    model: Path
    """Where the trained folder goes."""
    base: str = ""
    """Instead of the configuration's: a folder or a hub id."""
    train: tuple[Path, ...] = ()
    validation: Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """Of the configuration, dotted, with the text of their YAML value."""
    checkpoints: Path | None = None
    """What is here is there again when the platform starts the same job anew."""
    failure: Path | None = None

    def job(self) -> TrainJob:
        """Raises `InvalidConfig` with everything that is wrong."""
        raw = load_mapping(self.config)
        data = raw.setdefault("data", {})
        if self.base:
            raw["base"] = self.base
        if self.train:
            data["train"] = [str(path) for path in self.train]
        if self.validation is not None:
            data["validation"] = str(self.validation)
        for key, text in self.keys.items():
            _set(raw, key.split("."), text)
        return TrainJob.from_mapping(raw, self.config.resolve().parent, source=str(self.config))


def find(arguments: Sequence[str], environment: Mapping[str, str], root: Path = Path("/")) -> Container:
    """Of the platform that started this. Raises `InvalidConfig` where none did, or it left out what is needed."""
    if (root / _ML / "input").is_dir():
        return _sagemaker(root / _ML)
    if "AIP_MODEL_DIR" in environment:
        return _vertex(arguments, environment, root)
    raise InvalidConfig(
        "neither SageMaker nor Vertex AI started this: there is no /opt/ml/input, and no AIP_MODEL_DIR; elsewhere use "
        "`dabt train`"
    )


def run(container: Container, home: Home) -> str:
    """Train, and leave the folder where the platform takes it from; returns the version's ref.

    Raises what a run raises; SageMaker then finds the reason in its file.
    """
    try:
        return _run(container, home)
    except Exception as error:
        if container.failure is not None:
            said = str(error) if isinstance(error, DabtError) else f"{type(error).__name__}: {error}"
            container.failure.parent.mkdir(parents=True, exist_ok=True)
            container.failure.write_text(said[:_FAILURE], encoding="utf-8")
        raise


def _run(container: Container, home: Home) -> str:
    from training.export import export
    from training.run import train  # this takes a moment

    job = container.job()
    if container.checkpoints is not None:
        home.root.mkdir(parents=True, exist_ok=True)
        container.checkpoints.mkdir(parents=True, exist_ok=True)
        if not home.runs.exists():
            home.runs.symlink_to(container.checkpoints, target_is_directory=True)
    shelf = Shelf.at(home, actor="container")
    result = train(job, home, shelf)
    with tempfile.TemporaryDirectory(dir=home.root) as scratch:
        folder = export(result.version.ref, Path(scratch) / "model", shelf)
        shutil.copytree(folder, container.model, dirs_exist_ok=True)  # it may be a mount, which nothing replaces
    return result.version.ref


def _sagemaker(place: Path) -> Container:
    asked = _json(place / "input" / "config" / "hyperparameters.json")
    channels = place / "input" / "data"
    told = _json(place / "input" / "config" / "inputdataconfig.json")
    hosts = _json(place / "input" / "config" / "resourceconfig.json").get("hosts", [])
    problems = [
        Problem(f"channel {name}", "streams its rows, and a run reads them more than once", "use the mode File")
        for name, channel in sorted(told.items())
        if isinstance(channel, Mapping) and channel.get("TrainingInputMode", "File") == "Pipe"
    ]
    if len(hosts) > 1:
        problems.append(Problem("instances", f"there are {len(hosts)}, and one trains", "ask for one instance"))
    config = _only(channels / "config", asked.get("config", "*.y*ml"), "channel config", problems)
    train = tuple(_files(channels / "train"))
    validation = _only(channels / "validation", "*", "channel validation", problems, needed=False)
    if problems or config is None:
        raise InvalidConfig("SageMaker's job cannot be done:", problems)
    return Container(
        config=config,
        model=place / "model",
        base=str(channels / "base") if (channels / "base").is_dir() else str(asked.get("base", "")),
        train=train,
        validation=validation,
        keys={key: str(value) for key, value in asked.items() if key not in _OURS and not key.startswith("sagemaker_")},
        checkpoints=place / "checkpoints",
        failure=place / "output" / "failure",
    )


def _vertex(arguments: Sequence[str], environment: Mapping[str, str], root: Path) -> Container:
    keys: dict[str, str] = {}
    problems: list[Problem] = []
    for word in arguments:
        key, equals, value = word.removeprefix("--").partition("=")
        if not (word.startswith("--") and equals):
            problems.append(Problem(word, "is no argument that is known here", "write --key=value"))
        keys[key] = value
    if not keys.get("config"):
        problems.append(Problem("--config", "is missing", "--config=gs://bucket/run.yaml"))
    found = {
        name: _matching(environment.get(f"AIP_{variable}_DATA_URI", ""), root)
        for name, variable in (("train", "TRAINING"), ("validation", "VALIDATION"))
    }
    if len(found["validation"]) > 1:
        fault = f"AIP_VALIDATION_DATA_URI means {len(found['validation'])} files, and a run has one"
        problems.append(Problem("validation", fault, "name it in the configuration"))
    if problems:
        raise InvalidConfig("Vertex AI's job cannot be done:", problems)
    checkpoints = environment.get("AIP_CHECKPOINT_DIR", "")
    base = keys.get("base", "")
    return Container(
        config=_mounted(keys["config"], root),
        model=_mounted(environment["AIP_MODEL_DIR"], root),
        base=str(_mounted(base, root)) if base.startswith("gs://") else base,
        train=found["train"],
        validation=next(iter(found["validation"]), None),
        keys={key: value for key, value in keys.items() if key not in _OURS},
        checkpoints=_mounted(checkpoints, root) if checkpoints else None,
    )


def _mounted(uri: str, root: Path) -> Path:
    """A bucket's file, as Vertex AI mounts it."""
    return root / "gcs" / uri.removeprefix("gs://") if uri.startswith("gs://") else Path(uri)


def _matching(uri: str, root: Path) -> tuple[Path, ...]:
    """The files of a URI with an asterisk in its last part."""
    if not uri:
        return ()
    path = _mounted(uri, root)
    return tuple(sorted(path.parent.glob(path.name)))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _only(folder: Path, pattern: str, place: str, problems: list[Problem], *, needed: bool = True) -> Path | None:
    files = [path for path in _files(folder) if path.match(pattern)]
    if len(files) > 1 or (needed and not files):
        problems.append(
            Problem(place, f"holds {len(files)} files {pattern}, and one is wanted", f"put one into {folder}")
        )
    return files[0] if files else None


def _json(file: Path) -> dict[str, Any]:
    """Raises `InvalidConfig`."""
    if not file.is_file():
        return {}
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidConfig(f"{file} is no JSON: {error}") from error
    return read if isinstance(read, dict) else {}


def _set(raw: dict[str, Any], keys: Sequence[str], text: str) -> None:
    """The value under the keys, which the platform tells as text. Raises `InvalidConfig`."""
    *outer, last = keys
    for key in outer:
        inner = raw.setdefault(key, {})
        if isinstance(inner, str):
            inner = raw[key] = {"type": inner}  # `method: lora` is short for this
        if not isinstance(inner, dict):
            raise InvalidConfig(f"{'.'.join(keys)}: {key} has no keys of its own in the configuration")
        raw = inner
    read = mapping_of(f"value: {text}".encode(), f"{'.'.join(keys)}={text}")
    if read.keys() != {"value"}:
        raise InvalidConfig(f"{'.'.join(keys)}: {text!r} is more than a value")
    raw[last] = read["value"]
