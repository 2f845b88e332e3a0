"""Which scorers there are. A task file names them by the words on the left."""

from __future__ import annotations

from evals.scorers.scorer import Scorer
from lifecycle.plugins import Seam

SCORERS: Seam[Scorer] = Seam(
    word="scorer",
    group="dabt.scorers",
    ours={
        "exact": "evals.scorers.texts:Exact",
        "normalised": "evals.scorers.texts:Normalised",
        "f1": "evals.scorers.texts:TokenF1",
        "contains": "evals.scorers.texts:Contains",
        "regex": "evals.scorers.texts:Pattern",
        "label": "evals.scorers.labels:Label",
        "rouge": "evals.scorers.overlap:Rouge",
        "bleu": "evals.scorers.overlap:Bleu",
        "chrf": "evals.scorers.overlap:Chrf",
        "nearer": "evals.scorers.overlap:Nearer",
        "choice": "evals.scorers.choices:Choice",
        "json": "evals.scorers.json_answers:Json",
        "tool_calls": "evals.scorers.tool_calls:ToolCalls",
        "bfcl": "evals.scorers.bfcl:Bfcl",
        "citations": "evals.scorers.knowledge:Citations",
        "abstention": "evals.scorers.knowledge:Abstention",
        "missed": "evals.scorers.missed:Missed",
        "faithfulness": "evals.scorers.faithfulness:Faithfulness",
        "similarity": "evals.scorers.similarity:Similarity",
        "rubric": "evals.judging.rubric:Rubric",
        "grounded": "evals.judging.grounded:Grounded",
        "refusal": "evals.safety.refusal:Refusal",
        "leakage": "evals.safety.leakage:Leakage",
        "alike": "evals.safety.pairs:Alike",
        "chosen": "evals.safety.counterfactual:Chosen",
        "follows": "evals.safety.instructions:Follows",
        "toxicity": "evals.safety.toxicity:Toxicity",
        "escalation": "evals.safety.escalation:Escalation",
        "injection": "evals.safety.injection:Injection",
        "pairwise": "evals.judging.pairwise:Pairwise",
    },
    base=Scorer,  # type: ignore[type-abstract]
)
