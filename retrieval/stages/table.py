"""Which stages there are, how they are declared in a version, and how a version's are made ready again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from lifecycle.errors import Corrupt, InvalidConfig, Problem
from lifecycle.plugins import Seam
from lifecycle.validation import in_a_line
from lifecycle.version import Digest, RetrieverStage, digest_of
from retrieval.stages.stage import Stage

STAGES = Seam(
    "stage",
    "dabt.stages",
    {
        "lexical": "retrieval.stages.rankings:Lexical",
        "dense": "retrieval.stages.rankings:Dense",
        "fusion": "retrieval.stages.rankings:Fusion",
        "rerank": "retrieval.stages.rerank:Rerank",
        "multi_query": "retrieval.stages.multi_query:MultiQuery",
        "token_budget": "retrieval.stages.token_budget:TokenBudget",
    },
    Stage,  # type: ignore[type-abstract]
)


def declared(
    written: Sequence[Any], place: str, facts: Mapping[str, Any]
) -> tuple[tuple[RetrieverStage, ...], list[Problem]]:
    """What a file says, each a name or a mapping with `type`, as a version holds it, and all that is wrong with it.

    `facts` are the `IndexFacts` of the index that they will search.
    """
    problems: list[Problem] = []
    stages: list[RetrieverStage] = []
    roles: list[str] = []
    for number, raw in enumerate(written):
        here = f"{place}.{number}"
        stage, faults = STAGES.read(raw, here)
        problems += faults
        if stage is None:
            continue
        if unfit := stage.unfit(facts):
            problems.append(Problem(here, f"{stage.type}: {unfit}", "take it out, or make the index anew"))
        if stage.role == "orders" and "finds" not in roles:
            problems.append(Problem(here, f"{stage.type} has nothing to order", "put it behind lexical or dense"))
        if stage.role == "asks" and "finds" in roles:
            problems.append(Problem(here, f"what {stage.type} asks is searched by no stage", "put it first"))
        roles.append(stage.role)
        try:
            fingerprint = _fingerprint(stage)
        except InvalidConfig as error:
            problems += [Problem(f"{here}.{fault.place}", fault.fault, fault.cure) for fault in error.problems]
            continue
        settings = stage.model_dump(mode="json", exclude={"type"}, exclude_defaults=True)
        stages.append(RetrieverStage(type=stage.type, settings=settings, fingerprint=fingerprint))
    if written and not problems and "finds" not in roles:
        problems.append(Problem(place, "no stage finds passages", "add lexical or dense"))
    return tuple(stages), problems


def ready(stage: RetrieverStage) -> Stage:
    """The stage that a version names. Raises `InvalidConfig` when its package is not installed, and `Corrupt` when what
    is installed is not what was evaluated."""
    kind = STAGES.named(stage.type, "knowledge.stages")
    try:
        here = kind.model_validate({"type": stage.type, **stage.settings})
    except ValidationError as error:
        said = in_a_line(error)
        raise Corrupt(f"The stage '{stage.type}' here no longer takes the version's settings: {said}") from error
    if _fingerprint(here) != stage.fingerprint:
        raise Corrupt(
            f"The stage '{stage.type}' here is not the one that the version was made with: its files or its package "
            "have changed, so it would find something else than what was evaluated; make the version again"
        )
    return here


def _fingerprint(stage: Stage) -> Digest:
    return digest_of([stage.type, STAGES.package(stage.type), stage.fingerprint()])
