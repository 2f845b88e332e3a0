"""The folder of a base on the node that asks, whatever it was named by."""

from __future__ import annotations

from lifecycle.home import Home
from lifecycle.manifests import WeightsManifest
from lifecycle.models.base import resolve_base
from service.config import ServeConfig
from service.whole_weights import stored_weights


def with_base(config: ServeConfig, base: str, home: Home) -> tuple[ServeConfig, WeightsManifest | None]:
    """`config` with the folder, and what is known of it where it is whole weights of the store.

    Raises what `resolve_base` and `stored_weights` raise.
    """
    stored = stored_weights(base, home)
    if stored is None:
        return config.model_copy(update={"base": resolve_base(base)}), None
    name = config.base_name or stored.name
    return config.model_copy(update={"base": stored.folder, "base_name": name}), stored.manifest
