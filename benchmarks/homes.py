"""A home with many registered adapters, each a version in production: made once for each base, and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import track

from benchmarks import adapters, goldens
from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest
from lifecycle.models.base import fingerprint
from lifecycle.models.preflight import preflight
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest, VersionSpec

_ACTOR = "benchmark"


@dataclass(frozen=True)
class Stocked:
    """A home, and what was put into it: name → folder with the adapter's bytes. `name` answers by its `prod` alias."""

    home: Home
    base: Path
    adapters: dict[str, Path]

    def registry(self) -> Registry:
        return Registry.open(self.home.registry_url)

    def first(self, count: int) -> tuple[str, ...]:
        """The names of so many of them."""
        return tuple(self.adapters)[:count]

    def digests(self) -> dict[str, Digest]:
        return {name: f"sha256:{folder.name}" for name, folder in self.adapters.items()}


def stocked(base: Path, count: int, work: Path, *, golden: bool = True) -> Stocked:
    """The home of `count` adapters over `base` in the folder `work`; only what is new is made.

    Without `golden` they have no golden prompts.
    """
    base = base.resolve()
    whole = fingerprint(base)
    kind = "" if golden else "-without-golden"
    root = work / "homes" / f"{base.name}-{whole.digest.removeprefix('sha256:')[:12]}-{count}{kind}"
    home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    made = root / "adapters.json"
    if not made.is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        names = [f"a{at:04}" for at in range(count)]
        made.write_text(json.dumps(_fill(home, base, names, golden)), encoding="utf-8")
    found: dict[str, Digest] = json.loads(made.read_text(encoding="utf-8"))
    store = ArtifactStore(home.artifacts_url, home.cache)
    return Stocked(home, base, {name: store.get(digest).resolve() for name, digest in found.items()})


def _fill(home: Home, base: Path, names: Sequence[str], golden: bool) -> dict[str, Digest]:
    store = ArtifactStore(home.artifacts_url, home.cache)
    recorded = goldens.record(base, range(len(names))) if golden else []
    digests = {}
    with Registry.open(home.registry_url) as registry:
        for seed, name in track(list(enumerate(names)), f"adapters over {base.name}", transient=True):
            folder = home.root / "new"
            adapters.write(base, folder, seed)
            facts = preflight(folder, base)
            digests[name] = store.put(folder)
            shutil.rmtree(folder)
            manifest = AdapterManifest(
                digest=digests[name],
                base=fingerprint(base).digest,
                base_name=base.name,
                golden=tuple(recorded[seed : seed + 1]),
                created_at=datetime.now(UTC),
                **facts.model_dump(exclude={"base_name"}),
            )
            registry.add_artifact(manifest, actor=_ACTOR)
            spec = VersionSpec(base=manifest.base, adapter=manifest.digest)
            version = registry.create_version(name, spec, actor=_ACTOR)
            registry.promote(version.ref, actor=_ACTOR, reason="to be measured", force=True)
    return digests
