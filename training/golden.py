"""Golden prompts: what the saved artifact says of a few validation answers, so that a server can prove it serves it.

Computed in float32 on the artifact as it was saved and loaded again, hence with everything that saving may lose.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifecycle.errors import AdapterRefused, ArtifactRefused, InvalidConfig
from lifecycle.manifests import GoldenPrompt, GoldenTokens, GoldenWeights
from lifecycle.version import ArtifactKind
from training.device import device
from training.tokens import Example

_LONGEST = 64
"""Tokens of an answer that are recorded: enough to tell adapters apart, short enough to check before serving."""

EFFECT = 1e-3
"""Natural-log units. A served bfloat16 model is off by more, so a smaller effect could not be told from none."""


def record(
    base: Path, folder: Path, examples: Sequence[Example], kind: ArtifactKind = "adapter"
) -> tuple[GoldenPrompt, ...] | tuple[GoldenWeights, ...]:
    """The golden prompts of an artifact that was trained here. Raises `InvalidConfig` when it changes none of them."""
    golden = _OF_KIND[kind](base, folder, examples)
    if not has_effect(golden):
        raise InvalidConfig(
            f"the {kind} learnt nothing: no golden log-probability moved by {EFFECT}; "
            "raise optimisation.lr or optimisation.epochs"
        )
    return golden


def has_effect(golden: Sequence[GoldenTokens]) -> bool:
    """Whether what was trained changes any of them: what does not would be served without effect."""
    pairs = (pair for one in golden for pair in zip(*one.logprobs, strict=True))
    return max(abs(trained - before) for trained, before in pairs) >= EFFECT


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
        ids, start = _golden_part(example)
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


def compute_weights(
    base: Path, folder: Path, examples: Sequence[Example], *, on: str | None = None
) -> tuple[GoldenWeights, ...]:
    """The log-probability of each answer's tokens, by the model in `folder` and by the one that it was trained from.

    One after the other, so that one at most is in memory. Raises `ArtifactRefused` for figures that are not finite.
    """
    parts = [_golden_part(example) for example in examples]
    tuned, original = (_by_model(model, parts, on or device()) for model in (folder, base))
    golden = tuple(
        GoldenWeights(
            prompt_ids=tuple(ids[:start]),
            completion_ids=tuple(ids[start:]),
            tuned_logprobs=after,
            original_logprobs=before,
        )
        for (ids, start), after, before in zip(parts, tuned, original, strict=True)
    )
    if faults := {one.fault for one in golden} - {""}:
        raise ArtifactRefused(f"{folder} cannot be served: on a golden prompt, {', '.join(sorted(faults))}")
    return golden


def _by_model(folder: Path, parts: Sequence[tuple[list[int], int]], on: str) -> list[tuple[float, ...]]:
    import torch
    from transformers import AutoModelForCausalLM

    gc.collect()  # whatever model was in memory before, which refers to itself
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(on).eval()
    return [_answer_logprobs(model, ids, start) for ids, start in parts]


def _golden_part(example: Example) -> tuple[list[int], int]:
    """Tokens up to the end of what is recorded, and where the answer starts among them."""
    start, end = example.answer_start, min(example.answer_end, example.answer_start + _LONGEST)
    return list(example.input_ids[:end]), start


_OF_KIND: Mapping[ArtifactKind, Callable[[Path, Path, Sequence[Example]], tuple[Any, ...]]] = {
    "adapter": compute,
    "weights": compute_weights,
}


def answer_logprobs(model: Any, example: Example) -> tuple[float, ...]:
    """Those of the tokens that a golden prompt of this example would record, by any model."""
    return _answer_logprobs(model, *_golden_part(example))


def _answer_logprobs(model: Any, ids: Sequence[int], start: int) -> tuple[float, ...]:
    """Natural log of the probability of `ids[start:]`, each token given all before it."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids], device=model.device)).logits[0, start - 1 : -1].float()
    answer = torch.tensor(ids[start:], device=logits.device)
    return tuple(torch.log_softmax(logits, dim=-1).gather(1, answer[:, None])[:, 0].tolist())
