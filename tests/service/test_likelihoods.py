"""`/v1/dabt/likelihoods` over HTTP: continuations are scored behind a version's recipe, which stays its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from retrieval.config import IndexConfig
from retrieval.index import build_index
from service.engine.fake_engine import fake_logprobs
from service.openai.allowed_fields import for_version
from service.openai.likelihoods import MOST_CONTINUATIONS, border, check_continuations
from service.traffic.shadow_records import Records
from tests.lifecycle.conftest import report_on

pytestmark = pytest.mark.timeout(300)

QUESTION = [{"role": "user", "content": "When?"}]
CHOICES = ["At nine", "غداً"]
BODY: dict[str, Any] = {"messages": QUESTION, "continuations": CHOICES}


async def ask(running: Any, model: str, body: dict[str, Any] = BODY, **headers: Any) -> Any:
    return await running.client.post("/v1/dabt/likelihoods", json={"model": model, **body}, headers=headers)


def expected(prompt: str, adapter: str = "") -> list[float]:
    return [sum(fake_logprobs(adapter, list(prompt.encode()), list(text.encode()))) for text in CHOICES]


async def test_continuations_are_scored_behind_the_versions_own_prompt(house: Any, start: Any) -> None:
    version = house.prod("faq", prompt={"system": "Answer.", "shots": [{"user": "a", "assistant": "b"}]})
    async with start(house) as running:
        reply = await ask(running, "faq")
        base = await ask(running, "tiny")
        plain = await ask(running, "tiny", {"prompt": "When? ", "continuations": CHOICES})
    answer = reply.json()
    assert [row["index"] for row in answer["data"]] == [0, 1]
    behind = expected("system: Answer.\nuser: a\nassistant: b\nuser: When?")
    assert [row["logprob"] for row in answer["data"]] == pytest.approx(behind)
    assert [row["logprob"] for row in base.json()["data"]] == pytest.approx(expected("user: When?"))
    assert [row["logprob"] for row in plain.json()["data"]] == pytest.approx(expected("When? "))
    assert answer["dabt"] == {"version": "faq:1", "digest": version.digest, "passages": []}
    assert reply.headers["x-dabt-digest"] == version.digest


async def test_nothing_is_told_but_of_the_continuations(house: Any, start: Any) -> None:
    house.prod("faq", prompt={"system": "Secret."})
    async with start(house) as running:
        answer = (await ask(running, "faq")).json()
    assert answer.keys() == {"id", "object", "created", "model", "data", "usage", "dabt"}
    assert all(row.keys() == {"index", "logprob", "tokens", "greedy"} for row in answer["data"])
    assert "Secret" not in str(answer)


async def test_a_version_with_knowledge_is_given_its_passages(house: Any, start: Any, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "handbook.md").write_text("# H\n\n## h01\nVisits begin at nine.\n")
    build_index(tmp_path / "documents", tmp_path / "index", IndexConfig(dense="none"))
    knowledge = {"index": house.index(tmp_path / "index"), "top_k": 1, "template": "{passages}\nQ: {question}"}
    house.prod("handbook", knowledge=knowledge)
    asked = {**BODY, "messages": [{"role": "user", "content": "When do visits begin?"}]}
    async with start(house) as running:
        answer = (await ask(running, "handbook", asked)).json()
    behind = "user: [h01] Visits begin at nine.\nQ: When do visits begin?"
    assert [row["logprob"] for row in answer["data"]] == pytest.approx(expected(behind))
    assert [passage["id"] for passage in answer["dabt"]["passages"]] == ["h01"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": QUESTION}, "continuations"),
    ({**BODY, "continuations": []}, "continuations"),
    ({**BODY, "continuations": ["x"] * (MOST_CONTINUATIONS + 1)}, "continuations"),
    ({**BODY, "continuations": ["x", ""]}, "continuations.1"),
    ({**BODY, "continuations": ["x", 5]}, "continuations.1"),
    ({"continuations": CHOICES}, "messages"),
    ({**BODY, "prompt": "x"}, "messages"),
    ({"prompt": [1, 2], "continuations": CHOICES}, "prompt"),
    ({**BODY, "messages": []}, "messages"),
    ({**BODY, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
    ({**BODY, "from_last_word": "yes"}, "from_last_word"),
    ({**BODY, "stream": True}, "stream"),
    ({**BODY, "temperature": 0}, "temperature"),
    ({**BODY, "echo": True}, "echo"),
    ({**BODY, "prompt_logprobs": 1}, "prompt_logprobs"),
    ({**BODY, "add_generation_prompt": False}, "add_generation_prompt"),
    ({**BODY, "continue_final_message": True}, "continue_final_message"),
    ({**BODY, "chat_template_kwargs": {"documents": []}}, "chat_template_kwargs.documents"),
]


@pytest.mark.parametrize(("body", "place"), REFUSED)
async def test_what_is_no_request_or_would_show_or_change_a_recipe_is_refused_at_its_place(
    house: Any, start: Any, body: dict[str, Any], place: str
) -> None:
    house.prod("faq", prompt={"system": "Secret."})
    async with start(house) as running:
        reply = await ask(running, "faq", body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, place)


async def test_a_version_with_a_recipe_has_no_place_for_a_plain_prompt(house: Any, start: Any) -> None:
    house.prod("faq", prompt={"system": "Secret."})
    async with start(house) as running:
        reply = await ask(running, "faq", {"prompt": "x", "continuations": CHOICES})
    assert reply.status_code == 400
    assert "send messages instead" in reply.json()["error"]["message"]


def test_the_switches_of_a_template_are_taken() -> None:
    body = {**BODY, "chat_template_kwargs": {"enable_thinking": False}, "unknown": 1}
    assert for_version(None, "likelihood", body) == {key: body[key] for key in body if key != "unknown"}
    check_continuations(body)


async def test_it_is_counted_charged_and_held_to_the_limits_of_its_callers_key(house: Any, start: Any) -> None:
    house.prod("faq", prompt={"system": "a b c"})
    limits = {"prompts_per_request": 2, "tokens_per_day": 15}
    key, other = house.key("app", models=["faq"], limits=limits), house.key("other", models=["triage"])
    admin = house.key("boss", role="admin")
    async with start(house) as running:
        many = await ask(running, "faq", {**BODY, "continuations": ["x", "y", "z"]}, **key)
        first = await ask(running, "faq", BODY, **key)
        spent = await ask(running, "faq", BODY, **key)
        forbidden = await ask(running, "faq", BODY, **other)
        page = (await running.client.get("/metrics", headers=admin)).text
    assert (many.status_code, many.json()["error"]["param"]) == (400, "continuations")
    assert [reply.status_code for reply in (first, spent, forbidden)] == [200, 429, 403]
    # The prompt's words, "system: a b c user: When?", are read behind with each continuation.
    assert first.json()["usage"] == {"prompt_tokens": 15, "total_tokens": 15, "completion_tokens": 0}
    assert 'dabt_requests_total{endpoint="likelihood",version="faq:1"} 2.0' in page
    assert 'dabt_prompt_tokens_total{version="faq:1"} 15.0' in page
    assert 'dabt_completion_tokens_total{version="faq:1"} 0.0' in page


async def test_a_prompt_over_the_limit_is_told_so_and_an_adapters_likelihoods_are_its_own(
    house: Any, start: Any
) -> None:
    house.adapter("red")
    house.prod("red", adapter="red")
    async with start(house) as running:
        long = await ask(running, "red", {**BODY, "messages": [{"role": "user", "content": "x " * 5000}]})
        red, base = await ask(running, "red"), await ask(running, "tiny")
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert red.json()["data"] != base.json()["data"]


async def test_an_adapter_that_cannot_be_loaded_fails_its_own_requests_alone(house: Any, start: Any) -> None:
    digest = house.adapter("red")
    house.prod("red", adapter="red")
    async with start(house) as running:
        running.engine.faults.load_errors[str(house.store.get(digest))] = "torn"
        broken, base = await ask(running, "red"), await ask(running, "tiny")
    assert (broken.status_code, broken.json()["error"]["code"]) == (503, "adapter_unloadable")
    assert base.status_code == 200


async def test_a_shadow_gets_no_copy_because_two_versions_likelihoods_never_agree(
    house: Any, start: Any, until: Any
) -> None:
    house.prod("faq", prompt={"system": "Answer."})
    candidate = house.version("faq", prompt={"system": "Answer well."})
    house.registry.record_report(report_on(candidate))
    shadow = house.home.shadow
    async with start(house, shadow_folder=shadow) as running:
        order = {"alias": "faq", "reason": "look", "shadow": {"version": candidate.number}}
        assert (await running.client.post("/admin/traffic/shadow", json=order)).status_code == 200
        await ask(running, "faq")
        await running.chat("faq")
        await until(lambda: [*Records(shadow).read("faq", "prod")])
    assert [record.kind for record in Records(shadow).read("faq", "prod")] == ["chat"]


async def test_a_classifier_gives_no_likelihood(house: Any) -> None:
    from service.classification.request import check_answerer

    class Mood:
        class spec:  # noqa: N801
            kind = "classifier"

    with pytest.raises(InvalidInput, match="writes no text"):
        check_answerer("likelihood", "mood:1", Mood())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "whole", "begin"),
    [
        ([1, 2], [1, 2, 3], 2),
        ([1, 2, 9], [1, 2, 3, 4], 2),  # a token lies across the border: it is the continuation's
        ([9], [3, 4], 0),
        ([1, 2], [1, 2], 2),
        ([1, 2, 3], [1, 2], 2),
    ],
)
def test_the_continuation_begins_where_the_whole_texts_tokens_leave_the_prompts(
    prompt: list[int], whole: list[int], begin: int
) -> None:
    assert border(prompt, whole) == begin
