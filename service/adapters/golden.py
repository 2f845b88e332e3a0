"""Golden prompts: does a loaded adapter compute here what it computed where it was trained?

Catches a wrong scale, a wrong base, a changed chat template and an adapter without effect, before any caller is
answered by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean

from lifecycle.adapter import AdapterManifest
from lifecycle.errors import AdapterUnloadable
from service.engine.interface import AdapterHandle, Engine


async def verify(engine: Engine, adapter: AdapterHandle, manifest: AdapterManifest, tolerance: float) -> None:
    """Hold the engine's log-probabilities of every golden completion against the recorded ones.

    `tolerance` is the largest mean absolute difference, in nats per token. Raises `AdapterUnloadable` beyond it, or
    when the engine's figures are nearer to the base's than to the adapter's. An adapter without golden prompts passes.
    """
    # At once, so that they share the engine's steps; and all to their end, so that none still runs at an unload.
    answers = await asyncio.gather(
        *(engine.score(adapter, golden.prompt_ids, golden.completion_ids) for golden in manifest.golden),
        return_exceptions=True,
    )
    served: list[float] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        served += answer
    if not served:
        return
    recorded = [value for golden in manifest.golden for value in golden.adapter_logprobs]
    base = [value for golden in manifest.golden for value in golden.base_logprobs]
    off, from_base = _distance(served, recorded), _distance(served, base)
    if off >= from_base:
        raise AdapterUnloadable(
            f"{adapter.name} has no effect here: on its golden prompts the engine answers like the base "
            f"({from_base:.4f} nats per token from the base's recorded figures, {off:.4f} from the adapter's). "
            "Its tensors may not match this base's layers; check it with `dabt import`"
        )
    if off > tolerance:
        raise AdapterUnloadable(
            f"{adapter.name} computes something else here than where it was trained: {off:.4f} nats per token from its "
            f"recorded figures, {tolerance} allowed. The base, the adapter's scale or the number format may differ"
        )


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    return fmean(abs(one - other) for one, other in zip(left, right, strict=True))
