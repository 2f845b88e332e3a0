"""Whole weights by their version: `dabt serve --base triage:3` finds their folder in the store and serves it.

Read `adapters/golden.py` for how the engine is held against what was recorded of them.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lifecycle.errors import InvalidConfig, InvalidInput, NotAllowed, Problem
from lifecycle.home import Home
from lifecycle.manifests import WeightsManifest
from lifecycle.registry import Registry
from lifecycle.states import State
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Ref


@dataclass(frozen=True)
class StoredWeights:
    """A model folder of the artifact store, its bytes verified."""

    folder: Path
    name: str
    """What callers write to reach them without the version's prompt; nothing in the registry can be called so."""
    manifest: WeightsManifest


def stored_weights(base: str, home: Home) -> StoredWeights | None:
    """The weights of the version that `base` names; None when it is written like a folder or a hub id instead.

    Raises `NotFound` for a version that is not there, `InvalidConfig` for one without weights of its own, `NotAllowed`
    for a retired one, `Corrupt` when the bytes are not those that were stored, and `Unavailable`.
    """
    if ":" not in base or Path(base).expanduser().exists():
        return None
    try:
        ref = Ref.parse(base)
    except InvalidInput as error:
        raise InvalidConfig("The base cannot be told:", [Problem("base", str(error))]) from error
    with closing(Registry.later(home.registry_url, new=False)) as registry:
        version = registry.version(ref)
        if version.spec.weights is None:
            fault = f"{version.ref} is of the kind {version.spec.kind}, and has no weights of its own"
            cure = "name the base model that it was made over; this service then serves the version too"
            if version.spec.classifier is not None:
                fault = f"{version.ref} is a classifier, and classifiers are answered beside any base"
                cure = "leave it out here, and name a base model"
            raise InvalidConfig("The base cannot be served:", [Problem("base", fault, cure)])
        if version.state is State.RETIRED:
            raise NotAllowed(f"{version.ref} is retired and no longer served; name another version")
        manifest = registry.artifact(version.spec.weights)
    assert isinstance(manifest, WeightsManifest), "a version names as its weights nothing else"
    folder = ArtifactStore(home.artifacts_url, home.cache).get(version.spec.weights)
    return StoredWeights(folder, f"{manifest.base_name}@{version.name}-{version.number}", manifest)
