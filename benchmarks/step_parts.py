"""Where the processor time of one step of the engine goes, part by part: for work on the kernels and around them.

    python -m benchmarks.step_parts
    python -m benchmarks.step_parts --rows 64 --adapters 4

The engine runs in this process, on one thread, and each part is timed by the thread's own clock, without the parts that
it calls. So a busy machine disturbs little but the caches. `step.py` times whole steps, as callers wait for them.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import bases
from benchmarks.homes import stocked
from benchmarks.plan import SIZES, Plan, Size
from benchmarks.step import ask, started
from service.config import Dtype

_SETTLED, _STEPS, _TIMES = 80, 16, 5
_RUNNER = ("execute_model", "_update_states", "_prepare_inputs", "_build_attention_metadata", "_model_forward")
_SAMPLING = ("sample_tokens", "_sample", "_bookkeeping_sync")
_KERNELS = ("cpu_attention_with_kv_cache", "cpu_attn_reshape_and_cache", "onednn_mm")
_LAYERS = ("RMSNorm", "SiluAndMul", "RotaryEmbedding", "Attention")


def main(
    rows: Annotated[int, typer.Option(help="Requests in a step.")] = 64,
    adapters: Annotated[int, typer.Option(help="That they use by turns; 0 is the base.")] = 0,
    dtype: Annotated[Dtype, typer.Option()] = "float32",
    size: Annotated[Size, typer.Option(help=SIZES)] = "tiny",
    work: Annotated[Path, typer.Option(help="Where bases and adapters are kept.")] = Path(".dabt/benchmarks"),
) -> None:
    """Print milliseconds of a step by part: of five times the one that took the least."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    work = work.resolve()
    plan = Plan(bases.of(size, work), size, work, 1, dtype)
    house = stocked(plan.base, max(8, adapters), plan.work)
    engine = started(plan.config(slots=max(1, adapters)), few_rows=True, apart=False)
    core = engine.engine_core.engine_core
    ask(engine, house, rows, adapters, _SETTLED + _STEPS * _TIMES + 10)
    for _ in range(_SETTLED):
        core.step_fn()
    clock = Clock()
    _watch(clock, core)
    times = []
    for _ in range(_TIMES):
        clock.spent, clock.calls = defaultdict(float), Counter()
        for _ in range(_STEPS):
            core.step_fn()
        times.append((sum(clock.spent.values()), clock.spent, clock.calls))
    whole, spent, calls = min(times, key=lambda each: each[0])
    table = Table("part", "ms a step", "calls")
    for part, seconds in sorted(spent.items(), key=lambda each: -each[1]):
        table.add_row(part, f"{1000 * seconds / _STEPS:.2f}", f"{calls[part] / _STEPS:.0f}")
    table.add_row("all", f"{1000 * whole / _STEPS:.2f}", "")
    Console().print(table)


class Clock:
    """Seconds and calls of each watched function; those that it calls are counted under their own names."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._within: list[float] = []
        """For each call under way, what those inside it have taken."""

    def watch(self, owner: Any, name: str, part: str = "") -> None:
        """From now on `owner.name` is timed."""
        function, part = getattr(owner, name), part or name.strip("_")

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._within.append(0.0)
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.thread_time() - began
                self.spent[part] += taken - self._within.pop()
                self.calls[part] += 1
                if self._within:
                    self._within[-1] += taken

        setattr(owner, name, timed)


def _watch(clock: Clock, core: Any) -> None:
    from vllm import _custom_ops

    runner = core.model_executor.driver_worker.worker.model_runner
    for kernel in _KERNELS:
        clock.watch(_custom_ops, kernel)
    for name in (*_RUNNER, *_SAMPLING):
        clock.watch(runner, name)
    clock.watch(runner.model, "compute_logits")
    for module in runner.model.modules():
        kind = type(module).__name__
        if kind in _LAYERS or kind.endswith("WithLoRA"):
            clock.watch(module, "forward", kind)
    for wrapper in runner.lora_manager._adapter_manager.punica_wrapper_mapping.values():
        clock.watch(wrapper.masked, "add", "adapters")
    clock.watch(core.scheduler, "schedule")
    clock.watch(core.scheduler, "update_from_output")
    clock.watch(core, "step_fn", "step")


if __name__ == "__main__":
    typer.run(main)
