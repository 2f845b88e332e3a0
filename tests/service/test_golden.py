"""Golden prompts: what a loaded adapter must compute before it may answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.adapter import AdapterManifest, GoldenPrompt
from lifecycle.errors import AdapterUnloadable
from service.adapters.golden import verify
from service.engine.fake_engine import FakeEngine
from service.engine.interface import AdapterHandle

HANDLE = AdapterHandle("sha256-a", 1, Path("/a"))


class Scores(FakeEngine):
    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.values = list(values)

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        assert adapter == HANDLE
        return self.values


def manifest(adapter: tuple[float, ...], base: tuple[float, ...]) -> AdapterManifest:
    golden = GoldenPrompt(prompt_ids=(1,), completion_ids=(2, 3), adapter_logprobs=adapter, base_logprobs=base)
    return AdapterManifest(
        digest="sha256:" + "a" * 64,
        base="sha256:" + "b" * 64,
        base_name="tiny",
        rank=8,
        alpha=16,
        scale=2,
        target_modules=("q_proj",),
        parameters=1,
        bytes=1,
        golden=(golden,),
        created_at=datetime.now(UTC),
    )


RECORDED = manifest(adapter=(-0.1, -0.2), base=(-3.0, -4.0))


async def test_what_was_recorded_passes_within_the_tolerance() -> None:
    await verify(Scores([-0.15, -0.25]), HANDLE, RECORDED, 0.1)


async def test_an_adapter_that_answers_like_the_base_has_no_effect() -> None:
    with pytest.raises(AdapterUnloadable, match="has no effect"):
        await verify(Scores([-3.0, -4.0]), HANDLE, RECORDED, 0.1)


async def test_a_wrong_scale_is_noticed() -> None:
    with pytest.raises(AdapterUnloadable, match=r"0\.4000 nats per token"):
        await verify(Scores([-0.5, -0.6]), HANDLE, RECORDED, 0.1)


async def test_a_faint_adapter_is_told_from_the_base_even_inside_the_tolerance() -> None:
    faint = manifest(adapter=(-1.00, -1.00), base=(-1.05, -1.05))
    await verify(Scores([-1.01, -1.01]), HANDLE, faint, 0.1)
    with pytest.raises(AdapterUnloadable, match="has no effect"):
        await verify(Scores([-1.05, -1.05]), HANDLE, faint, 0.1)


async def test_an_adapter_without_golden_prompts_passes() -> None:
    await verify(Scores([]), HANDLE, RECORDED.model_copy(update={"golden": ()}), 0.1)
