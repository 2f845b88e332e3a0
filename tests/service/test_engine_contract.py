"""What every engine promises, on the fake and on vLLM: the same tests."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lifecycle.errors import AdapterUnloadable, InvalidInput, PromptTooLong
from service.engine.fake_engine import FakeEngine
from service.engine.interface import AdapterHandle, Call, Engine, EngineFacts, Kind, Tally

T = TypeVar("T")

pytestmark = pytest.mark.timeout(900)

_ids = itertools.count(1_000_000)  # far from those of the service that shares the real engine


@dataclass
class Rig:
    engine: Engine
    folders: list[Path]
    """Of two adapters that can be loaded."""
    loop: asyncio.AbstractEventLoop
    facts: Callable[[], EngineFacts]
    """What it said when it had started."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if self.loop.is_running():
            return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=120)
        return self.loop.run_until_complete(work)

    def handle(self, at: int, name: str = "contract") -> AdapterHandle:
        return AdapterHandle(f"{name}-{at}", next(_ids), self.folders[at])

    def generate(self, kind: Kind, body: dict[str, Any], adapter: AdapterHandle | None = None) -> Any:
        return self.run(self.engine.generate(Call(kind, body, "public:7", adapter, f"call-{next(_ids)}")))

    def stream(self, kind: Kind, body: dict[str, Any], adapter: AdapterHandle | None = None) -> list[Any]:
        async def collect() -> list[Any]:
            call = Call(kind, body, "public:7", adapter, f"call-{next(_ids)}")
            return [item if isinstance(item, Tally) else json.loads(item) async for item in self.engine.stream(call)]

        return self.run(collect())


@pytest.fixture(params=["fake", pytest.param("vllm", marks=pytest.mark.engine)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "vllm":
        real = request.getfixturevalue("real")
        # The service must not evict or restart beside these tests' own loads: its adapters are four, so is the room.
        real.run(unload_all(real))
        yield Rig(
            real.engine,
            [real.reference.adapters[name] for name in ("red", "green")],
            real.loop,
            lambda: real.app.state.parts.supervisor.facts,
        )
        return
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    loop = asyncio.new_event_loop()
    engine = FakeEngine()
    facts = loop.run_until_complete(engine.start())
    yield Rig(engine, folders, loop, lambda: facts)
    loop.close()


async def unload_all(real: Any) -> None:
    residency = real.app.state.parts.residency
    for one in residency.residents():
        path = real.house.store.get(one.digest)
        await real.engine.unload(AdapterHandle(one.name, one.id, path))
    residency.forget_all()


BODIES: list[tuple[Kind, dict[str, Any]]] = [
    ("chat", {"messages": [{"role": "user", "content": "The clinic عيادة"}], "max_tokens": 6, "temperature": 0}),
    ("completion", {"prompt": "The clinic", "max_tokens": 6, "temperature": 0}),
]


def texts(kind: Kind, body: dict[str, Any]) -> list[str]:
    return [choice["message"]["content"] if kind == "chat" else choice["text"] for choice in body["choices"]]


def streamed_texts(kind: Kind, chunks: list[Any], count: int = 1) -> list[str]:
    found = [""] * count
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        found[choice["index"]] += (choice["delta"].get("content") or "") if kind == "chat" else choice["text"]
    return found


def test_the_engine_says_what_decides_its_answers_and_nothing_of_this_machines_affairs(rig: Rig) -> None:
    facts = rig.facts()
    assert all((facts.engine, facts.version, facts.dtype, facts.max_model_len, facts.detail.kernels))
    assert all((facts.detail.device, facts.detail.libraries, facts.detail.arguments))
    assert facts.detail.device["count"] == 1
    text = json.dumps(facts.model_dump(mode="json"))
    assert EngineFacts.model_validate_json(text) == facts
    for private in (*map(str, rig.folders), str(Path.home()), sys.prefix, "0x"):
        assert private not in text
    assert all(part["threads"] > 0 for part in [facts.detail.device] if part["kind"] == "cpu")


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_an_answer_has_the_openai_shape_and_its_tally(rig: Rig, kind: Kind, body: dict[str, Any]) -> None:
    answer = rig.generate(kind, body)
    assert answer.body["object"] == ("chat.completion" if kind == "chat" else "text_completion")
    assert answer.body["model"] == "public:7"
    (choice,) = answer.body["choices"]
    assert choice["finish_reason"] in ("stop", "length")
    usage = answer.body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 6
    assert (answer.tally.prompt_tokens, answer.tally.completion_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert answer.tally.first_token > 0
    assert "metrics" not in answer.body


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_a_stream_says_the_same_and_ends_with_one_tally(rig: Rig, kind: Kind, body: dict[str, Any]) -> None:
    answer = rig.generate(kind, body)
    *chunks, tally = rig.stream(kind, body)
    assert streamed_texts(kind, chunks) == texts(kind, answer.body)
    assert {chunk["model"] for chunk in chunks} == {"public:7"}
    assert all(chunk["choices"] for chunk in chunks), "usage was not asked for"
    assert (tally.prompt_tokens, tally.completion_tokens) == (
        answer.tally.prompt_tokens,
        answer.tally.completion_tokens,
    )
    *_, last, _ = rig.stream(kind, {**body, "stream_options": {"include_usage": True}})
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == tally.completion_tokens


def test_several_choices_are_numbered(rig: Rig) -> None:
    kind, body = BODIES[0]
    answer = rig.generate(kind, {**body, "n": 3, "temperature": 1, "seed": 5})
    assert [choice["index"] for choice in answer.body["choices"]] == [0, 1, 2]
    *chunks, _ = rig.stream(kind, {**body, "n": 3, "temperature": 1, "seed": 5})
    assert streamed_texts(kind, chunks, 3) == texts(kind, answer.body)


def test_a_loaded_adapter_answers_differently_and_leaves_the_base_alone(rig: Rig) -> None:
    kind, body = BODIES[0]
    before = texts(kind, rig.generate(kind, body).body)
    one, two = rig.handle(0), rig.handle(1)
    rig.run(rig.engine.load(one))
    rig.run(rig.engine.load(two))
    answers = [texts(kind, rig.generate(kind, body, adapter).body) for adapter in (one, two, None)]
    assert answers[0] != answers[1]
    assert before == answers[2] != answers[0]
    rig.run(rig.engine.unload(one))
    assert texts(kind, rig.generate(kind, body, two).body) == answers[1]
    rig.run(rig.engine.unload(two))
    rig.run(rig.engine.unload(two))  # nothing to do is no error


def test_what_cannot_be_loaded_is_an_error_of_that_load_alone(rig: Rig, tmp_path: Path) -> None:
    kind, body = BODIES[0]
    nowhere = AdapterHandle("contract-nowhere", next(_ids), tmp_path / "nowhere")
    with pytest.raises(AdapterUnloadable, match="contract-nowhere"):
        rig.run(rig.engine.load(nowhere))
    rig.run(rig.engine.unload(nowhere))
    rig.run(rig.engine.check())
    again = rig.handle(0)
    rig.run(rig.engine.load(again))
    assert rig.generate(kind, body, again).body["choices"]
    rig.run(rig.engine.unload(again))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": [1]}, "n"),
        ({"messages": "hello"}, "messages"),
    ],
)
def test_a_field_of_the_wrong_type_is_invalid_input_with_its_place(
    rig: Rig, fields: dict[str, Any], place: str
) -> None:
    kind, body = BODIES[0]
    for attempt in (rig.generate, rig.stream):
        with pytest.raises(InvalidInput) as caught:
            attempt(kind, {**body, **fields})
        assert place in [problem.place for problem in caught.value.problems]
    rig.run(rig.engine.check())


@pytest.mark.parametrize(("kind", "field"), [("chat", "messages"), ("completion", "prompt")])
def test_a_prompt_over_the_limit_is_told_so_at_its_place(rig: Rig, kind: Kind, field: str) -> None:
    long = "x y " * 3000
    body = {"messages": [{"role": "user", "content": long}]} if kind == "chat" else {"prompt": long}
    for attempt in (rig.generate, rig.stream):
        with pytest.raises(PromptTooLong) as caught:
            attempt(kind, body)
        assert [problem.place for problem in caught.value.problems] == [field]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "book"}}])
def test_a_required_call_is_made_whole_and_streamed(rig: Rig, choice: Any) -> None:
    kind, body = BODIES[0]
    properties = {"x": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "required": ["x"], "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": "book", "parameters": schema, "strict": True}}]
    asked = {**body, "max_tokens": 100, "tools": tools, "tool_choice": choice, "parallel_tool_calls": False}
    (call,) = rig.generate(kind, asked).body["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "book")
    *chunks, _ = rig.stream(kind, asked)
    deltas = [one for chunk in chunks for choice in chunk["choices"] for one in choice["delta"].get("tool_calls") or ()]
    assert deltas[0]["id"]
    assert {one["index"] for one in deltas} == {0}
    assert "".join(one["function"].get("name") or "" for one in deltas) == "book"
    said = "".join(one["function"].get("arguments") or "" for one in deltas)
    assert json.loads(said) == json.loads(call["function"]["arguments"])


def test_scores_are_log_probabilities_one_for_each_completion_token(rig: Rig) -> None:
    adapter = rig.handle(0)
    rig.run(rig.engine.load(adapter))
    base = rig.run(rig.engine.score(None, [5, 6, 7], [8, 9]))
    own = rig.run(rig.engine.score(adapter, [5, 6, 7], [8, 9]))
    assert len(base) == len(own) == 2
    assert all(value <= 0 for value in base + own)
    assert base != own
    assert rig.run(rig.engine.score(None, [5, 6, 7], [8, 9])) == pytest.approx(base, abs=1e-5)
    rig.run(rig.engine.unload(adapter))


@pytest.mark.parametrize("body", [BODIES[0][1], {"prompt": "The clinic"}], ids=["messages", "prompt"])
def test_likelihoods_are_of_each_continuation_and_of_nothing_else(rig: Rig, body: dict[str, Any]) -> None:
    asked = {key: value for key, value in body.items() if key in ("messages", "prompt")}
    adapter = rig.handle(0)
    rig.run(rig.engine.load(adapter))

    def score(texts: list[str], handle: AdapterHandle | None = None) -> Any:
        call = Call("likelihood", {**asked, "continuations": texts}, "public:7", handle, f"call-{next(_ids)}")
        return rig.run(rig.engine.likelihoods(call))

    answer = score([" opens", " غداً", " opens"])
    rows = answer.body["data"]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert all(row["logprob"] < 0 < row["tokens"] and isinstance(row["greedy"], bool) for row in rows)
    assert rows[0]["logprob"] == pytest.approx(rows[2]["logprob"], abs=1e-5) != rows[1]["logprob"]
    assert score([" opens"], adapter).body["data"][0]["logprob"] != rows[0]["logprob"]
    assert answer.body["model"] == "public:7"
    assert answer.tally.prompt_tokens == answer.body["usage"]["prompt_tokens"] > 0 == answer.tally.completion_tokens
    rig.run(rig.engine.unload(adapter))


def test_tokens_can_be_counted_and_turned_back_into_text(rig: Rig) -> None:
    text = "The clinic عيادة"
    made = rig.run(rig.engine.tokenize({"prompt": text}))
    assert made["count"] == len(made["tokens"]) > 0
    assert made["max_model_len"] > 0
    assert rig.run(rig.engine.detokenize({"tokens": made["tokens"]}))["prompt"] == text
    chat = rig.run(rig.engine.tokenize({"messages": [{"role": "user", "content": text}]}))
    assert chat["count"] > made["count"]
    for work in (rig.engine.tokenize({"prompt": 5}), rig.engine.detokenize({"tokens": "x"})):
        with pytest.raises(InvalidInput):
            rig.run(work)


def test_closing_a_stream_early_frees_the_request_and_its_adapter(rig: Rig) -> None:
    adapter = rig.handle(0)
    rig.run(rig.engine.load(adapter))
    body = {"prompt": "The clinic", "max_tokens": 400, "temperature": 0, "ignore_eos": True}

    async def leave() -> None:
        call = Call("completion", body, "public:7", adapter, f"call-{next(_ids)}")
        stream = rig.engine.stream(call)
        await anext(stream)
        await stream.aclose()
        # Nothing uses the adapter now, so taking it away at once is safe.
        await rig.engine.unload(adapter)

    rig.run(leave())
    rig.run(rig.engine.check())
    assert rig.generate(*BODIES[0]).body["choices"]


def test_metrics_are_in_prometheus_text_format(rig: Rig) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    assert list(text_string_to_metric_families(rig.run(rig.engine.metrics()).decode()))
