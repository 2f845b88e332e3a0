"""LoRA on TRL's SFTTrainer, from top to bottom: base → tokens → adapter layers → training → best weights → folder.

The rows come tokenised and labelled from `tokens.py`, so TRL prepares nothing and cuts nothing. Read `run.py` for
what happens before (checks) and after (golden prompts, preflight, registry).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.adapter import Origin
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import BaseFingerprint
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import WEIGHTS_FILE
from training.config import TrainConfig
from training.device import device
from training.progress import Curve, Point, Watcher, draw, keep
from training.tokens import IGNORED, Example

LOGGED = 100
"""Points of the training loss over a run."""


@dataclass(frozen=True)
class Trained:
    """What a recipe leaves: a PEFT folder with the best checkpoint's weights, and figures of the training."""

    adapter: Path
    metrics: dict[str, float]


def train_lora(
    config: TrainConfig,
    base: Path,
    known: BaseFingerprint,
    stops: frozenset[int],
    data: tuple[Sequence[Example], Sequence[Example]],
    folder: Path,
    watch: Watcher,
) -> Trained:
    """Train on `data` (training, validation) and leave `adapter/`, `log.jsonl` and `loss.png` in `folder`.

    `known` is the fingerprint of model folder `base`, `stops` the ids that end its turns. Raises `InvalidConfig`
    when the end of a turn is not among the labels that the trainer sees, or when a loss is not finite.
    """
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    train, validation = data
    how = config.optimisation
    cuda = device() == "cuda"

    # 1. The base, frozen. float32 on a CPU, where bfloat16 is slow; bfloat16 on a GPU, with the adapter in float32.
    watch.stage("loading the base")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16 if cuda else torch.float32)

    # 2. The adapter's shape. No bias, no saved modules, no unusual start: only what vLLM serves as it was trained.
    targets = config.lora.target_modules
    lora = LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        use_rslora=config.lora.rslora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        bias="none",
        task_type="CAUSAL_LM",
    )

    # 3. The optimiser's settings. `group_by_length` puts rows of one length together, so that little is padding.
    steps = how.steps(len(train))
    settings = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=how.epochs,
        per_device_train_batch_size=how.batch_size,
        per_device_eval_batch_size=2 * how.batch_size,
        gradient_accumulation_steps=how.accumulation,
        learning_rate=how.lr,
        lr_scheduler_type=how.schedule,
        warmup_steps=how.warmup_steps(steps),
        weight_decay=how.weight_decay,
        max_grad_norm=how.max_grad_norm,
        seed=how.seed,
        train_sampling_strategy="group_by_length",
        max_length=None,  # already held against `max_length`, row by row
        eval_strategy="epoch",
        eval_on_start=True,  # the base's own loss: what training has to beat
        save_strategy="epoch",
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=max(1, steps // LOGGED),
        logging_nan_inf_filter=False,  # by default a NaN is hidden behind the last good value
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=how.gradient_checkpointing,
        dataloader_pin_memory=cuda,
        disable_tqdm=True,
        report_to="none",
    )

    # 4. The trainer.
    curve = Curve()
    tokenizer = AutoTokenizer.from_pretrained(base)
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=_dataset(train),
        eval_dataset=_dataset(validation),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[_following(watch, curve, folder / "log.jsonl")],
    )
    trainer.remove_callback(PrinterCallback)
    if how.early_stopping:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=how.early_stopping))

    # 5. The first batch, as the trainer itself sees it: is the end of every answer learnt, and no question?
    require_ends_learnt(trainer, stops, how.batch_size)

    # 6. Train; afterwards the model holds the weights of the best epoch.
    watch.stage("training")
    trainer.train()
    before, best = curve.validation[0].loss, min(point.loss for point in curve.validation[1:])
    draw(curve, config.name, folder / "loss.png")

    # 7. The adapter's folder: three small files, and the same bytes for the same weights.
    adapter = folder / "adapter"
    save_adapter(trainer.model, adapter, known, config.lora.dtype)
    metrics = {
        "train_rows": len(train),
        "validation_rows": len(validation),
        "learnt_tokens": sum(label != IGNORED for example in train for label in example.labels),
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 3),
        "train_loss": curve.train[-1].loss,
        "eval_loss": best,
        "base_eval_loss": before,
    }
    return Trained(adapter, {name: float(value) for name, value in metrics.items()})


def require_ends_learnt(trainer: Any, stops: frozenset[int], rows: int) -> None:
    """Look at the labels of one collated batch. Raises `InvalidConfig` when an answer's end is not among them.

    Between our labels and the loss stand TRL's preparation and its collator; padding that equals the end-of-turn
    token, once masked there, is the usual way to a model that never stops.
    """
    data = trainer.train_dataset
    labels = trainer.data_collator([data[i] for i in range(min(rows, len(data)))])["labels"].tolist()
    for number, row in enumerate(labels):
        learnt = [label for label in row if label != IGNORED]
        if not learnt or learnt[-1] not in stops:
            ends = "nothing" if not learnt else repr(trainer.processing_class.decode(learnt[-1:]))
            cure = "the tokenizer's pad_token must not be masked where it is also the end-of-turn token"
            problem = Problem(f"first batch, row {number + 1}", f"the last learnt token is {ends}", cure)
            raise InvalidConfig("the end of the assistant's turn would not be learnt", [problem])
        if len(learnt) == len(row):
            problem = Problem(f"first batch, row {number + 1}", "the question is learnt too, not the answer alone")
            raise InvalidConfig("the loss would not be on the assistant's tokens alone", [problem])


def save_adapter(model: Any, folder: Path, known: BaseFingerprint, dtype: str) -> None:
    """The PEFT folder with its origin, without anything that changes from one machine or process to the next.

    PEFT writes the target modules in a set's order, which differs between processes, and the base's local path.
    """
    import torch

    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    for extra in folder.iterdir():
        if extra.name not in (CONFIG_FILE, WEIGHTS_FILE):
            extra.unlink()
    path = folder / CONFIG_FILE
    written = json.loads(path.read_text(encoding="utf-8"))
    written["base_model_name_or_path"] = known.name
    written["target_modules"] = sorted(written["target_modules"])
    path.write_text(json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    Origin(base=known).write(folder)


def _dataset(examples: Sequence[Example]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [example.input_ids for example in examples],
            "labels": [example.labels for example in examples],
            "length": [len(example.input_ids) for example in examples],
        }
    )


def _following(watch: Watcher, curve: Curve, log: Path) -> Any:
    """A callback that tells `watch`, keeps the curve, and stops at a loss that is not a number."""
    from transformers import TrainerCallback

    add = keep(curve, log)

    class Following(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.step(state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
            for key, kind in (("loss", "train"), ("eval_loss", "validation")):
                if key in logs:
                    point = Point(state.global_step, round(state.epoch or 0.0, 4), float(logs[key]))
                    if not math.isfinite(point.loss):
                        raise _diverged(kind, point, args.learning_rate)
                    add(kind, point)
                    watch.loss(kind, point)

    return Following()


def _diverged(kind: str, point: Point, rate: float) -> InvalidConfig:
    problem = Problem("optimisation.lr", f"{rate} is too high here", "lower it")
    if point.step == 0:  # before any training
        problem = Problem("base", "its own weights give no finite loss on these rows", "check or replace its weights")
    return InvalidConfig(f"the {kind} loss is {point.loss} at step {point.step}", [problem])
