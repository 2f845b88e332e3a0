"""What an API key used: requests and tokens by version and day (UTC). `registry/usage_book.py` keeps the account."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date

from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Frozen


def day_of(text: str | None, place: str) -> date | None:
    """The day that `place` names as YYYY-MM-DD; None for nothing. Raises `InvalidInput`."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise InvalidInput("No usage is shown:", [Problem(place, f"{text!r} is no day", "YYYY-MM-DD")]) from error


class Usage(Frozen):
    """One key's use of one version on one day."""

    day: date
    key: str
    """The key's id."""
    version: str
    """`triage:3`, or the base's name."""
    requests: int = 0
    """Those that were answered, or left by the caller before the end; an error of ours is nobody's use."""
    prompt_tokens: int = 0
    """With the version's system text, shots and passages: what the engine read."""
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Both together; `other` must be of the same day, key and version."""
        return self.model_copy(
            update={
                "requests": self.requests + other.requests,
                "prompt_tokens": self.prompt_tokens + other.prompt_tokens,
                "completion_tokens": self.completion_tokens + other.completion_tokens,
            }
        )


def as_csv(uses: Sequence[Usage], names: dict[str, str]) -> str:
    """With a header line, and `names` of the keys beside their ids, for a spreadsheet or a bill."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("day", "key", "name", "version", "requests", "prompt_tokens", "completion_tokens"))
    for use in uses:
        counts = (use.requests, use.prompt_tokens, use.completion_tokens)
        writer.writerow((use.day.isoformat(), use.key, names.get(use.key, ""), _inert(use.version), *counts))
    return out.getvalue()


def _inert(cell: str) -> str:
    """What a spreadsheet would compute becomes text: a base may be named after any folder (OWASP, CSV Injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
