"""A finished adapter folder into the registry: preflight → artifact store → manifest → draft version with lineage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from lifecycle.adapter import AdapterManifest, GoldenPrompt
from lifecycle.home import Home
from lifecycle.models.base import fingerprint
from lifecycle.models.preflight import preflight
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Frozen, Lineage, Prompt, Version, VersionSpec


@dataclass(frozen=True)
class Shelf:
    """Where versions go, who puts them there, and the largest rank that the servers take (`--max-lora-rank`)."""

    registry: Registry
    store: ArtifactStore
    actor: str = "dabt"
    max_rank: int = 64

    @classmethod
    def at(cls, home: Home, *, actor: str = "dabt") -> Shelf:
        """The registry and the store of a home."""
        return cls(Registry.open(home.registry_url), ArtifactStore(home.artifacts_url, home.cache), actor)


class Provenance(Frozen):
    """What is known of how an adapter was made; all of it goes into its manifest or its version's lineage."""

    run: str = ""
    data_digest: str = ""
    code_revision: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    golden: tuple[GoldenPrompt, ...] = ()
    note: str = ""


def publish(folder: Path, *, name: str, base: Path, prompt: Prompt, provenance: Provenance, shelf: Shelf) -> Version:
    """A draft `name:N` of the adapter in `folder` over the model folder `base`, behind `prompt`.

    The same bytes, base and prompt under the same name are the same version, however often they are published.
    Raises `AdapterRefused` with everything that the base cannot serve; then nothing is stored.
    """
    facts = preflight(folder, base, max_rank=shelf.max_rank)
    known = fingerprint(base)
    digest = shelf.store.put(folder)
    shelf.registry.add_adapter(
        AdapterManifest(
            digest=digest,
            base=known.digest,
            base_name=known.name,
            **facts.model_dump(exclude={"base_name"}),
            data_digest=provenance.data_digest,
            code_revision=provenance.code_revision,
            config=provenance.config,
            metrics=provenance.metrics,
            golden=provenance.golden,
            created_at=datetime.now(UTC),
        ),
        actor=shelf.actor,
    )
    lineage = Lineage(
        source="training" if provenance.run else "import",
        run=provenance.run,
        data_digest=provenance.data_digest,
        code_revision=provenance.code_revision,
        note=provenance.note,
    )
    spec = VersionSpec(base=known.digest, adapter=digest, prompt=prompt)
    return shelf.registry.create_version(name, spec, actor=shelf.actor, lineage=lineage)
