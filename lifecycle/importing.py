"""An adapter trained elsewhere (PEFT, TRL, LLaMA-Factory, Axolotl) into the registry: preflight → store → draft."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from lifecycle.adapter import ORIGIN_FILE, AdapterManifest
from lifecycle.models.base import fingerprint
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import WEIGHTS_FILE, preflight
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Frozen, Lineage, Prompt, Version, VersionSpec

SERVED_FILES = (CONFIG_FILE, WEIGHTS_FILE, ORIGIN_FILE)
"""What a server reads. Optimizer states, logs and tokenizer copies of the run stay where they are."""


class Import(Frozen):
    """What is imported: the folder, the model folder that it was trained over, and the version that it becomes."""

    folder: Path
    base: Path
    name: str
    prompt: Prompt = Prompt()
    max_rank: int = 64


def import_folder(request: Import, registry: Registry, store: ArtifactStore, *, actor: str) -> Version:
    """The draft version, or the one that already has this recipe under the name.

    Raises `AdapterRefused` with everything that the base cannot serve; then nothing is stored.
    """
    facts = preflight(request.folder, request.base, max_rank=request.max_rank)
    base = fingerprint(request.base)
    with tempfile.TemporaryDirectory(prefix="dabt-import-") as scratch:
        for name in SERVED_FILES:
            if (request.folder / name).is_file():
                shutil.copyfile(request.folder / name, Path(scratch) / name)
        digest = store.put(Path(scratch))
    manifest = AdapterManifest(
        digest=digest,
        base=base.digest,
        base_name=base.name,
        created_at=datetime.now(UTC),
        **facts.model_dump(exclude={"base_name"}),
    )
    registry.add_adapter(manifest, actor=actor)
    spec = VersionSpec(base=base.digest, adapter=digest, prompt=request.prompt)
    lineage = Lineage(source="import", note=f"from {request.folder.resolve()}, trained over {facts.base_name or '?'}")
    return registry.create_version(request.name, spec, actor=actor, lineage=lineage)
