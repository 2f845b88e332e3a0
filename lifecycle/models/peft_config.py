"""adapter_config.json as PEFT writes it: what a plain LoRA needs from it, and what makes it more than a plain LoRA.

What vLLM accepts is in its `lora/peft_helper.py`; this is stricter where vLLM ignores a key that changes the answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import regex

from lifecycle.errors import Problem
from lifecycle.text import strict_json
from lifecycle.version import Frozen

CONFIG_FILE = "adapter_config.json"

PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica")
"""Values of init_lora_weights, besides true and false, whose saved adapter is a delta over the untouched base."""

_OUTPUT_HEADS = ("lm_head", "embed_out", "output", "score", "classifier")

_PLAIN = "train a plain LoRA"
_EXTRAS: dict[str, tuple[str, str]] = {
    "use_dora": ("DoRA rescales the base's weights, which the server cannot do", "train with use_dora: false"),
    "lora_bias": ("the server drops a bias on lora_B", "train with lora_bias: false"),
    "modules_to_save": ("fully trained modules are no part of a LoRA and are not served", "train without them"),
    "trainable_token_indices": ("trained token embeddings are not served", "train without them"),
    "alora_invocation_tokens": ("aLoRA applies only after its invocation tokens", _PLAIN),
    "layer_replication": ("replicated layers make another base", _PLAIN),
    "target_parameters": ("LoRA on bare parameters is not served", "name modules in target_modules"),
    "use_qalora": ("QALoRA pools its input, which the server does not", _PLAIN),
    "use_bdlora": ("block-diagonal LoRA is not served", _PLAIN),
    "kasa_config": ("KaSA trains against a truncated base", _PLAIN),
    "monteclora_config": ("Monte Carlo LoRA samples, which the server does not", _PLAIN),
    "arrow_config": ("arrow routing between adapters is not served", _PLAIN),
    "fan_in_fan_out": ("its base stores weights transposed (Conv1D)", "use a base of linear layers"),
}
"""Keys that must be empty or false: what is wrong with them, and the cure."""

_PATTERNS = {"rank_pattern": "whole ranks", "alpha_pattern": "alphas above 0"}
"""Keys that give some modules a rank or an alpha of their own. vLLM 0.32 reads them as PEFT does, and scales by it."""
_NAMES = regex.compile(r"\^?[\w.\\]+")
"""Module names, whole or their ends. vLLM matches them as expressions, with nothing that ends a slow one."""

_FLAGS = ("use_rslora", "use_dora", "lora_bias", "use_qalora", "fan_in_fan_out", "inference_mode")

_READ = (
    *("peft_type", "r", "lora_alpha", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("bias", "init_lora_weights", "base_model_name_or_path"),
)
_OF_TRAINING = (
    *("task_type", "auto_mapping", "revision", "peft_version", "inference_mode", "lora_dropout", "megatron_config"),
    *("megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config"),
    *("qalora_group_size", "ensure_weight_tying"),
)
"""Keys of PEFT 0.21 that decide nothing of a saved LoRA: how it was begun or trained, and who wrote it. Those of a way
to begin count with `init_lora_weights` alone."""

_PATIENCE_S = 0.2
"""For one expression on one name: any that a person writes takes less than a thousandth of it."""


class PeftConfig(Frozen):
    """The keys of adapter_config.json that decide what a plain LoRA computes and where it sits."""

    r: int
    lora_alpha: float
    use_rslora: bool
    target_modules: str | tuple[str, ...]
    """Suffixes of module names; or a regular expression over whole names; or `all-linear`."""
    exclude_modules: str | tuple[str, ...] = ()
    layers_to_transform: tuple[int, ...] = ()
    layers_pattern: tuple[str, ...] = ()
    rank_pattern: tuple[tuple[str, int], ...] = ()
    """Module names and the rank that they have in place of `r`; the first that fits a module counts."""
    alpha_pattern: tuple[tuple[str, float], ...] = ()
    base_name: str = ""

    @property
    def scale(self) -> float:
        """What B·A is multiplied by: alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (arXiv 2312.03732)."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def largest_rank(self) -> int:
        """What a server's slot must have room for."""
        return max(self.r, *(rank for _, rank in self.rank_pattern), 0)

    def rank_of(self, module: str) -> int:
        """By the rule of PEFT's `get_pattern_key`."""
        fits = (rank for name, rank in self.rank_pattern if regex.fullmatch(rf"(.*\.)?({name})", module))
        return next(fits, self.r)

    def targets(self, module: str) -> bool:
        """Whether PEFT would adapt the module, by the rules of its `check_target_module_exists`.

        Raises TimeoutError where an expression of the file is made to be slow.
        """
        if _matches(self.exclude_modules, module):
            return False
        if self.target_modules == "all-linear":
            return not module.endswith(_OUTPUT_HEADS)
        if not _matches(self.target_modules, module):
            return False
        by_layer = self.layers_to_transform and not isinstance(self.target_modules, str)
        if not by_layer or module in self.target_modules:
            return True
        patterns = [rf"(?:^|.*?\.){pattern}" for pattern in self.layers_pattern] or [r".*?\.[^.]*"]
        tried = (regex.match(rf"{pattern}\.(\d+)\.", module, timeout=_PATIENCE_S) for pattern in patterns)
        layer = next((match for match in tried if match), None)
        return layer is not None and int(layer.group(1)) in self.layers_to_transform


def read_config(folder: Path) -> tuple[PeftConfig | None, list[Problem]]:
    """The configuration, None when it cannot even be read, and every reason against serving it."""
    raw = _raw(folder)
    if isinstance(raw, Problem):
        return None, [raw]
    problems = _extras(raw)
    fields = {
        "r": _checked(raw, "r", problems, _is_rank, "a whole number, at least 1"),
        "lora_alpha": _checked(raw, "lora_alpha", problems, _is_alpha, "a number above 0: at 0 it has no effect"),
        "use_rslora": raw.get("use_rslora") is True,
        "target_modules": _checked(raw, "target_modules", problems, _is_names, "module names, or an expression"),
        "exclude_modules": _checked(raw, "exclude_modules", problems, _is_names, "module names, or an expression", ()),
        "layers_to_transform": _many(raw.get("layers_to_transform")),
        "layers_pattern": _checked(raw, "layers_pattern", problems, _is_expressions, "expressions", ()),
        "rank_pattern": _by_module(raw, "rank_pattern", problems, _is_rank),
        "alpha_pattern": _by_module(raw, "alpha_pattern", problems, _is_alpha),
        "base_name": str(raw.get("base_model_name_or_path") or ""),
    }
    if any(value is None for value in fields.values()):
        return None, problems
    try:
        return PeftConfig(**{**fields, "layers_pattern": _many(fields["layers_pattern"])}), problems
    except ValueError as error:
        return None, [*problems, Problem(CONFIG_FILE, f"has values that PEFT does not write: {error}")]


def _raw(folder: Path) -> dict[str, Any] | Problem:
    try:
        raw = strict_json.parse((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Problem(CONFIG_FILE, *what_it_is_instead(folder))
    except (OSError, UnicodeDecodeError) as error:
        return Problem(CONFIG_FILE, f"cannot be read: {error}", "save the adapter again")
    except ValueError as error:
        return Problem(CONFIG_FILE, str(error), "save the adapter again")
    return raw if isinstance(raw, dict) else Problem(CONFIG_FILE, "holds no JSON object", "save the adapter again")


def _extras(raw: dict[str, Any]) -> list[Problem]:
    """Everything in it that makes it other than a plain LoRA over an untouched base."""
    problems = []
    if raw.get("peft_type") != "LORA":
        problems.append(_problem("peft_type", f"is {raw.get('peft_type')!r}", "only LORA can be served"))
    if raw.get("bias", "none") != "none":
        problems.append(_problem("bias", f"is {raw['bias']!r}: trained biases are not served", "train with bias: none"))
    for key in _FLAGS:
        if not isinstance(raw.get(key), bool | None):
            problems.append(_problem(key, f"is {raw[key]!r}", "it must be true or false, as PEFT writes it"))
    for key, (fault, cure) in _EXTRAS.items():
        if raw.get(key) and (key not in _FLAGS or raw[key] is True):
            problems.append(_problem(key, fault, cure))
    for key in raw.keys() - {*_READ, *_OF_TRAINING, *_FLAGS, *_EXTRAS, *_PATTERNS}:
        if raw[key]:
            fault = "is no key of PEFT 0.21 that is known here, and it may change what the adapter computes"
            problems.append(_problem(key, fault, "take it out if the adapter is a plain LoRA without it"))
    init = raw.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        fault = f"{init!r} changes the base's own weights before training, so the delta fits no other base"
        cure = "save with path_initial_model_for_weight_conversion, which turns it into a plain LoRA"
        problems.append(_problem("init_lora_weights", fault, cure))
    return problems


def _checked(
    raw: dict[str, Any], key: str, problems: list[Problem], fits: Any, wanted: str, default: Any = None
) -> Any:
    value = raw.get(key)
    if default is not None and (value is None or value == []):
        return default
    if not fits(value):
        problems.append(_problem(key, f"is {value!r}" if key in raw else "is missing", f"it must be {wanted}"))
        return None
    return value


def _by_module(raw: dict[str, Any], key: str, problems: list[Problem], fits: Any) -> Any:
    pattern = raw.get(key) or {}
    if not isinstance(pattern, dict) or not all(
        _NAMES.fullmatch(name) and _compiles(name) and fits(value) for name, value in pattern.items()
    ):
        problems.append(_problem(key, f"is {pattern!r}", f"it must be module names with {_PATTERNS[key]}"))
        return None
    return tuple(pattern.items())


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_alpha(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_names(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and _compiles(value)
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) and name for name in value)


def _is_expressions(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(pattern, str) and pattern and _compiles(pattern) for pattern in values)


def _compiles(expression: str) -> bool:
    try:
        regex.compile(expression)
    except (regex.error, RecursionError):
        return False
    return True


def what_it_is_instead(path: Path) -> tuple[str, str]:
    """(what a path without a PEFT configuration is, the cure): the usual mix-ups by name."""
    fault, cure = "this is no PEFT adapter folder", "save the adapter with PEFT's save_pretrained"
    if path.is_file():
        fault, cure = f"{path.name} is a file", "name the folder that PEFT saved, or an archive of it"
    elif not path.is_dir():
        fault, cure = f"there is no folder {path}", "name the folder that PEFT saved"
    elif steps := sorted(path.glob("checkpoint-*/"), key=lambda folder: (len(folder.name), folder.name)):
        several = f"{', '.join(step.name for step in steps[:3])}{' …' if len(steps) > 3 else ''}"
        fault, cure = f"this is a run with checkpoints ({several})", f"name one of them: {steps[-1]}"
    elif inner := sorted(file.parent for file in path.glob(f"*/{CONFIG_FILE}")):
        fault, cure = f"the adapter lies one folder deeper, in {inner[0].name}", f"name {inner[0]}"
    elif (path / "config.json").is_file():
        fault, cure = "this is a whole model, no adapter", "serve it with `dabt serve --base`"
    elif any(path.glob("*.gguf")):
        fault, cure = "this is an adapter of llama.cpp (gguf)", "take what it was converted from, saved by PEFT"
    return f"is missing: {fault}", cure


def _many(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _matches(names: str | tuple[str, ...], module: str) -> bool:
    if isinstance(names, str):
        return regex.fullmatch(names, module, timeout=_PATIENCE_S) is not None
    return module in names or any(module.endswith(f".{name}") for name in names)


def _problem(key: str, fault: str, cure: str = "") -> Problem:
    return Problem(f"{CONFIG_FILE}: {key}", fault, cure)
