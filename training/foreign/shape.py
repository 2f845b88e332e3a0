"""What both trainers say of the base, the adapter, its target modules, and where figures are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.errors import DabtError
from lifecycle.models.base import read_object
from lifecycle.models.peft_config import CONFIG_FILE
from training.foreign.translation import Translation

_TRACKERS = ("tensorboard", "mlflow", "wandb")


def base(to: Translation, key: str) -> None:
    """A folder where there is one, else a hub id, as transformers decides it."""
    named = to.text(key)
    if not named:
        to.refuse(key, "names no base", "write a model folder or a hub id")
    elif to.place(named).is_dir() or named.startswith((".", "/", "~")):
        place = to.path(to.place(named))
        to.set("base", place if place.startswith((".", "/")) else f"./{place}", key)
    else:
        to.set("base", named, key)


def go_on(to: Translation, key: str, named: str, shape: Sequence[str], dropout: str) -> None:
    """The adapter `named` by `key`, which training goes on from: there and here its own shape holds."""
    place = to.place(named)
    if not (place / CONFIG_FILE).is_file():
        to.refuse(key, f"there is no PEFT folder {place}", "download it, or start from the folder by --root")
        return
    to.set("method.adapter", f"./{path}" if not (path := to.path(place)).startswith((".", "/")) else path, key)
    for part in shape:
        to.leave(part, "the adapter that training goes on from has its shape")
    try:
        kept: Any = read_object(place / CONFIG_FILE).get("lora_dropout")
    except DabtError as error:
        to.refuse(key, str(error), "name a folder that PEFT's save_pretrained wrote")
        return
    if isinstance(kept, int | float) and kept:
        to.set("method.dropout", float(kept), dropout, default=f"the adapter's own, as in {to.tool}")
    to.leave(dropout, "the adapter that training goes on from has its own")


def targets(to: Translation, key: str, wanted: Any, *, everything: str) -> None:
    """`all-linear`, which leaves out the output layer there and here, or the names of modules."""
    named = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        to.refuse(key, f"is {wanted!r}, which names no modules", f"write {everything}, or a list of names")
    elif everything in named:
        to.set("method.target_modules", "all-linear", key, why="without the output layer, there and here")
    else:
        to.set("method.target_modules", named, key)


def tracking(to: Translation, asked: Mapping[str, Sequence[Any]]) -> None:
    """Where figures are told, by the key that says so; where nothing here is of that name, it decides nothing."""
    known = {kind: key for key, kinds in asked.items() for kind in kinds if kind in _TRACKERS}
    if known:
        to.set("tracking", list(known), *dict.fromkeys(known.values()))
    for key in asked:
        to.leave(key, "it says where results and logs go")
