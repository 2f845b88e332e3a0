"""Where things are kept: one folder by default, a PostgreSQL and an object store by URL."""

from __future__ import annotations

import os
from pathlib import Path

from lifecycle.version import Frozen


class Home(Frozen):
    """`root` holds runs, evaluations and caches, and the registry and the artifacts unless a URL says otherwise."""

    root: Path
    registry_url: str
    artifacts_url: str

    @classmethod
    def at(cls, root: Path | None = None) -> Home:
        """From `root` or DABT_HOME (default `.dabt`), DABT_REGISTRY_URL and DABT_ARTIFACTS_URL."""
        path = Path(root or os.environ.get("DABT_HOME", ".dabt")).resolve()
        return cls(
            root=path,
            registry_url=os.environ.get("DABT_REGISTRY_URL", f"sqlite:///{path / 'registry.db'}"),
            artifacts_url=os.environ.get("DABT_ARTIFACTS_URL", str(path / "artifacts")),
        )

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def shadow(self) -> Path:
        return self.root / "shadow"

    @property
    def last_known(self) -> Path:
        """What a service knew of the registry last, for a start without it."""
        return self.root / "last-known.db"

    @property
    def cache(self) -> Path:
        return self.root / "cache"
