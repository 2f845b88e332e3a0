"""Golden prompts: what the saved artifact says of a few validation answers, so that a server can prove it serves it.

Computed on the artifact as it was saved and loaded again, hence with everything that saving may lose. In float32 where
there is room for it (`room.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lifecycle.errors import AdapterRefused, ArtifactRefused, InvalidConfig
from lifecycle.manifests import GoldenPrompt, GoldenTokens, GoldenWeights
from lifecycle.version import ArtifactKind
from training import room
from training.room import Spot
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
    base: Path, adapter: Path, examples: Sequence[Example], *, spot: Spot | None = None
) -> tuple[GoldenPrompt, ...]:
    """The log-probability of each answer's tokens, with the adapter in folder `adapter` and without it.

    At `spot`, by default where there is room. Raises `AdapterRefused` for figures that are not finite.
    """
    places = room.spots_for(base) if spot is None else [spot]
    golden = room.at_first_with_room(places, partial(_by_adapter, base, adapter, examples))
    if faults := {one.fault for one in golden} - {""}:
        raise AdapterRefused(f"{adapter} cannot be served over {base}: on a golden prompt, {', '.join(sorted(faults))}")
    return golden


def by_others(base: Path, adapters: Sequence[Path], prompts: Sequence[GoldenPrompt]) -> list[tuple[GoldenPrompt, ...]]:
    """The same `prompts` by each of other adapters over the same base, which is loaded once, and not for none."""
    if not adapters:
        return []
    compute_all = partial(_by_others, base, adapters, prompts)
    return room.at_first_with_room(room.spots_for(base), compute_all)


def _by_others(
    base: Path, adapters: Sequence[Path], prompts: Sequence[GoldenPrompt], spot: Spot
) -> list[tuple[GoldenPrompt, ...]]:
    from peft import PeftModel

    original, golden = _model(base, spot), []
    for folder in adapters:
        model = PeftModel.from_pretrained(original, str(folder)).eval()
        golden.append(tuple(_by_other(model, prompt) for prompt in prompts))
        original = model.unload()
    return golden


def _by_other(model: Any, prompt: GoldenPrompt) -> GoldenPrompt:
    ids = [*prompt.prompt_ids, *prompt.completion_ids]
    return prompt.model_copy(update={"adapter_logprobs": _answer_logprobs(model, ids, len(prompt.prompt_ids))})


def _by_adapter(base: Path, adapter: Path, examples: Sequence[Example], spot: Spot) -> tuple[GoldenPrompt, ...]:
    from peft import PeftModel

    model = PeftModel.from_pretrained(_model(base, spot), str(adapter)).eval()
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
    return tuple(golden)


def compute_weights(base: Path, folder: Path, examples: Sequence[Example]) -> tuple[GoldenWeights, ...]:
    """The log-probability of each answer's tokens, by the model in `folder` and by the one that it was trained from.

    One after the other, so that one at most is in memory. Raises `ArtifactRefused` for figures that are not finite.
    """
    parts = [_golden_part(example) for example in examples]
    tuned, original = room.at_first_with_room(
        room.spots_for(base), lambda spot: [_by_model(model, parts, spot) for model in (folder, base)]
    )
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


def _by_model(folder: Path, parts: Sequence[tuple[list[int], int]], spot: Spot) -> list[tuple[float, ...]]:
    model = _model(folder, spot).eval()
    return [_answer_logprobs(model, ids, start) for ids, start in parts]


def _model(folder: Path, spot: Spot) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    room.free_gpu()  # whatever model was in memory before
    more = _unpacking(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, spot.dtype), **more).to(spot.on)


def _unpacking(folder: Path) -> dict[str, Any]:
    """How to load a base of packed weights so that PEFT finds a weight in each layer.

    compressed-tensors leaves packed layers without one. Where it rounds activations too, its layers have weights and
    round as the server does, and are left as they are.
    """
    from transformers import AutoConfig, CompressedTensorsConfig

    packing = getattr(AutoConfig.from_pretrained(folder), "quantization_config", None) or {}
    groups = packing.get("config_groups", {}).values()
    if packing.get("quant_method") != "compressed-tensors" or any(group.get("input_activations") for group in groups):
        return {}
    return {"quantization_config": CompressedTensorsConfig(dequantize=True)}


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
