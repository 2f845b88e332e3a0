"""Does a configuration fit its base and the servers? Asked before training, from the base's files, without torch.

Preflight would find the same after the run; this finds it before.
"""

from __future__ import annotations

import json
from pathlib import Path

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import linear_shapes
from lifecycle.models.peft_config import PeftConfig
from lifecycle.models.preflight import SERVED_MODULES
from training.config import TrainConfig


def require_fit(config: TrainConfig, base: Path, max_rank: int) -> None:
    """Raises `InvalidConfig` with everything about `config` that model folder `base` or the servers cannot follow.

    `max_rank` is the servers' `--max-lora-rank`.
    """
    problems = [*_rank(config, max_rank), *_length(config, base), *_targets(config, base)]
    if problems:
        raise InvalidConfig(f"the configuration does not fit {config.base}", problems)


def _rank(config: TrainConfig, max_rank: int) -> list[Problem]:
    if config.lora.r <= max_rank:
        return []
    fault = f"{config.lora.r} is more than {max_rank}, the servers' --max-lora-rank"
    return [Problem("lora.r", fault, "lower it, or raise the servers'")]


def _length(config: TrainConfig, base: Path) -> list[Problem]:
    described = json.loads((base / "config.json").read_text(encoding="utf-8"))
    window = described.get("text_config", described).get("max_position_embeddings")
    if not isinstance(window, int) or config.optimisation.max_length <= window:
        return []
    fault = f"{config.optimisation.max_length} is more than the {window} positions of the base"
    return [Problem("optimisation.max_length", fault, f"at most {window}")]


def _targets(config: TrainConfig, base: Path) -> list[Problem]:
    """Modules that PEFT would adapt and no server wraps, and named modules that the base does not have."""
    wanted = config.lora.target_modules
    shape = PeftConfig(
        r=config.lora.r, lora_alpha=config.lora.alpha, use_rslora=config.lora.rslora, target_modules=wanted
    )
    suffixes = {module.rpartition(".")[2] for module in linear_shapes(base) if shape.targets(module)}
    served = ", ".join(SERVED_MODULES)
    problems = []
    if unserved := sorted(suffixes - set(SERVED_MODULES)):
        fault = f"{wanted if isinstance(wanted, str) else 'it'} takes in {', '.join(unserved)}, which no server adapts"
        problems.append(Problem("lora.target_modules", fault, f"name some of {served}"))
    if isinstance(wanted, tuple) and (absent := sorted(set(wanted) - suffixes)):
        problems.append(
            Problem("lora.target_modules", f"the base has no {', '.join(absent)}", f"{served}, or all-linear")
        )
    return problems
