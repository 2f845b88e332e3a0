"""Axolotl's data sets: their files, and what it takes out of a row.

Each file is read as it reads it and as we do, row by row (`rows.py`); what comes out in another way is a problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.foreign.holding_out import hold_out
from training.foreign.rows import Theirs, Turns, agreement, hub_rows
from training.foreign.translation import Translation

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}
_IDLE = {
    "ds_type": "what a file is, is told by its first bytes",
    "trust_remote_code": "no code of a data set is run",
    "preprocess_shards": "it changes speed and memory alone",
    "revision": "it is of a hub, and this is a file",
}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "split": ("train",),
    "chat_template": ("tokenizer_default",),
    "roles_to_train": (["assistant"], ["gpt"], ["gpt", "assistant"], ["assistant", "gpt"]),
    "train_on_eos": ("turn",),
    "train_on_eot": ("turn",),
    "drop_system_message": (False,),
    "split_thinking": (False,),
    "field_tools": ("tools",),
    "field_thinking": ("reasoning_content",),
    "shards": (1,),
}
"""Values that ask for what is done here."""
_MEANS = {
    "split": "takes a part of the file",
    "name": "names a part of a hub's data set",
    "shards": "takes a part of the file",
    "shards_idx": "takes a part of the file",
    "chat_template": "gives these rows a template of their own",
    "chat_template_jinja": "gives these rows a template of their own",
    "roles_to_train": "learns the turns of other roles than the assistant's",
    "train_on_eos": "learns other ends of turns than the end of each answer",
    "train_on_eot": "learns other ends of turns than the end of each answer",
    "message_field_training": "says in each turn whether it is learnt; here weight 0 does",
    "message_field_training_detail": "says which parts of a turn are learnt",
    "drop_system_message": "leaves the rows' system texts out",
    "split_thinking": "takes reasoning out of answers",
    "field_tools": "names another column for tools",
    "field_thinking": "names another column for reasoning",
    "template_thinking_key": "names another key for reasoning",
}
_HUB_PARTS = {"config": "name", "revision": "revision", "split": "split"}
"""What says which rows of a hub's data set are meant: all of it is in their name here."""
_MAPPING = ("field_messages", "message_property_mappings", "roles", "field_chosen", "field_rejected", "field")
_LEGACY = {"message_field_role": "role", "message_field_content": "content"}
_CHAT = ("chat_template",)
_PAIRS = ("chat_template.default", "chat_template.argilla_chat")
_TEXTS = ("completion",)


def is_completion(raw: Mapping[str, Any]) -> bool:
    """Whether all data sets are plain texts."""
    sets = raw.get("datasets")
    return (
        isinstance(sets, list)
        and bool(sets)
        and all(isinstance(one, Mapping) and one.get("type") in _TEXTS for one in sets)
    )


def data(to: Translation, raw: Mapping[str, Any], method: str) -> int:
    """Settings of the files to train on and to validate on; about how many rows are trained on."""
    files, rows, keys = _files(to, raw, "datasets", method)
    if files:
        paths = [to.path(path) for path in files]
        to.set("data.train", paths[0] if len(paths) == 1 else paths, *keys)
    if raw.get("test_datasets"):
        tested, _, more = _files(to, raw, "test_datasets", method)
        keys += more
        if len(tested) == 1:
            to.set("data.validation", to.path(tested[0]), *more)
        elif tested:
            to.refuse("test_datasets", f"names {len(tested)} files, and here one validates", "put them into one file")
        to.leave("val_set_size", "test_datasets decides")
    else:
        rows = hold_out(to, "val_set_size", to.number("val_set_size", 0.0), rows)
    for key in keys:
        to.leave(key, "it names files that are not taken")
    return rows


def _files(to: Translation, raw: Mapping[str, Any], key: str, method: str) -> tuple[list[Path], int, list[str]]:
    """The files of a list of data sets, how many rows they have, and the keys that name them."""
    sets = raw.get(key)
    if not isinstance(sets, list) or not sets:
        to.refuse(key, "names no data set", f"write {key}: [{{path: FILE, type: chat_template}}]")
        return [], 0, []
    files: list[Path] = []
    keys: list[str] = []
    rows = 0
    for at, described in enumerate(sets):
        place = f"{key}[{at}]"
        if not isinstance(described, Mapping):
            to.refuse(place, f"is {described!r}, which is no mapping", "write {path: FILE, type: chat_template}")
            continue
        found = _paths(to, place, described)
        theirs = _kind(to, place, described, method)
        is_hubs = any(not path.is_absolute() for path in found)
        of_hub = [f"{place}.{name}" for name in _HUB_PARTS.values() if is_hubs]
        _settings(to, place, described, of_hub)
        for path in found:
            read = agreement(path, theirs or (lambda row: ()))
            rows += read.rows
            if read.fault and not read.rows:
                to.refuse(f"{place}.path", read.fault, read.cure)
            elif read.fault and theirs:
                to.lose(place, read.fault, read.cure)
        files += found
        named = (f"{place}.path", f"{place}.data_files")
        keys += [name for name in to.values if name.startswith(named) or name in of_hub]
    return files, rows, keys


def _paths(to: Translation, place: str, described: Mapping[str, Any]) -> list[Path]:
    named, inside = described.get("path"), described.get("data_files")
    if not isinstance(named, str):
        to.refuse(f"{place}.path", "names no file", "write the path of a file of rows")
        return []
    parts = [inside] if isinstance(inside, str) else inside
    start = to.place(named)
    if start.is_file():
        return [start]
    if named in ("json", "csv", "parquet", "text") and isinstance(parts, list):
        return [to.place(str(part)) for part in parts]
    if start.is_dir():
        inside_it = sorted(path for path in start.iterdir() if path.is_file())
        return [start / str(part) for part in parts] if isinstance(parts, list) else inside_it
    rows = None if inside else hub_rows(named, **{ours: described.get(key) for ours, key in _HUB_PARTS.items()})
    if rows is None:
        fault = f"there is no file {start}, and of hubs whole splits alone are fetched, by org/name"
        to.refuse(f"{place}.path", fault, "download it and name the file, or say by --root where Axolotl is started")
    return [] if rows is None else [rows]


def _kind(to: Translation, place: str, described: Mapping[str, Any], method: str) -> Theirs | None:
    """What is taken out of a row, where Axolotl renders it by a chat template or not at all."""
    kind = described.get("type")
    known = {"dpo": _PAIRS, "text": _TEXTS}.get(method, _CHAT)
    if kind in known:
        to.leave(f"{place}.type", "rows are told by their keys")
        return _reader(str(kind), described)
    if kind is None:
        to.refuse(f"{place}.type", "is missing", f"write {known[0]}")
    elif not isinstance(kind, str):
        for name in to.values:
            if name.startswith(f"{place}.type."):
                to.lose(name, "puts rows into a text of its own; here they are rendered by the base's chat template")
    else:
        to.lose(
            f"{place}.type",
            f"{kind} puts rows into a text of its own; here they are rendered by the base's chat template, as it is "
            "served",
            f"write {known[0]}, with the columns that it has",
        )
    return None


def _reader(kind: str, described: Mapping[str, Any]) -> Theirs:
    if kind in _TEXTS:
        return lambda row: (("text", row[described.get("field") or "text"]),)
    given = described.get("message_property_mappings")
    mapping = {"role": "role", "content": "content", **(given if isinstance(given, Mapping) else {})}
    mapping |= {name: described[key] for key, name in _LEGACY.items() if isinstance(described.get(key), str)}
    roles = dict(_roles(described.get("roles"))) or _ROLES

    def turn(message: Mapping[str, Any]) -> tuple[str, str]:
        role = message[mapping["role"]]
        return roles.get(role, role), message.get(mapping["content"]) or ""

    def said(row: Mapping[Any, Any]) -> Turns:
        return tuple(turn(message) for message in row[described.get("field_messages") or "messages"])

    def answer(value: Any) -> str:
        return value if isinstance(value, str) else turn(value if isinstance(value, Mapping) else value[-1])[1]

    def pair(row: Mapping[Any, Any]) -> Turns:
        names = [described.get(f"field_{which}") or which for which in ("chosen", "rejected")]
        whole = kind.endswith("argilla_chat")  # each answer then begins with the prompt
        prompt = tuple(turn(message) for message in row[names[0]][:-1]) if whole else said(row)
        return (*prompt, ("chosen", answer(row[names[0]])), ("rejected", answer(row[names[1]])))

    return pair if kind in _PAIRS else said


def _roles(given: Any) -> Iterator[tuple[str, str]]:
    """Each role of the rows, and what it is mapped to."""
    if isinstance(given, Mapping):
        for role, sources in given.items():
            for source in sources if isinstance(sources, list) else []:
                yield source, role


def _settings(to: Translation, place: str, described: Mapping[str, Any], done: list[str]) -> None:
    """Every key of a data set that is not `done`."""
    for key, value in described.items():
        names = [name for name in to.values if name == f"{place}.{key}" or name.startswith(f"{place}.{key}.")]
        for name in names:
            if name in done:
                continue
            if key in (*_MAPPING, *_LEGACY):
                to.leave(name, "the rows were read by it, and come to the same here")
            elif key in _IDLE:
                to.leave(name, _IDLE[key])
            elif key in _MEANS and value is not None:
                if value in _NEUTRAL.get(key, ()):
                    to.leave(name, "it asks for what is done here")
                else:
                    to.lose(name, _MEANS[key])
