"""Where the rules come from. `docs/guides/advice.md` lists rules and sources for readers."""

from __future__ import annotations

HOUSE = 'README.md, "What it holds to"'
"""Prompt first; facts by retrieval, behaviour, style and format by fine-tuning; about 1,000 examples."""
GATE = "docs/decisions/0012-levels-of-the-gate.md"
OVADIA = "Ovadia et al. 2023, arXiv 2312.05934"
"""Retrieval brings facts better than training does, and a hybrid can lose to retrieval alone (Table 2)."""
BALAGUER = "Balaguer et al. 2024, arXiv 2401.08406"
"""Training and retrieval can add up: six points, and five more."""
RAFT = "Zhang et al. 2024, arXiv 2403.10131"
"""A model that is to read passages is trained on prompts that have some, right and wrong ones."""
LORA_LAND = "Zhao et al. 2024, arXiv 2405.00732"
"""310 fine-tuned models against their bases: by how much, on which tasks."""
LIMA = "Zhou et al. 2023, arXiv 2305.11206"
"""About 1,000 chosen examples teach form and style, and no knowledge."""
MILLER = "Miller 2024, arXiv 2411.00640"
"""Paired differences, their intervals, and how many questions a difference takes."""
RULE_OF_THREE = "Hanley & Lippman-Hand 1983, JAMA 249:1743"
PRICES = "the sums of evals/cost/"
MEASURED = "what the run itself measured"
