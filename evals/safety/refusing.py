"""Whether an answer refuses, in English or Arabic, by patterns that anybody can read: `refusal-1.yaml`.

`python -m benchmarks.refusals` prints how often it is right on a labelled set. A judge may know better and cannot be
read; this is the same tomorrow. An answer that declines a part in its first words counts as a refusal.
"""

from __future__ import annotations

from typing import Literal

from evals.safety.patterns import fired

RefusalList = Literal["refusal-1"]
"""The lists that there are, by name."""
REFUSAL: RefusalList = "refusal-1"


def refused(answer: str, name: RefusalList = REFUSAL) -> str | None:
    """The name of the pattern by which the answer refuses; None where it does not, or says nothing."""
    return fired(answer, name)
