"""What the order of the rows does to the loss: by chance, or rows of like length together to save padding.

    python -m benchmarks.orders
    python -m benchmarks.orders --rows 320 --seeds 3    # the whole epoch of `benchmarks.training`
    python -m benchmarks.orders --method dpo            # and `classification`: `orders_of_methods.py`
    python -m benchmarks.grouping                       # what it saves in time

`lora` is a plain loop of torch's with PEFT, so that nothing but the order differs: the same first weights, AdamW,
cosine rate and clipping as `benchmarks.training` asks of every trainer.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, Literal

import typer

from benchmarks import orders_of_methods
from benchmarks.tables import markdown
from benchmarks.training_tasks import TrainingTask, clinic

ORDERS = {"by chance": False, "by length": True}


def main(
    rows: Annotated[int, typer.Option(min=1, help="Of the clinic's, in one epoch.")] = 80,
    seeds: Annotated[int, typer.Option(min=2, help="Each has first weights and orders of its own.")] = 8,
    method: Annotated[Literal["lora", "dpo", "classification"], typer.Option()] = "lora",
) -> None:
    """Train once for each seed and order, and print the validation losses."""
    validation = 20 if rows <= 80 else 40
    steps = math.ceil(rows / clinic().batch_size)
    losses: dict[str, list[float]] = {name: [] for name in ORDERS}
    with tempfile.TemporaryDirectory() as place:
        if method == "lora":
            loss = _by_lora(replace(clinic(), rows=rows, validation=validation))
        else:
            loss = orders_of_methods.losses(method, rows, validation, Path(place))
            steps *= orders_of_methods.EPOCHS
        for seed in range(17, 17 + seeds):
            for name, together in ORDERS.items():
                losses[name].append(loss(seed, together))
                print(f"seed {seed}, {name}: {losses[name][-1]:.3f}", flush=True)
    print(f"\n{method}, {rows} rows, {steps} steps, {seeds} seeds\n")
    print(table(losses))


def _by_lora(task: TrainingTask) -> Callable[[int, bool], float]:
    examples, judged = task.examples("train", task.rows), task.examples("validation", task.validation)

    def loss(seed: int, together: bool) -> float:
        return _loss(task, [examples[at] for at in order(examples, seed, task.batch_size, together)], judged, seed)

    return loss


def order(examples: Sequence[Any], seed: int, batch_size: int, together: bool) -> list[int]:
    """Places of the rows of one epoch. With `together`, in groups of like length as transformers makes them."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    chance = torch.Generator().manual_seed(seed << 20)
    if together:
        return list(get_length_grouped_indices([len(row.input_ids) for row in examples], batch_size, generator=chance))
    return list(torch.randperm(len(examples), generator=chance).tolist())


def table(losses: dict[str, list[float]]) -> str:
    """Means and spreads of the losses by order, and in how many seeds each was the lowest. Pure."""
    best = [min(values) for values in zip(*losses.values(), strict=True)]
    rows = [
        [name, f"{mean(values):.3f}", f"{stdev(values):.3f}", f"{sum(map(float.__eq__, values, best))} of {len(best)}"]
        for name, values in losses.items()
    ]
    return markdown(["Order of the rows", "Validation loss", "Standard deviation", "Lower in"], rows)


def _loss(task: TrainingTask, examples: Sequence[Any], judged: Sequence[Any], seed: int) -> float:
    """Validation loss after one epoch over `examples`, in their order."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    shape = LoraConfig(r=task.r, lora_alpha=task.alpha, use_rslora=True, target_modules="all-linear")
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(task.base, dtype=torch.float32), shape)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=task.lr, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: 0.5 * (1 + math.cos(math.pi * at / task.steps)))
    for start in range(0, len(examples), task.batch_size):
        total, count = _sum(model, examples[start : start + task.batch_size])
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        rate.step()
    model.eval()
    with torch.no_grad():
        sums = [_sum(model, judged[start : start + 16]) for start in range(0, len(judged), 16)]
    return sum(float(total) for total, _ in sums) / sum(count for _, count in sums)


def _sum(model: Any, rows: Sequence[Any]) -> tuple[Any, int]:
    """The loss over all learnt tokens, and how many they are."""
    import torch

    width = max(len(row.input_ids) for row in rows)
    ids = torch.tensor([row.input_ids + [0] * (width - len(row.input_ids)) for row in rows])
    mask = torch.tensor([[1] * len(row.input_ids) + [0] * (width - len(row.input_ids)) for row in rows])
    labels = torch.tensor([row.labels + [-100] * (width - len(row.labels)) for row in rows])[:, 1:]
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    total = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="sum")
    return total, int((labels != -100).sum())


if __name__ == "__main__":
    typer.run(main)
