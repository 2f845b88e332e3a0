"""What is known of an artifact, kept beside its bytes: one manifest a kind, with golden answers of the kind's own form.

Read `artifact_kinds.py` next: what is stored of each kind, and what must hold of it first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from lifecycle.version import ArtifactKind, Digest, Frozen


class GoldenTokens(Frozen):
    """A prompt and an answer, whose tokens a trainer has given log-probabilities with and without what it trained.

    A server's own numbers must match the first and differ from the second: that catches a wrong scale, a wrong base, a
    changed chat template and an artifact without effect.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    @property
    def logprobs(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Natural log, one per completion token: with what was trained, and without."""
        raise NotImplementedError

    @property
    def fault(self) -> str:
        """Why nothing can be proved by it; empty when something can. A comparison with NaN would refuse nothing."""
        count = len(self.completion_ids)
        if not count:
            return "it has no tokens"
        if any(len(values) != count for values in self.logprobs):
            return f"it has {count} tokens and another number of log-probabilities"
        if not all(math.isfinite(value) for values in self.logprobs for value in values):
            return "a log-probability is not a finite number"
        return ""


class GoldenPrompt(GoldenTokens):
    """Of an adapter."""

    adapter_logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]

    @property
    def logprobs(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.adapter_logprobs, self.base_logprobs


class GoldenWeights(GoldenTokens):
    """Of whole weights: as they were tuned, and as they were before."""

    tuned_logprobs: tuple[float, ...]
    original_logprobs: tuple[float, ...]

    @property
    def logprobs(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.tuned_logprobs, self.original_logprobs


class GoldenText(Frozen):
    """Of a classifier: a text, and what the trained head gives each label for it."""

    text: str
    logits: tuple[float, ...]
    """One per label, in the manifest's order. Before any softmax: a probability near 1 hides what is off."""

    @property
    def fault(self) -> str:
        if not self.logits:
            return "it has no logits"
        return "" if all(map(math.isfinite, self.logits)) else "a logit is not a finite number"


Golden = tuple[GoldenPrompt, ...] | tuple[GoldenWeights, ...] | tuple[GoldenText, ...]
"""The golden answers of one artifact."""


class Spent(Frozen):
    """What making an artifact took, as far as that was recorded."""

    seconds: float | None = None
    """In training, of all of the run's stretches."""
    machine: str = ""
    """On what, in words."""
    teacher_prompt: int = 0
    """Tokens that a teacher read to label training rows."""
    teacher_completion: int = 0
    """Tokens that it wrote."""

    @property
    def teacher_tokens(self) -> int:
        return self.teacher_prompt + self.teacher_completion


class Manifest(Frozen):
    """What is known of any artifact. `digest` is that of the folder's bytes in the artifact store."""

    kind: ClassVar[ArtifactKind]

    digest: Digest
    base: Digest
    """Fingerprint of the base that the versions of it name."""
    base_name: str
    parameters: int
    bytes: int
    data_digest: str = ""
    code_revision: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    """The training configuration as it was used."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """From training: `eval_loss`, `train_rows`, … Never a test figure."""
    spent: Spent | None = None
    created_at: datetime
    golden: Sequence[GoldenTokens | GoldenText]
    """A tuple of the kind's own form; none for what was published without."""

    @property
    def brief(self) -> dict[str, Any]:
        """What the trail tells of it besides its base."""
        return {}


class AdapterManifest(Manifest):
    """A LoRA adapter. `base` is what it was trained on, and what serves it."""

    kind = "adapter"

    rank: int = Field(ge=1)
    alpha: float
    use_rslora: bool = False
    scale: float
    """alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (arXiv 2312.03732)."""
    target_modules: tuple[str, ...]
    golden: tuple[GoldenPrompt, ...] = ()

    @property
    def brief(self) -> dict[str, Any]:
        return {"rank": self.rank}


class WeightsManifest(Manifest):
    """A whole model. `base` is its own folder's fingerprint: only a service over that folder serves it."""

    kind = "weights"

    origin: Digest
    """Fingerprint of the base that it was trained from; `base_name` is what people call that."""
    architecture: str
    """The class of config.json's `architectures`."""
    golden: tuple[GoldenWeights, ...] = ()

    @property
    def brief(self) -> dict[str, Any]:
        return {"origin": self.origin}


class ClassifierManifest(Manifest):
    """An encoder with its head. `base` is the encoder that it was trained from."""

    kind = "classifier"

    labels: tuple[str, ...]
    """In the order of the head's outputs."""
    architecture: str
    golden: tuple[GoldenText, ...] = ()

    @property
    def brief(self) -> dict[str, Any]:
        return {"labels": len(self.labels)}


MANIFESTS: Mapping[str, type[Manifest]] = {
    manifest.kind: manifest for manifest in (AdapterManifest, WeightsManifest, ClassifierManifest)
}
