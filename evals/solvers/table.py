"""Which solvers there are. A task file names one by the words on the left."""

from __future__ import annotations

from evals.solvers.solver import Solver
from lifecycle.plugins import Seam

SOLVERS: Seam[Solver] = Seam(
    word="solver",
    group="dabt.solvers",
    ours={
        "chat": "evals.solvers.chat:Chat",
        "choices": "evals.solvers.choices:Choices",
        "turns": "evals.solvers.turns:Turns",
        "tools": "evals.solvers.tools:Tools",
        "oracle": "evals.solvers.oracle:Oracle",
        "pairs": "evals.safety.pairs:Pairs",
        "secrets": "evals.safety.leakage:Secrets",
    },
    base=Solver,  # type: ignore[type-abstract]
)
