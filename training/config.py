"""What a training run is told: one frozen configuration, and where its relative paths start.

Read `refused.py` next for what it will not accept and why, then `run.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from lifecycle.answer_schema import AnswerSchema
from lifecycle.config_file import checked, load_mapping
from lifecycle.errors import InvalidConfig, NotFound, Problem
from lifecycle.rows import hub
from lifecycle.rows.prompt_files import read_prompt
from lifecycle.version import Frozen, Name, Prompt, TemplateKwargs
from training.data.run_checks import Way
from training.method import Method
from training.methods import DEFAULT, read_method
from training.optimisation import OptimisationSettings
from training.refused import refuse, unused
from training.tracking.tensorboard import TensorBoard
from training.tracking.trackers import AnyTracker, as_settings


class Source(Frozen, allow_inf_nan=False):
    """One of several files to learn from."""

    path: Path
    weight: float | None = Field(default=None, gt=0.0)
    """Its share of the rows that an epoch sees, beside the other files' (`mixture.py`): for all, or for none."""


class DataSettings(Frozen, allow_inf_nan=False):
    """Which rows to learn from. Any form of `lifecycle/rows/forms.py`; paths start at the configuration's folder.

    In place of each stands the name of a hub's data set too (`lifecycle/rows/hub.py`).
    """

    train: tuple[Source, ...] = Field(min_length=1)
    """A path, or a list of paths, or of `{path, weight}`. Without weights an epoch sees all rows of all files."""
    validation: Path | None = None
    """Rows that choose the best checkpoint. Without it, `holdout` of `train` is held out, by prompt."""
    holdout: float = Field(default=0.1, gt=0.0, lt=0.5)
    answer_schema: str | None = None
    """What every answer must be: the file of a JSON schema, or a pydantic model as `package.module:Model`."""

    checks: Way = "refuse"
    """Whether errors of the data checks stop the run; `report` tells them and goes on, `off` looks for none."""

    @field_validator("checks", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # as YAML reads it

    @field_validator("train", mode="before")
    @classmethod
    def _as_sources(cls, value: Any) -> Any:
        files = value if isinstance(value, list | tuple) else [value]
        return [{"path": file} if isinstance(file, str | Path) else file for file in files]

    @field_validator("train")
    @classmethod
    def _weighted_or_not(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if len({source.weight is None for source in sources}) > 1:
            raise ValueError("some files have a weight and some have none; write it for all of them, or for none")
        if len({source.path for source in sources}) < len(sources):
            raise ValueError("a file is named twice; give it a higher weight instead")
        return sources

    @model_validator(mode="after")
    def _held_out_or_given(self) -> Self:
        if self.validation is not None and self.holdout != type(self).model_fields["holdout"].default:
            raise ValueError("holdout is of no use beside validation; leave out one of the two")
        return self

    @property
    def weights(self) -> list[float]:
        """Of the files; empty where they have none."""
        return [source.weight for source in self.train if source.weight is not None]


class PromptSettings(Frozen):
    """What the service puts before the caller's messages, so that it is trained exactly as it is served."""

    system: Path | None = None
    """A UTF-8 text file."""
    chat_template_kwargs: TemplateKwargs = Field(default_factory=dict)
    """What the base's chat template is told, such as `enable_thinking: false`; a request may say otherwise."""


class TrainConfig(Frozen):
    """One run. Written as YAML; `load` reports everything that is wrong with it at once."""

    name: Name
    """Of the version's family in the registry: triage gives triage:1, triage:2, …"""
    base: str
    """A folder or a .gguf file (relative to the configuration), or a hub id, of any causal language model."""
    template: str | None = None
    """The base's chat template, in place of its own or of none: a file, or a name (`models/named_templates.py`)."""
    data: DataSettings
    method: SerializeAsAny[Method]
    """How the weights are learnt: `lora`, or a mapping with its `type` and settings (`methods.py`)."""
    optimisation: OptimisationSettings = OptimisationSettings()
    prompt: PromptSettings = PromptSettings()
    golden_prompts: int = Field(default=4, ge=1, le=64)
    """Validation rows whose log-probabilities are recorded, so that a server can prove that it serves this adapter."""
    tracking: tuple[Annotated[AnyTracker, Field(discriminator="type")], ...] = (TensorBoard(),)
    """Where the run's figures are told: `mlflow`, a list, a mapping with `type` and settings (`tracking/`), or `none`.
    It decides nothing of the result."""

    @field_validator("tracking", mode="before")
    @classmethod
    def _as_trackers(cls, value: Any) -> Any:
        return as_settings(value)


@dataclass(frozen=True)
class TrainJob:
    """A configuration and the folder where its relative paths start."""

    config: TrainConfig
    folder: Path

    @classmethod
    def load(cls, path: Path, *, base: str | None = None) -> TrainJob:
        """Reads a YAML file; `base` (from where the command runs) takes the place of the file's own.

        Raises `InvalidConfig` with every unknown, wrong, refused or missing key and every file that is not there.
        """
        raw = load_mapping(path)
        if base is not None:
            raw["base"] = str(Path(base).resolve()) if Path(base).exists() else base
        return cls.from_mapping(raw, path.resolve().parent, source=str(path))

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], folder: Path, *, source: str = "the configuration") -> TrainJob:
        """The same from a mapping already read. Raises `InvalidConfig`."""
        cleaned, problems = refuse(raw)
        problems += [*_missing_files(cleaned, folder), *_wrong_schema(cleaned, folder)]
        method, wrong = read_method(cleaned.get("method", DEFAULT))
        problems += wrong
        config, wrong = checked(TrainConfig, {**cleaned, "method": method or read_method(DEFAULT)[0]})
        problems += wrong
        if config is not None:
            problems += unused(config, {} if method is None else method.unused)
        if config is None or problems:
            raise InvalidConfig(f"{source} cannot be used", sorted(problems, key=lambda p: p.place))
        return cls(config, folder)

    def _at(self, path: Path) -> Path:
        """The file that is meant, or the name of a hub's rows."""
        local = (self.folder / path).resolve()
        return path if hub.named(path) and not local.exists() else local

    @property
    def train_paths(self) -> tuple[Path, ...]:
        """Of the files; those that hold a hub's rows are fetched first, and raise as `hub.fetched` does."""
        return tuple(hub.file_of(self._at(source.path)) for source in self.config.data.train)

    @property
    def validation_path(self) -> Path | None:
        named = self.config.data.validation
        return None if named is None else hub.file_of(self._at(named))

    @property
    def answer_schema(self) -> AnswerSchema | None:
        """Raises `InvalidConfig` where it is no more what it was when the configuration was read."""
        named = self.config.data.answer_schema
        return None if named is None else AnswerSchema.load(named, self.folder)

    @property
    def base(self) -> str:
        """An absolute path when it is there or is written like one, otherwise the hub id as it is written."""
        local = self.folder / Path(self.config.base).expanduser()
        is_path = local.exists() or self.config.base.startswith((".", "/", "~"))
        return str(local.resolve()) if is_path else self.config.base

    @property
    def template(self) -> str | None:
        """A file's absolute path, or a name."""
        wanted = self.config.template
        local = wanted and (self.folder / Path(wanted).expanduser())
        return str(local.resolve()) if local and local.is_file() else wanted

    @property
    def prompt(self) -> Prompt:
        """The published version's prompt: what the rows are trained behind."""
        prompt = self.config.prompt
        return read_prompt(self._system_path, kwargs=prompt.chat_template_kwargs)

    @property
    def _system_path(self) -> Path | None:
        named = self.config.prompt.system
        return None if named is None else (self.folder / named).resolve()

    @property
    def pinned(self) -> TrainConfig:
        """The configuration with the commits of a hub's rows, and else as it is written."""
        data, named = self.config.data, self._name
        train = tuple(source.model_copy(update={"path": named(source.path)}) for source in data.train)
        validation = None if data.validation is None else named(data.validation)
        moved = data.model_copy(update={"train": train, "validation": validation})
        return self.config.model_copy(update={"data": moved})

    def _name(self, path: Path) -> Path:
        at = self._at(path)
        return hub.pinned(at) if hub.named(at) else path

    def anywhere(self) -> dict[str, Any]:
        """The configuration with whole paths: `from_mapping` makes this job of it, whatever the folder.

        A hub's rows are named with their commit, so that they stay the same rows.
        """
        raw = self.config.model_dump(mode="json", exclude_none=True)
        data = raw["data"]
        for source, told in zip(data["train"], self.config.data.train, strict=True):
            source["path"] = str(hub.pinned(self._at(told.path)))
        schema = data.get("answer_schema")
        if schema is not None and (self.folder / schema).is_file():
            data["answer_schema"] = str((self.folder / schema).resolve())
        if (validation := self.config.data.validation) is not None:
            data["validation"] = str(hub.pinned(self._at(validation)))
        if (system := self._system_path) is not None:
            raw["prompt"]["system"] = str(system)
        return {**raw, "base": self.base, **({} if self.template is None else {"template": self.template})}


def _wrong_schema(raw: Mapping[str, Any], folder: Path) -> list[Problem]:
    data = raw.get("data")
    named = data.get("answer_schema") if isinstance(data, Mapping) else None
    if isinstance(named, str):
        try:
            AnswerSchema.load(named, folder)
        except InvalidConfig as error:
            return [Problem("data.answer_schema", f"{one.place} {one.fault}", one.cure) for one in error.problems]
    return []


def _missing_files(raw: Mapping[str, Any], folder: Path) -> list[Problem]:
    """The files that a configuration names and that are not there, found even while other keys are wrong."""
    problems = []
    for section, key in (("data", "train"), ("data", "validation"), ("prompt", "system")):
        keys = raw.get(section)
        named = keys.get(key) if isinstance(keys, Mapping) else None
        several = isinstance(named, list)
        for at, file in enumerate(named if isinstance(named, list) else [named]):
            path = file.get("path") if isinstance(file, Mapping) else file
            if isinstance(path, str | Path) and not (folder / path).is_file():
                place = f"{section}.{key}" + f"[{at}]" * several
                if section == "data" and hub.named(path) and not (folder / path).exists():
                    problems += _not_on_the_hub(Path(path), place)
                    continue
                cure = "relative paths start at the configuration's folder"
                problems.append(Problem(place, f"there is no file {folder / path}", cure))
    return problems


def _not_on_the_hub(path: Path, place: str) -> list[Problem]:
    try:
        hub.file_of(path)
    except NotFound as error:
        return [Problem(place, str(error))]
    return []
