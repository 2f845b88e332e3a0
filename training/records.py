"""What a run leaves on the disk: the record of a whole one, and what was trained before that."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifecycle.errors import DabtError
from lifecycle.manifests import Golden, Spent
from lifecycle.store.artifacts import digest_of_folder
from lifecycle.version import ArtifactKind, Digest, Frozen

_RECORD = "run.json"
_TRAINED = "trained.json"


class SavedArtifact(Frozen):
    """What training left, written as soon as it lies on the disk: what comes after may fail and be done again."""

    digest: Digest
    metrics: dict[str, float]
    notes: tuple[str, ...] = ()
    spent: Spent | None = None


class RunRecord(Frozen):
    """What a whole run left. Written last."""

    run: str
    kind: ArtifactKind
    artifact: Digest
    """Of the folder beside it that is called as its kind is."""
    base: Digest
    base_name: str
    data_digest: Digest
    code_revision: str
    config: dict[str, Any]
    system: str
    """The system text, as trained."""
    metrics: dict[str, float]
    spent: Spent | None = None
    notes: tuple[str, ...] = ()
    """What a person should know before trusting the result."""
    started_from: str = ""
    """The digest of the adapter that training went on from."""
    golden: Golden
    finished_at: datetime


def lock_of(run: Path) -> Path:
    """The file whose lock the maker of the run in this folder has. Its folder is there afterwards."""
    run.parent.mkdir(parents=True, exist_ok=True)
    return run.with_name(f".{run.name}.lock")


def keep_record(record: RunRecord, folder: Path) -> None:
    """In the run's folder, in place of what was trained."""
    _write(folder / _RECORD, record)
    (folder / _TRAINED).unlink(missing_ok=True)


def keep_artifact(saved: SavedArtifact, folder: Path) -> None:
    """In the run's folder, beside the artifact."""
    _write(folder / _TRAINED, saved)


def whole_run(folder: Path) -> RunRecord | None:
    """The record of a run that ended, if what it left still has the recorded bytes."""
    with suppress(OSError, ValidationError, DabtError):
        record = RunRecord.model_validate_json((folder / _RECORD).read_text(encoding="utf-8"))
        if digest_of_folder(folder / record.kind) == record.artifact:
            return record
    return None


def saved_artifact(artifact: Path) -> SavedArtifact | None:
    """What a run that was cut short afterwards had trained, if it still has the recorded bytes."""
    with suppress(OSError, ValidationError, DabtError):
        saved = SavedArtifact.model_validate_json((artifact.parent / _TRAINED).read_text(encoding="utf-8"))
        if digest_of_folder(artifact) == saved.digest:
            return saved
    return None


def was_trained(folder: Path) -> bool:
    """Whether a run in `folder` had come to the end of its training, whatever was left to do."""
    return (folder / _TRAINED).is_file()


def _write(path: Path, record: Frozen) -> None:
    """All of it or nothing: a reader never sees half a record."""
    part = path.with_suffix(".part")
    part.write_text(record.model_dump_json(indent=2), encoding="utf-8")
    part.replace(path)


def code_revision() -> str:
    """The commit of this code, `+changes` when files under it differ; empty when it is no git checkout."""
    here = Path(__file__).resolve().parent
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", "."], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
