"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290), from top to bottom, on TRL's DPOTrainer.

Of two answers to one prompt the better one becomes likelier than the worse one, measured against a reference: the
adapter that training goes on from, or the base. Both start equal, so the first loss is ln 2. The tokens are those of
`tokens.py`, as for LoRA: TRL prepares nothing, and no pair is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.rows.faults import bad_rows
from lifecycle.rows.kinds import Preference
from lifecycle.version import Prompt
from training import adapter_folder, checkpoints, completions, processes, supervised
from training.adapter_method import AdapterMethod
from training.best_by import ANSWERED, Answers, best_of
from training.exact import EpochOrder, mean
from training.method import Task, Trained
from training.mixture import Mixture
from training.optimisation import OptimisationSettings
from training.progress import Curve
from training.tokens import Example

_REWARDS = {"reward_accuracy": "rewards/accuracies", "reward_margin": "rewards/margins"}
"""How often and by how much the chosen answer is ahead: our name, and the trainer's."""

_OF_TOKENS = {"mean_token_accuracy": 0, "logits/chosen": 0, "logits/rejected": 1}
"""Figures that TRL takes over the tokens of a batch: of its chosen answers, or of its rejected ones."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, as they are trained."""

    chosen: Example
    rejected: Example

    @property
    def learnt(self) -> int:
        """Tokens of both answers."""
        return sum(answer.answer_end - answer.answer_start for answer in (self.chosen, self.rejected))

    @property
    def width(self) -> int:
        """Tokens of the longer answer's line, to which the other is padded."""
        return max(len(self.chosen.input_ids), len(self.rejected.input_ids))

    def row(self) -> dict[str, list[int]]:
        """As TRL's collator takes it: each answer ends with the token that ends its turn."""
        return {
            "prompt_ids": self.chosen.input_ids[: self.chosen.answer_start],
            "chosen_ids": self.chosen.input_ids[self.chosen.answer_start : self.chosen.answer_end],
            "rejected_ids": self.rejected.input_ids[self.rejected.answer_start : self.rejected.answer_end],
        }


class Dpo(AdapterMethod):
    """An adapter from pairs of a better and a worse answer."""

    type: Literal["dpo"] = "dpo"
    beta: float = Field(default=0.1, gt=0.0, le=2.0)
    """How much it costs to go away from the reference: the higher, the closer it stays."""
    loss: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = "sigmoid"
    """sigmoid is DPO's own; ipo (arXiv 2310.12036) and robust (2403.00409) doubt the pairs; apo_* (2408.06266) say
    whether the better answers are better than the base's own (zero) or not (down)."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    """For robust: the share of pairs that are thought to be the wrong way round."""
    sft: float = Field(default=0.0, ge=0.0)
    """Weight of the chosen answer's own loss a token beside the pair's (RPO, arXiv 2404.19733): it keeps the chosen
    answers from getting less likely, together with the rejected ones."""

    rows: ClassVar = (Preference,)
    measures: ClassVar = ("loss", *_REWARDS, *ANSWERED)
    shares: ClassVar = (*AdapterMethod.shares, supervised, *supervised.SHARES, completions)
    unused: ClassVar = {"optimisation.packing": "pairs are not packed", "optimisation.fsdp": "pairs are not shared out"}

    @model_validator(mode="after")
    def _smoothing_is_used(self) -> Self:
        if self.label_smoothing and self.loss != "robust":
            raise ValueError(f"label_smoothing is of no use for the loss {self.loss}; write loss: robust, or 0")
        return self

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        problems = super().problems(base, prompt, how, max_rank)
        if self.sft and processes.count() > 1:
            fault = "an answer's own loss is not shared among processes"
            problems.append(Problem("method.sft", fault, "leave it out, or train in one process"))
        return problems

    def examples(self, task: Task, rows: Sequence[Preference]) -> Sequence[Pair]:
        """Raises `InvalidData` with every pair that cannot be trained whole, and which of its answers is why."""
        long = [
            Problem(f"{row.place}", f"{which} is {len(answer)} turns, and pairs are of one answer each", "split it")
            for row in rows
            for which, answer in (("chosen", row.chosen), ("rejected", row.rejected))
            if len(answer) != 1
        ]
        if long:
            raise bad_rows(long, ", ".join(sorted({row.place.rpartition(":")[0] for row in rows})))
        talks = [
            Conversation(f"{row.place} ({which})", row.id, (*row.messages, *answer), row.meta, row.tools)
            for row in rows
            for which, answer in (("chosen", row.chosen), ("rejected", row.rejected))
        ]
        made = task.chat.examples(talks, task.prompt.system, task.optimisation.max_length)
        return [Pair(chosen, rejected) for chosen, rejected in zip(made[::2], made[1::2], strict=True)]

    def train(self, task: Task, training: Sequence[Pair], validation: Sequence[Pair]) -> Trained:
        from transformers import AutoTokenizer, EarlyStoppingCallback, PrinterCallback
        from trl import DPOConfig

        # 1. The model: with an adapter to go on from, TRL keeps a copy of that as the reference.
        how, curve = task.optimisation, Curve()
        metric = how.best_by or "loss"
        stopped_at = checkpoints.newest(task.folder / checkpoints.FOLDER)
        model, peft = self.over(task, self.base(task))

        # 2. The trainer, on our tokens, without a largest length: `examples` has refused what is longer.
        settings = supervised.arguments(
            task,
            len(training),
            DPOConfig,
            eval_on_start=stopped_at is None,
            **supervised.UNCUT,
            beta=self.beta,
            loss_type=[self.loss, *["sft"] * bool(self.sft)],
            loss_weights=[1.0, *[self.sft] * bool(self.sft)],
            label_smoothing=self.label_smoothing,
            disable_dropout=not self.dropout,
            metric_for_best_model=f"eval_{_REWARDS.get(metric, metric)}",
        )
        tokenizer = AutoTokenizer.from_pretrained(task.base)
        tokenizer.pad_token_id = supervised.pad_of(tokenizer)
        every = training.every if isinstance(training, Mixture) else training
        trainer = _trainer()(
            model=model,
            args=settings,
            train_dataset=_dataset([*every, _BLANK] if processes.count() > 1 else every),
            eval_dataset=_dataset(validation),
            processing_class=tokenizer,
            peft_config=peft,
            callbacks=supervised.callbacks(task, curve, len(training)),
        )
        lengths = [pair.width for pair in every]
        trainer.order = EpochOrder(training, lengths, how.seed, group=how.group, batch_size=how.batch_size)
        trainer.at_rest = _AT_REST[self.loss](self.beta)
        if metric in ANSWERED:
            trainer.answers = Answers(how, metric, self.proofs(validation), task.chat)
        trainer.remove_callback(PrinterCallback)
        if how.early_stopping:
            trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=how.early_stopping))

        # 3. Train; afterwards the model holds the weights of the best epoch.
        task.watch.stage("training" if stopped_at is None else f"training, on from {stopped_at.name}")
        checkpoints.train(trainer, stopped_at, how.steps(len(training)))

        # 4. The adapter's folder, without the reference.
        folder = task.folder / self.artifact
        adapter_folder.save(trainer.model, folder, task.known, self.dtype)
        best = best_of(curve.validation, _REWARDS.get(metric, metric))
        metrics = {
            "train_rows": len(training),
            "validation_rows": len(validation),
            "learnt_tokens": sum(pair.learnt for pair in training),
            "steps": trainer.state.global_step,
            "epochs": round(trainer.state.epoch or 0.0, 3),
            "train_loss": curve.train[-1].loss,
            "eval_loss": best.loss,
            "base_eval_loss": curve.validation[0].loss,
            **{name: best.beside[key] for name, key in _REWARDS.items()},
        }
        if metric in ANSWERED:
            metrics |= {metric: best.beside[metric], f"base_{metric}": curve.validation[0].beside[metric]}
        return Trained(folder, {name: float(value) for name, value in metrics.items()})

    def proofs(self, examples: Sequence[Pair]) -> Sequence[Example]:
        return [pair.chosen for pair in examples]


_BLANK = Pair(Example("", [0, 0], [0, 0], 2), Example("", [0, 0], [0, 0], 2))
"""A pair of no answers: nothing is learnt of it. It fills up what several processes share."""

_AT_REST: Mapping[str, Callable[[float], float]] = {
    "sigmoid": lambda beta: math.log(2),
    "hinge": lambda beta: 1.0,
    "ipo": lambda beta: (1 / (2 * beta)) ** 2,
    "robust": lambda beta: math.log(2),
    "apo_zero": lambda beta: 1.0,
    "apo_down": lambda beta: 1.0,
}
"""Each loss by its `beta`, of a pair that model and reference see alike: what a blank one has."""


def _dataset(pairs: Sequence[Pair]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([pair.row() for pair in pairs])


def _pairs(batch: Any) -> int:
    """Those of a batch that are not blank."""
    chosen, _ = batch["completion_mask"].chunk(2)
    return int(chosen.any(dim=1).sum())


def _trainer() -> Any:
    """TRL's, on tokens that are made, and with every pair of equal weight.

    TRL averages over batches, so that the pairs of a short last batch would count for more than the others.
    """
    import torch
    from torch.utils.data import DataLoader
    from trl import DPOTrainer

    class Trainer(DPOTrainer):  # type: ignore[misc]
        order: EpochOrder | None = None
        at_rest = 0.0
        answers: Answers | None = None

        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return self.order

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> int:
            pairs = torch.tensor(sum(_pairs(batch) for batch in batch_samples), device=device)
            return int(self.accelerator.reduce(pairs, "sum"))

        def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
            if processes.count() == 1:
                return super().get_eval_dataloader(*args, **kwargs)
            # TRL averages its figures over batches, whatever lies in them: each process looks at all pairs.
            size = self.args.per_device_eval_batch_size * processes.count()
            return DataLoader(self.eval_dataset, batch_size=size, collate_fn=self.data_collator)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: int | None = None
        ) -> Any:
            loss = super().compute_loss(model, inputs, return_outputs=return_outputs)
            if num_items_in_batch is None:
                self._pairs.append(len(inputs["input_ids"]) // 2)
                self._tokens.append([int(mask.sum()) for mask in inputs["completion_mask"].chunk(2)])
                self._losses.append(float(loss[0] if return_outputs else loss))
                return loss
            every, real = len(inputs["input_ids"]) // 2, _pairs(inputs)
            total = loss * every - self.at_rest * (every - real)
            # transformers divides by the batches of a step afterwards, and by the processes.
            return total * self.current_gradient_accumulation_steps * processes.count() / num_items_in_batch

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
            self._pairs: list[int] = []
            self._tokens: list[list[int]] = []
            self._losses: list[float] = []
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
            output.metrics[f"{metric_key_prefix}_loss"] = mean(self._losses, self._pairs)
            if self.answers is not None:
                output.metrics.update(self.answers.figures(self, metric_key_prefix))
            return output

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "eval_loss" in logs:
                for name, values in self._metrics["eval"].items():
                    if len(values) == len(self._pairs):
                        # TRL tells it in the log alone; the trainer looks for the best in these.
                        logs[f"eval_{name}"] = mean(values, self._weights(name))
                        self._metrics["eval"][name] = [logs[f"eval_{name}"]]
            super().log(logs, *args, **kwargs)

        def _weights(self, figure: str) -> list[int]:
            """What each batch of a validation counts for: its pairs, or its tokens, where a figure is of those. TRL,
            and transformers, weigh a short one as a full."""
            answer = _OF_TOKENS.get(figure)
            return self._pairs if answer is None else [tokens[answer] for tokens in self._tokens]

    return Trainer
