"""The kinds of artifact in one table: what is stored of each, what must hold of it, and what it makes of a recipe.

What else knows of kinds asks this table, `VersionSpec.artifact` or a manifest, so that no condition is scattered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.manifests import AdapterManifest, ClassifierManifest, Manifest, WeightsManifest
from lifecycle.models.answers import bare_spec
from lifecycle.models.base import fingerprint
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import WEIGHTS_FILE, preflight
from lifecycle.models.whole_models import model_files, preflight_classifier, preflight_weights
from lifecycle.origin import ORIGIN_FILE
from lifecycle.version import ArtifactKind, VersionSpec


@dataclass(frozen=True)
class KindOfArtifact:
    """One row of the table. Its functions take the artifact's folder and that of the base that it was trained from."""

    told: str
    """What people call it."""
    manifest: type[Manifest]
    files: Callable[[Path], Sequence[Path]]
    """Of its folder, what a server reads; nothing else is stored."""
    facts: Callable[[Path, Path, int], dict[str, Any]]
    """Preflight, with the servers' largest rank: the manifest's own fields. Raises `ArtifactRefused`."""
    bare: Callable[[Path, Path], VersionSpec]
    """The recipe that a version of it starts from, without the artifact."""


def _adapter_files(folder: Path) -> Sequence[Path]:
    return [folder / name for name in (CONFIG_FILE, WEIGHTS_FILE, ORIGIN_FILE) if (folder / name).is_file()]


def _adapter_facts(folder: Path, base: Path, max_rank: int) -> dict[str, Any]:
    facts = preflight(folder, base, max_rank=max_rank).model_dump(exclude={"base_name"})
    known = fingerprint(base)
    return {"base": known.digest, "base_name": known.name, **facts}


def _weights_facts(folder: Path, base: Path, max_rank: int) -> dict[str, Any]:
    facts = preflight_weights(folder, base).model_dump()
    return {"base": fingerprint(folder).digest, "base_name": fingerprint(base).name, **facts}


def _classifier_facts(folder: Path, base: Path, max_rank: int) -> dict[str, Any]:
    facts = preflight_classifier(folder, base).model_dump()
    known = fingerprint(base)
    return {"base": known.digest, "base_name": known.name, **facts}


ARTIFACT_KINDS: Mapping[ArtifactKind, KindOfArtifact] = {
    "adapter": KindOfArtifact(
        "LoRA adapter", AdapterManifest, _adapter_files, _adapter_facts, lambda folder, base: bare_spec(base)
    ),
    "weights": KindOfArtifact(
        "whole weights", WeightsManifest, model_files, _weights_facts, lambda folder, base: bare_spec(folder)
    ),
    "classifier": KindOfArtifact(
        "classifier", ClassifierManifest, model_files, _classifier_facts, lambda folder, base: bare_spec(base)
    ),
}
