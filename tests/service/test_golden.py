"""Golden prompts: what a loaded adapter must compute before it may answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.errors import AdapterUnloadable, InvalidConfig
from lifecycle.manifests import AdapterManifest, GoldenPrompt
from service.adapters.golden import verify
from service.config import config_from
from service.engine.fake_engine import FakeEngine
from service.engine.interface import AdapterHandle

HANDLE = AdapterHandle("sha256-a", 1, Path("/a"))


class Scores(FakeEngine):
    """Computes `adapter`, and where the adapter is not asked `base`; without that nobody may ask."""

    def __init__(self, adapter: Sequence[float], base: Sequence[float] | None = None) -> None:
        super().__init__()
        self.values = {HANDLE: list(adapter)} | ({None: list(base)} if base is not None else {})

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        return self.values[adapter]


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
    with pytest.raises(AdapterUnloadable, match=r"has no effect here.* adds 0\.0000 .*, 3\.3500 where"):
        await verify(Scores([-3.0, -4.0], base=[-3.0, -4.0]), HANDLE, RECORDED, 0.1)


async def test_a_wrong_scale_is_noticed() -> None:
    with pytest.raises(
        AdapterUnloadable, match=r"0\.4000 nats per token from .*, 0\.1 allowed \(the base .* 0\.0000\)"
    ):
        await verify(Scores([-0.5, -0.6], base=[-3.0, -4.0]), HANDLE, RECORDED, 0.1)


async def test_a_faint_adapter_is_told_from_the_base_even_inside_the_tolerance() -> None:
    faint = manifest(adapter=(-1.00, -1.00), base=(-1.05, -1.05))
    await verify(Scores([-1.01, -1.01]), HANDLE, faint, 0.1)
    with pytest.raises(AdapterUnloadable, match="has no effect"):
        await verify(Scores([-1.05, -1.05], base=[-1.05, -1.05]), HANDLE, faint, 0.1)


async def test_an_adapter_may_be_off_as_far_as_the_base_itself_is_off_in_this_number_format() -> None:
    await verify(Scores([-0.3, -0.1], base=[-2.8, -4.2]), HANDLE, RECORDED, 0.1)
    with pytest.raises(AdapterUnloadable, match=r"0\.6000 nats per token .*, 0\.4 allowed \(the base .* 0\.2000\)"):
        await verify(Scores([-0.7, -0.8], base=[-2.8, -4.2]), HANDLE, RECORDED, 0.1)


async def test_rounding_neither_hides_a_faint_adapter_nor_stands_in_for_one() -> None:
    """The base is off by more here than the adapter's whole effect, up on one token and down on the other."""
    faint = manifest(adapter=(-1.00, -1.00), base=(-1.02, -1.02))
    base = [-0.98, -1.06]
    await verify(Scores([-0.96, -1.04], base), HANDLE, faint, 0.1)
    with pytest.raises(AdapterUnloadable, match="has no effect"):
        await verify(Scores(base, base), HANDLE, faint, 0.1)


async def test_an_adapter_without_golden_prompts_passes() -> None:
    await verify(Scores([]), HANDLE, RECORDED.model_copy(update={"golden": ()}), 0.1)


# -- what is not a number ---------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [0, 1])
async def test_figures_that_are_not_finite_never_pass_whoever_gave_them(bad: float, place: int) -> None:
    def spoilt(*values: float) -> tuple[float, ...]:
        return tuple(bad if at == place else value for at, value in enumerate(values))

    with pytest.raises(AdapterUnloadable, match="sha256-a gives no finite log-probability"):
        await verify(Scores(spoilt(-0.1, -0.2), base=[-3.0, -4.0]), HANDLE, RECORDED, 0.1)
    with pytest.raises(AdapterUnloadable, match="the base gives no finite log-probability"):
        await verify(Scores([-0.5, -0.6], base=spoilt(-3.0, -4.0)), HANDLE, RECORDED, 0.1)
    for recorded in (
        manifest(adapter=spoilt(-0.1, -0.2), base=(-3.0, -4.0)),
        manifest(adapter=(-0.1, -0.2), base=spoilt(-3.0, -4.0)),
    ):
        with pytest.raises(AdapterUnloadable, match=r"a log-probability is not a finite number.*dabt train --force"):
            await verify(Scores([-0.1, -0.2], base=[-3.0, -4.0]), HANDLE, recorded, 0.1)


@pytest.mark.parametrize("served", [[], [-0.1], [-0.1, -0.2, -0.3]])
async def test_another_number_of_figures_than_tokens_never_passes(served: list[float]) -> None:
    with pytest.raises(AdapterUnloadable, match="for each token"):
        await verify(Scores(served), HANDLE, RECORDED, 0.1)
    with pytest.raises(AdapterUnloadable, match="another number of log-probabilities"):
        await verify(Scores([-0.1, -0.2]), HANDLE, manifest(adapter=tuple(served), base=(-3.0, -4.0)), 0.1)


# -- the tolerance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, -0.1, -0.2, -0.7, -1.0, -3.0])
@pytest.mark.parametrize("tolerance", [0.1, 0.3])
async def test_a_difference_of_exactly_the_tolerance_is_within_it(start: float, tolerance: float) -> None:
    recorded = manifest(adapter=(start, start), base=(-30.0, -40.0))
    await verify(Scores([start - tolerance] * 2, base=[-30.0, -40.0]), HANDLE, recorded, tolerance)
    with pytest.raises(AdapterUnloadable, match="computes something else"):
        await verify(Scores([start - tolerance - 1e-4] * 2, base=[-30.0, -40.0]), HANDLE, recorded, tolerance)


async def test_the_tolerance_is_of_the_mean_over_all_tokens_of_all_prompts() -> None:
    two = RECORDED.model_copy(update={"golden": RECORDED.golden * 2})

    class Uneven(Scores):
        def __init__(self) -> None:
            super().__init__([], base=[-3.0, -4.0])
            self.turns = iter([[-0.1, -0.2], [-0.4, -0.3]])  # off by 0, 0, 0.3 and 0.1

        async def score(self, adapter, prompt_ids, completion_ids):  # type: ignore[no-untyped-def]
            return next(self.turns) if adapter else [-3.0, -4.0]

    await verify(Uneven(), HANDLE, two, 0.1)
    with pytest.raises(AdapterUnloadable, match=r"0\.1000 nats per token"):
        await verify(Uneven(), HANDLE, two, 0.09)


@pytest.mark.parametrize("bad", [NAN, INF, 0.0, -0.1])
def test_a_tolerance_that_lets_everything_pass_is_refused(bad: float) -> None:
    with pytest.raises(InvalidConfig, match="--golden-tolerance"):
        config_from({"base": "/m", "golden_tolerance": bad})
