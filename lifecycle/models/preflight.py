"""Preflight: whether a base can serve a LoRA folder as it was trained, told before any engine loads it.

An engine does not look at most of this: it would serve a wrong scale, another base's deltas, or no effect at all,
with a 200. Every reason is reported at once. Needs numpy, not torch. `peft_config.py` reads the configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lifecycle.errors import AdapterRefused, Corrupt, Problem
from lifecycle.models.base import fingerprint, linear_shapes
from lifecycle.models.peft_config import PeftConfig, read_config
from lifecycle.models.tensors import READABLE, TensorInfo, read_each, read_header
from lifecycle.origin import ORIGIN_FILE
from lifecycle.version import Frozen

WEIGHTS_FILE = "adapter_model.safetensors"

SERVED_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM 0.32 accepts for `--max-lora-rank`."""

SERVED_MODULES = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj"),
    *("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "out_proj", "in_proj", "fc1", "fc2"),
    *("c_attn", "c_proj", "c_fc", "Wqkv", "wqkv", "wo", "w1", "w2", "w3"),
)
"""Linear projections of the families that vLLM serves; the server wraps these and no others.

`lm_head` and embeddings are left out on purpose: wrapped, they are gathered in every step, and can fail in one.
"""

_TENSOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TRAINING_STATE = re.compile(r"(training_args\.bin|optimizer\.\w+|scheduler\.pt|scaler\.pt|rng_state\w*\.pth)")
"""What a Trainer leaves beside its weights; no server reads it, and `dabt import` does not store it."""

# What the name of a tensor that belongs to no plain LoRA gives away.
_STRANGERS = (
    (r"lora_magnitude_vector", "is DoRA's magnitude", "train with use_dora: false"),
    (r"modules_to_save", "is a fully trained module", "train without them"),
    (
        r"^(.*\.)?(lm_head|embed_tokens)\.weight$",
        "is a whole matrix, which PEFT saves with a LoRA where the trainer has made room for a new token",
        "where that token only pads, save again with save_embedding_layers=False; else train without it",
    ),
    (r"trainable_tokens|token_adapter", "holds trained token embeddings", "train without them"),
    (r"lora_embedding_[AB]", "adapts an embedding, which is not served", "target linear layers only"),
    (r"\.bias$", "is a trained bias", "train with bias: none"),
    (r"lora_[AB]\.[^.]+\.weight$", "carries an adapter's name inside", "save with PEFT's save_pretrained"),
)


class LoraFacts(Frozen):
    """What preflight learned of an adapter that it lets through."""

    rank: int
    alpha: float
    use_rslora: bool
    scale: float
    target_modules: tuple[str, ...]
    """Last parts of the adapted modules' names, sorted."""
    parameters: int
    bytes: int
    """Size of the weights file."""
    base_name: str


class Pair(NamedTuple):
    """The two factors at one module; either may be missing from the file."""

    a: TensorInfo | None
    b: TensorInfo | None


def preflight(
    folder: Path, base: Path, *, max_rank: int = 64, served_modules: Sequence[str] = SERVED_MODULES
) -> LoraFacts:
    """Hold the PEFT folder against the base model's folder and the server's limits.

    Raises `AdapterRefused` with every problem found. Raises `InvalidInput` or `Corrupt` when it is the base that
    cannot be read.
    """
    config, problems = read_config(folder)
    problems += origin_problems(folder, base)
    problems += pickle_problems(folder)
    tensors, unreadable = _tensors(folder / WEIGHTS_FILE)
    problems += unreadable
    problems += refusals(config, tensors, base, max_rank=max_rank, served_modules=served_modules)
    pairs, _ = _pair_up(tensors)
    problems += _values(folder / WEIGHTS_FILE, pairs)
    if problems or config is None:
        raise AdapterRefused(f"{folder} cannot be served over {base.name}:", problems)
    return LoraFacts(
        rank=config.largest_rank,
        alpha=config.lora_alpha,
        use_rslora=config.use_rslora,
        scale=config.scale,
        target_modules=tuple(sorted({module.rpartition(".")[2] for module in pairs})),
        parameters=sum(info.parameters for info in tensors.values()),
        bytes=(folder / WEIGHTS_FILE).stat().st_size,
        base_name=config.base_name,
    )


def refusals(
    config: PeftConfig | None,
    tensors: dict[str, TensorInfo],
    base: Path,
    *,
    max_rank: int,
    served_modules: Sequence[str] = SERVED_MODULES,
) -> list[Problem]:
    """What the base's folder or the server's limits have against an adapter of these tensors.

    It needs their names and shapes alone, so training asks it of an adapter that is not made yet. `config` is None
    where it could not be read.
    """
    shapes = linear_shapes(base)
    pairs, problems = _pair_up(tensors)
    if config is not None and (rank := config.largest_rank) > max_rank:
        cure = f"train with r ≤ {max_rank}, or start the server with a higher max rank"
        key = "r" if rank == config.r else "rank_pattern"
        problems.append(Problem(f"adapter_config.json: {key}", f"is {rank}; the server takes {max_rank}", cure))
    problems += _places(pairs, shapes, served_modules)
    problems += _shapes(pairs, shapes, config)
    if config is not None and tensors:
        problems += _targets(config, pairs, shapes)
    return problems


def origin_problems(folder: Path, base: Path) -> list[Problem]:
    """Wrong base, where the folder records the fingerprint that it was trained on (`origin.Origin`)."""
    if not (folder / ORIGIN_FILE).is_file():
        return []
    try:
        recorded = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))["base"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Problem(ORIGIN_FILE, f"names no base: {error!r}", "delete it, or train again")]
    here = fingerprint(base)
    if not isinstance(recorded, dict):
        differs = ["it"] if recorded != here.digest else []
    else:
        parts = ("weights", "tokenizer", "chat_template")
        differs = [part for part in parts if recorded.get(part) != getattr(here, part)]
    if not differs:
        return []
    name = recorded.get("name", "another base") if isinstance(recorded, dict) else "another base"
    fault = f"was trained on {name}; over {here.name} these differ: {', '.join(differs)}"
    return [Problem(ORIGIN_FILE, fault, "serve it over the base that it was trained on")]


def pickle_problems(folder: Path) -> list[Problem]:
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in _PICKLES)
    weights = [name for name in pickles if not _TRAINING_STATE.fullmatch(name)]
    fault = "is pickled: loading it can run any code"
    return [Problem(name, fault, "save as safetensors, and remove it") for name in weights]


def _tensors(file: Path) -> tuple[dict[str, TensorInfo], list[Problem]]:
    if not file.is_file():
        return {}, [Problem(file.name, *_weights_instead(file.parent))]
    try:
        tensors = read_header(file)
    except Corrupt as error:
        return {}, [Problem(file.name, str(error))]
    return tensors, [] if tensors else [Problem(file.name, "holds no tensors")]


def _weights_instead(folder: Path) -> tuple[str, str]:
    """(how the weights are there in another form, the cure)."""
    if any(folder.glob("adapter_model*.index.json")):
        return "is missing: its tensors are split over several files", "save it in one: max_shard_size above its size"
    if (folder / "adapters.safetensors").is_file():
        cure = "convert it to PEFT's layout: MLX keeps both matrices transposed, under names of its own"
        return "is missing: this is an adapter of MLX (adapters.safetensors)", cure
    if any(folder.glob("global_step*")):
        return "is missing: this is a checkpoint of DeepSpeed", "gather it with its zero_to_fp32.py, and save with PEFT"
    if any(folder.glob("*.distcp")) or any(folder.glob("pytorch_model_fsdp*")):
        return (
            "is missing: this is a checkpoint of FSDP",
            "gather it with `accelerate merge-weights`, and save with PEFT",
        )
    return "is missing", "save with PEFT's save_pretrained (safetensors)"


def _pair_up(tensors: dict[str, TensorInfo]) -> tuple[dict[str, Pair], list[Problem]]:
    sides: dict[str, dict[str, TensorInfo]] = {}
    strangers: dict[tuple[str, str], list[str]] = {}
    twice: list[str] = []
    for name, info in tensors.items():
        if match := _TENSOR.fullmatch(name):
            if match["side"] in (pair := sides.setdefault(match["module"], {})):
                twice.append(name)
            pair[match["side"]] = info
            continue
        fault, cure = next(
            ((fault, cure) for pattern, fault, cure in _STRANGERS if re.search(pattern, name)),
            ("is no tensor of a LoRA", "save with PEFT's save_pretrained"),
        )
        strangers.setdefault((fault, cure), []).append(name)
    pairs = {module: Pair(pair.get("A"), pair.get("B")) for module, pair in sides.items()}
    problems = [Problem(several(names), fault, cure) for (fault, cure), names in strangers.items()]
    if twice:
        fault = "is there twice, with and without base_model.model before its name: which one counts is anyone's guess"
        problems.append(Problem(several(twice), fault, "save the adapter again"))
    for missing, modules in (
        ("lora_A", [module for module, pair in pairs.items() if pair.a is None]),
        ("lora_B", [module for module, pair in pairs.items() if pair.b is None]),
    ):
        if modules:
            problems.append(Problem(several(modules), f"has no {missing}: a pair is not whole", "save it again"))
    return pairs, problems


def _places(pairs: dict[str, Pair], shapes: dict[str, tuple[int, int]], served: Sequence[str]) -> list[Problem]:
    """Modules that the server does not wrap, and modules or layers that the base does not have."""
    suffixes = {module.rpartition(".")[2] for module in pairs}
    problems = []
    if unserved := sorted(suffixes - set(served)):
        have = sorted({module.rpartition(".")[2] for module in shapes} & set(served))
        cure = f"target some of {', '.join(have)}"
        problems.append(Problem(", ".join(unserved), "is adapted, and the server does not adapt it", cure))
    if absent := [module for module in pairs if module not in shapes]:
        layers = {int(layer) for module in shapes for layer in re.findall(r"\.(\d+)\.", module)}
        had = f"its layers are 0 to {max(layers)}" if layers else "it has no numbered layers"
        fault = f"is no linear layer of the base ({had})"
        problems.append(Problem(several(absent), fault, "serve it over the base that it was trained on"))
    return problems


def _shapes(pairs: dict[str, Pair], shapes: dict[str, tuple[int, int]], config: PeftConfig | None) -> list[Problem]:
    """A is (r, in), B is (out, r): held against the base's (out, in) and the configuration's r."""
    misfits: dict[str, list[str]] = {}
    for module, (a, b) in pairs.items():
        for info, inner in ((a, 0), (b, 1)):
            if info is None:
                continue
            shape = list(info.shape)
            if info.dtype not in READABLE:
                misfits.setdefault(f"is stored as {info.dtype}, expected BF16, F16 or F32", []).append(info.name)
            if len(shape) != 2:
                misfits.setdefault(f"has shape {shape}, expected two dimensions", []).append(info.name)
                continue
            if config is not None and shape[inner] != (rank := config.rank_of(module)):
                misfits.setdefault(f"has rank {shape[inner]} where the config's r is {rank}", []).append(info.name)
            if module in shapes and shape[1 - inner] != (wanted := shapes[module][1 - inner]):
                side = "in" if inner == 0 else "out"
                fault = f"has shape {shape} where the base has {side}_features {wanted}"
                misfits.setdefault(fault, []).append(info.name)
    return [Problem(several(names), fault) for fault, names in misfits.items()]


def _targets(config: PeftConfig, pairs: dict[str, Pair], shapes: dict[str, tuple[int, int]]) -> list[Problem]:
    """The configuration and the file must speak of the same modules."""
    problems = []
    try:
        expected = {module for module in shapes if config.targets(module)}
    except TimeoutError:
        fault = "has an expression that takes too long to hold against the base's modules"
        return [Problem("adapter_config.json: target_modules", fault, "name the modules in a list")]
    unknown = []
    for name in config.target_modules if isinstance(config.target_modules, tuple) else ():
        meant = {module for module in shapes if _ends_with(module, name)}
        left_out_on_purpose = meant and not meant & expected
        if not left_out_on_purpose and not any(_ends_with(module, name) for module in pairs):
            unknown.append(name)
            expected -= meant
    if unknown:
        fault = "is among the config's target_modules, and the file has no tensors for it"
        problems.append(Problem(", ".join(unknown), fault, "save the adapter again"))
    if lacking := sorted(expected - pairs.keys()):
        fault = "is targeted by the config, and the file has no tensors for it"
        problems.append(Problem(several(lacking), fault, "save the adapter again"))
    if extra := [module for module in pairs if module in shapes and module not in expected]:
        fault = "has tensors, and is not among the config's target_modules"
        problems.append(Problem(several(extra), fault, "save the adapter again"))
    return problems


def _values(file: Path, pairs: dict[str, Pair]) -> list[Problem]:
    """NaN or infinite values, and a delta that is zero everywhere. Reads one tensor at a time."""
    import numpy

    readable = [info for pair in pairs.values() for info in pair if info is not None and info.dtype in READABLE]
    alive: dict[str, bool] = {}
    broken = []
    for info, values in zip(readable, read_each(file, readable), strict=True) if readable else ():
        if not numpy.isfinite(values).all():
            broken.append(info.name)
        alive[info.name] = bool(values.any())
    # What is missing or cannot be read is a fault of its own, and nobody knows its effect.
    sides = [[alive.get(info.name) for info in pair if info is not None] for pair in pairs.values()]
    dead = bool(sides) and all(len(side) == 2 and None not in side and not all(side) for side in sides)
    problems = (
        [Problem(several(broken), "holds NaN or infinite values", "train again, at a lower rate")] if broken else []
    )
    if dead:
        fault = "every delta is zero (lora_B was never trained): it would answer as the base does"
        problems.append(Problem(file.name, fault, "check that the run trained and saved this adapter"))
    return problems


def _ends_with(module: str, name: str) -> bool:
    """PEFT's rule for a target: the whole name, or its last parts."""
    return module == name or module.endswith(f".{name}")


def several(names: Iterable[str]) -> str:
    """The first name, and how many more there are: one line for a fault that every layer repeats."""
    first, *others = names
    return f"{first} and {len(others)} more" if others else first
