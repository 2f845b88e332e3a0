"""What a training configuration may not ask for, each with the reason: mostly what vLLM refuses or mis-serves.

Refusing at configuration time costs a second; finding out at serving time costs the run. Preflight
(`lifecycle/models/preflight.py`) holds the same line for adapters that were trained elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import Problem
from lifecycle.version import Frozen

_NOTHING: tuple[Any, ...] = (None, False, "", "none", "None")
"""Values that ask for nothing: a configuration may spell out that it wants none of a thing."""

_REASONS: dict[str, str] = {
    "use_dora": "vLLM refuses DoRA adapters",
    "modules_to_save": "vLLM serves no fully trained modules beside an adapter",
    "bias": "vLLM refuses adapters with trained biases",
    "lora_bias": "vLLM refuses adapters with trained biases",
    "rank_pattern": "training here gives all modules one rank; an adapter that has several can be imported",
    "alpha_pattern": "training here gives all modules one alpha; an adapter that has several can be imported",
    "trainable_token_indices": "vLLM serves no trained token embeddings",
    "target_parameters": "vLLM serves adapters on linear modules, not on bare parameters",
    "alora_invocation_tokens": "vLLM refuses activated LoRA",
    "use_qalora": "vLLM does not serve QA-LoRA's pooled inputs",
    "layer_replication": "vLLM serves the base's own layers only",
    "layers_to_transform": "preflight wants the same modules in every layer, so that a missing pair is seen",
    "layers_pattern": "preflight wants the same modules in every layer, so that a missing pair is seen",
    "exclude_modules": "name the wanted modules in target_modules instead",
}

_OURS_FOR = {
    "metric_for_best_model": "write best_by: exact_match, loss, or another figure of the method",
    "greater_is_better": "leave it out: it follows from best_by",
    "early_stopping_patience": "write early_stopping, in epochs",
    "train_sampling_strategy": "write group_by_length: true where rows of like length are to come together",
    "report_to": "write tracking: mlflow, wandb, tensorboard or none, beside optimisation",
}
"""What other trainers call it, and what it is here."""

_INIT_REASON = "this initialisation alters the base's weights, and the server has the unaltered base"
_HARMLESS_INITS = (True, None, "gaussian", "default")


def unused(config: Frozen, useless: Mapping[str, str]) -> list[Problem]:
    """The keys of `useless` that `config` sets to something of their own: they would be ignored in silence."""
    problems = []
    for place, why in useless.items():
        *sections, key = place.split(".")
        part = config
        for section in sections:
            part = getattr(part, section)
        if getattr(part, key) != type(part).model_fields[key].default:
            problems.append(Problem(place, why, "leave it out"))
    return problems


def refuse(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """`raw` without the refused keys of `method`, and one problem for each that asked for something.

    Done before validation so that refusals and plain mistakes are reported together.
    """
    cleaned = dict(raw)
    problems = []
    if "lora" in cleaned:
        del cleaned["lora"]
        problems.append(Problem("lora", "is no key here", "write it as method: {type: lora, r: 16, …}"))
    optimisation = cleaned.get("optimisation")
    if isinstance(optimisation, Mapping) and (named := set(_OURS_FOR) & set(optimisation)):
        cleaned["optimisation"] = {key: value for key, value in optimisation.items() if key not in named}
        problems += [Problem(f"optimisation.{key}", "is no key here", _OURS_FOR[key]) for key in sorted(named)]
    if "report_to" in cleaned:
        del cleaned["report_to"]
        problems.append(Problem("report_to", "is no key here", "write tracking: mlflow, wandb, tensorboard or none"))
    method = cleaned.get("method")
    if not isinstance(method, Mapping):
        return cleaned, problems
    kept = dict(method)
    for key, reason in _REASONS.items():
        value = kept.pop(key, None)
        if not (value in _NOTHING or value in ([], {}, ())):
            problems.append(Problem(f"method.{key}", reason, "leave it out"))
    init = kept.pop("init_lora_weights", True)
    if init not in _HARMLESS_INITS:
        problems.append(Problem("method.init_lora_weights", f"{init!r}: {_INIT_REASON}", "leave it out"))
    cleaned["method"] = kept
    return cleaned, problems
