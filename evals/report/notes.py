"""What a reader must know beside the figures: who measured them, if not we, and what the suite says of its items."""

from __future__ import annotations

from evals.report.evaluation import Evaluation


def notes(evaluation: Evaluation) -> list[str]:
    """Sentences of the group `note`; the suite's first."""
    imported = evaluation.report.imported
    if imported is None:
        return list(evaluation.notes)
    return [
        *evaluation.notes,
        f"measured by {imported.tool}, from {imported.file}: it opens no gate",
        *imported.notes,
    ]
