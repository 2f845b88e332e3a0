"""Structured output of vLLM: what it is about to compile is tried out first, and whether its own compiler lives.

vLLM checks a constraint in the event loop, by converting it, and then compiles it in the engine's core. The first is
left out, because the trial does the same and more in a process that can be ended; the second gets what has passed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from typing import Any, Literal

import structlog

from service.engine.grammar.trial import Constraint, GrammarTrials
from service.engine.vllm.submission import Submission, begin
from service.openai.structured import place_of_constraint

State = Literal["off", "starting", "ok", "stalled"]

_EVERY = 15.0
"""Seconds between two looks whether the engine's core compiles."""
_SILENCE = 10.0
"""Seconds that it may take longer than an answer without a constraint."""

log = structlog.get_logger(__name__)


class StructuredOutput:
    """Belongs to one event loop; `start` and `stop` go with the engine."""

    def __init__(self, seconds: float) -> None:
        self._trials = GrammarTrials(seconds)
        self._begun: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stalled = False

    def start(self, llm: Any) -> None:
        """Returns at once: requests wait for the rest when they are held to something."""
        from vllm.v1.structured_output import backend_xgrammar

        backend_xgrammar.validate_xgrammar_grammar = _take_as_it_is
        self._stalled = False
        self._begun = asyncio.create_task(self._begin(llm.vllm_config))
        self._watch = asyncio.create_task(self._keep_watching(llm))

    async def _begin(self, config: Any) -> None:
        try:
            tokens = await asyncio.to_thread(_tokens, config)
        except Exception as error:  # a tokenizer that xgrammar does not know
            log.error("no answer can be held to a schema with this base", exc_info=error)
            return
        self._trials.start(tokens, whitespace=not config.structured_outputs_config.disable_any_whitespace)

    async def stop(self) -> None:
        for task in (self._begun, self._watch):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        self._begun = self._watch = None
        await self._trials.stop()

    @property
    def state(self) -> State:
        """Whether answers can be held to a constraint now. `stalled`: the engine answers, and its compiler does not."""
        if self._watch is None:
            return "off"
        if self._stalled:
            return "stalled"
        return "ok" if self._trials.is_ready else "starting"

    def page(self) -> bytes:
        return self._trials.page()

    async def check(self, submission: Submission, params: Any) -> None:
        """Raises what `GrammarTrials.check` raises, for sampling parameters whose answer would not keep to them."""
        outputs = getattr(params, "structured_outputs", None)
        if outputs is None:
            return
        call = submission.call
        place, caller = ("structured_outputs", "") if call is None else (place_of_constraint(call.body), call.caller)
        if (constraint := _constraint(outputs, place)) is not None:
            if self._begun is not None:
                await asyncio.wait({self._begun})
            await self._trials.check(constraint, caller)

    async def _keep_watching(self, llm: Any) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            with suppress(Exception):  # an engine that is dead or full says nothing of its compiler
                await _token(llm, None)
                began = time.monotonic()
                asked = asyncio.create_task(_token(llm, '{"type": "object"}'))
                try:
                    await asyncio.wait({asked}, timeout=_SILENCE)
                    if not asked.done():
                        self._stalled = True
                        log.error("the engine answers, and holds no answer to a schema", seconds=_SILENCE)
                    await asked
                finally:
                    asked.cancel()
                if self._stalled:
                    log.info("the engine holds answers to a schema again", seconds=round(time.monotonic() - began, 1))
                self._stalled = False


async def _token(llm: Any, schema: str | None) -> None:
    """Have the engine make one token, held to `schema`."""
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import StructuredOutputsParams

    begin()
    outputs = None if schema is None else StructuredOutputsParams(json=schema)
    params = SamplingParams(max_tokens=1, temperature=0.0, structured_outputs=outputs, detokenize=False)
    async for _ in llm.generate(tokens_input([0]), params, f"watch-{uuid.uuid4().hex}"):
        pass


def _tokens(config: Any) -> str:
    """What xgrammar in the engine's core knows of the tokenizer, as JSON."""
    from vllm.tokenizers import cached_tokenizer_from_config
    from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend

    model = config.model_config
    tokenizer = cached_tokenizer_from_config(model_config=model)
    backend = XgrammarBackend(config, tokenizer=tokenizer, vocab_size=model.get_vocab_size())
    text: str = backend.compiler.compile_regex("").tokenizer_info.serialize_json()
    return text


def _constraint(outputs: Any, place: str) -> Constraint | None:
    """`outputs` as vLLM's core will be given it. None for any JSON object, which its core compiles once."""
    from vllm.v1.structured_output.request import get_structured_output_key
    from vllm.v1.structured_output.utils import choice_as_grammar, grammar_is_likely_lark

    if outputs.choice:
        return Constraint("grammar", choice_as_grammar(outputs.choice), place)
    kind, spec = get_structured_output_key(outputs)
    if kind.name == "JSON_OBJECT":
        return None
    name = kind.name.lower()
    return Constraint("lark" if name == "grammar" and grammar_is_likely_lark(spec) else name, spec, place)


def _take_as_it_is(params: Any) -> None:
    """In place of vLLM's check: what is asked for in choices becomes the grammar that its core compiles."""
    from vllm.v1.structured_output.utils import choice_as_grammar

    outputs = params.structured_outputs
    if outputs is not None and outputs.choice:
        outputs.grammar, outputs.choice = choice_as_grammar(outputs.choice), None
