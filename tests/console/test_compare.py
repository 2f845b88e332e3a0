"""One question to several versions over one connection: panes do not wait for each other, and end with the reader."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from lifecycle.access.keys import Role
from tests.console.conftest import Serve, Served
from tests.service.conftest import House

HANDBOOK = "## h01\nThe pharmacy opens at nine.\n\n## h02\nتبدأ الزيارة في التاسعة صباحاً.\n"


def fill(house: House) -> None:
    from retrieval.config import IndexConfig
    from retrieval.index import build_index

    house.prod("triage", adapter=house.adapter("triage"))
    house.version("triage", prompt={"system": "Be short."})
    documents = house.home.root / "documents"
    documents.mkdir()
    (documents / "handbook.md").write_text(HANDBOOK, encoding="utf-8")
    build_index(documents, house.home.root / "index", IndexConfig(dense="none"))
    knowledge = {"index": house.index(house.home.root / "index"), "top_k": 1, "template": "{passages}\nQ: {question}"}
    house.prod("desk", knowledge=knowledge)
    house.key("eva", role=Role.EVALUATOR)
    house.key("sami", role=Role.CALLER, models=["triage"])


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def question(*models: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    panes = [{"model": model, "messages": [{"role": "user", "content": text}]} for model in models]
    return {"panes": panes, **more}


def asked(served: Served, key: str, *models: str, **more: Any) -> dict[int, list[dict[str, Any]]]:
    """The events of each pane."""
    with served.client(key) as client:
        answer = client.post("/ui/compare/answers", json=question(*models, **more))
    assert answer.status_code == 200, answer.text
    panes: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(models))}
    for line in answer.text.splitlines():
        if line.startswith("data: "):
            event = json.loads(line[6:])
            panes[event["pane"]].append(event)
    return panes


def test_each_pane_says_who_answered_and_not_who_was_asked(served: Served):
    panes = asked(served, "eva", "triage", "triage:2", "tiny")
    version = served.house.registry.version("triage:1")
    (first, *rest) = panes[0]
    assert (first["kind"], first["version"], first["digest"]) == ("answerer", "triage:1", version.digest)
    end = rest[-1]
    assert end["kind"] == "done"
    assert end["tokens"] == len([event for event in rest if event["kind"] == "piece"]) == 8
    assert end["reason"] == "stop"
    assert 0 < end["first_token"] < end["seconds"]
    assert end["per_second"] > 0
    assert "".join(event["text"] for event in rest[:-1] if event["kind"] == "piece") in end["html"]
    assert [panes[pane][0]["version"] for pane in (1, 2)] == ["triage:2", "tiny"]


def test_a_pane_that_is_refused_says_why_and_stops_no_other(served: Served):
    panes = asked(served, "sami", "triage:9", "triage", "desk", "triage:2")
    assert panes[1][-1]["kind"] == "done"
    for pane, said in ((0, "has no version 9"), (2, "not for desk"), (3, "not approved")):
        (end,) = [event for event in panes[pane] if event["kind"] == "failed"]
        assert said in end["message"]


def test_an_evaluator_asks_versions_that_are_not_approved(served: Served):
    assert asked(served, "eva", "triage:2")[0][-1]["kind"] == "done"


def test_sampling_reaches_every_version_and_what_is_wrong_with_it_is_said_by_each(served: Served):
    panes = asked(served, "eva", "triage", "tiny", sampling={"max_tokens": 3, "seed": 5, "temperature": 0.5})
    assert [(panes[pane][-1]["tokens"], panes[pane][-1]["reason"]) for pane in (0, 1)] == [(3, "length")] * 2
    other = asked(served, "eva", "triage", "tiny", sampling={"max_tokens": 3, "seed": 6})
    assert panes[0][-1]["html"] != other[0][-1]["html"]
    for pane in asked(served, "eva", "triage", "tiny", sampling={"temperature": 99}).values():
        assert "temperature" in pane[-1]["message"]


def test_passages_come_with_their_source_and_the_words_that_the_answer_has_too(served: Served, echo: None):
    end = asked(served, "eva", "desk", text="when does the pharmacy open?")[0][-1]
    (passage,) = end["passages"]
    assert (passage["id"], passage["source"]) == ("h01", "handbook.md:1")
    assert "".join(text for text, _ in passage["pieces"]) == "The pharmacy opens at nine."
    assert [text for text, shared in passage["pieces"] if shared] == ["pharmacy", "opens", "nine"]


def test_a_pane_whose_engine_breaks_says_so_in_the_middle(served: Served):
    served.engine.faults.break_stream_after = 2
    try:
        panes = asked(served, "eva", "triage")
    finally:
        served.engine.faults.break_stream_after = None
    assert [event["kind"] for event in panes[0]] == ["answerer", "piece", "piece", "failed"]
    with served.client("eva") as client:
        while client.get("/ready").status_code != 200:
            pass


def test_a_slow_pane_holds_up_no_other_and_the_engine_stops_when_the_reader_goes(served: Served, hold_tiny: Any):
    with (
        served.client("eva") as client,
        client.stream("POST", "/ui/compare/answers", json=question("tiny", "triage")) as answer,
    ):
        lines = answer.iter_lines()  # kept: a dropped iterator closes the stream
        events = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert next(event["pane"] for event in events if event["kind"] == "done") == 1
        while len(served.engine.active) != 1:  # the engine lets go of the one that is done a moment later
            time.sleep(0.01)
    while served.engine.active:
        time.sleep(0.01)  # the test's time limit ends it


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"panes": []}', b'{"panes": [{"model": "x"}], "path": "/etc"}'])
def test_what_is_no_question_is_refused_as_json(served: Served, body: bytes):
    with served.client("eva") as client:
        answer = client.post("/ui/compare/answers", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_no_more_than_six_are_asked_at_once(served: Served):
    with served.client("eva") as client:
        assert client.post("/ui/compare/answers", json=question(*["tiny"] * 7)).status_code == 400


def test_names_are_those_that_the_key_may_ask(served: Served):
    def names(key: str, typed: str = "") -> list[str]:
        with served.client(key) as client:
            return client.get("/ui/compare/names", params={"q": typed}).json()

    assert names("eva") == ["tiny", "desk", "desk:1", "triage", "triage:2", "triage:1"]
    assert names("sami") == ["triage"], "what serves behind it was not approved by its number"
    assert names("eva", "ge:2") == ["triage:2"]
    assert names("eva", "<script>") == []


def test_the_address_names_versions_and_settings_and_a_hostile_one_is_text(served: Served):
    with served.client("eva") as client:
        page = client.get("/ui/compare", params={"m": ["triage:1", '"><script>x'], "seed": '7"><b>'}).text
    assert 'value="triage:1"' in page
    assert "<script>x" not in page
    assert "<b>" not in page


def test_a_pair_goes_to_raters_who_did_not_see_whose_it_is(served: Served):
    registry = served.house.registry
    answers = [
        {"version": ref, "digest": registry.version(ref).digest, "text": f"answer {ref[-1]}"}
        for ref in ("triage:2", "triage:1")
    ]
    pair = {"messages": [{"role": "user", "content": "hello"}], "answers": answers}
    with served.client("eva") as client:
        made = client.post("/ui/compare/pairs", json=pair)
        assert made.json() == {"campaign": "triage-1-and-triage-2", "pairs": 1}
        wrong = client.post("/ui/compare/pairs", json={**pair, "answers": [answers[0], answers[0]]})
        assert (wrong.status_code, "is there twice" in wrong.json()["error"]["message"]) == (400, True)
    with served.client("sami") as client:
        assert client.post("/ui/compare/pairs", json=pair).status_code == 403
    assert registry.ratings.next(made.json()["campaign"], "eva") is None
    assert registry.ratings.next(made.json()["campaign"], "amal") is not None
    registry.ratings.close("triage-1-and-triage-2", actor="test")
    with served.client("eva") as client:
        assert client.post("/ui/compare/pairs", json=pair).json()["campaign"] == "triage-1-and-triage-2-2"


@pytest.fixture
def echo(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine answers what it was asked."""
    monkeypatch.setattr(
        served.engine, "_words", lambda call, index: ([str(call.body["messages"][-1]["content"])], "stop")
    )


@pytest.fixture
def hold_tiny(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base alone does not answer; the versions with an adapter do."""
    whole = type(served.engine).stream

    async def held(self: Any, call: Any) -> Any:
        if call.adapter is None:
            self.active.add(call.request_id)
            try:
                await asyncio.Event().wait()
            finally:
                self.active.discard(call.request_id)
        async for item in whole(self, call):
            yield item

    monkeypatch.setattr(type(served.engine), "stream", held)
