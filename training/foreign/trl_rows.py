"""TRL's data sets: which files `dataset_name` and `datasets` mean, and what its trainers take out of a row.

Read in the sources of 1.16 (`scripts/`, `trainer/sft_trainer.py`, `data_utils.py`). Each file is read as it reads it,
and as we do, row by row (`rows.py`); what comes out in another way is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.conversation import Conversation
from lifecycle.errors import DabtError
from lifecycle.rows.files import Reading
from lifecycle.rows.kinds import Preference, Row
from training.foreign.holding_out import hold_out
from training.foreign.rows import Turns, agreement, hub_rows
from training.foreign.translation import Translation

_BUILDERS = ("json", "csv", "parquet", "text")
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz")
_WORDS = {"train": "train|training", "validation": "validation|valid|dev|val", "test": "test|testing|eval|evaluation"}
"""Words in the names of a folder's files by which the library `datasets` tells its splits."""
_MIXED = ("path", "name", "data_dir", "data_files", "split", "columns", "fraction")


@dataclass(frozen=True)
class Found:
    """A file, or a hub's data set by its name, and the keys that mean it."""

    path: Path
    place: str
    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()
    """Those that are taken; all where there are none."""
    fraction: float | None = None


@dataclass(frozen=True)
class Rows:
    """What there is to train on."""

    train: tuple[Found, ...]
    method: str
    """sft, dpo or text: the rows say which of TRL's commands takes them."""
    in_turns: bool
    """Whether a row holds turns; texts are trained there without a chat template."""
    has_prompt: bool
    """Whether questions stand apart from answers, and are not learnt without a word of the file."""


def look(to: Translation, raw: Mapping[str, Any]) -> Rows:
    """The files, and what the first of their rows is."""
    found = _mixture(to, raw["datasets"]) if raw.get("datasets") else _named(to, "dataset_train_split", "train")
    row, value = _first(found[0].path) if found else (None, None)
    if row is None:  # why there is none is told where the rows are compared
        return Rows(found, "sft", True, False)
    method = "dpo" if isinstance(row, Preference) else "sft" if isinstance(row, Conversation) else "text"
    texts = not isinstance(value, dict) or isinstance(value.get("prompt", value.get("chosen", [])), str)
    return Rows(found, method, not texts, isinstance(value, dict) and "prompt" in value)


def _first(path: Path) -> tuple[Row | None, Any]:
    """The first row that can be read, and as it is written."""
    try:
        return next(((row, record.value) for row, record in Reading(path).records()), (None, None))
    except DabtError:
        return None, None


def data(to: Translation, raw: Mapping[str, Any], rows: Rows) -> int:
    """Settings of the files to train on and to validate on; about how many rows are trained on."""
    many = [_compared(to, one) for one in rows.train]
    count = sum(many)
    keys = tuple(dict.fromkeys(key for one in rows.train for key in one.keys))
    paths: list[Any] = [to.path(one.path) for one in rows.train]
    if any(one.fraction is not None for one in rows.train):
        means = "the first rows of each file are taken, and here an epoch goes on where the last one stopped"
        taken = [to.lose(f"{one.place}.fraction", means) for one in rows.train if one.fraction is not None]
        if all(taken):
            pairs = zip(paths, rows.train, strict=True)
            paths = [{"path": path, "weight": float(one.fraction or 0)} for path, one in pairs]
    if paths and all(many):
        to.set("data.train", paths[0] if len(paths) == 1 and isinstance(paths[0], str) else paths, *keys)
    to.leave("dataset_name", "datasets decides, as it does there" if raw.get("datasets") else "its files are not known")
    if raw.get("datasets"):
        for key in [key for key in to.values if key.startswith("datasets[") and key.partition("].")[2] in _MIXED]:
            to.leave(key, "it names files that are not taken")
        for key in ("dataset_train_split", "dataset_test_split", "dataset_config"):
            to.leave(key, "it is of dataset_name")
        return hold_out(to, "test_split_size", to.number("test_split_size", 0.0), count)
    for key in ("dataset_train_split", "dataset_config"):
        to.leave(key, "its files are not known")
    to.leave("test_split_size", "it is of datasets")
    if to.text("eval_strategy", "no") != "no":
        tested = _named(to, "dataset_test_split", "test")
        if len(tested) == 1:
            if _compared(to, tested[0]):
                told = "TRL's default split, test"
                to.set("data.validation", to.path(tested[0].path), "dataset_test_split", default=told)
            to.leave("dataset_test_split", "it is not known")
            return count
        if tested:
            to.refuse("dataset_test_split", f"is {len(tested)} files, and here one validates", "put them into one file")
        return count
    to.leave("dataset_test_split", "eval_strategy asks for no validation")
    return hold_out(to, "dataset_test_split", 0.0, count)


def _compared(to: Translation, one: Found) -> int:
    read = agreement(one.path, lambda row: _turns(row, one.columns))
    if read.fault and not read.rows:
        to.refuse(one.place, read.fault, read.cure)
    elif read.fault:
        to.lose(one.place, read.fault, read.cure)
    return read.rows


def _turns(row: Mapping[Any, Any], columns: tuple[str, ...]) -> Turns:
    """What a trainer takes: roles stay as they are written, and other columns are left out."""
    row = {key: row[key] for key in columns} if columns else row
    if "chosen" in row:
        asked = _said(row["prompt"], "user") if "prompt" in row else ()
        answers = [_said(row[which], "assistant") for which in ("chosen", "rejected")]
        if "prompt" not in row:
            shared = next(at for at, pair in enumerate(zip(*answers, strict=False)) if pair[0] != pair[1])
            asked, answers = answers[0][:shared], [answer[shared:] for answer in answers]
        told = zip(("chosen", "rejected"), answers, strict=True)
        return (*asked, *((which, text) for which, said in told for _, text in said))
    if "prompt" in row:
        return (*_said(row["prompt"], "user"), *_said(row["completion"], "assistant"))
    if "text" in row:
        return (("text", row["text"]),)
    return _said(row["messages"] if "messages" in row else row["conversations"], "")


def _said(value: Any, role: str) -> Turns:
    if isinstance(value, str):
        return ((role, value),)
    return tuple((turn.get("role", turn.get("from")), turn.get("content", turn.get("value")) or "") for turn in value)


# -- which files are meant --------------------------------------------------------------------------------------------


def _named(to: Translation, key: str, default: str) -> tuple[Found, ...]:
    """The files of one split of `dataset_name`: a folder, or a hub's data set."""
    name, split, config = to.text("dataset_name"), to.text(key, default), to.text("dataset_config")
    keys = ("dataset_name", "dataset_config", key)
    if not name:
        to.refuse("dataset_name", "is missing", "name a folder or a hub's data set, as the command line does there")
        return ()
    start = to.place(name)
    if start.is_file():
        return (Found(start, "dataset_name", keys),)
    if start.is_dir():
        if config:
            to.lose("dataset_config", "names a part of the folder", "name the folder of that part")
        found = tuple(Found(path, "dataset_name", keys) for path in _of_split(start, split))
        if not found:
            files = ", ".join(sorted(path.name for path in start.iterdir())[:6]) or "nothing"
            to.refuse(key, f"no file of {start} is of the split {split}: it holds {files}", f"write {key}: SPLIT")
        return found
    rows = hub_rows(name, config=config or None, split=split)
    if rows is None or name.startswith((".", "/", "~")):
        fault = f"there is no folder {start}, and of hubs whole splits alone are fetched, by org/name"
        to.refuse("dataset_name", fault, "download it and name its folder, or say by --root where TRL is started")
        return ()
    return (Found(rows, "dataset_name", keys),)


def _of_split(folder: Path, split: str) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in _SUFFIXES)

    def of(words: str) -> list[Path]:
        pattern = re.compile(rf"(^|[/ ._0-9-])({words})([/ ._0-9-]|$)")
        return [path for path in files if pattern.search(path.relative_to(folder).as_posix())]

    if any(map(of, _WORDS.values())):
        return of(_WORDS.get(split, re.escape(split)))
    return files if split == "train" else []


def _mixture(to: Translation, sets: Any) -> tuple[Found, ...]:
    if not isinstance(sets, list):
        to.refuse("datasets", f"is {sets!r:.60}, which is no list", "write datasets: [{path: …}]")
        return ()
    found: list[Found] = []
    for at, described in enumerate(sets):
        place = f"datasets[{at}]"
        if not isinstance(described, Mapping) or not isinstance(described.get("path"), str):
            to.refuse(place, "names no data set", "write {path: …}")
            continue
        keys = tuple(key for key in to.values if key.startswith(f"{place}.") and key.partition("].")[2] in _MIXED)
        columns, share = described.get("columns"), described.get("fraction")
        told = tuple(map(str, columns)) if isinstance(columns, list) else ()
        if share is not None:
            share = to.number(f"{place}.fraction", 1.0)
        keys = tuple(key for key in keys if share is None or key != f"{place}.fraction")
        found += [Found(path, place, keys, told, share) for path in _paths(to, place, described)]
    return tuple(found)


def _paths(to: Translation, place: str, described: Mapping[str, Any]) -> list[Path]:
    named, inside, folder = (described.get(key) for key in ("path", "data_files", "data_dir"))
    split = described.get("split") or "train"
    if isinstance(inside, Mapping):
        inside = inside.get(split)
    parts = [inside] if isinstance(inside, str) else inside
    start = to.place(str(named))
    if named in _BUILDERS and not start.is_dir():
        if isinstance(parts, list):
            return [to.place(str(part)) for part in parts]
        if isinstance(folder, str):
            return _of_split(to.place(folder), str(split))
        to.refuse(f"{place}.data_files", "names no file", "write data_files: FILE")
        return []
    if start.is_dir():
        start = start / str(folder) if folder else start
        return [start / str(part) for part in parts] if isinstance(parts, list) else _of_split(start, str(split))
    rows = None if inside or folder else hub_rows(str(named), config=described.get("name"), split=split)
    if rows is None:
        fault = f"there is no folder {start}, and of hubs whole splits alone are fetched, by org/name"
        to.refuse(f"{place}.path", fault, "download it and name its folder, or say by --root where TRL is started")
    return [] if rows is None else [rows]
