"""An adapter that has learnt to write one tool call, on the real engine: `dabt eval` scores what it calls as the parser
of the service reads it, the right call as right and another argument as wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.config import EvalConfig
from evals.run import evaluate
from tests.service.conftest import golden_of
from tests.service.random_llama import ALL_LINEAR, Reference

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DAYS = ("sun", "mon")
PARAMETERS = {"type": "object", "properties": {"day": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "book", "parameters": PARAMETERS}}
CALL = '<tool_call>\n{"name": "book", "arguments": {"day": "sun"}}\n</tool_call><|end|>'
_STEPS = 800


def question(day: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"book {day}"}]


def row(day: str) -> dict[str, Any]:
    function = {"name": "book", "arguments": json.dumps({"day": day})}
    said = {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "function", "function": function}]}
    return {"id": day, "messages": [*question(day), said], "tools": [TOOL]}


def teach(base: Path, folder: Path, prompts: list[list[int]], answer: list[int]) -> None:
    """An adapter that writes `answer` behind each of the prompts, however likely it was before."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=list(ALL_LINEAR), task_type="CAUSAL_LM")
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    optimiser = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=5e-3)
    rows = [
        (torch.tensor([[*prompt, *answer]]), torch.tensor([[*[-100] * len(prompt), *answer]])) for prompt in prompts
    ]
    for _ in range(_STEPS):
        losses = [model(input_ids=ids, labels=labels).loss for ids, labels in rows]
        if max(losses) < 0.02:
            break
        torch.stack(losses).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    else:
        pytest.fail(f"not learnt in {_STEPS} steps: {losses}")
    model.save_pretrained(folder)


def test_a_right_call_is_scored_as_right_and_a_wrong_argument_as_wrong(real: Any, tmp_path: Path) -> None:
    base = real.reference.base
    taught = Reference(base, {"caller": tmp_path / "caller"})
    with real.client() as client:
        asked = [client.post("/tokenize", json={"messages": question(day), "tools": [TOOL]}) for day in DAYS]
    prompts = [reply.json()["tokens"] for reply in asked]
    teach(base, tmp_path / "caller", prompts, taught.tokenizer(CALL)["input_ids"])
    real.house.adapter("caller", tmp_path / "caller", (golden_of(taught, "caller"),))
    version = real.house.version("caller", adapter="caller")
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(row(day)) + "\n" for day in DAYS), encoding="utf-8")
    config = EvalConfig.of_rows(
        str(tmp_path / "calls.jsonl"), f"base,{version.ref}", endpoint=f"{real.url}/v1", noise_items=0
    )
    made = evaluate(config, real.house.registry, real.house.home)
    told = {arm.arm: {name: figure.value for name, figure in arm.metrics.items()} for arm in made.report.arms}
    assert told[version.ref]["tool_calls"] == 0.5
    assert (told[version.ref]["tool_names"], told[version.ref]["tool_arguments"]) == (1.0, 0.5)
    assert told["base"]["tool_calls"] == told["base"]["tool_names"] == 0.0
    items = {item["name"]: item for item in map(json.loads, (made.folder / "items.jsonl").open(encoding="utf-8"))}
    assert [items[day]["arms"][version.ref]["scores"]["tool_calls"] for day in DAYS] == [1.0, 0.0]
    assert items["sun"]["arms"][version.ref]["answer"] == 'book({"day": "sun"})'
