"""What adapters cost a step on a CPU: the kernel of grouped rows beside the masked product, by turns in one process.

    python -m benchmarks.lora_kernel
    python -m benchmarks.lora_kernel --dtype float32 --rank 16 --mix 64:4:4 --mix 512:1:8

All linear layers of SmolLM2-135M, without the base's own products and without vLLM around. What is printed is processor
time of the one thread that computes, so a busy machine disturbs it less than the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

_DEPTH = 30
_LAYERS = ((576, (576, 192, 192)), (576, (576,)), (576, (1536, 1536)), (1536, (576,)))
"""Of one decoder layer: the input's width and the slices of the output."""
_MIXES = ["64:4:4", "64:16:32", "64:32:32", "16:4:4"]


def main(
    mix: Annotated[list[str] | None, typer.Option(help="rows:adapters:slots; the base is one more in it.")] = None,
    rank: Annotated[int, typer.Option()] = 8,
    dtype: Annotated[Literal["bfloat16", "float32"], typer.Option()] = "bfloat16",
    times: Annotated[int, typer.Option(help="How often each is measured, by turns.")] = 15,
) -> None:
    """Print milliseconds of a step for each mix: medians, and the lowest in brackets."""
    import torch

    from service.engine.masked_lora import MaskedLora, grouped_kernel

    torch.set_num_threads(1)
    table = Table("rows", "adapters", "slots", "masked, ms", "grouped, ms", "masked / grouped")
    for rows, adapters, slots in (map(int, one.split(":")) for one in mix or _MIXES):
        with torch.inference_mode():
            kinds = [
                _step(kernel, rows, adapters, slots, rank, getattr(torch, dtype))
                for kernel in (MaskedLora(), MaskedLora(grouped_kernel()))
            ]
            spent = [[_milliseconds(kind) for kind in kinds] for _ in range(times)]
        columns = list(zip(*spent, strict=True))
        cells = [f"{median(column):.2f} ({min(column):.2f})" for column in columns]
        ratio = median(masked / grouped for masked, grouped in spent)
        table.add_row(str(rows), str(adapters), str(slots), *cells, f"{ratio:.1f}")
    Console().print(table)


def _step(kernel: Any, rows: int, adapters: int, slots: int, rank: int, dtype: Any) -> Callable[[], None]:
    import torch

    def numbers(*shape: int) -> Any:
        return (torch.randn(*shape) / shape[-1] ** 0.5).to(dtype)

    def layers() -> Iterator[tuple[Any, Any, tuple[int, ...]]]:
        for into, outs in _LAYERS * _DEPTH:
            a = tuple(numbers(slots, 1, rank, into) for _ in outs)
            yield a, tuple(numbers(slots, 1, out, rank) for out in outs), outs

    made = list(layers())
    inputs = {into: numbers(rows, into) for into, _ in _LAYERS}
    outputs = [numbers(rows, sum(outs)) for _, outs in _LAYERS]
    kernel.set_rows([row % (adapters + 1) - 1 for row in range(rows)])

    def step() -> None:
        for at, (a, b, outs) in enumerate(made):
            kernel.add(outputs[at % len(outputs)], inputs[a[0].shape[-1]], a, b, outs)

    step()  # the slots are laid out
    return step


def _milliseconds(step: Callable[[], None]) -> float:
    began = time.thread_time()
    step()
    return 1000 * (time.thread_time() - began)


if __name__ == "__main__":
    typer.run(main)
