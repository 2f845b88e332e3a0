"""An arm's `knowledge:` → what its version holds: the index by its digest, the stages with their fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.recipes import KnowledgeRecipe
from lifecycle.errors import NotFound, Problem
from lifecycle.version import Knowledge
from retrieval.stages.table import declared

if TYPE_CHECKING:
    from lifecycle.registry import Registry


def knowledge_of(recipe: KnowledgeRecipe, place: str, registry: Registry) -> tuple[Knowledge | None, list[Problem]]:
    """None where something is wrong with it; `place` is the arm's, such as `arms.rag`."""
    try:
        index = registry.index(recipe.index)
    except NotFound as error:
        return None, [Problem(f"{place}.knowledge.index", str(error), "make it with `dabt index`")]
    stages, problems = declared(recipe.stages, f"{place}.knowledge.stages", index.facts)
    if problems:
        return None, problems
    said = recipe.model_dump(exclude={"index", "stages"})
    return Knowledge(**said, index=index.digest, stages=stages), []
