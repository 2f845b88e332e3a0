"""Golden prompts: what the saved adapter says of a few validation answers, so that a server can prove it serves it.

Computed in float32 on the adapter as it was saved and loaded again, hence with everything that saving may lose.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifecycle.adapter import GoldenPrompt
from lifecycle.errors import AdapterRefused, InvalidConfig
from training.device import device
from training.tokens import Example

_LONGEST = 64
"""Tokens of an answer that are recorded: enough to tell adapters apart, short enough to check before serving."""

EFFECT = 1e-3
"""Natural-log units. A served bfloat16 model is off by more, so a smaller effect could not be told from none."""


def record(base: Path, adapter: Path, examples: Sequence[Example]) -> tuple[GoldenPrompt, ...]:
    """The golden prompts of an adapter that was trained here. Raises `InvalidConfig` when it changes none of them."""
    golden = compute(base, adapter, examples)
    if not has_effect(golden):
        raise InvalidConfig(
            f"the adapter learnt nothing: no golden log-probability moved by {EFFECT}; "
            "raise optimisation.lr or optimisation.epochs"
        )
    return golden


def has_effect(golden: Sequence[GoldenPrompt]) -> bool:
    """Whether the adapter changes any of them: one that does not would be served without effect."""
    pairs = (pair for one in golden for pair in zip(one.adapter_logprobs, one.base_logprobs, strict=True))
    return max(abs(adapter - base) for adapter, base in pairs) >= EFFECT


def compute(
    base: Path, adapter: Path, examples: Sequence[Example], *, on: str | None = None
) -> tuple[GoldenPrompt, ...]:
    """The log-probability of each answer's tokens, with the adapter in folder `adapter` and without it.

    On the device `on`, by default the GPU where there is one. Raises `AdapterRefused` for figures that are not finite.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    gc.collect()  # the trainer's own copy of the base, which refers to itself
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).to(on or device())
    model = PeftModel.from_pretrained(model, str(adapter)).eval()
    golden = []
    for example in examples:
        start, end = example.answer_start, min(example.answer_end, example.answer_start + _LONGEST)
        ids = example.input_ids[:end]
        with_adapter = _answer_logprobs(model, ids, start)
        with model.disable_adapter():
            without = _answer_logprobs(model, ids, start)
        golden.append(
            GoldenPrompt(
                prompt_ids=tuple(ids[:start]),
                completion_ids=tuple(ids[start:]),
                adapter_logprobs=with_adapter,
                base_logprobs=without,
            )
        )
    if faults := {one.fault for one in golden} - {""}:
        raise AdapterRefused(f"{adapter} cannot be served over {base}: on a golden prompt, {', '.join(sorted(faults))}")
    return tuple(golden)


def _answer_logprobs(model: Any, ids: Sequence[int], start: int) -> tuple[float, ...]:
    """Natural log of the probability of `ids[start:]`, each token given all before it."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids], device=model.device)).logits[0, start - 1 : -1].float()
    answer = torch.tensor(ids[start:], device=logits.device)
    return tuple(torch.log_softmax(logits, dim=-1).gather(1, answer[:, None])[:, 0].tolist())
