"""The adapter that training goes on from: a version of the registry, or a PEFT folder."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lifecycle.artifact_kinds import ARTIFACT_KINDS
from lifecycle.errors import DabtError, InvalidConfig, Problem
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.publishing import Shelf
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest

_PLACE = "method.adapter"
_DIGEST = "sha256:"


@dataclass(frozen=True)
class Start:
    """An adapter. `name` is what people call it: `triage:3`, or the folder's own name."""

    name: str
    digest: Digest
    folder: Path
    """In the artifact store."""


def find(wanted: str, folder: Path, shelf: Shelf) -> Start:
    """`wanted` is a folder (relative to the configuration's `folder`), a version, or a digest.

    Raises `InvalidConfig` where there is no such adapter.
    """
    local = folder / Path(wanted).expanduser()
    if local.is_dir() or wanted.startswith((".", "/", "~")):
        return _of_folder(local, shelf.store)
    try:
        if wanted.startswith(_DIGEST):
            return Start(wanted, wanted, shelf.store.get(wanted))
        version = shelf.registry.version(wanted)
        if version.spec.adapter is None:
            problem = Problem(_PLACE, f"{version.ref} has no adapter", "name a version that has one")
            raise InvalidConfig("there is nothing to go on from", [problem])
        return Start(version.ref, version.spec.adapter, shelf.store.get(version.spec.adapter))
    except InvalidConfig:
        raise
    except DabtError as error:
        cure = "name a version such as triage:3, or a PEFT folder, relative to the configuration's folder"
        raise InvalidConfig(f"{wanted} is no adapter here", [Problem(_PLACE, str(error), cure)]) from error


def _of_folder(folder: Path, store: ArtifactStore) -> Start:
    """Kept in the store, so that the run can be repeated when the folder is gone."""
    folder = folder.resolve()
    if not (folder / CONFIG_FILE).is_file():
        problem = Problem(_PLACE, f"{folder} has no {CONFIG_FILE}", "name a folder that PEFT's save_pretrained wrote")
        raise InvalidConfig("there is nothing to go on from", [problem])
    with tempfile.TemporaryDirectory(prefix="dabt-start-") as scratch:
        for file in ARTIFACT_KINDS["adapter"].files(folder):
            shutil.copyfile(file, Path(scratch) / file.name)
        digest = store.put(Path(scratch))
    return Start(folder.name, digest, store.get(digest))
