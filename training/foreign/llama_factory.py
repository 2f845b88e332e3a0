"""LLaMA-Factory's YAML as a configuration here. Its other keys are in `llama_factory_keys.py`.

Read in the sources of 0.9.5 and after (`hparams/`, `data/`). Its rows: `llama_factory_rows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.foreign.llama_factory_keys import KEYS, REWRITES, SYSTEM_TEXTS, THINKING
from training.foreign.llama_factory_rows import Held, data
from training.foreign.llama_factory_templates import renders_as
from training.foreign.optimiser import Named, optimiser
from training.foreign.shape import base, go_on, targets, tracking
from training.foreign.translation import BEST, Asked, Translation

SIGN = "model_name_or_path"
"""The key that each of its files has."""
BESIDE = ("stage", "finetuning_type", "template", "dataset", "dataset_dir", "lora_rank", "lora_target", "cutoff_len")
"""Keys that TRL's files, which name the base alike, have none of."""
_NAMED = Named(
    epochs="num_train_epochs",
    batch="per_device_train_batch_size",
    schedule="lr_scheduler_type",
    optimiser="optim",
    default_epochs=3.0,
    default_batch=8,
    default_schedule="linear",
    several=("deepspeed", "fsdp", "ray_num_workers"),
    shared=("fsdp",),
)
_METHODS = {
    ("sft", "lora"): "lora",
    ("sft", "full"): "full",
    ("sft", "freeze"): "last_layers",
    ("pt", "lora"): "text",
    ("dpo", "lora"): "dpo",
}
_LOSSES = ("sigmoid", "hinge", "ipo")


def translate(raw: Mapping[str, Any], asked: Asked) -> Translation:
    """What becomes of each key. Problems are in the translation."""
    to = Translation("LLaMA-Factory", {str(key): value for key, value in raw.items()}, asked)
    to.set("name", asked.name, default="the name of the file, or --name")
    base(to, SIGN)
    method = _method(to)
    held = data(to, method)
    if method != "text":
        _template(to, held)
    else:
        to.leave("template", "plain texts have no template")
        to.leave("enable_thinking", "plain texts have no template")
    _packing(to, method)
    to.set("optimisation.lr", to.number("learning_rate", 5e-5), "learning_rate")
    optimiser(to, _NAMED, rows=0 if method == "text" else held.rows)
    to.set(
        "optimisation.max_length",
        to.whole("cutoff_len", 2048),
        "cutoff_len",
        why="tokens in a block" if method == "text" else "there a longer row is cut, here it is an error",
    )
    _rest(to)
    to.finish(KEYS)
    to.check()
    to.notes.append(BEST)
    return to


def _method(to: Translation) -> str:
    stage = to.choice("stage", "sft", ("sft", "pt", "dpo"), "sft, pt and dpo have one: lora, text and dpo")
    kind = to.choice("finetuning_type", "lora", ("lora", "full", "freeze"), "lora, full and freeze have one")
    method = _METHODS.get((stage, kind))
    if method is None:
        to.refuse("finetuning_type", f"{kind} with the stage {stage} has no counterpart", "write finetuning_type: lora")
        method = "lora"
    if method == "lora" and _packed(to):
        method = "qlora"
        to.set("method.type", method, "stage", "finetuning_type", "quantization_bit")
    else:
        to.set("method.type", method, "stage", "finetuning_type")
    if kind == "lora":
        _shape(to, method)
    elif kind == "freeze":
        _last_layers(to)
    if method == "dpo":
        _dpo(to)
    return method


def _packed(to: Translation) -> bool:
    """Whether the base is in 4 bits as QLoRA has it here."""
    if not to.has("quantization_bit"):
        return False
    bits, by = to.whole("quantization_bit", 4), to.text("quantization_method", "bnb")
    form, twice = to.text("quantization_type", "nf4"), to.flag("double_quantization", True)
    if (bits, by, form, twice) != (4, "bnb", "nf4", True):
        said = f"{bits} bits by {by}" + f" in {form}" * (bits == 4) + ", scales not packed" * (not twice)
        to.lose("quantization_bit", f"{said}: here a base is packed as NF4 with its scales packed, or not at all")
        return False
    for key in ("quantization_method", "quantization_type", "double_quantization"):
        to.leave(key, "qlora packs so")
    return True


def _shape(to: Translation, method: str) -> None:
    if method in ("dpo", "text") and to.has("quantization_bit"):
        to.lose("quantization_bit", f"{method} trains over the base as it is here, not packed")
    if to.has("adapter_name_or_path"):
        adapters = [path.strip() for path in to.text("adapter_name_or_path").split(",")]
        if len(adapters) > 1:
            to.refuse("adapter_name_or_path", "names several adapters, which are merged first", "name one")
            return
        parts = ("lora_rank", "lora_alpha", "use_rslora", "lora_target")
        go_on(to, "adapter_name_or_path", adapters[0], parts, "lora_dropout")
        if method == "dpo":
            to.notes.append("the reference of dpo is the adapter that it goes on from; there it is the base")
        return
    rank = to.whole("lora_rank", 8)
    to.set("method.r", rank, "lora_rank")
    alpha = to.number("lora_alpha", 0) or 2 * rank
    to.set("method.alpha", alpha, "lora_alpha", default="LLaMA-Factory's default of lora_alpha, 2 × lora_rank")
    to.set("method.dropout", float(to.number("lora_dropout", 0.0)), "lora_dropout")
    to.set("method.rslora", to.flag("use_rslora"), "use_rslora")
    wanted = to.values.get("lora_target")
    named = [part.strip() for part in wanted.split(",")] if isinstance(wanted, str) else wanted
    targets(to, "lora_target", "all" if named is None else named, everything="all")


def _last_layers(to: Translation) -> None:
    layers = to.whole("freeze_trainable_layers", 2)
    if layers < 1:
        to.lose(
            "freeze_trainable_layers",
            f"{layers}: the first layers are trained, and here the last",
            "write a number above 0",
        )
    else:
        to.set("method.layers", layers, "freeze_trainable_layers")
    if to.values.get("freeze_trainable_modules") not in (None, "all"):
        to.lose("freeze_trainable_modules", "trains some modules of the layers; here it is all of each")
    else:
        to.leave("freeze_trainable_modules", "all of a layer is trained")
    if to.values.get("freeze_extra_modules") == "lm_head":
        to.set("method.head", True, "freeze_extra_modules")


def _dpo(to: Translation) -> None:
    to.set("method.beta", to.number("pref_beta", 0.1), "pref_beta")
    loss = to.choice("pref_loss", "sigmoid", _LOSSES, f"here are {', '.join(_LOSSES)}")
    to.set("method.loss", loss, "pref_loss")
    to.set("method.label_smoothing", float(to.number("dpo_label_smoothing", 0.0)), "dpo_label_smoothing")
    to.set("method.sft", float(to.number("pref_ftx", 0.0)), "pref_ftx")


def _template(to: Translation, held: Held) -> None:
    name = to.text("template")
    if name and not _same_tokens(to, name, held):
        more = ["; it adds a system text of its own"] * (name in SYSTEM_TEXTS)
        more += ["; it adds empty thoughts to answers, which are learnt"] * (name in THINKING)
        more += ["; it takes the place of the tokenizer's template"] * (name in REWRITES)
        to.lose(
            "template",
            f"{name} renders rows by LLaMA-Factory's own rules, and here by the base's chat template, as it is served"
            + "".join(more),
            "write template: FILE.jinja into the result where the base's own will not do, and a system text into "
            "prompt.system",
        )
    if to.has("enable_thinking"):
        if name and name not in THINKING:
            to.leave("enable_thinking", f"the template {name} has no thoughts")
        elif to.flag("enable_thinking", True):
            to.lose("enable_thinking", "says that empty thoughts are learnt; here the base's template decides")
        else:
            why = "the base's template is told so, in training and by the service"
            to.set("prompt.chat_template_kwargs", {"enable_thinking": False}, "enable_thinking", why=why)
    if to.has("default_system"):
        _default_system(to, held.has_system)


def _same_tokens(to: Translation, name: str, held: Held) -> bool:
    """Whether the base's own chat template, or a named one, gives the tokens that `name` gives there."""
    if held.has_tools:
        return False
    always = bool(to.text("default_system")) and not held.has_system
    here = renders_as(name, to.place(to.text(SIGN)), has_system=always)
    if here:
        to.set("template", here, "template", why=f"serve the base by it: --chat-template {here}")
    elif here is not None:
        to.leave("template", "the base's own chat template gives the same tokens, compared with its tokenizer")
    return here is not None


def _default_system(to: Translation, has_system: bool) -> None:
    """There it stands for a row's own system text; here it comes before it."""
    text = to.text("default_system")
    if has_system:
        fault = "stands in for rows without a system text there; here it would come before those that rows have, too"
        to.lose("default_system", fault, "write it into the rows that have none")
        return
    file = to.beside(".system.txt", text)
    if file is None:
        to.refuse(
            "default_system", "becomes a file of its own beside the configuration", "name the configuration by --out"
        )
    else:
        to.set("prompt.system", file, "default_system")


def _packing(to: Translation, method: str) -> None:
    neat = to.flag("neat_packing")
    packing = to.flag("packing", neat)
    if method == "text":
        if to.has("packing") and not packing:
            to.lose("packing", "false: texts are always packed into blocks here")
        to.leave("packing", "texts are always packed into blocks")
    elif neat or packing:
        key = "neat_packing" if neat else "packing"
        apart = "" if neat else ", and its rows see each other"
        to.lose(
            key,
            f"a batch there is of lines of cutoff_len tokens, each with as many rows as fit{apart}; here batch_size "
            "counts rows, packed or not",
            "set optimisation.batch_size to the rows that a step had",
        )
        to.leave("packing" if neat else "neat_packing", f"{key} decides")


def _rest(to: Translation) -> None:
    told = to.values.get("report_to")
    tracking(to, {"report_to": told if isinstance(told, list) else [told]})
    saves = not to.flag("disable_gradient_checkpointing")
    to.set(
        "optimisation.gradient_checkpointing",
        saves,
        "disable_gradient_checkpointing",
        why="it saves memory, and changes nothing of the result",
    )
    to.leave("gradient_checkpointing", "disable_gradient_checkpointing decides there")
    if to.flag("bf16"):
        to.set("optimisation.precision", "bfloat16", "bf16")
    to.leave("bf16", "float32 on a CPU; a GPU takes bfloat16 here")
    if to.has("early_stopping_steps") and to.text("eval_strategy") == "epoch":
        to.set("optimisation.early_stopping", to.whole("early_stopping_steps", 1), "early_stopping_steps")
    if to.has("tokenized_path"):
        place = to.place(to.text("tokenized_path"))
        if place.is_dir() and any(place.iterdir()):
            to.lose("tokenized_path", f"{place} holds rows as tokens, which are read there in place of the data sets")
        else:
            to.leave("tokenized_path", "tokens would be kept there; they are made anew here")
