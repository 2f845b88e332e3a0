"""The kernel of few rows in the real engine, in bfloat16: what it says of a token is what a step of many rows says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.config import ServeConfig
from service.engine.interface import AdapterHandle, Call
from tests.service.random_llama import RECIPES, make_adapter, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PROMPT = [5, 31, 7, 12, 44, 9, 21, 3, 17, 28, 40, 11]
TOKENS = 12
NEAR = 0.12
"""In log-probabilities. Steps of many rows round elsewhere; another adapter, or none, is further off by far."""


class Narrow:
    """An engine in bfloat16 with three adapters of different ranks and modules."""

    def __init__(self, root: Path) -> None:
        from service.engine.vllm.engine import VllmEngine

        base = root / "random-llama"
        make_base(base)
        names = ("red", "green", "blue")
        for seed, name in enumerate(names, start=1):
            make_adapter(base, root / name, RECIPES[name], seed)
        config = ServeConfig(base=base, max_loras=3, max_cpu_loras=4, kv_cache_gib=0.25, dtype="bfloat16")
        self.engine = VllmEngine(config)
        self.adapters: dict[str, AdapterHandle | None] = {"base": None}
        self.adapters |= {name: AdapterHandle(name, at, root / name) for at, name in enumerate(names, start=1)}
        self._loop = asyncio.new_event_loop()
        self.facts = self.run(self.engine.start())
        for adapter in self.adapters.values():
            if adapter is not None:
                self.run(self.engine.load(adapter))

    def run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    async def decoded(self, *models: str) -> list[tuple[list[int], list[float]]]:
        """Tokens and their log-probabilities, of requests that are decoded together."""
        body = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0, "logprobs": 1, "return_token_ids": True}
        body["ignore_eos"] = True
        calls = [
            Call("completion", dict(body), model, self.adapters[model], f"{model}-{len(models)}") for model in models
        ]
        answers = await asyncio.gather(*map(self.engine.generate, calls))
        choices = [answer.body["choices"][0] for answer in answers]
        return [(choice["token_ids"], choice["logprobs"]["token_logprobs"]) for choice in choices]

    async def scored(self, model: str, tokens: list[int]) -> list[float]:
        """The same tokens' log-probabilities as a prompt's, in one step of many rows."""
        return await self.engine.score(self.adapters[model], PROMPT, tokens)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Narrow]:
    made = Narrow(tmp_path_factory.mktemp("narrow"))
    yield made
    made.run(made.engine.stop())


def test_it_computes_whole_layers_and_says_so(narrow: Narrow) -> None:
    assert "service.engine.cpu.layers: layers" in narrow.facts.detail.kernels


@pytest.mark.parametrize("together", [("base",), ("red",), ("green", "base", "blue", "red")])
def test_a_token_is_as_likely_as_in_a_step_of_many_rows(narrow: Narrow, together: tuple[str, ...]) -> None:
    for model, (tokens, logprobs) in zip(together, narrow.run(narrow.decoded(*together)), strict=True):
        assert len(tokens) == TOKENS
        assert logprobs == pytest.approx(narrow.run(narrow.scored(model, tokens)), abs=NEAR)
        others = [narrow.run(narrow.scored(other, tokens)) for other in narrow.adapters if other != model]
        assert all(max(abs(one - two) for one, two in zip(logprobs, far, strict=True)) > 3 * NEAR for far in others)


def test_every_answer_is_the_one_given_alone(narrow: Narrow) -> None:
    mixed = narrow.run(narrow.decoded("base", "red", "green", "blue"))
    for model, together in zip(("base", "red", "green", "blue"), mixed, strict=True):
        assert narrow.run(narrow.decoded(model))[0][0] == together[0]
