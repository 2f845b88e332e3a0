"""The folder of a base on the machine that asks, whatever it was named by."""

from __future__ import annotations

from lifecycle.home import Home
from lifecycle.manifests import WeightsManifest
from lifecycle.models.base import name_of, resolve_base
from lifecycle.models.templates import with_template
from service.config import ServeConfig
from service.whole_weights import stored_weights


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
