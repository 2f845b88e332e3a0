"""Structured output at vLLM's border: what is tried is what its core compiles, and a compiler that hangs is seen."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.errors import EngineDead, InvalidInput
from service.engine.grammar.trial import Constraint
from service.engine.interface import Call
from service.engine.vllm.structured import StructuredOutput, _take_as_it_is
from service.engine.vllm.submission import Submission

pytestmark = pytest.mark.timeout(300)


class Trials:
    """In place of `GrammarTrials`."""

    is_ready = True

    def __init__(self) -> None:
        self.asked: list[tuple[Constraint, str]] = []

    async def check(self, constraint: Constraint, caller: str = "") -> None:
        self.asked.append((constraint, caller))
        if "bad" in constraint.spec:
            raise InvalidInput("bad")

    async def stop(self) -> None:
        self.is_ready = False


class Engine:
    """What the watch asks: a token without a schema, then one with it."""

    def __init__(self) -> None:
        self.compiles = asyncio.Event()
        self.error: Exception | None = None
        self.asked = 0

    async def token(self, llm: Any, schema: str | None) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        if schema is not None:
            await self.compiles.wait()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[StructuredOutput, Engine]:
    engine, structured = Engine(), StructuredOutput(1.0)
    monkeypatch.setattr("service.engine.vllm.structured._EVERY", 0)
    monkeypatch.setattr("service.engine.vllm.structured._SILENCE", 0)
    monkeypatch.setattr("service.engine.vllm.structured._token", engine.token)
    monkeypatch.setattr(structured, "_trials", Trials())
    return structured, engine


async def test_a_compiler_that_hangs_is_said_to_be_stalled_and_to_be_back(
    watched: tuple[StructuredOutput, Engine], until: Any
) -> None:
    structured, engine = watched
    assert structured.state == "off"
    structured._watch = asyncio.create_task(structured._keep_watching(None))
    assert structured.state == "ok"
    await until(lambda: structured.state == "stalled")
    engine.compiles.set()
    await until(lambda: structured.state == "ok")
    await structured.stop()
    assert structured.state == "off"


async def test_an_engine_that_is_dead_or_full_says_nothing_of_its_compiler(
    watched: tuple[StructuredOutput, Engine], until: Any
) -> None:
    structured, engine = watched
    engine.error = EngineDead("dead")
    structured._watch = asyncio.create_task(structured._keep_watching(None))
    await until(lambda: engine.asked > 2)
    assert structured.state == "ok"
    await structured.stop()


def outputs(**given: Any) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    return SimpleNamespace(structured_outputs=StructuredOutputsParams(**given))


@pytest.mark.engine  # imports vLLM
@pytest.mark.parametrize(
    ("given", "kind", "spec"),
    [
        ({"json": {"type": "object"}}, "json", '{"type": "object"}'),
        ({"json": '{"type": "object"}'}, "json", '{"type": "object"}'),
        ({"regex": "a+"}, "regex", "a+"),
        ({"grammar": 'root ::= "a"'}, "grammar", 'root ::= "a"'),
        ({"grammar": 'start: "a"'}, "lark", 'start: "a"'),
        ({"choice": ["a", '"']}, "grammar", 'root ::= "a" | "\\""'),
        ({"structural_tag": "{}"}, "structural_tag", "{}"),
    ],
)
async def test_what_is_tried_is_what_the_core_compiles(
    watched: tuple[StructuredOutput, Engine], given: dict[str, Any], kind: str, spec: str
) -> None:
    from vllm.v1.structured_output.request import get_structured_output_key

    structured, _ = watched
    call = Call("chat", {"structured_outputs": given}, "triage", None, "r", caller="key-1")
    params = outputs(**given)
    await structured.check(Submission(call), params)
    place = f"structured_outputs.{next(iter(given))}"
    assert structured._trials.asked == [(Constraint(kind, spec, place), "key-1")]  # type: ignore[attr-defined]
    _take_as_it_is(params)
    assert get_structured_output_key(params.structured_outputs)[1] == spec


@pytest.mark.engine  # imports vLLM
async def test_what_holds_to_nothing_or_to_any_object_is_not_tried_and_a_refusal_is_passed_on(
    watched: tuple[StructuredOutput, Engine],
) -> None:
    structured, _ = watched
    await structured.check(Submission(), SimpleNamespace(structured_outputs=None))
    await structured.check(Submission(), outputs(json_object=True))
    assert structured._trials.asked == []  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput):
        await structured.check(Submission(), outputs(regex="bad"))
