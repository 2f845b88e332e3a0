"""Axolotl's YAML as a configuration here. Its other keys are in `axolotl_keys.py`.

Read in its sources (`utils/schemas/`, `core/builders/`). Its data sets: `axolotl_rows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.foreign.axolotl_keys import KEYS, changes_speed_alone
from training.foreign.axolotl_rows import data, is_completion
from training.foreign.llama_factory_templates import renders_as
from training.foreign.optimiser import Named, optimiser
from training.foreign.shape import base, go_on, targets, tracking
from training.foreign.translation import BEST, Asked, Translation, flat

SIGN = "base_model"
"""The key that each of its files has."""
_NAMED = Named(
    epochs="num_epochs",
    batch="micro_batch_size",
    schedule="lr_scheduler",
    optimiser="optimizer",
    default_epochs=1.0,
    default_batch=1,
    default_schedule="cosine",
    default_warmup=0.03,
    most_warmup=100,
    several=(
        "deepspeed", "fsdp", "fsdp_config", "ray_num_workers", "dp_shard_size", "dp_replicate_size",
        "tensor_parallel_size", "context_parallel_size", "sequence_parallel_degree",
    ),
    shared=("fsdp", "fsdp_config"),
)  # fmt: skip
_NESTED = ("datasets", "test_datasets", "special_tokens", "trl", "peft")
_LOSSES = ("sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down")
_OWN_TEMPLATE = "tokenizer_default"
_SAME = ("chatml", "llama3")
"""Its templates that put the same around a turn as LLaMA-Factory's of that name."""


def translate(raw: Mapping[str, Any], asked: Asked) -> Translation:
    """What becomes of each key. Problems are in the translation."""
    to = Translation("Axolotl", flat(raw, _NESTED), asked)
    to.set("name", asked.name, default="the name of the file, or --name")
    base(to, SIGN)
    method = _method(to, raw)
    rows = data(to, raw, method)
    if method != "text":
        _template(to)
    else:
        to.leave("chat_template", "plain texts have no template")
    _packing(to, method)
    if not to.has("learning_rate"):
        to.refuse("learning_rate", "is missing, and Axolotl has no default", "write the rate")
    to.set("optimisation.lr", to.number("learning_rate", 2e-4), "learning_rate")
    optimiser(to, _NAMED, rows=0 if method == "text" else rows)
    long = "tokens in a block" if method == "text" else "there a longer row is dropped or cut, here it is an error"
    to.set("optimisation.max_length", to.whole("sequence_len", 512), "sequence_len", why=long)
    _rest(to)
    to.finish(KEYS)
    to.check()
    to.notes.append(BEST)
    return to


def _method(to: Translation, raw: Mapping[str, Any]) -> str:
    adapter = to.values.get("adapter") or None
    if adapter not in (None, "lora", "qlora"):
        to.refuse("adapter", f"{adapter!r} has no counterpart here", "lora and qlora have one, and none: all weights")
    rl = to.choice("rl", "", ("", "dpo", "ipo"), "dpo and ipo have one")
    texts = is_completion(raw)
    packed = adapter == "qlora" or to.flag("load_in_4bit")
    keys = ["adapter", "rl"]
    if rl or texts:
        method = "dpo" if rl else "text"
        if adapter is None:
            to.refuse("adapter", f"there is none, and {method} trains adapters here", "write adapter: lora")
        if packed:
            key = "load_in_4bit" if to.has("load_in_4bit") else "adapter"
            to.lose(key, f"packs the base in 4 bits; {method} trains over the base as it is here")
    elif adapter is None:
        method = "full"
    else:
        method = "qlora" if packed else "lora"
        keys.append("load_in_4bit")
    to.set("method.type", method, *keys, default="Axolotl's default: no adapter, all weights")
    to.leave("load_in_4bit", "the base is packed by qlora alone")
    if method != "full":
        _shape(to)
    if method == "dpo":
        _dpo(to, rl)
    return method


def _shape(to: Translation) -> None:
    if to.has("lora_model_dir"):
        shape = ("lora_r", "lora_alpha", "peft_use_rslora", "lora_target_modules", "lora_target_linear")
        go_on(to, "lora_model_dir", to.text("lora_model_dir"), shape, "lora_dropout")
        if to.has("rl"):
            to.notes.append("the reference of dpo is the adapter that it goes on from; there it is the base")
        return
    for key, path in (("lora_r", "r"), ("lora_alpha", "alpha")):
        if to.has(key):
            to.set(f"method.{path}", to.number(key, 0), key)
        else:
            to.refuse(key, "is missing, and Axolotl has no default", "write it")
    to.set("method.dropout", float(to.number("lora_dropout", 0.0)), "lora_dropout")
    to.set("method.rslora", to.flag("peft_use_rslora"), "peft_use_rslora")
    if to.flag("lora_target_linear"):
        targets(to, "lora_target_linear", "all-linear", everything="all-linear")
        to.leave("lora_target_modules", "lora_target_linear adds all others")
    elif to.values.get("lora_target_modules"):
        targets(to, "lora_target_modules", to.values["lora_target_modules"], everything="all-linear")
        to.leave("lora_target_linear", "lora_target_modules decides")
    else:
        fault = "is missing too, and PEFT would choose modules by the base's kind"
        to.refuse("lora_target_modules", fault, "write lora_target_linear: true, or the names")


def _dpo(to: Translation, rl: str) -> None:
    beta = next((key for key in ("trl.beta", "rl_beta", "dpo_beta") if to.has(key)), "rl_beta")
    to.set("method.beta", to.number(beta, 0.1), beta, default="TRL's default of beta")
    for key in ("trl.beta", "rl_beta", "dpo_beta"):
        if key != beta:
            to.leave(key, f"{beta} decides")
    losses = to.values.get("dpo_loss_type")
    if losses is None:
        to.set("method.loss", "ipo" if rl == "ipo" else "sigmoid", "rl")
    elif isinstance(losses, list) and len(losses) == 1 and losses[0] in _LOSSES:
        to.set("method.loss", losses[0], "dpo_loss_type")
    else:
        to.refuse("dpo_loss_type", f"{losses!r} has no counterpart here", f"one of {', '.join(_LOSSES)} has")
    if to.has("dpo_loss_weights") and to.values["dpo_loss_weights"] not in ([1], [1.0]):
        to.lose("dpo_loss_weights", "weighs the loss", "leave it out of a single loss")
    to.leave("dpo_loss_weights", "of one loss")
    to.set("method.label_smoothing", float(to.number("dpo_label_smoothing", 0.0)), "dpo_label_smoothing")


def _template(to: Translation) -> None:
    jinja, named = to.text("chat_template_jinja"), to.text("chat_template")
    if jinja and named in ("", "jinja"):
        place = to.place(jinja) if "{" not in jinja and "\n" not in jinja else None
        if place is not None and place.is_file():
            to.set("template", to.path(place), "chat_template_jinja", "chat_template")
        elif place is not None:
            to.refuse("chat_template_jinja", f"there is no file {place}", "say by --root where Axolotl is started")
        elif (file := to.beside(".jinja", jinja)) is not None:
            to.set("template", file, "chat_template_jinja", "chat_template")
        else:
            to.refuse(
                "chat_template_jinja", "becomes a file beside the configuration", "name the configuration by --out"
            )
        return
    to.leave("chat_template_jinja", f"chat_template is {named}")
    if named == _OWN_TEMPLATE:
        to.leave("chat_template", "the base's own chat template is what is taken")
    elif named in _SAME and renders_as(named, to.place(to.text(SIGN))) == "":
        to.leave("chat_template", "the base's own chat template gives the same tokens, compared with its tokenizer")
    elif named:
        to.lose(
            "chat_template",
            f"{named} is one of Axolotl's own; here rows are rendered by the base's chat template, as it is served",
            "write chat_template_jinja: FILE, or template: into the result",
        )


def _packing(to: Translation, method: str) -> None:
    if method == "text":
        to.leave("sample_packing", "texts are always packed into blocks")
    elif to.flag("sample_packing"):
        to.lose(
            "sample_packing",
            "a batch there is of lines of sequence_len tokens, each with as many rows as fit; here batch_size counts "
            "rows, packed or not",
            "set optimisation.batch_size to the rows that a step had",
        )
    else:
        to.leave("sample_packing", "packing changes no loss here")


def _rest(to: Translation) -> None:
    wandb = to.values.get("use_wandb", bool(to.text("wandb_project")))
    used = {"use_mlflow": to.flag("use_mlflow"), "use_tensorboard": to.flag("use_tensorboard")}
    named = {key: [key.removeprefix("use_")] for key, value in used.items() if value}
    tracking(to, {**({"use_wandb" if to.has("use_wandb") else "wandb_project": ["wandb"]} if wandb else {}), **named})
    saving = to.values.get("gradient_checkpointing") not in (None, False)
    to.set(
        "optimisation.gradient_checkpointing",
        saving,
        "gradient_checkpointing",
        why="it saves memory, and changes nothing of the result",
    )
    half = to.values.get("bf16")
    if half is True or half == "full":
        to.set("optimisation.precision", "bfloat16", "bf16")
    to.leave("bf16", "a GPU takes bfloat16 here, and a CPU float32")
    to.leave("float32", "a CPU takes float32 here; a GPU always bfloat16")
    to.leave("excess_length_strategy", "a row that is too long is an error here")
    to.leave("special_tokens.pad_token", "padding is never learnt")
    if to.has("early_stopping_patience"):
        each = to.values.get("evals_per_epoch") == 1 or to.values.get("eval_strategy") == "epoch"
        if each:
            patience = to.whole("early_stopping_patience", 1)
            to.set("optimisation.early_stopping", patience, "early_stopping_patience")
    if to.values.get("base_model_config") == to.values.get(SIGN):
        to.leave("base_model_config", "it is the base's own")
    if to.values.get("tokenizer_config") == to.values.get(SIGN):
        to.leave("tokenizer_config", "it is the base's own")
    if to.values.get("eval_sequence_len") == to.whole("sequence_len", 512):
        to.leave("eval_sequence_len", "it is sequence_len")
    if to.has("plugins") and changes_speed_alone(to.values["plugins"]):
        to.leave("plugins", "they change speed and memory alone")
