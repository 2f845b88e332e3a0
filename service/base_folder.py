"""The folder of a base on the machine that asks, whatever it was named by."""

from __future__ import annotations

from collections.abc import Sequence

from lifecycle.errors import InvalidConfig, InvalidInput, NotAllowed, NotFound, Problem
from lifecycle.home import Home
from lifecycle.manifests import WeightsManifest
from lifecycle.models.base import name_of, resolve_base
from lifecycle.models.templates import with_template
from service.config import ServeConfig
from service.served_bases import AskedBase
from service.whole_weights import stored_weights


def with_bases(asked: Sequence[AskedBase], home: Home) -> list[tuple[ServeConfig, WeightsManifest | None]]:
    """`with_base` of each. Raises `InvalidConfig` with every one that cannot be a base, so that all are put right at
    once, and what has to do with the moment (`Corrupt`, `Unavailable`) as it comes.
    """
    found: list[tuple[ServeConfig, WeightsManifest | None]] = []
    problems: list[Problem] = []
    for each in asked:
        try:
            found.append(with_base(each.config, each.base, home, each.chat_template))
        except (InvalidInput, NotAllowed, NotFound) as error:
            if len(asked) == 1:
                raise
            own = error.problems if isinstance(error, InvalidInput) else ()
            problems += own or [Problem("base", str(error))]
    if problems:
        raise InvalidConfig("These cannot be served beside each other:", problems)
    return found


def with_base(
    config: ServeConfig, base: str, home: Home, chat_template: str = ""
) -> tuple[ServeConfig, WeightsManifest | None]:
    """`config` with the folder, and what is known of it where it is whole weights of the store.

    `chat_template` takes the place of the base's own, which makes another base of it. Raises what `resolve_base`,
    `stored_weights` and `with_template` raise.
    """
    stored = stored_weights(base, home)
    folder = resolve_base(base) if stored is None else stored.folder
    name = config.base_name or ("" if stored is None else stored.name)
    if chat_template:
        name = name or name_of(folder)
        folder = with_template(folder, chat_template, home.cache / "bases")
    return config.model_copy(update={"base": folder, "base_name": name}), None if stored is None else stored.manifest
