"""The trail as lines for other systems: JSON, or CSV that a spreadsheet opens and runs nothing of.

An entry's id never changes and is never used again: `after` goes on where an earlier export ended.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Literal

from lifecycle.registry.audit import AuditEntry
from lifecycle.text.cells import cell_of

Form = Literal["jsonl", "csv"]
COLUMNS = ("id", "at", "actor", "action", "subject", "reason", "detail")


def lines(entries: Iterable[AuditEntry], form: Form) -> Iterator[str]:
    """Each with its line's end; CSV has a head."""
    if form == "csv":
        yield _row(COLUMNS)
    for entry in entries:
        body = entry.model_dump(mode="json")
        if form == "jsonl":
            yield json.dumps(body, ensure_ascii=False) + "\n"
        else:
            detail = json.dumps(body["detail"], ensure_ascii=False)
            cells = (entry.actor, entry.action, entry.subject, entry.reason, detail)
            yield _row((str(entry.id), body["at"], *map(cell_of, cells)))


def _row(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(cells)
    return text.getvalue()
