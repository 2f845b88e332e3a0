"""Artifacts in the registry: one row for each digest, with its kind and manifest; within the caller's transaction."""

from __future__ import annotations

from sqlalchemy import Connection, insert, update

from lifecycle.errors import InvalidInput
from lifecycle.manifests import Manifest
from lifecycle.registry import audit, records, tables
from lifecycle.version import VersionSpec


def add(tx: Connection, manifest: Manifest, actor: str) -> None:
    """See `Registry.add_artifact`."""
    body = manifest.model_dump(mode="json")
    known = records.artifact_row(tx, manifest.digest)
    if known is None:
        row = {"digest": manifest.digest, "kind": manifest.kind, "manifest": body, "created_at": manifest.created_at}
        tx.execute(insert(tables.artifacts).values(row))
        audit.append(tx, actor, f"{manifest.kind}.add", manifest.digest, {"base": manifest.base, **manifest.brief})
        return
    if known.kind != manifest.kind:
        raise InvalidInput(f"{manifest.digest} is known as {known.kind}, and not as {manifest.kind}")
    if body["golden"] and not known.manifest.get("golden") and known.manifest["base"] == manifest.base:
        proved = {**known.manifest, "golden": body["golden"]}
        where = tables.artifacts.c.digest == manifest.digest
        tx.execute(update(tables.artifacts).where(where).values(manifest=proved))
        audit.append(tx, actor, f"{manifest.kind}.golden", manifest.digest, {"prompts": len(manifest.golden)})


def require_fit(tx: Connection, spec: VersionSpec) -> None:
    """Raises `NotFound` for an artifact that nobody has registered, `InvalidInput` for one of another kind or base."""
    if spec.artifact is None:
        return
    kind, digest = spec.artifact
    manifest = records.artifact(tx, digest, kind)
    if manifest.kind != kind:
        raise InvalidInput(f"{digest} is of the kind {manifest.kind}, and the recipe names it as its {kind}")
    if manifest.base != spec.base:
        raise InvalidInput(
            f"{kind} {digest} was trained on base {manifest.base} ({manifest.base_name}), not on {spec.base}"
        )
