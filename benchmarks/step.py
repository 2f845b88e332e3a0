"""What one step of the engine takes, by how many requests and adapters share it: for work on the kernels.

    python -m benchmarks.step
    python -m benchmarks.step --rows 1 --rows 64 --adapters 0 --adapters 8 --dtype bfloat16
    python -m benchmarks.step --size smollm2 --rows 1 --rows 4 --adapters 0 --adapters 4 --dtype bfloat16

vLLM's engine alone, as the service starts it, with nothing of the service beside it. The time goes from each step's
answer to the next one's. Read `step_parts.py` for where in a step it goes.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import bases
from benchmarks.homes import Stocked, stocked
from benchmarks.plan import SIZES, Plan, Size
from service.config import Dtype, ServeConfig
from service.engine.vllm.engine import VllmEngine
from service.engine.vllm.options import parsed_arguments

_PROMPT, _SETTLED, _STEPS, _TIMES = 24, 20, 100, 3
"""Tokens of a prompt; steps before those that are measured; how many are; and how often all of it."""


def main(
    rows: Annotated[list[int] | None, typer.Option(help="Requests in a step; may be repeated.")] = None,
    adapters: Annotated[list[int] | None, typer.Option(help="That they use by turns; 0 is the base.")] = None,
    dtype: Annotated[Dtype, typer.Option()] = "float32",
    size: Annotated[Size, typer.Option(help=SIZES)] = "tiny",
    quantization: Annotated[str, typer.Option(help="As of `dabt serve`.")] = "",
    few_rows: Annotated[
        bool, typer.Option(help="Steps of few rows by the service's kernel, or without it as vLLM has them.")
    ] = True,
    work: Annotated[Path, typer.Option(help="Where bases and adapters are kept.")] = Path(".dabt/benchmarks"),
) -> None:
    """Print milliseconds a step, lowest and highest of three."""
    rows, adapters = rows or [1, 14, 64], adapters or [0, 8]
    work = work.resolve()
    plan = Plan(bases.of(size, work), size, work, _TIMES, dtype, quantization=quantization)
    house = stocked(plan.base, max(8, *adapters), plan.work)
    engine = started(plan.config(slots=max(1, *adapters)), few_rows)
    table = Table("adapters", "rows", "ms a step", "low … high", "ms a row")
    for count in adapters:
        for many in rows:
            times = [_step(engine, house, many, count) for _ in range(_TIMES)]
            low, middle, high = (1000 * value for value in (min(times), median(times), max(times)))
            table.add_row(str(count), str(many), f"{middle:.2f}", f"{low:.2f} … {high:.2f}", f"{middle / many:.2f}")
    Console().print(table)
    engine.engine_core.shutdown()


def started(config: ServeConfig, few_rows: bool, *, apart: bool = True) -> Any:
    """vLLM's engine; its core is in a process of its own where it is `apart`."""
    VllmEngine(config).prepare()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    args = AsyncEngineArgs.from_cli_args(parsed_arguments(config)[0])
    engine = LLMEngine.from_engine_args(args, enable_multiprocessing=apart)
    engine.collective_rpc("dabt_keep_adapters")
    if few_rows:
        engine.collective_rpc("dabt_few_rows")
        engine.collective_rpc("dabt_attention")
    return engine


def ask(engine: Any, house: Stocked, rows: int, adapters: int, tokens: int) -> None:
    """So many requests of as many tokens each, which use the adapters by turns; 0 is the base."""
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.lora.request import LoRARequest

    names = house.first(adapters)
    params = SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=0.0, detokenize=False)
    for at in range(rows):
        number = at % adapters if adapters else -1
        lora = LoRARequest(names[number], number + 1, str(house.adapters[names[number]])) if adapters else None
        prompt = tokens_input([16 + (7 * at + one) % 1000 for one in range(_PROMPT)])
        engine.add_request(f"{at}", prompt, params, lora_request=lora)


def _step(engine: Any, house: Stocked, rows: int, adapters: int) -> float:
    """Seconds, in the middle of answers that are as long as each other."""
    ask(engine, house, rows, adapters, _SETTLED + _STEPS + 10)
    for _ in range(_SETTLED):
        engine.step()
    began = time.perf_counter()
    for _ in range(_STEPS):
        engine.step()
    taken = (time.perf_counter() - began) / _STEPS
    while engine.has_unfinished_requests():
        engine.step()
    return taken


if __name__ == "__main__":
    typer.run(main)
