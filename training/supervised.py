"""Supervised training on TRL's SFTTrainer, from top to bottom, for every method that learns answers token by token.

The rows come tokenised and labelled from `tokens.py`, so TRL prepares nothing and cuts nothing. Read `run.py` for
what happens before (checks) and after (golden prompts, preflight, registry).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.text import scores
from training import best_by, checkpoints, exact, label_scores, mixture, on_cpu, packing, processes, sharding
from training.best_by import ANSWERED, Answers, best_of
from training.device import device
from training.exact import EpochOrder
from training.figures import Speed, beside
from training.method import Task
from training.mixture import Mixture
from training.on_cpu import products
from training.packing import LINE, PackingCollator, require_exact
from training.progress import Curve, Point, Watcher, keep
from training.tokens import IGNORED, Example

LOGGED = 100
"""Points of the training loss over a run."""
UNCUT = {"max_length": None}
"""For TRL's classes: every row was held against `max_length` before, and none is cut."""
SHARES = (best_by, checkpoints, exact, label_scores, mixture, on_cpu, *on_cpu.SHARES, packing, scores)
"""Modules whose code decides what comes of a training, besides this one."""


def train(
    task: Task,
    model: Any,
    training: Sequence[Example],
    validation: Sequence[Example],
    *,
    peft_config: Any = None,
    answers: bool = True,
) -> tuple[Any, dict[str, float]]:
    """The model with the weights of its best epoch (`best_by.py`), and the figures of `method.Trained`.

    With `peft_config`, PEFT's adapter is put over `model` and is all that is trained. `answers` says that rows are
    questions with answers: the end must be learnt, and the question must not. Leaves `log.jsonl` in the run's
    folder. Raises `InvalidConfig` when an end is not among the labels that the trainer sees, when a loss
    is not finite, or when the base cannot be trained on packed rows.
    """
    from transformers import AutoTokenizer, EarlyStoppingCallback, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    how, folder = task.optimisation, task.folder
    metric = how.best_by or "loss"
    stopped_at = checkpoints.newest(folder / checkpoints.FOLDER, fsdp=how.fsdp)
    curve = Curve()
    tokenizer = AutoTokenizer.from_pretrained(task.base)
    every = training.every if isinstance(training, Mixture) else training
    blank = _blank(pad_of(tokenizer))
    trainer = exact.exact(SFTTrainer)(
        model=model,
        args=arguments(task, len(training), SFTConfig, eval_on_start=stopped_at is None, **UNCUT),
        train_dataset=_dataset([*every, blank] if processes.count() > 1 else every),
        eval_dataset=_dataset([*validation, *[blank] * processes.missing(len(validation), 2 * how.batch_size)]),
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=callbacks(task, curve, len(training)),
    )
    if metric in ANSWERED:
        trainer.answers = Answers(how, metric, validation, task.chat)
    if how.packing:
        with products(trainer.model, "float32") as by_rows:
            collate = PackingCollator(pad_of(tokenizer), LINE if by_rows else 0)
            _pack(trainer, collate, required=how.packing is True)
    lengths = [len(example.input_ids) for example in every]
    # By chance unless asked: steps that see long rows alone and short rows alone by turns end in a higher loss.
    trainer.order = EpochOrder(training, lengths, how.seed, group=how.group, batch_size=how.batch_size)
    in_float32(trainer.model)
    trainer.remove_callback(PrinterCallback)
    if how.early_stopping:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=how.early_stopping))

    # The first batch, as the trainer itself sees it: is the end of every answer learnt, and no question?
    if answers:
        require_ends_learnt(trainer, task.chat.stops, min(how.batch_size, len(every)))

    task.watch.stage("training" if stopped_at is None else f"training, on from {stopped_at.name}")
    with products(trainer.model, how.precision):
        checkpoints.train(trainer, stopped_at, how.steps(len(training)))
        sharding.make_whole(trainer.model)
    best = best_of(curve.validation, metric)
    metrics = {
        "train_rows": len(training),
        "validation_rows": len(validation),
        "learnt_tokens": sum(label != IGNORED for example in training for label in example.labels),
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 3),
        "train_loss": curve.train[-1].loss,
        "eval_loss": best.loss,
        "base_eval_loss": curve.validation[0].loss,
    }
    if metric in ANSWERED:
        metrics |= {metric: best.beside[metric], f"base_{metric}": curve.validation[0].beside[metric]}
    return trainer.model, {name: float(value) for name, value in metrics.items()}


def arguments(task: Task, rows: int, kind: Any, **more: Any) -> Any:
    """The trainer's settings, of the class `kind`; `more` are added to them, or take their place."""
    how = task.optimisation
    cuda = device() == "cuda"
    steps = how.steps(rows)
    settings: dict[str, Any] = {
        "output_dir": str(task.folder / checkpoints.FOLDER),
        "num_train_epochs": how.epochs,
        "max_steps": how.max_steps or -1,
        "per_device_train_batch_size": how.batch_size // processes.count(),
        "per_device_eval_batch_size": 2 * how.batch_size // processes.count(),
        "gradient_accumulation_steps": how.accumulation,
        "learning_rate": how.lr,
        "lr_scheduler_type": how.schedule,
        "warmup_steps": how.warmup_steps(steps),
        "weight_decay": how.weight_decay,
        "max_grad_norm": how.max_grad_norm,
        "seed": how.seed,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "restore_callback_states_from_checkpoint": True,  # early stopping's count
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{how.best_by or 'loss'}",
        "greater_is_better": how.best_by not in (None, "loss"),
        "logging_steps": max(1, steps // LOGGED),
        "logging_first_step": True,  # a run that ends before the next has a loss to tell
        "include_num_input_tokens_seen": "non_padding",  # for tokens a second
        "logging_nan_inf_filter": False,  # by default a NaN is hidden behind the last good value
        "bf16": cuda or how.precision == "bfloat16",
        "use_cpu": not cuda,
        "gradient_checkpointing": how.gradient_checkpointing,
        "dataloader_pin_memory": cuda,
        "disable_tqdm": True,
        "report_to": "none",
        **sharding.arguments(how.fsdp),
    }
    made = kind(**{**settings, **more})
    made._n_gpu = min(made.n_gpu, 1)  # several GPUs are for torchrun; in one process DataParallel would take them
    return made


def callbacks(task: Task, curve: Curve, rows: int) -> list[Any]:
    """What follows a training, saves it and ends it, for any trainer of transformers'."""
    how = task.optimisation
    return [
        following(task.watch, curve, task.folder / "log.jsonl"),
        checkpoints.saving(60 * how.save_minutes, how.steps_of_an_epoch(rows), task.watch.saved),
        *([ending(60 * how.max_minutes)] if how.max_minutes else []),
    ]


def require_ends_learnt(trainer: Any, stops: frozenset[int], rows: int) -> None:
    """Look at the labels of the first rows, each collated by itself.

    Raises `InvalidConfig` when an answer's end is not among them, or its question is.

    Between our labels and the loss stand TRL's preparation and its collator; padding that equals the end-of-turn
    token, once masked there, is the usual way to a model that never stops.
    """
    data = trainer.train_dataset
    for number in range(min(rows, len(data))):
        row = trainer.data_collator([data[number]])["labels"][0].tolist()
        learnt = [label for label in row if label != IGNORED]
        if not learnt or learnt[-1] not in stops:
            ends = "nothing" if not learnt else repr(trainer.processing_class.decode(learnt[-1:]))
            cure = "the tokenizer's pad_token must not be masked where it is also the end-of-turn token"
            problem = Problem(f"first batch, row {number + 1}", f"the last learnt token is {ends}", cure)
            raise InvalidConfig("the end of the assistant's turn would not be learnt", [problem])
        if len(learnt) == len(row):
            problem = Problem(f"first batch, row {number + 1}", "the question is learnt too, not the answer alone")
            raise InvalidConfig("the loss would not be on the assistant's tokens alone", [problem])


def _pack(trainer: Any, collate: PackingCollator, *, required: bool) -> None:
    """Pack batches where the base keeps rows apart. Raises `InvalidConfig` where it does not and that is `required`."""
    try:
        require_exact(trainer.model, collate, trainer.train_dataset)
    except InvalidConfig:
        if required:
            raise
    else:
        trainer.data_collator = collate


def in_float32(model: Any) -> None:
    """An adapter's weights. TRL makes those over a base in 4 bits bfloat16, which forgets small steps."""
    if hasattr(model, "peft_config"):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()


def pad_of(tokenizer: Any) -> int:
    """A token to fill lines with. Any would do: nothing is learnt there, and nobody sees it."""
    return int(tokenizer.eos_token_id or 0) if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def _blank(pad: int) -> Example:
    """A row of which nothing is learnt."""
    return Example("", [pad, pad], [IGNORED, IGNORED], 1)


def _dataset(examples: Sequence[Example]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([_row(example) for example in examples])


def _row(example: Example) -> dict[str, list[int]]:
    lengths = list(example.seq_lengths) or [len(example.input_ids)]
    return {"input_ids": example.input_ids, "labels": example.labels, "seq_lengths": lengths}


def following(watch: Watcher, curve: Curve, log: Path) -> Any:
    """A callback that tells `watch`, keeps the curve, and stops at a loss that is not a number."""
    from transformers import TrainerCallback

    add, speed = keep(curve, log), Speed()

    class Following(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if processes.is_first():
                log.unlink(missing_ok=True)  # what came after the checkpoint comes again
            for logs in state.log_history:
                self._keep(logs["step"], logs["epoch"], logs, args.learning_rate)
            speed.take(state.num_input_tokens_seen)

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            speed.begins()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            speed.ends()
            watch.step(state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
            if "loss" in logs:
                fast = speed.take(state.num_input_tokens_seen)
                for kept in state.log_history[-1:]:  # so that a run that goes on has it too
                    kept.update(fast)
                logs = {**logs, **fast}
            self._keep(state.global_step, state.epoch or 0.0, logs, args.learning_rate)

        def _keep(self, step: int, epoch: float, logs: Mapping[str, float], rate: float) -> None:
            for key, kind in (("loss", "train"), ("eval_loss", "validation")):
                if key in logs:
                    point = Point(step, round(epoch, 4), float(logs[key]), beside(kind, logs))
                    add(kind, point)
                    watch.loss(kind, point)
                    if not math.isfinite(point.loss):
                        raise _diverged(kind, point, rate)

    return Following()


def ending(seconds: float) -> Any:
    """A callback that ends the run after the step in which so many seconds have passed."""
    from transformers import TrainerCallback

    class Ending(TrainerCallback):  # type: ignore[misc]
        began = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if processes.from_first(lambda: time.monotonic() - self.began >= seconds):
                control.should_training_stop = True

    return Ending()


def _diverged(kind: str, point: Point, rate: float) -> InvalidConfig:
    problem = Problem("optimisation.lr", f"{rate} is too high here", "lower it")
    if point.step == 0:  # before any training
        problem = Problem("base", "its own weights give no finite loss on these rows", "check or replace its weights")
    return InvalidConfig(f"the {kind} loss is {point.loss} at step {point.step}", [problem])
