"""What a reader must know beside the figures: who measured them, if not we, and what the suite says of its items."""

from __future__ import annotations

from evals.report.evaluation import Evaluation
from lifecycle.report import Imported

LACKS = (
    "another tool's file has no times, tokens, costs or noise floor; one arm is compared with none, and no policy "
    "judged it"
)


def notes(evaluation: Evaluation) -> list[str]:
    """Sentences of the group `note`; the suite's first."""
    imported = evaluation.report.imported
    if imported is None:
        return list(evaluation.notes)
    return [
        *evaluation.notes,
        *lines_of(imported),
    ]


def lines_of(imported: Imported) -> list[str]:
    """Who measured, what there cannot be, and what the file lacks beside that."""
    return [f"measured by {imported.tool}, from {imported.file}: it opens no gate", LACKS, *imported.notes]
