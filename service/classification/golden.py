"""Golden texts: does a loaded classifier compute here what it computed where it was trained?

Catches a head that was lost, labels in another order, another tokenizer and weights of another number format, before
any caller is answered by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from lifecycle.errors import AdapterUnloadable
from lifecycle.manifests import ClassifierManifest

TOLERANCE = 0.01
"""Largest difference of a logit. Both sides compute in float32 on a processor: rounding alone is far below it."""
_AGAIN = "train it again with `dabt train --force`"


class Computes(Protocol):
    """What is asked of the classifier."""

    labels: tuple[str, ...]
    limit: int

    def tokens(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]: ...
    def logits(self, rows: Sequence[Sequence[int]]) -> list[list[float]]: ...


def verify(classifier: Computes, manifest: ClassifierManifest) -> None:
    """Raises `AdapterUnloadable` for other labels, and beyond the tolerance on a golden text."""
    name = f"the classifier {manifest.digest}"
    if classifier.labels != manifest.labels:
        here, there = ", ".join(classifier.labels), ", ".join(manifest.labels)
        raise AdapterUnloadable(f"{name}: its labels are {here} here, and were {there} where it was trained; {_AGAIN}")
    off = 0.0
    for golden in manifest.golden:
        (logits,) = classifier.logits(classifier.tokens([golden.text], classifier.limit))
        if len(logits) != len(golden.logits):
            raise AdapterUnloadable(
                f"{name} has {len(logits)} labels here and had {len(golden.logits)} where it was trained; {_AGAIN}"
            )
        differences = [abs(here - there) for here, there in zip(logits, golden.logits, strict=True)]
        off = max([off, *(value if math.isfinite(value) else math.inf for value in differences)])
    if off > TOLERANCE:
        raise AdapterUnloadable(
            f"{name} computes something else here than where it was trained: a logit of a golden text is off by "
            f"{off:.4g}, and {TOLERANCE:g} is allowed. Its tokenizer, its head or this release's libraries may differ; "
            f"{_AGAIN}"
        )
