"""Which suites there are. An evaluation names one as its task, by the words on the left."""

from __future__ import annotations

from lifecycle.errors import InvalidInput

SAFETY = {
    "safety/refusal": "evals.safety.refusal:RefusalSuite",
    "safety/counterfactual": "evals.safety.counterfactual:CounterfactualSuite",
    "safety/robustness": "evals.safety.robustness:RobustnessSuite",
    "safety/ability": "evals.safety.ability:AbilitySuite",
    "safety/toxicity": "evals.safety.toxicity:ToxicitySuite",
    "safety/tone": "evals.safety.tone:ToneSuite",
    "safety/instructions": "evals.safety.instructions:InstructionsSuite",
    "safety/leakage": "evals.safety.leakage:LeakageSuite",
    "safety/escalation": "evals.safety.escalation:EscalationSuite",
    "safety/injection": "evals.safety.injection:InjectionSuite",
}
OURS = {**SAFETY, "tools/bfcl": "evals.tasks.bfcl:BfclSuite"}
"""Every suite that comes with the product; the first are of harm."""
SET_UP = frozenset({"safety/leakage", "safety/tone"})
"""Those that need `settings`, so that only an evaluation's file can name them."""
_ALL = "safety"


def named_suites(listed: str) -> list[str]:
    """Of `safety/refusal,safety/injection`; `safety` stands for all that need no settings.

    Raises `InvalidInput` for a name that is none of these.
    """
    names = [name.strip() for name in listed.split(",") if name.strip()]
    runs = [suite for suite in SAFETY if suite not in SET_UP]
    whole = [suite for name in names for suite in (runs if name == _ALL else [name])]
    if strange := [name for name in whole if name not in SAFETY]:
        raise InvalidInput(f"there is no suite {', '.join(strange)}: there is {', '.join(SAFETY)}")
    if bare := [name for name in whole if name in SET_UP]:
        raise InvalidInput(f"{', '.join(bare)} needs settings: name it as the task of an evaluation's file")
    return list(dict.fromkeys(whole))
