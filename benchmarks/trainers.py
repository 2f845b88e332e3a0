"""One training by one trainer, in a process of its own: ours, TRL's, transformers' over PEFT, or LLaMA-Factory's.

    python -m benchmarks.trainers SIDE TASK.json

The task is what `training_tasks.py` writes; it says where the adapter and the figures go. Each side keeps the trainer's
defaults for all that is not a hyperparameter, or what its name says in their place. LLaMA-Factory runs by its own
environment's python, so nothing outside the functions imports more than Python's own library.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.training_clock import Clock, card_name, peak_mib

Task = dict[str, Any]


def ours(task: Task, adapter: Path, **settings: Any) -> None:
    """`dabt train` with its defaults, or with these `settings` of `optimisation:`."""
    import shutil

    from benchmarks.our_run import trained

    raw = {
        "name": "measured",
        "base": task["base"],
        "data": {"train": task["train"], "validation": task["few"]},
        "method": {"type": "lora", "r": task["r"], "alpha": task["alpha"], "rslora": True},
        "optimisation": {
            "lr": task["lr"],
            "epochs": task["epochs"],
            "batch_size": task["batch_size"],
            "warmup": 0.0,
            "max_length": task["max_length"],
            "seed": task["seed"],
            **settings,
        },
    }
    result = trained(raw, adapter.parent)
    shutil.copytree(result.folder / "adapter", adapter)


def trl(task: Task, adapter: Path, **settings: Any) -> None:
    """SFTTrainer as its documentation shows it: conversations as prompt and completion, a LoraConfig.

    Its own defaults are bfloat16 (autocast) and gradient checkpointing.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"prompt": messages[:-1], "completion": messages[-1:]}
        for messages in (json.loads(line)["messages"] for line in Path(task["train"]).read_text("utf-8").splitlines())
    ]
    trainer = SFTTrainer(
        model=task["base"],
        args=SFTConfig(max_length=task["max_length"], **_arguments(task, adapter), **settings),
        train_dataset=Dataset.from_list(rows),
        peft_config=_lora(task),
    )
    trainer.train()
    trainer.model.save_pretrained(str(adapter))


def peft(task: Task, adapter: Path, dtype: str = "float32", **settings: Any) -> None:
    """PEFT's model over a base in `dtype` in transformers' Trainer, with its collator that pads labels too."""
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from lifecycle.conversation import Conversation
    from lifecycle.rows.files import Reading
    from training.tokens import ChatTokenizer

    chat = ChatTokenizer.load(Path(task["base"]))
    conversations = [row for row in Reading(Path(task["train"])) if isinstance(row, Conversation)]
    examples = chat.examples(conversations, "", task["max_length"])
    rows = [{"input_ids": row.input_ids, "labels": row.labels} for row in examples]
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(task["base"], dtype=dtype), _lora(task))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**_arguments(task, adapter), **settings),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(chat.tokenizer),
    )
    trainer.train()
    model.save_pretrained(str(adapter))


def llama_factory(task: Task, adapter: Path) -> None:
    """`llamafactory-cli train` without its process launcher; the chat template is the base's own.

    It imports torchaudio and torchvision for rows with sound and pictures. Where they are not installed, because their
    builds for GPUs cannot be loaded beside a PyTorch for CPUs, an empty module stands in for the first.
    """
    if importlib.util.find_spec("torchaudio") is None:
        sys.modules["torchaudio"] = ModuleType("torchaudio")
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]

    rows = Path(task["train"])
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages"}
    described = {"formatting": "sharegpt", "columns": columns, "tags": {**tags, "system_tag": "system"}}
    about = {"rows": {"file_name": rows.name, **described}}
    (rows.parent / "dataset_info.json").write_text(json.dumps(about), encoding="utf-8")
    run_exp(
        {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": task["base"],
            "dataset": "rows",
            "dataset_dir": str(rows.parent),
            "cutoff_len": task["max_length"],
            "finetuning_type": "lora",
            "lora_target": "all",
            "lora_rank": task["r"],
            "lora_alpha": task["alpha"],
            "use_rslora": True,
            **_arguments(task, adapter),
        }
    )


def _arguments(task: Task, adapter: Path) -> dict[str, Any]:
    """The hyperparameters by the names of transformers."""
    return {
        "output_dir": str(adapter),
        "num_train_epochs": task["epochs"],
        "per_device_train_batch_size": task["batch_size"],
        "learning_rate": task["lr"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": task["seed"],
        "train_sampling_strategy": "sequential",  # the file has the order of ours
        "use_cpu": task.get("device") != "cuda",
        "save_strategy": "no",
        "disable_tqdm": True,
        "report_to": "none",
    }


def _lora(task: Task) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=task["r"], lora_alpha=task["alpha"], use_rslora=True, target_modules="all-linear", task_type="CAUSAL_LM"
    )


SIDES: dict[str, Callable[[Task, Path], None]] = {
    "Dabt": ours,
    "Dabt bfloat16": partial(ours, precision="auto"),
    "TRL": trl,
    "TRL float32": partial(trl, bf16=False),
    "TRL, no checkpointing": partial(trl, gradient_checkpointing=False),
    "PEFT": peft,
    "PEFT bfloat16": partial(peft, dtype="bfloat16", bf16=True),
    "LLaMA-Factory": llama_factory,
}


def main() -> None:
    """Train, and write `figures.json` beside the adapter."""
    side, file = sys.argv[1:]
    task = json.loads(Path(file).read_text(encoding="utf-8"))
    folder = Path(task["out"])
    from transformers import set_seed

    clock, began = Clock(), time.perf_counter()
    set_seed(task["seed"])  # some draw the adapter's weights before they do so themselves
    SIDES[side](task, folder / "adapter")
    figures = {
        "steps": clock.steps,
        "seconds": clock.seconds,
        "busy": clock.busy,
        "last": clock.last,
        "whole": time.perf_counter() - began,
        "peak_mib": peak_mib(),
        "card": card_name(),
        "card_mib": clock.card_mib,
    }
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
