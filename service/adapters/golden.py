"""Golden prompts: does a loaded adapter compute here what it computed where it was trained?

Catches a wrong scale, a wrong base, a changed chat template and an adapter without effect, before any caller is
answered by it. What was recorded is float32; a base that is served in bfloat16 or quantised is off by itself, by 0.05
nats per token and more, so where the adapter's figures alone leave a doubt the base's are asked for too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from statistics import fmean

from lifecycle.errors import AdapterUnloadable
from lifecycle.manifests import AdapterManifest, GoldenTokens, WeightsManifest
from service.engine.interface import AdapterHandle, Engine

_CLEARLY = 2
"""So many times nearer to the adapter's recorded figures than to the base's needs no second look."""
_ROUNDING = 2
"""So many times what the base is off an adapter may be: it rounds in the same places and in its own as well."""

_EXACT = 1e-9
"""Floating point's part in a difference: one of exactly the tolerance is within it."""


async def verify(engine: Engine, adapter: AdapterHandle, manifest: AdapterManifest, tolerance: float) -> None:
    """Hold the engine's log-probabilities of every golden completion against the recorded ones.

    `tolerance` is the largest mean absolute difference, in nats per token; twice the base's own is allowed where that
    is more. Raises `AdapterUnloadable` beyond it, when what the adapter adds to the base here is nearer to nothing
    than to what it added there, and for figures that are not finite, whoever gave them. An adapter without golden
    prompts passes.
    """
    if not manifest.golden:
        return
    if faults := {golden.fault for golden in manifest.golden} - {""}:
        raise AdapterUnloadable(
            f"{adapter.name} cannot be held against its golden prompts: {', '.join(sorted(faults))}. Train it again "
            "with `dabt train --force`"
        )
    recorded = [value for golden in manifest.golden for value in golden.adapter_logprobs]
    base_recorded = [value for golden in manifest.golden for value in golden.base_logprobs]
    served = await _scores(engine, adapter, manifest.golden)
    off = _distance(served, recorded)
    if off <= tolerance + _EXACT and _CLEARLY * off <= _distance(served, base_recorded):
        return
    base_served = await _scores(engine, None, manifest.golden)
    effect, effect_recorded = _minus(served, base_served), _minus(recorded, base_recorded)
    if _distance(effect, effect_recorded) >= _size(effect):
        raise AdapterUnloadable(
            f"{adapter.name} has no effect here: on its golden prompts it adds {_size(effect):.4f} nats per token to "
            f"the base, {_size(effect_recorded):.4f} where it was trained. Its tensors may not match this base's "
            "layers; check it with `dabt import`"
        )
    rounding = _distance(base_served, base_recorded)
    allowed = max(tolerance, _ROUNDING * rounding)
    if off > allowed + _EXACT:
        raise AdapterUnloadable(
            f"{adapter.name} computes something else here than where it was trained: {off:.4f} nats per token from its "
            f"recorded figures, {allowed:.4g} allowed (the base itself is off by {rounding:.4f}). The base, the "
            "adapter's scale or the number format may differ"
        )


async def verify_weights(engine: Engine, manifest: WeightsManifest, tolerance: float) -> None:
    """The same of whole weights, which the engine serves as its base.

    Nothing here computes what they were before, so there is no second look: beyond `tolerance` nats per token they must
    be clearly nearer to their recorded figures than to those of the weights that they were trained from.
    Raises `AdapterUnloadable` otherwise.
    """
    if not manifest.golden:
        return
    served = await _scores(engine, None, manifest.golden)
    off, before = (
        _distance(served, [value for golden in manifest.golden for value in golden.logprobs[side]]) for side in (0, 1)
    )
    if before <= off:
        raise AdapterUnloadable(
            f"the weights {manifest.digest} answer as {manifest.base_name} does, which they were trained from: "
            f"{before:.4f} nats per token from its recorded figures, {off:.4f} from their own"
        )
    if off > tolerance + _EXACT and _CLEARLY * off > before:
        raise AdapterUnloadable(
            f"the weights {manifest.digest} compute something else here than where they were trained: {off:.4f} nats "
            f"per token from their recorded figures, {tolerance:.4g} allowed. The number format may differ: try "
            "another --dtype"
        )


async def _scores(engine: Engine, adapter: AdapterHandle | None, goldens: Sequence[GoldenTokens]) -> list[float]:
    # At once, so that they share the engine's steps; and all to their end, so that none still runs at an unload.
    answers = await asyncio.gather(
        *(engine.score(adapter, golden.prompt_ids, golden.completion_ids) for golden in goldens),
        return_exceptions=True,
    )
    scores: list[float] = []
    for golden, answer in zip(goldens, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        if len(answer) != len(golden.completion_ids) or not all(map(math.isfinite, answer)):
            who = adapter.name if adapter else "the base"
            raise AdapterUnloadable(
                f"{who} gives no finite log-probability for each token of a golden prompt here. Its weights may "
                "overflow the number format that is served: try another --dtype"
            )
        scores += answer
    return scores


def _minus(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [value - other for value, other in zip(left, right, strict=True)]


def _size(values: Sequence[float]) -> float:
    return fmean(abs(value) for value in values)


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    return _size(_minus(left, right))
