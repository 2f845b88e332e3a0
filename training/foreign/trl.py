"""TRL's YAML (`trl sft --config FILE`, `trl dpo --config FILE`) as a configuration here. Its other keys: `trl_keys.py`.

Read in the sources of 1.16 (`scripts/`, `trainer/*_config.py`). The file does not say for which command it is: its rows
do. Its data sets: `trl_rows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lifecycle.models.base import chat_template_of
from training.foreign.optimiser import Named, optimiser
from training.foreign.shape import base, targets, tracking
from training.foreign.translation import BEST, Asked, Translation, flat
from training.foreign.trl_keys import KEYS
from training.foreign.trl_rows import Rows, data, look

NAMES = "model_name_or_path"
SIGNS = ("dataset_name", "datasets", "use_peft")
"""Beside the base, one of these is in each of its files; LLaMA-Factory's, which name the base alike, have none."""
_NAMED = Named(
    epochs="num_train_epochs",
    batch="per_device_train_batch_size",
    schedule="lr_scheduler_type",
    optimiser="optim",
    default_epochs=3.0,
    default_batch=8,
    default_schedule="linear",
    several=("deepspeed", "fsdp", "accelerate_config", "num_processes"),
    shared=("fsdp",),
)
_RATES = {"sft": 2e-5, "text": 2e-5, "dpo": 1e-6}
_LOSSES = ("sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down")


def translate(raw: Mapping[str, Any], asked: Asked) -> Translation:
    """What becomes of each key. Problems are in the translation."""
    to = Translation("TRL", flat(raw, ("datasets",)), asked)
    if asked.devices is None and (many := to.whole("num_processes", 0)) > 0:
        to.asked = replace(asked, devices=many)
    to.set("name", asked.name, default="the name of the file, or --name")
    base(to, NAMES)
    rows = look(to, raw)
    method = _method(to, rows)
    count = data(to, raw, rows)
    _template(to, method)
    _what_is_learnt(to, rows)
    _packing(to, method)
    to.set("optimisation.lr", to.number("learning_rate", _RATES[rows.method]), "learning_rate")
    shares = str(to.values.get("accelerate_config") or "").startswith("fsdp")
    named = replace(_NAMED, shared=(*_NAMED.shared, "accelerate_config")) if shares else _NAMED
    optimiser(to, named, rows=0 if method == "text" else count)
    _length(to, method)
    _rest(to, method)
    to.finish(KEYS)
    to.check()
    to.notes.append(f"read as `trl {'dpo' if method == 'dpo' else 'sft'}` reads it, by its rows")
    to.notes.append(BEST)
    return to


def _method(to: Translation, rows: Rows) -> str:
    adapts, packed = to.flag("use_peft"), to.flag("load_in_4bit")
    if rows.method != "sft" and not adapts:
        to.refuse("use_peft", f"is not true, and {rows.method} trains adapters here", "write use_peft: true")
    method = rows.method if rows.method != "sft" else "lora" if adapts else "full"
    if packed and method == "lora":
        method = "qlora" if _packs_alike(to) else "lora"
    elif packed:
        to.lose("load_in_4bit", f"packs the base in 4 bits; {method} trains over the base as it is here")
    keys = ("use_peft", "load_in_4bit") if method == "qlora" else ("use_peft",)
    to.set("method.type", method, *keys, default="TRL's default: no adapter, all weights")
    to.leave("load_in_4bit", "the base is packed by qlora alone")
    if method != "full":
        _shape(to, method)
    if method == "dpo":
        _dpo(to)
    return method


def _packs_alike(to: Translation) -> bool:
    form, twice = to.text("bnb_4bit_quant_type", "nf4"), to.flag("use_bnb_nested_quant")
    to.leave("bnb_4bit_quant_type", "qlora packs so")
    if form == "nf4" and twice:
        to.leave("use_bnb_nested_quant", "qlora packs so")
        return True
    said = f"{form}{'' if twice else ', scales not packed'}: here a base is packed as NF4 with its scales packed"
    place = "use_bnb_nested_quant" if form == "nf4" else "bnb_4bit_quant_type"
    return to.lose(place, said, "write use_bnb_nested_quant: true and nf4")


def _shape(to: Translation, method: str) -> None:
    to.set("method.r", to.whole("lora_r", 16), "lora_r")
    to.set("method.alpha", to.number("lora_alpha", 32), "lora_alpha")
    if method == "dpo" and to.flag("disable_dropout", True):
        to.set("method.dropout", 0.0, "disable_dropout", why="it takes the adapter's too")
        to.leave("lora_dropout", "disable_dropout decides, as it does there")
    else:
        to.set("method.dropout", float(to.number("lora_dropout", 0.05)), "lora_dropout")
        to.leave("disable_dropout", "lora_dropout says how much there is")
    to.set("method.rslora", to.flag("use_rslora"), "use_rslora")
    wanted = to.values.get("lora_target_modules")
    if wanted is not None:
        targets(to, "lora_target_modules", wanted, everything="all-linear")
    elif chosen := _chosen(to):
        to.set("method.target_modules", chosen, "lora_target_modules", default="PEFT's choice for this kind of base")
    else:
        fault = "is missing, and PEFT would choose modules by the base's kind, which is not known here"
        to.refuse("lora_target_modules", fault, "write all-linear, or the names")


def _chosen(to: Translation) -> list[str]:
    """The modules that PEFT takes for a base of this kind where none are named."""
    from lifecycle.errors import DabtError
    from lifecycle.models.base import read_object

    folder = to.place(to.text(NAMES))
    if not folder.is_dir():
        return []
    try:
        kind = read_object(folder / "config.json").get("model_type")
    except DabtError:
        return []
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as CHOICES

    chosen = CHOICES.get(str(kind))
    return sorted(chosen) if isinstance(chosen, list | set | tuple) else []


def _dpo(to: Translation) -> None:
    to.set("method.beta", to.number("beta", 0.1), "beta")
    losses = to.values.get("loss_type") or "sigmoid"
    named = losses if isinstance(losses, list) else [losses]
    if len(named) == 1 and named[0] in _LOSSES:
        to.set("method.loss", named[0], "loss_type")
        if to.values.get("loss_weights") in ([1], [1.0]):
            to.leave("loss_weights", "of one loss")
    else:
        to.refuse("loss_type", f"{losses!r} has no counterpart here", f"one of {', '.join(_LOSSES)} has")
    to.set("method.label_smoothing", float(to.number("label_smoothing", 0.0)), "label_smoothing")


def _template(to: Translation, method: str) -> None:
    named = to.text("chat_template_path")
    if not named or method == "text":
        to.leave("chat_template_path", "plain texts have no template")
        return
    place = to.place(named)
    if place.is_file():
        to.set("template", to.path(place), "chat_template_path", why="serve the base by it: --chat-template")
    elif place.is_dir() and isinstance(found := chat_template_of(place), str):
        if (file := to.beside(".jinja", found)) is not None:
            to.set("template", file, "chat_template_path", why="serve the base by it: --chat-template")
        else:
            to.refuse(
                "chat_template_path", "becomes a file beside the configuration", "name the configuration by --out"
            )
    else:
        to.refuse("chat_template_path", f"there is no file {place}", "download the template and name its file")


def _what_is_learnt(to: Translation, rows: Rows) -> None:
    """There a conversation is learnt whole unless the file says otherwise; here it is always the answers."""
    if rows.method in ("dpo", "text"):
        for key in ("assistant_only_loss", "completion_only_loss"):
            to.leave(key, "it is of conversations")
    elif rows.has_prompt:
        if to.values.get("completion_only_loss") is False:
            to.lose("completion_only_loss", "false: questions are learnt too, and here answers alone", "write true")
        to.leave("completion_only_loss", "answers alone are learnt here")
        to.leave("assistant_only_loss", "answers alone are learnt here")
    else:
        if not to.flag("assistant_only_loss"):
            said = "is false by default: questions and system texts are learnt too, and here answers alone"
            to.lose("assistant_only_loss", said, "write assistant_only_loss: true")
        to.leave("assistant_only_loss", "answers alone are learnt here")
        to.leave("completion_only_loss", "answers alone are learnt here")
    folder = to.place(to.text(NAMES))
    plain = folder.is_dir() and not chat_template_of(folder) and not to.has("chat_template_path")
    if rows.method != "text" and not rows.in_turns and not plain:
        fault = (
            "its rows are texts, which are trained there without a chat template; here the base's is put around them"
        )
        for key in dict.fromkeys(one.place for one in rows.train):
            to.lose(key, f"{fault}, as the service does", "write prompts and answers as lists of turns")


def _packing(to: Translation, method: str) -> None:
    if method == "text":
        to.leave("packing", "texts are always packed into blocks")
    elif to.flag("packing"):
        to.lose(
            "packing",
            "a batch there is of lines of max_length tokens, each with as many rows as fit; here batch_size counts "
            "rows, packed or not",
            "set optimisation.batch_size to the rows that a step had",
        )
    to.leave("packing", "packing changes no loss here")


def _length(to: Translation, method: str) -> None:
    if "max_length" in to.values and to.values["max_length"] is None:
        fault = "is empty, so rows of any length are taken; here a row has a limit, and a longer one is an error"
        to.refuse("max_length", fault, "write the tokens of the longest row")
        return
    long = "tokens in a block" if method == "text" else "there a longer row is cut, here it is an error"
    to.set("optimisation.max_length", to.whole("max_length", 1024), "max_length", why=long)


def _rest(to: Translation, method: str) -> None:
    told = to.values.get("report_to")
    tracking(to, {"report_to": told if isinstance(told, list) else [told]})
    to.set(
        "optimisation.gradient_checkpointing",
        to.flag("gradient_checkpointing", True),
        "gradient_checkpointing",
        why="it saves memory, and changes nothing of the result",
    )
    if to.flag("bf16"):
        to.set("optimisation.precision", "bfloat16", "bf16")
    to.leave("bf16", "float32 on a CPU; a GPU takes bfloat16 here")
    if method != "full" and to.text("dtype", "float32") in ("auto", "bfloat16"):
        to.leave("dtype", "the base's weights are taken in bfloat16 on a GPU here; what is learnt is in float32")
