"""Golden prompts for the random adapters: what transformers computes with an adapter's delta added to the weights.

In a process of its own, so that torch's memory and threads are gone before anything is measured.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lifecycle.manifests import GoldenPrompt

_PROMPT, _COMPLETION = 24, 8
"""Tokens of each."""


def record(base: Path, seeds: Sequence[int]) -> list[GoldenPrompt]:
    """One golden prompt for the adapter of each seed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_record, base, seeds).result()


def _record(base: Path, seeds: Sequence[int]) -> list[GoldenPrompt]:
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks.adapters import ALPHA, RANK, factors

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(16, model.config.vocab_size, (_PROMPT + _COMPLETION,), generator=chance).tolist()
    before = _logprobs(model, ids)
    goldens = []
    for seed in seeds:
        changed = []
        for name, (a, b) in factors(base, seed).items():
            weight = model.get_submodule(name).weight.data
            changed.append((weight, weight.clone()))
            weight += ALPHA / RANK * (torch.from_numpy(b).float() @ torch.from_numpy(a).float())
        goldens.append(
            GoldenPrompt(
                prompt_ids=tuple(ids[:_PROMPT]),
                completion_ids=tuple(ids[_PROMPT:]),
                adapter_logprobs=_logprobs(model, ids),
                base_logprobs=before,
            )
        )
        for weight, original in changed:
            weight.copy_(original)
    return goldens


def _logprobs(model: Any, ids: list[int]) -> tuple[float, ...]:
    """Of the completion's tokens."""
    import torch

    with torch.no_grad():
        rows = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)
    return tuple(float(rows[at - 1, ids[at]]) for at in range(_PROMPT, len(ids)))
