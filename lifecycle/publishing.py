"""A trained folder into the registry: preflight → artifact store → manifest → draft version with its provenance.

`dabt train` publishes what it trained and `dabt import` what was trained elsewhere; only the provenance differs. What
is done with each kind of artifact is in `artifact_kinds.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lifecycle.artifact_kinds import ARTIFACT_KINDS
from lifecycle.errors import ArtifactRefused, Problem
from lifecycle.home import Home
from lifecycle.manifests import Golden, GoldenText, GoldenTokens, Spent
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import ArtifactKind, Digest, Frozen, Lineage, Prompt, Version


@dataclass(frozen=True)
class Shelf:
    """Where versions go, who puts them there, and the largest rank that the servers take (`--max-lora-rank`)."""

    registry: Registry
    store: ArtifactStore
    actor: str = "dabt"
    max_rank: int = 64

    @classmethod
    def at(cls, home: Home, *, actor: str = "dabt", max_rank: int = 64) -> Shelf:
        """The registry and the store of a home."""
        return cls(Registry.open(home.registry_url), ArtifactStore(home.artifacts_url, home.cache), actor, max_rank)


class Provenance(Frozen):
    """What is known of how an artifact was made; all of it goes into its manifest or its version's lineage."""

    source: Literal["training", "checkpoint", "import"]
    run: str = ""
    started_from: str = ""
    data_digest: str = ""
    code_revision: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    spent: Spent | None = None
    golden: Golden = ()
    note: str = ""


def publish(
    folder: Path,
    *,
    name: str,
    base: Path,
    prompt: Prompt,
    provenance: Provenance,
    shelf: Shelf,
    kind: ArtifactKind = "adapter",
) -> Version:
    """A draft `name:N` of the artifact in `folder`, trained from the model folder `base`, behind `prompt`.

    It is decoded as the base's makers say. The same bytes, base and prompt under the same name are the same version,
    however often they are published.
    Raises `ArtifactRefused` with everything that cannot be served, and with golden answers that prove nothing; then
    nothing is stored.
    """
    _require_proof(folder, provenance.golden)
    of_kind = ARTIFACT_KINDS[kind]
    facts = of_kind.facts(folder, base, shelf.max_rank)
    bare = of_kind.bare(folder, base)
    digest = _store(folder, of_kind.files(folder), shelf.store)
    shelf.registry.add_artifact(
        of_kind.manifest(
            digest=digest,
            **facts,
            **provenance.model_dump(include={"data_digest", "code_revision", "config", "metrics"}),
            spent=provenance.spent,
            golden=provenance.golden,
            created_at=datetime.now(UTC),
        ),
        actor=shelf.actor,
    )
    lineage = Lineage(**provenance.model_dump(include=set(Lineage.model_fields)))
    spec = bare.model_copy(update={kind: digest, "prompt": prompt})
    version = shelf.registry.create_version(name, spec, actor=shelf.actor, lineage=lineage)
    if not shelf.store.complete(digest):
        # `dabt gc` came between the bytes and the version that names them; from now on it sees the version.
        _store(folder, of_kind.files(folder), shelf.store)
    return version


def _require_proof(folder: Path, golden: Sequence[GoldenTokens | GoldenText]) -> None:
    faults = [(place, prompt.fault) for place, prompt in enumerate(golden) if prompt.fault]
    if faults:
        problems = [Problem(f"golden[{place}]", fault, "record it again") for place, fault in faults]
        raise ArtifactRefused(f"{folder} cannot be published: a server could not be held against it", problems)


def _store(folder: Path, files: Sequence[Path], store: ArtifactStore) -> Digest:
    """Those files of the folder, and no others. Whole weights are gigabytes, so they are linked where that is possible
    and copied by the store alone."""
    with _scratch(folder) as scratch:
        for file in files:
            target = Path(scratch) / file.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:
                shutil.copyfile(file, target)
        return store.put(Path(scratch))


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Beside the folder, so that its files can be linked; elsewhere when nothing can be written there."""
    try:
        return tempfile.TemporaryDirectory(prefix=".dabt-publish-", dir=folder.resolve().parent)
    except OSError:
        return tempfile.TemporaryDirectory(prefix="dabt-publish-")
