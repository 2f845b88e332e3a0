"""A version with whole weights as a base beside another one, in one process."""

from __future__ import annotations

from typing import Any

import pytest

from service.adapters.residency import internal_name
from service.base_folder import with_bases
from service.cluster.here import EnginesHere, ServedBase
from service.served_bases import bases_named
from tests.service.cluster.two_bases import Two, who_said
from tests.service.test_traces import EVALUATION
from tests.service.test_whole_weights import GOLDEN, manifest

pytestmark = pytest.mark.timeout(60)


def trained(two: Two) -> ServedBase:
    """`full:1`, in production: the second base's bytes as whole weights of the store, found by that name."""
    made = manifest(two.house, two.house.store.put(two.configs[1].base)).model_copy(update={"base": two.digest})
    two.house.registry.add_artifact(made)
    two.house.prod("full", base=two.digest, weights=made.digest)
    ((config, known),) = with_bases(bases_named(["full:1"], {}), two.house.home)
    settings = config.model_dump(include={"base", "base_name"})
    return ServedBase(two.configs[1].model_copy(update=settings), two.other, known)


async def test_a_version_that_is_a_whole_base_answers_beside_another_base(two: Two, monkeypatch: Any) -> None:
    full, asked, of_adapters = trained(two), [], two.other.score

    async def score(adapter: Any, prompt_ids: Any, completion_ids: Any) -> list[float]:
        if adapter is not None:
            return await of_adapters(adapter, prompt_ids, completion_ids)
        asked.append((prompt_ids, completion_ids))
        return list(GOLDEN.tuned_logprobs)

    monkeypatch.setattr(two.other, "score", score)
    monkeypatch.setattr(two, "engine", lambda: EnginesHere([ServedBase(two.configs[0], two.tiny), full]))
    async with two.serving() as service:
        assert asked == [(GOLDEN.prompt_ids, GOLDEN.completion_ids)], "held against what was recorded"
        for model, said in (("full", "base"), ("full:1", "base"), ("tiny@full-1", "base"), ("tiny", "base")):
            answer = await service.chat(model, headers=EVALUATION)
            assert (answer.status_code, who_said(answer)) == (200, said)
        assert who_said(await service.chat("far")) == internal_name(two.house.adapters["far"])
        listed = (await service.client.get("/v1/models")).json()["data"]
        parents = {card["id"]: card["parent"] for card in listed}
        assert (parents["tiny@full-1"], parents["full"], parents["far"]) == (None, "tiny@full-1", "tiny@full-1")


async def test_a_whole_base_that_computes_something_else_ends_the_service_and_says_so(
    two: Two, monkeypatch: Any, until: Any
) -> None:
    full = trained(two)

    async def score(*_: object) -> list[float]:
        return [-1.5, -2.0]

    monkeypatch.setattr(two.other, "score", score)
    app = two.app(EnginesHere([ServedBase(two.configs[0], two.tiny), full]))
    async with app.router.lifespan_context(app):
        await until(lambda: app.state.parts.supervisor.fatal)
        assert "compute something else here" in app.state.parts.supervisor.fatal
