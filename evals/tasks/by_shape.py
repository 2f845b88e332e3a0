"""Scorers for rows whose task names none, by the shape of their targets; the first figure of the first decides.

questions with choices             choice, by log-likelihood (`loading.py`)
tools in the rows                  tool_calls
texts with labels, or few words    label: accuracy, macro-F1
every target a JSON object         json: all fields right
better and worse answers           chrf to the better one, and which of the two is nearer
short texts                        normalised, exact, f1
long texts                         chrf, rouge, f1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evals.sample import Sample
from evals.scorers.json_answers import Json
from evals.scorers.labels import Label
from evals.scorers.overlap import Chrf, Nearer, Rouge
from evals.scorers.scorer import Scorer
from evals.scorers.texts import Exact, Normalised, TokenF1
from evals.scorers.tool_calls import ToolCalls
from lifecycle.rows.kinds import KINDS, Labelled, Preference
from lifecycle.text.normaliser import DEFAULT
from lifecycle.text.scores import parse_object

MOST_LABELS = 20
"""Different targets of rows that are taken for labels; each must be there twice."""
SHORT = 10
"""Words up to which a target is a short text."""


def scorers_for(samples: Sequence[Sample], kind: str) -> tuple[tuple[Scorer, ...], str]:
    """The scorers and the figure that decides. `kind` is what the rows are (`lifecycle/rows/kinds.py`)."""
    if any(sample.tools or isinstance(sample.target, dict) for sample in samples):
        return (ToolCalls(),), "tool_calls"
    targets = [sample.shown_target for sample in samples]
    if kind == KINDS[Labelled].name or are_labels(targets):
        return (Label(),), "accuracy"
    if all(parse_object(target) for target in targets):
        return (Json(),), "fields"
    if kind == KINDS[Preference].name:
        return (Chrf(), Nearer(), TokenF1()), "chrf"
    if all(len(DEFAULT.words(target)) <= SHORT for target in targets):
        return (Normalised(), Exact(), TokenF1()), "normalised"
    return (Chrf(), Rouge(), TokenF1()), "chrf"


def are_labels(targets: Sequence[str]) -> bool:
    """Whether the targets are few short texts that come again."""
    counts = Counter(map(DEFAULT.normal, targets))
    few = 2 <= len(counts) <= MOST_LABELS and min(counts.values()) >= 2
    return few and all(len(DEFAULT.words(target)) <= 3 for target in targets)
