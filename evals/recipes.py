"""One arm as a user writes it, and the paths in it: relative to the evaluation's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from lifecycle.errors import InvalidInput, NotFound
from lifecycle.rows import hub, prompt_files
from lifecycle.version import Decoding, Frozen, Knowledge, Prompt, Ref, Template, TemplateKwargs


def anchored(path: Path, info: ValidationInfo) -> Path:
    return (Path((info.context or {}).get("folder", ".")) / path.expanduser()).resolve()


def rows_at(path: Path, info: ValidationInfo) -> Path:
    """A file beside the evaluation's, or the name of a hub's data set: the file that holds its rows."""
    local = anchored(path, info)
    if local.exists() or hub.named(path) is None:
        return file_at(path, info)
    try:
        return hub.file_of(path)
    except NotFound as error:
        raise ValueError(str(error)) from error


def file_at(path: Path, info: ValidationInfo) -> Path:
    path = anchored(path, info)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def folder_at(path: Path, info: ValidationInfo) -> Path:
    path = anchored(path, info)
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}")
    return path


def model_at(base: str, info: ValidationInfo) -> str:
    """A folder or GGUF file beside the file, else what was written: a hub id."""
    local = anchored(Path(base), info)
    return str(local) if local.exists() else base


def _stage(stage: str | dict[str, Any], info: ValidationInfo) -> str | dict[str, Any]:
    """With the folder of a stage's model beside the file, as that of a base is."""
    if isinstance(stage, str) or not isinstance(model := stage.get("model"), str):
        return stage
    return {**stage, "model": model_at(model, info)}


def _ref(text: str) -> str:
    try:
        Ref.parse(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None
    return text


File = Annotated[Path, AfterValidator(file_at)]
RowsFile = Annotated[Path, AfterValidator(rows_at)]
VersionRef = Annotated[str, AfterValidator(_ref)]
"""`triage:3`, `triage:prod`, or `triage:newest`: the newest version of that name that training published."""


class PromptFiles(Frozen):
    """Where a recipe's prompt is written: text for people to edit, not YAML."""

    system: File | None = None
    shots: RowsFile | None = None
    """Rows of one question and one answer, in any form of `lifecycle/rows/forms.py`."""
    chat_template_kwargs: TemplateKwargs = Field(default_factory=dict)
    """What the base's chat template is told, such as `enable_thinking: false`."""


class KnowledgeRecipe(Frozen):
    """Which index to retrieve from, by its name in the registry or by digest."""

    index: str
    top_k: int = Field(default=3, ge=1, le=50)
    template: Template = Knowledge.model_fields["template"].default
    arabic_template: Template | None = None
    """In place of `template` for a question that is mainly Arabic."""
    stages: tuple[Annotated[str | dict[str, Any], AfterValidator(_stage)], ...] = ()
    """How the index is searched: stages in order, each a name or a mapping with `type` and its settings."""


class Recipe(Frozen):
    """One arm: a version that exists, or the parts of one that the registry will number.

    With `adapter`, what is not written (prompt, each value of decoding) is taken from the version that the adapter
    comes from, because an adapter answers best under the prompt that it was trained with. Decoding that nobody wrote is
    the base's own.
    """

    version: VersionRef | None = None
    adapter: VersionRef | None = None
    prompt: PromptFiles | None = None
    knowledge: KnowledgeRecipe | None = None
    decoding: Decoding | None = None
    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Where this version answers, with /v1, when another service than the evaluation's serves it, as it must whole
    weights and versions over another base (`services.py`)."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Recipe:
        parts = [key for key in ("adapter", "prompt", "knowledge", "decoding") if getattr(self, key) is not None]
        if self.version and parts:
            raise ValueError(f"a version is whole: take out {', '.join(parts)}, or write adapter: {self.version}")
        if self.endpoint and not self.version:
            raise ValueError("an endpoint of its own is for a version that exists: name it by version")
        return self


def read_prompt(files: PromptFiles | None) -> Prompt:
    """The texts that `files` name. Raises `InvalidConfig` with every bad line of the shots, as file:line."""
    return prompt_files.read_prompt(files.system, files.shots, files.chat_template_kwargs) if files else Prompt()
