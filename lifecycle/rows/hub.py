"""Rows of a data set on a hub, by its name: which files hold the split that is meant, fetched once and pinned.

    org/name    org/name:test    org/name:config:test    org/name@revision:test

The files are read as they are, by the reader that reads every other file (`files.py`): the library `datasets` says
which of them are the split's, and does not load them, because it would cast their values.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO

from lifecycle.errors import DabtError, InvalidConfig, InvalidInput, NotFound, Problem, Unavailable
from lifecycle.home import Home
from lifecycle.rows.faults import Told, Unreadable, nothing_done
from lifecycle.rows.records import records
from lifecycle.rows.sources import source
from lifecycle.rows.writing import json_line, replaced

_NAME = re.compile(
    r"(?P<hub>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?"
    r"(:(?P<config>[\w.-]+)(?=:))?(:(?P<split>[\w.-]+))?"
)
_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".gz", ".yaml", ".yml", ".txt")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CARD = "README.md"
_PATIENCE = 30.0
"""Seconds that the hub may take to say what it has; the bytes of a file have HF_HUB_DOWNLOAD_TIMEOUT."""


@dataclass(frozen=True)
class HubRows:
    """A split of a data set. What is empty is the hub's own: its main branch, its only config, `train`."""

    hub: str
    revision: str = ""
    config: str = ""
    split: str = ""

    def __str__(self) -> str:
        """As it is written where a path could stand."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.hub}{at}" + "".join(f":{part}" for part in (self.config, self.split) if part)


def named(text: str | Path) -> HubRows | None:
    """What a name means that is no file's. None for what is written like a file's."""
    told = _NAME.fullmatch(str(text))
    if told is None or told["hub"].lower().endswith(_FILES) or Path(text).exists():
        return None
    return HubRows(**{key: value or "" for key, value in told.groupdict().items()})


def file_of(path: Path) -> Path:
    """The file itself, or the one that holds the rows of the data set that is named in its place.

    Raises as `fetched` does, and `InvalidData` for the files of a split that cannot be put together.
    """
    rows = named(path)
    return path if rows is None else fetched(rows)[1]


def pinned(path: Path) -> Path:
    """The name with the commit and the split that it stands for now; a file is itself. Raises as `fetched` does."""
    rows = named(path)
    return path if rows is None else Path(str(fetched(rows)[0]))


def fetched(rows: HubRows) -> tuple[HubRows, Path]:
    """The same pinned to a commit and a split, and the file that holds it; what is here already stays here.

    A process asks the hub once for each name, so that all of a run has one commit. Without a hub at hand, what it said
    last is taken. Raises `NotFound` for a data set, revision, config or split that is not there or not to be seen,
    `InvalidInput` where the disk has no room for it, and `Unavailable` without a hub for what was never fetched.
    """
    return _fetched(rows, Home.at().cache / "hub")


@cache
def _fetched(rows: HubRows, folder: Path) -> tuple[HubRows, Path]:
    known = _known(rows, folder)
    if known is not None and _COMMIT.fullmatch(rows.revision):
        return known
    try:
        with _told(rows):
            return _fetch(rows, folder)
    except Unavailable:
        if known is not None:
            return known
        raise


def _fetch(rows: HubRows, folder: Path) -> tuple[HubRows, Path]:
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi().dataset_info(rows.hub, revision=rows.revision or None, files_metadata=True, timeout=_PATIENCE)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}

    def download(name: str) -> Path:
        return Path(hf_hub_download(rows.hub, name, repo_type="dataset", revision=info.sha, etag_timeout=_PATIENCE))

    card = download(_CARD) if _CARD in sizes else None
    split, names = _split_files(rows, sizes, card)
    _require_room(rows, sum(sizes[name] for name in names))
    files = [download(name) for name in names]
    exact = replace(rows, revision=info.sha or "", split=split)
    file = files[0] if len(files) == 1 else _joined(exact, files, folder)
    for asked in {rows, exact}:
        kept = {"revision": exact.revision, "split": split, "file": str(file)}
        with _written(_record(asked, folder)) as out:
            out.write(json.dumps(kept).encode())
    return exact, file


def _require_room(rows: HubRows, wanted: int) -> None:
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    if wanted > (free := shutil.disk_usage(there).free):
        says = f"{rows} has {wanted:,} bytes, and {place} has room for {free:,}"
        problem = Problem(str(rows), says, "make room, or let HF_HOME name a larger disk")
        raise InvalidInput("nothing was fetched", [problem])


def _joined(rows: HubRows, files: Sequence[Path], folder: Path) -> Path:
    """The files of one split as one of JSON lines."""
    whole = folder / f"{_spelled(rows)}.jsonl"
    if not whole.is_file():
        with _written(whole) as out:
            for file in files:
                told = Told(str(file))
                try:
                    for record in records(source(file)):
                        if record.fault:
                            told.add(record.fault, record.line)
                        else:
                            out.write(json_line(record.value))
                except Unreadable as wrong:
                    for fault in wrong.faults:
                        told.add(fault)
                if told.count:
                    raise nothing_done(told.lines, str(rows), told)
    return whole


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as out:
        yield out


def _split_files(rows: HubRows, names: Iterable[str], card: Path | None) -> tuple[str, list[str]]:
    """The split that is meant, and its files' names in the repository.

    `datasets` finds them by the card and by the names; it gets empty files of these names.
    """
    from datasets import load_dataset_builder
    from yaml import YAMLError

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for name in names:
            if not name.startswith(".") and (folder / name).resolve().is_relative_to(folder):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(card.read_bytes() if card and name == _CARD else b"")
        try:
            builder = load_dataset_builder(str(folder), rows.config or None, cache_dir=str(folder / ".cache"))
        except (ValueError, OSError, YAMLError) as error:  # the last of a card that is none
            says = " ".join(str(error).replace(str(folder), rows.hub).splitlines()[:2])[:300]
            cure = f"write {rows.hub}:CONFIG:SPLIT" if "onfig" in says else "name a data set of JSON, CSV or Parquet"
            raise NotFound(f"{rows} cannot be used: {says}; {cure}") from error
        splits = {str(split): files for split, files in (builder.config.data_files or {}).items()}
        split = rows.split or ("train" if "train" in splits or len(splits) != 1 else next(iter(splits)))
        if split not in splits:
            there = ", ".join(f"{rows.hub}:{f'{rows.config}:' * bool(rows.config)}{name}" for name in splits)
            raise NotFound(f"{rows.hub} has no split {split}; write one of {there}")
        wanted = [Path(file).resolve() for file in splits[split]]
        if outside := [str(file) for file in wanted if not file.is_relative_to(folder)]:
            raise NotFound(f"{rows} cannot be used: its card names {outside[0]}, which is no file of it")
        return split, [str(file.relative_to(folder)) for file in wanted]


def _spelled(rows: HubRows) -> str:
    """As a file's name."""
    return re.sub(r"[^A-Za-z0-9_.@-]", "--", str(rows))


def _record(rows: HubRows, folder: Path) -> Path:
    """Where it is written which file holds these rows."""
    return folder / f"{_spelled(rows)}.json"


def _known(rows: HubRows, folder: Path) -> tuple[HubRows, Path] | None:
    """What was fetched before, if it is still here."""
    try:
        kept = json.loads(_record(rows, folder).read_text(encoding="utf-8"))
        exact, file = replace(rows, revision=kept["revision"], split=kept["split"]), Path(kept["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (exact, file) if file.is_file() else None


@contextmanager
def _told(rows: HubRows) -> Iterator[None]:
    """The hub's errors as ours."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise NotFound(f"{rows.hub} is gated on the hub: accept its terms there and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        cure = "look at its spelling, or set HF_TOKEN where it is private"
        raise NotFound(f"there is no file {rows} and no data set {rows.hub} on the hub; {cure}") from error
    except RevisionNotFoundError as error:
        raise NotFound(f"{rows.hub} has no revision {rows.revision} on the hub") from error
    except HFValidationError as error:
        raise InvalidConfig(
            "no rows can be read", [Problem(str(rows), f"is no name of a data set: {error}")]
        ) from error
    except OSError as error:  # also what the hub raises where it is not reached
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = Problem(str(rows), "the disk is full", "make room, or let HF_HOME name a larger disk")
            raise InvalidInput("it was not fetched to its end; what is there is gone on with", [problem]) from error
        raise _unavailable(rows, error) from error
    except (EntryNotFoundError, RevisionResolutionError) as error:
        raise _unavailable(rows, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in {"httpx", "httpx2", "httpcore", "requests"}:
            raise _unavailable(rows, error) from error
        raise


def _unavailable(rows: HubRows, error: Exception) -> DabtError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return NotFound(f"the hub does not let you see {rows.hub} ({status}): set HF_TOKEN to a token that may read it")
    why = f"the hub answers {status}" if status else "the hub cannot be reached, or broke off"
    cure = "try again: what is there already is gone on with; or name a file (HF_HUB_OFFLINE forbids to ask the hub)"
    return Unavailable(f"there is no file {rows}, and its rows cannot be fetched: {why}; {cure}")
