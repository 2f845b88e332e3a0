"""Samples, a solver and scorers into a suite: every target looked at, and all that decides a figure in its digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.asking.spilled import Spilled
from evals.config import EvalConfig
from evals.sample import Sample
from evals.scorers.labels import Label
from evals.scorers.scorer import Figure, Scorer
from evals.slices import with_slices
from evals.solvers.solver import Solver
from evals.tasks.by_shape import are_labels
from evals.tasks.sampling import sampled
from evals.tasks.suite import Suite, require_decidable
from lifecycle.errors import InvalidConfig, InvalidData, Problem
from lifecycle.plugins import code_of
from lifecycle.version import Digest, digest_of

_TOLD = 20
"""Bad targets that are told; how many there are is told too."""


@dataclass(frozen=True)
class Contents:
    """What a suite is made of, before anybody has looked at it."""

    samples: Sequence[Sample]
    digests: Sequence[Digest]
    """Of what each sample says."""
    places: Sequence[str]
    """Where each stands."""
    solver: Solver
    scorers: Sequence[Scorer]
    metric: str | None
    safety: str | None
    cluster: str | None = None
    notes: Sequence[str] = ()


def build(config: EvalConfig, name: str, contents: Contents) -> Suite:
    """What `config` says of the deciding and the safety figure wins.

    Raises `InvalidData` with the targets that cannot be scored, `InvalidConfig` when nothing can be decided.
    """
    labels = any(isinstance(scorer, Label) for scorer in contents.scorers)
    samples = with_slices(contents.samples, labels=labels or are_labels([s.shown_target for s in contents.samples]))
    settled = tuple(scorer.settled(samples) for scorer in contents.scorers)
    figures = [figure for scorer in settled for figure in scorer.figures()]
    require_once(name, figures)
    if not contents.samples:
        raise InvalidData(f"'{name}' has no samples", [Problem(name, "has no samples", "give it some")])
    require_scorable(name, contents.samples, contents.places, (contents.solver, *settled))
    parts: dict[str, Any] = {
        "samples": list(contents.digests),
        "solver": described(contents.solver),
        "scorers": [described(scorer) for scorer in settled],
    }
    if schema := config.schema_of_answers:
        parts["schema"] = [schema.digest, config.structured]
    # Scorers as they are written: what they settle by the items is told by the items.
    alike = {**parts, "samples": None, "scorers": [described(scorer) for scorer in contents.scorers]}
    chosen = sampled(len(samples), config.limit, config.seed)
    decides = config.metric or contents.metric or next((figure.name for figure in figures), None)
    safety = config.safety or contents.safety
    return Suite(
        name=name,
        samples=samples if len(chosen) == len(samples) else Spilled(samples[at] for at in chosen),
        solver=contents.solver,
        scorers=settled,
        metric=require_decidable(name, figures, decides, safety),
        safety=safety,
        digest=digest_of(parts),
        data_digest=digest_of(sorted(contents.digests)),
        whole=len(samples),
        scoring=digest_of(alike),
        cluster=contents.cluster,
        notes=tuple(contents.notes),
    )


def require_once(name: str, figures: Sequence[Figure]) -> None:
    """Raises `InvalidConfig` with the figures that two scorers give."""
    twice = [figure for figure, count in Counter(figure.name for figure in figures).items() if count > 1]
    if twice:
        problems = [Problem("scorers", f"two give a figure {figure}", "leave one of them out") for figure in twice]
        raise InvalidConfig(f"the answers to '{name}' cannot be scored", problems)


def require_scorable(
    name: str, samples: Sequence[Sample], places: Sequence[str], parts: Sequence[Solver | Scorer]
) -> None:
    """Raises `InvalidData` with the samples that one of `parts` cannot ask about or score."""
    problems = [
        Problem(f"{place} {problem.place}", f"{part.type}: {problem.fault}", problem.cure)
        for place, sample in zip(places, samples, strict=True)
        for part in parts
        for problem in part.problems(sample)
    ]
    if len(problems) > _TOLD:
        more = Problem(name, f"and {len(problems) - _TOLD} more", "")
        problems = [*problems[:_TOLD], more]
    if problems:
        raise InvalidData("the targets cannot be scored by this task", problems)


def described(part: Solver | Scorer) -> Any:
    """Its settings and its own word on its version; of a part of another package also the package's release and the
    digest of its source, since nobody can know that its word is kept."""
    kind = type(part)
    code = code_of(kind)
    return [part.type, f"{kind.__module__}:{kind.__qualname__}", part.described(), *([code] if code else [])]
