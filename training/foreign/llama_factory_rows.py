"""LLaMA-Factory's data sets: names looked up in `dataset_info.json`, and what it takes out of a row.

Each file is read as it reads it and as we do, row by row (`rows.py`); what comes out in another way is a problem.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.foreign.holding_out import hold_out
from training.foreign.rows import Agreement, Theirs, Turns, agreement, hub_rows
from training.foreign.translation import Translation

INFO = "dataset_info.json"
_HUB = "hf_hub_url"
_REMOTE = ("ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_FORM = ("formatting", "ranking", "columns", "tags", "split", "num_samples", "subset", "folder")
_ENTRY = {_HUB, *_REMOTE, "file_name", *_FORM}
_MEDIA = ("images", "videos", "audios")


@dataclass(frozen=True)
class Held:
    """What there is to train on."""

    rows: int
    """About how many are trained on; 0 where that is not known."""
    has_system: bool
    """Whether a row may have a system text of its own."""
    has_tools: bool
    """Whether a row may have tools, which are written in another form there."""


@dataclass(frozen=True)
class Entry:
    """A data set as `dataset_info.json` describes it. What a mapping of columns does not name is not read."""

    raw: Mapping[str, Any]

    @property
    def form(self) -> str:
        return str(self.raw.get("formatting", "alpaca"))

    def column(self, name: str) -> str | None:
        columns = self.raw.get("columns")
        return _COLUMNS.get(name) if columns is None else columns.get(name)

    def tag(self, name: str) -> str | None:
        tags = self.raw.get("tags")
        return _TAGS[name] if tags is None else tags.get(name)

    @property
    def has_system(self) -> bool:
        return self.column("system") is not None or self.form != "alpaca"

    def turns(self, stage: str) -> Theirs:
        """Row → the turns that are learnt from it."""
        if stage == "pt":
            return lambda row: (("text", row[self.column("prompt")]),)
        return self._alpaca if self.form == "alpaca" else self._sharegpt

    def _alpaca(self, row: Mapping[Any, Any]) -> Turns:
        history = self.column("history")
        told = row.get(history) if history else None
        said = told if isinstance(told, list) else []
        asked = [row[name] for name in (self.column("prompt"), self.column("query")) if name and row.get(name)]
        turns = [(role, text) for pair in said for role, text in zip(("user", "assistant"), pair, strict=True)]
        return (*self._system(row), *turns, ("user", "\n".join(asked)), *self._answers(row))

    def _answers(self, row: Mapping[Any, Any]) -> Turns:
        if self.raw.get("ranking"):
            return tuple((name, row[self.column(name)]) for name in ("chosen", "rejected"))
        judged = self.column("kto_tag")
        answer = (("assistant", row[self.column("response")]),)
        return (*answer, ("judged", str(row[judged]))) if judged else answer

    def _system(self, row: Mapping[Any, Any]) -> Turns:
        name = self.column("system")
        text = row.get(name) if name else ""
        return (("system", text),) if text else ()

    def _sharegpt(self, row: Mapping[Any, Any]) -> Turns:
        role, content = self.tag("role_tag"), self.tag("content_tag")
        roles = {
            self.tag("user_tag"): "user",
            self.tag("observation_tag"): "tool",
            self.tag("assistant_tag"): "assistant",
            self.tag("function_tag"): "assistant",
        }
        messages = row[self.column("messages")]
        first = bool(messages) and messages[0][role] == self.tag("system_tag")
        system = (("system", messages[0][content]),) if first else self._system(row)
        said = tuple((roles.get(turn[role], ""), turn[content]) for turn in messages[first:])
        ranking = bool(self.raw.get("ranking"))
        kinds = [("user", "tool"), ("assistant",)]
        if any(who not in kinds[at % 2] for at, (who, _) in enumerate(said)) or len(said) % 2 != ranking:
            return ()  # it is skipped
        if ranking:
            answers = tuple((name, row[self.column(name)][content]) for name in ("chosen", "rejected"))
            return (*system, *said, *answers)
        judged = self.column("kto_tag")
        return (*system, *said, *((("judged", str(row[judged])),) if judged else ()))


def data(to: Translation, method: str) -> Held:
    """Settings of the files to train on and to validate on, and what is wrong with them."""
    info = _info(to)
    stage = to.text("stage", "sft")
    names = _names(to, "dataset")
    if not names:
        to.refuse("dataset", "names no data set", f"write names of {INFO}")
    trained = [(name, *_files(to, name, info, stage)) for name in names]
    files = [(path, name) for name, paths, _, _ in trained for path in paths]
    rows = sum(count for _, _, count, _ in trained)
    _mixture(to, files, names)
    to.leave("dataset", "its files are not known")
    rows = _validation(to, info, stage, rows)
    to.leave("dataset_dir", f"{INFO} and its files are looked up there")
    most = to.whole("max_samples", 0)
    if most and all(count <= most for _, _, count, _ in trained):
        to.leave("max_samples", "no data set has more rows")
    elif most:
        to.lose("max_samples", f"takes the first {most} rows of each data set", "write files of so many rows")
    entries = [entry for _, _, _, entry in trained if entry]
    tools = any(entry.column("tools") for entry in entries)
    return Held(rows, any(entry.has_system for entry in entries), tools)


def _names(to: Translation, key: str) -> list[str]:
    value = to.values.get(key)
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    if value is not None and not parts:
        to.refuse(key, f"is {value!r}, which names no data set", "write names with commas between them")
    return [str(part).strip() for part in parts]


def _info(to: Translation) -> Mapping[str, Any]:
    folder = to.values.get("dataset_dir", "data")
    if folder == "ONLINE":
        folder = {name: {_HUB: name} for key in ("dataset", "eval_dataset") for name in _names(to, key)}
    if isinstance(folder, Mapping):
        return folder
    if not isinstance(folder, str) or folder.startswith("REMOTE:"):
        to.refuse("dataset_dir", f"{folder!r} is no folder here", "download the data and name its folder")
        return {}
    file = to.place(folder) / INFO
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        to.refuse("dataset_dir", f"there is no {file}", "say by --root where LLaMA-Factory is started")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        to.refuse("dataset_dir", f"{file} cannot be read: {error}", "mend the file")
        return {}
    if isinstance(made, dict) and made:
        return made
    to.refuse("dataset_dir", f"{file} describes no data set", "write a mapping of names to what they are")
    return {}


def _files(to: Translation, name: str, info: Mapping[str, Any], stage: str) -> tuple[list[Path], int, Entry | None]:
    """The files of a data set, how many rows they have, and its entry."""
    place = f"dataset.{name}"
    raw = info.get(name)
    if not isinstance(raw, Mapping):
        if info:
            to.refuse(place, f"{INFO} has no {name}", f"it has {', '.join(list(info)[:8])}")
        return [], 0, None
    hub = raw.get(_HUB)
    if not hub and (remote := [key for key in _REMOTE if raw.get(key)]):
        to.refuse(place, f"its {remote[0]} {raw[remote[0]]} is no file here", "download it, and give it a file_name")
        return [], 0, None
    entry = Entry(raw)
    _unread(to, place, entry)
    if bool(raw.get("ranking")) != (stage == "dpo"):
        kind = "pairs of answers" if raw.get("ranking") else "no pairs of answers"
        to.refuse(place, f"holds {kind}, and the stage is {stage}", "name another data set, or another stage")
    paths = _of_hub(to, place, raw) if hub else _local(to, raw)
    read = [agreement(path, entry.turns(stage)) for path in paths]
    if wrong := next((part for part in read if part.fault), None):
        _differs(to, place, wrong)
    return paths, sum(part.rows for part in read), entry


def _local(to: Translation, raw: Mapping[str, Any]) -> list[Path]:
    folder = to.values.get("dataset_dir", "data")
    start = to.place(folder if isinstance(folder, str) else ".") / str(raw.get("file_name", ""))
    return sorted(path for path in start.iterdir() if path.is_file()) if start.is_dir() else [start]


def _of_hub(to: Translation, place: str, raw: Mapping[str, Any]) -> list[Path]:
    """The data set by its name, which comes before a file there too."""
    if raw.get("folder"):
        to.refuse(f"{place}.folder", "takes a folder of the data set", "name its config or split, or download it")
        return []
    rows = hub_rows(str(raw[_HUB]), config=raw.get("subset"), split=raw.get("split"))
    if rows is None:
        fault = f"{raw[_HUB]}, with its subset and split, is no name of rows on a hub"
        to.refuse(place, fault, "name the data set as org/name, and a whole split of it; or download it")
    return [] if rows is None else [rows]


def _unread(to: Translation, place: str, entry: Entry) -> None:
    """What an entry says that is no form of rows."""
    if entry.form not in ("alpaca", "sharegpt"):
        more = ": LLaMA-Factory adds a system text of its own to each row" * (entry.form == "openai")
        to.lose(f"{place}.formatting", f"{entry.form}{more}", "write alpaca or sharegpt")
    for key in entry.raw:
        if key not in _ENTRY:
            to.lose(f"{place}.{key}", "is no key that is known of a data set")
    if entry.raw.get("num_samples"):
        to.lose(f"{place}.num_samples", "takes so many rows by chance", "write a file of them")
    if not entry.raw.get(_HUB) and entry.raw.get("split", "train") != "train":
        to.lose(f"{place}.split", "takes a part of the file", "write a file of it")
    for name in _MEDIA:
        if entry.column(name):
            to.lose(f"{place}.columns.{name}", "texts alone are trained here")


def _differs(to: Translation, place: str, read: Agreement) -> None:
    if read.rows:
        to.lose(place, read.fault, read.cure)
    else:
        to.refuse(place, read.fault, read.cure)


def _mixture(to: Translation, files: list[tuple[Path, str]], names: list[str]) -> None:
    if not files:
        return
    how = to.text("mix_strategy", "concat")
    paths: list[Any] = [to.path(path) for path, _ in files]
    keys = ["dataset"]
    if how == "interleave_under" and len(names) > 1:
        weights = _weights(to, names)
        of = dict(zip(names, weights, strict=True))
        many = Counter(name for _, name in files)
        paths = [
            {"path": path, "weight": round(of[name] / many[name], 6)}
            for path, (_, name) in zip(paths, files, strict=True)
        ]
        keys += ["mix_strategy", "interleave_probs"]
        to.notes.append(
            "weights are shares of an epoch; rows that one leaves over come in the next, there they never come"
        )
    elif how != "concat" and len(names) > 1:
        to.lose(
            "mix_strategy", f"{how} repeats rows until all files are seen through", "write concat or interleave_under"
        )
    else:
        to.leave("mix_strategy", "the files are put together")
    to.set("data.train", paths[0] if len(paths) == 1 and isinstance(paths[0], str) else paths, *keys)


def _weights(to: Translation, names: list[str]) -> list[float]:
    given = to.values.get("interleave_probs")
    parts = given.split(",") if isinstance(given, str) else given
    equal = [round(1 / len(names), 6)] * len(names)
    if parts is None:
        return equal
    try:
        made = [float(part) for part in parts]
        if len(made) == len(names):
            return made
    except (TypeError, ValueError):
        pass
    to.refuse("interleave_probs", f"is {given!r}, and there are {len(names)} data sets", "write a share for each")
    return equal


def _validation(to: Translation, info: Mapping[str, Any], stage: str, rows: int) -> int:
    """The rows that are left to train on."""
    if names := _names(to, "eval_dataset"):
        files = [path for name in names for path in _files(to, name, info, stage)[0]]
        if len(files) == 1:
            to.set("data.validation", to.path(files[0]), "eval_dataset")
        else:
            to.refuse("eval_dataset", f"names {len(files)} files, and here one validates", "put them into one file")
        to.leave("val_size", "eval_dataset decides")
        return rows
    size = to.number("val_size", 0.0)
    return hold_out(to, "val_size", size, rows)
