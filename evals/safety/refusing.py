"""Whether an answer refuses, in English or Arabic, by patterns that anybody can read: `refusal-1.yaml`.

`python -m benchmarks.refusals` prints how often it is right on a labelled set. A judge may know better and cannot be
read; this is the same tomorrow. An answer that declines a part in its first words counts as a refusal.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from lifecycle.config_file import load_mapping, validated
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Frozen

RefusalList = Literal["refusal-1"]
"""The lists that there are, by name."""
REFUSAL: RefusalList = "refusal-1"


class Patterns(Frozen):
    """A list of patterns over the first `words` of an answer in its normal form."""

    words: int
    patterns: dict[str, str]


def refused(answer: str, name: RefusalList = REFUSAL) -> str | None:
    """The name of the pattern by which the answer refuses; None where it does not, or says nothing."""
    words, patterns = _compiled(name)
    said = " ".join(LIGHT_1.normal(answer).split()[:words])
    return next((rule for rule, pattern in patterns.items() if pattern.search(said)), None)


@cache
def _compiled(name: RefusalList) -> tuple[int, dict[str, re.Pattern[str]]]:
    path = Path(__file__).with_name(f"{name}.yaml")
    given = validated(Patterns, load_mapping(path), path)
    return given.words, {rule: re.compile(pattern) for rule, pattern in given.patterns.items()}
