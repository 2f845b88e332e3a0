"""What both trainers take from transformers' Trainer, under names of their own: batches, rate, warm-up and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.foreign.translation import Translation
from training.optimisation import OptimisationSettings

_ADAMW = ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused")
_NOTHING: tuple[Any, ...] = (None, 0, 1, False, "", [], {})
_SHARED_OUT = ("lora", "full", "text", "last_layers")
"""Methods that share weights out here too."""
_SCHEDULES = ("cosine", "linear", "constant_with_warmup")


@dataclass(frozen=True)
class Named:
    """The tool's names for what it shares with the other, and its defaults where they differ."""

    epochs: str
    batch: str
    schedule: str
    optimiser: str
    default_epochs: float
    default_batch: int
    default_schedule: str
    several: tuple[str, ...]
    """Keys of which each says that several devices train together."""
    shared: tuple[str, ...] = ()
    """Those of them that share the weights out (FSDP)."""
    default_warmup: float = 0.0
    most_warmup: int | None = None
    """Steps that the default warm-up has at most."""


ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
"""What AdamW takes here, and there by default."""


def batches(to: Translation, named: Named) -> tuple[int, int]:
    """A batch on one device as it is there, and as many of them for a step as all devices had together."""
    batch = to.whole(named.batch, named.default_batch)
    gathered = to.whole("gradient_accumulation_steps", 1)
    devices = to.asked.devices or 1
    shared = [key for key in named.shared if to.values.get(key) not in _NOTHING]
    fsdp = devices > 1 and bool(shared) and to.mapping["method"].get("type") in _SHARED_OUT
    if fsdp:
        why = f"start it as `torchrun --nproc-per-node {devices} -m dabt train FILE`, or leave it out"
        to.set("optimisation.fsdp", True, *shared, why=why)
    for key in named.several:
        if to.values.get(key) in _NOTHING:
            to.leave(key, "it asks for no second device")
        elif to.asked.devices is None:
            to.refuse(key, "trains on several devices, and a step has the batches of all", "say --devices N")
        else:
            to.leave(key, "it shares the work out; the batches of its devices are in accumulation")
    total = f"{batch} × {gathered} × {devices} device{'s' * (devices != 1)} = {batch * gathered * devices} rows a step"
    if fsdp:  # a batch is that of all processes
        batch, devices = batch * devices, 1
    to.set("optimisation.batch_size", batch, named.batch)
    to.set("optimisation.accumulation", gathered * devices, "gradient_accumulation_steps", why=total)
    return batch, gathered * devices


def optimiser(to: Translation, named: Named, *, rows: int) -> None:
    """Rate, epochs, schedule, warm-up and the rest. `rows` are those trained on; 0 where that is not known."""
    batch, gathered = batches(to, named)
    epochs = to.number(named.epochs, named.default_epochs)
    most = to.whole("max_steps", -1)
    if most > 0:
        to.set("optimisation.max_steps", most, "max_steps")
        to.leave(named.epochs, "max_steps decides, as it does there")
        to.set("optimisation.epochs", float(most), "max_steps", why="an epoch has at least a step: max_steps ends it")
        steps = most
    else:
        to.leave("max_steps", "it asks for no end")
        to.set("optimisation.epochs", epochs, named.epochs)
        how = OptimisationSettings(batch_size=max(batch, 1), accumulation=max(gathered, 1), epochs=max(epochs, 1e-9))
        steps = how.steps(rows) if rows else 0
    _schedule(to, named, steps)
    to.set("optimisation.weight_decay", float(to.number("weight_decay", 0.0)), "weight_decay")
    to.set("optimisation.max_grad_norm", float(to.number("max_grad_norm", 1.0)), "max_grad_norm")
    to.set("optimisation.seed", to.whole("seed", 42), "seed")
    _order(to)
    if (name := to.text(named.optimiser, _ADAMW[0])) in _ADAMW:
        to.leave(named.optimiser, "AdamW is what is here")
    else:
        to.lose(named.optimiser, f"{name}: AdamW is the one optimiser here, with its state in float32")


def _order(to: Translation) -> None:
    """transformers had the first of these keys before its release 5, and has the second since."""
    asked = {
        "group_by_length": to.flag("group_by_length"),
        "train_sampling_strategy": to.values.get("train_sampling_strategy") == "group_by_length",
    }
    keys = [key for key, wanted in asked.items() if wanted]
    if keys and to.mapping["method"].get("type") != "text":
        why = "it costs loss in short runs, and saves nothing where rows are packed, as they are by default here"
        to.set("optimisation.group_by_length", True, *keys, why=why)
    for key in keys:
        to.leave(key, "texts are packed into blocks of one length")
    to.leave("group_by_length", "rows come by chance here too")


def _schedule(to: Translation, named: Named, steps: int) -> None:
    schedule = to.text(named.schedule, named.default_schedule)
    path = "optimisation.schedule"
    if schedule == "constant":
        to.set(path, "constant_with_warmup", named.schedule, why="constant is this without a warm-up")
        to.set("optimisation.warmup", 0.0, named.schedule)
        for key in ("warmup_ratio", "warmup_steps"):
            to.leave(key, "a constant rate has no warm-up")
        return
    if schedule in _SCHEDULES:
        to.set(path, schedule, named.schedule)
    else:
        to.lose(named.schedule, f"{schedule!r} has no counterpart: here are {', '.join(_SCHEDULES)}")
    if (asked := to.number("warmup_steps", 0)) >= 1:
        _steps(to, asked, steps)
    elif asked > 0:
        to.set("optimisation.warmup", float(asked), "warmup_steps", why="less than 1 is a share there too")
    elif to.has("warmup_ratio"):
        to.set("optimisation.warmup", float(to.number("warmup_ratio", 0.0)), "warmup_ratio")
    elif to.has("warmup_steps"):
        to.set("optimisation.warmup", 0.0, "warmup_steps")
    else:
        _default_warmup(to, named, steps)
    if to.has("warmup_ratio") and asked > 0:
        to.leave("warmup_ratio", "warmup_steps decides, as it does there")


def _default_warmup(to: Translation, named: Named, steps: int) -> None:
    share, most = named.default_warmup, named.most_warmup
    if most is None:
        to.set("optimisation.warmup", share, "warmup_ratio")
    elif share * steps > most:
        to.set("optimisation.warmup", _share(most, steps), "warmup_ratio", why=f"{most} of about {steps} steps")
    else:
        to.set("optimisation.warmup", share, "warmup_ratio", why=f"at most {most} steps")


def _steps(to: Translation, asked: float, steps: int) -> None:
    if not steps:
        to.lose("warmup_steps", f"{asked:g} steps: here it is a share of all, whose number is not known", _SHARE)
    elif asked >= steps:
        to.lose("warmup_steps", f"{asked:g} steps of about {steps} in all: the rate would never be reached", _SHARE)
    else:
        to.set(
            "optimisation.warmup", _share(int(asked), steps), "warmup_steps", why=f"{asked:g} of about {steps} steps"
        )


_SHARE = "write warmup_ratio"


def _share(wanted: int, steps: int) -> float:
    """The share of which `OptimisationSettings.warmup_steps`, which rounds up, makes so many."""
    return round((wanted - 0.5) / steps, 8) if wanted > 1 else 1 / steps
