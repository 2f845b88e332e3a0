"""An adapter folder into the registry: preflight → artifact store → manifest → draft version with its provenance.

`dabt train` publishes what it trained and `dabt import` what was trained elsewhere; only the provenance differs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lifecycle.adapter import ORIGIN_FILE, AdapterManifest, GoldenPrompt
from lifecycle.errors import AdapterRefused, Problem
from lifecycle.home import Home
from lifecycle.models.answers import bare_spec
from lifecycle.models.base import fingerprint
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import WEIGHTS_FILE, preflight
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest, Frozen, Lineage, Prompt, Version

SERVED_FILES = (CONFIG_FILE, WEIGHTS_FILE, ORIGIN_FILE)
"""What a server reads. Optimizer states, logs and tokenizer copies of the run stay where they are."""


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
    """What is known of how an adapter was made; all of it goes into its manifest or its version's lineage."""

    source: Literal["training", "import"]
    run: str = ""
    data_digest: str = ""
    code_revision: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    golden: tuple[GoldenPrompt, ...] = ()
    note: str = ""


def publish(folder: Path, *, name: str, base: Path, prompt: Prompt, provenance: Provenance, shelf: Shelf) -> Version:
    """A draft `name:N` of the adapter in `folder` over the model folder `base`, behind `prompt`.

    It is decoded as the base's makers say. The same bytes, base and prompt under the same name are the same version,
    however often they are published.
    Raises `AdapterRefused` with everything that the base cannot serve, and with golden prompts that prove nothing; then
    nothing is stored.
    """
    _require_proof(folder, provenance.golden)
    facts = preflight(folder, base, max_rank=shelf.max_rank)
    known, bare = fingerprint(base), bare_spec(base)
    digest = _store(folder, shelf.store)
    shelf.registry.add_adapter(
        AdapterManifest(
            digest=digest,
            base=known.digest,
            base_name=known.name,
            **facts.model_dump(exclude={"base_name"}),
            **provenance.model_dump(include={"data_digest", "code_revision", "config", "metrics"}),
            golden=provenance.golden,
            created_at=datetime.now(UTC),
        ),
        actor=shelf.actor,
    )
    lineage = Lineage(**provenance.model_dump(include=set(Lineage.model_fields)))
    spec = bare.model_copy(update={"adapter": digest, "prompt": prompt})
    return shelf.registry.create_version(name, spec, actor=shelf.actor, lineage=lineage)


def _require_proof(folder: Path, golden: Sequence[GoldenPrompt]) -> None:
    faults = [(place, prompt.fault) for place, prompt in enumerate(golden) if prompt.fault]
    if faults:
        problems = [Problem(f"golden[{place}]", fault, "record it again") for place, fault in faults]
        raise AdapterRefused(f"{folder} cannot be published: a server could not be held against it", problems)


def _store(folder: Path, store: ArtifactStore) -> Digest:
    with tempfile.TemporaryDirectory(prefix="dabt-publish-") as scratch:
        for name in SERVED_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, Path(scratch) / name)
        return store.put(Path(scratch))
