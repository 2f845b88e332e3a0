"""Which base an artifact was trained on, kept with its bytes. Read `manifests.py` for what is known beside them."""

from __future__ import annotations

from pathlib import Path

from lifecycle.models.base import BaseFingerprint
from lifecycle.version import Frozen

ORIGIN_FILE = "dabt_manifest.json"
"""Lies in the adapter's folder, and so is part of its digest: the manifest itself cannot be, since it names that."""


class Origin(Frozen):
    """Which base an adapter was trained on, kept with its bytes so that preflight can refuse another."""

    base: BaseFingerprint

    def write(self, folder: Path) -> None:
        (folder / ORIGIN_FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
