"""Stages from a file, tried on an index before any version has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lifecycle.config_file import load_mapping, validated
from lifecycle.errors import InvalidConfig
from lifecycle.version import Frozen
from retrieval.pipeline import Pipeline
from retrieval.stages.stage import Surroundings
from retrieval.stages.table import declared

if TYPE_CHECKING:
    from retrieval.index import Index


class _File(Frozen):
    stages: tuple[str | dict[str, Any], ...] = Field(min_length=1)


def tried(file: Path, index: Index, base: Path | None) -> Pipeline:
    """Raises `InvalidConfig` with all that is wrong with the file. Folders in it are relative to where one stands."""
    written = validated(_File, load_mapping(file), file).stages
    stages, problems = declared(written, "stages", index.facts.model_dump())
    if problems:
        raise InvalidConfig(f"{file} cannot be used", problems)
    return Pipeline.load(stages, Surroundings(index, base))
