"""The adapter manifest: what is known of a LoRA adapter, kept beside its bytes.

Read `preflight.py` next: it decides whether a base can serve a folder, and writes this.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from lifecycle.models.base import BaseFingerprint
from lifecycle.version import Digest, Frozen


class GoldenPrompt(Frozen):
    """A prompt with the answer's log-probabilities, as the trainer computed them with and without the adapter.

    After loading, a server's own numbers must match `adapter_logprobs` and differ from `base_logprobs`: that
    catches a wrong scale, a wrong base, a changed chat template and an adapter without effect.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    adapter_logprobs: tuple[float, ...]
    """Natural log, one per completion token."""
    base_logprobs: tuple[float, ...]

    @property
    def fault(self) -> str:
        """Why nothing can be proved by it; empty when something can. A comparison with NaN would refuse nothing."""
        count = len(self.completion_ids)
        if not count:
            return "it has no tokens"
        if len(self.adapter_logprobs) != count or len(self.base_logprobs) != count:
            return f"it has {count} tokens and another number of log-probabilities"
        if not all(map(math.isfinite, (*self.adapter_logprobs, *self.base_logprobs))):
            return "a log-probability is not a finite number"
        return ""


class AdapterManifest(Frozen):
    """One adapter. `digest` is that of the folder's bytes in the artifact store."""

    digest: Digest
    base: Digest
    """Fingerprint of the base that it was trained on."""
    base_name: str
    rank: int = Field(ge=1)
    alpha: float
    use_rslora: bool = False
    scale: float
    """alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (arXiv 2312.03732)."""
    target_modules: tuple[str, ...]
    parameters: int
    bytes: int
    data_digest: str = ""
    code_revision: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    """The training configuration as it was used."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """From training: `eval_loss`, `train_rows`, … Never a test figure."""
    golden: tuple[GoldenPrompt, ...] = ()
    created_at: datetime


ORIGIN_FILE = "dabt_manifest.json"
"""Lies in the adapter's folder, and so is part of its digest: the manifest itself cannot be, since it names that."""


class Origin(Frozen):
    """Which base an adapter was trained on, kept with its bytes so that preflight can refuse another."""

    base: BaseFingerprint

    def write(self, folder: Path) -> None:
        (folder / ORIGIN_FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
