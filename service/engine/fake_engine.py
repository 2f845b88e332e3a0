"""A deterministic engine without a model: for tests, and for trying the service where vLLM is not installed.

An answer depends on the messages, the seed and the adapter's name, and on nothing else. It can be told to fail.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import zlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lifecycle.errors import AdapterUnloadable, EngineDead, InvalidInput, Problem, PromptTooLong
from lifecycle.version import Digest
from service.engine.interface import AdapterHandle, Call, EngineAnswer, EngineDetail, EngineFacts, Tally
from service.openai.likelihoods import Likelihood, answer_body

_WORDS = ("ready", "نعم", "fever", "حمى", "clinic", "عيادة", "desk", "طبيب", "today", "غداً", "no", "doctor")
_MAX_WORDS = 4096
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "max_tokens": int,
    "max_completion_tokens": int,
    "n": int,
    "min_tokens": int,
    "temperature": (int, float),
    "top_p": (int, float),
    "seed": int,
    "messages": list,
}


@dataclass
class Faults:
    """Switches, all off."""

    load_errors: dict[str, str] = field(default_factory=dict)
    """Adapter path → message: loading from there fails."""
    break_stream_after: int | None = None
    """Chunks after which the engine dies in the middle of a stream."""
    hold: asyncio.Event | None = None
    """While set to an event that is not set, generation waits for it."""
    hold_load: asyncio.Event | None = None
    hold_ping: asyncio.Event | None = None
    """While not set, the engine runs and does not react."""
    ping_error: BaseException | None = None
    stop_error: Exception | None = None
    start_error: Exception | None = None
    hold_start: asyncio.Event | None = None
    structured_output: str = "ok"
    wrong_scores: bool = False
    """Score every adapter as if it had no effect."""


class FakeEngine:
    """Implements `service.engine.interface.Engine`."""

    def __init__(self, max_words: int = _MAX_WORDS, step_seconds: float = 0.0) -> None:
        """The n-th token of an answer is there n steps after its beginning."""
        self.max_words = max_words
        """Of a prompt; a word stands for a token."""
        self._step = step_seconds
        self.faults = Faults()
        self.loaded: dict[int, AdapterHandle] = {}
        self.loads: list[AdapterHandle] = []
        """Every load that was asked for, in order."""
        self.unloads: list[AdapterHandle] = []
        self.active: set[str] = set()
        """Ids of the requests being answered now."""
        self.starts = 0
        self._dead = asyncio.Event()
        self._dead.set()

    async def start(self) -> EngineFacts:
        self.starts += 1
        if self.faults.start_error is not None:
            raise self.faults.start_error
        if self.faults.hold_start is not None:
            await self.faults.hold_start.wait()
        self.loaded.clear()
        self._dead.clear()
        return EngineFacts(
            engine="fake",
            version="1",
            dtype="none",
            max_model_len=self.max_words,
            lora_kernel="fake",
            detail=EngineDetail(
                kernels=("fake",),
                device={"kind": "none", "count": 1},
                libraries={"python": platform.python_version()},
                arguments={"words": list(_WORDS)},
            ),
        )

    async def stop(self) -> None:
        self.die()
        if self.faults.stop_error is not None:
            raise self.faults.stop_error

    def die(self) -> None:
        """As if killed: what it was doing ends with an error."""
        self._dead.set()

    async def check(self) -> None:
        if self._dead.is_set():
            raise EngineDead("the engine has stopped")

    async def ping(self) -> None:
        if self.faults.ping_error is not None:
            raise self.faults.ping_error
        await self._while_held(self.faults.hold_ping)

    async def load(self, adapter: AdapterHandle) -> None:
        await self.check()
        self.loads.append(adapter)
        await self._while_held(self.faults.hold_load)
        if any(known.id == adapter.id for known in self.loads[:-1]):
            raise AssertionError(f"adapter id {adapter.id} was used before")
        message = self.faults.load_errors.get(str(adapter.path))
        if message is None and not adapter.path.is_dir():
            message = f"there is no folder {adapter.path}"
        if message is not None:
            raise AdapterUnloadable(f"the engine could not load {adapter.name}: {message}")
        self.loaded[adapter.id] = adapter

    async def unload(self, adapter: AdapterHandle) -> None:
        await self.check()
        self.unloads.append(adapter)
        self.loaded.pop(adapter.id, None)

    async def generate(self, call: Call) -> EngineAnswer:
        chunks = []
        tally = None
        call = replace(call, body={**call.body, "stream_options": {"include_usage": True}})
        async for item in self.stream(call):
            if isinstance(item, Tally):
                tally = item
            else:
                chunks.append(json.loads(item))
        assert tally is not None
        texts: dict[int, str] = {}
        reasons: dict[int, str] = {}
        for choice in (choice for chunk in chunks for choice in chunk["choices"]):
            texts[choice["index"]] = texts.get(choice["index"], "") + _said(choice)
            reasons[choice["index"]] = choice["finish_reason"] or reasons.get(choice["index"], "")
        choices: list[dict[str, Any]] = []
        for index, text in sorted(texts.items()):
            content = {"message": _message(call, text)} if call.kind == "chat" else {"text": text}
            choices.append({"index": index, "finish_reason": reasons[index], "logprobs": None, **content})
        return EngineAnswer({**_head(call, streamed=False), "choices": choices, "usage": chunks[-1]["usage"]}, tally)

    async def stream(self, call: Call) -> AsyncGenerator[str | Tally, None]:
        await self.check()
        _check_fields(call.body)
        if len(_prompt_text(call.body).split()) > self.max_words:
            place = "messages" if call.kind == "chat" else "prompt"
            raise PromptTooLong("The request is not valid:", [Problem(place, f"more than {self.max_words} words")])
        if call.adapter is not None and call.adapter.id not in self.loaded:
            raise EngineDead(f"adapter {call.adapter.name} was used without being loaded")
        self.active.add(call.request_id)
        try:
            choices = [self._words(call, index) for index in range(call.body.get("n") or 1)]
            sent = 0
            due = asyncio.get_running_loop().time()
            for index, (words, reason) in enumerate(choices):
                for at, word in enumerate(words):
                    due += self._step
                    await _until(due)
                    if self.faults.hold is not None:
                        await self._while_held(self.faults.hold)
                        due = asyncio.get_running_loop().time()
                    if self.faults.break_stream_after is not None and sent >= self.faults.break_stream_after:
                        self.die()
                    await self.check()
                    piece = word if at == 0 else f" {word}"
                    yield _chunk(call, index, piece, reason if at == len(words) - 1 else None)
                    sent += 1
            prompt = len(_prompt_text(call.body).split())
            completion = sum(len(words) for words, _ in choices)
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            if (call.body.get("stream_options") or {}).get("include_usage"):
                yield json.dumps({**_head(call, streamed=True), "choices": [], "usage": usage}, ensure_ascii=False)
            yield Tally(
                prompt_tokens=prompt, completion_tokens=completion, queue=0.0, first_token=0.001, per_token=0.001
            )
        finally:
            self.active.discard(call.request_id)

    async def likelihoods(self, call: Call) -> EngineAnswer:
        await self._while_held(self.faults.hold)
        prompt = _prompt_text(call.body)
        if len(prompt.split()) > self.max_words:
            problem = Problem("messages" if "messages" in call.body else "prompt", f"more than {self.max_words} words")
            raise PromptTooLong("The request is not valid:", [problem])
        if call.adapter is not None and call.adapter.id not in self.loaded:
            raise EngineDead(f"adapter {call.adapter.name} was used without being loaded")
        rows, name = [], call.adapter.name if call.adapter else ""
        for text in call.body["continuations"]:
            values = fake_logprobs(name, list(prompt.encode()), list(text.encode()))
            rows.append(Likelihood(logprob=sum(values), tokens=len(values), greedy=max(values) == min(values)))
        read = sum(len(f"{prompt} {text}".split()) for text in call.body["continuations"])
        return EngineAnswer(answer_body(call, rows, read), Tally(prompt_tokens=read, completion_tokens=0))

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        await self.check()
        name = "" if adapter is None or self.faults.wrong_scores else adapter.name
        return fake_logprobs(name, prompt_ids, completion_ids)

    async def tokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        await self.check()
        if "messages" not in body and not isinstance(body.get("prompt"), str):
            raise InvalidInput("The request is not valid:", [Problem("prompt", "must be a string")])
        tokens = list(_prompt_text(body).encode())
        return {"tokens": tokens, "count": len(tokens), "max_model_len": self.max_words}

    async def detokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        await self.check()
        try:
            return {"prompt": bytes(list(body["tokens"])).decode()}
        except (KeyError, TypeError, ValueError) as error:
            fault = Problem("tokens", "must be a list of numbers below 256, UTF-8 together")
            raise InvalidInput("The request is not valid:", [fault]) from error

    def structured_output(self) -> str:
        return self.faults.structured_output

    async def metrics(self) -> bytes:
        return (
            b"# HELP fake_engine_up Whether the fake engine is up.\n# TYPE fake_engine_up gauge\nfake_engine_up 1.0\n"
        )

    async def _while_held(self, gate: asyncio.Event | None) -> None:
        """Raises `EngineDead` when the engine dies before the gate opens."""
        if gate is not None and not gate.is_set():
            opened, died = (asyncio.create_task(event.wait()) for event in (gate, self._dead))
            try:
                await asyncio.wait({opened, died}, return_when=asyncio.FIRST_COMPLETED)
                if died.done():
                    raise EngineDead("the engine has stopped")  # though another may run by now
            finally:
                opened.cancel()
                died.cancel()
        await self.check()

    def _words(self, call: Call, index: int) -> tuple[list[str], str]:
        adapter = call.adapter.name if call.adapter else "base"
        seed = f"{adapter}|{_prompt_text(call.body)}|{call.body.get('seed', 0)}|{index}"
        digest = hashlib.sha256(seed.encode()).digest()
        words = [adapter, *(_WORDS[byte % len(_WORDS)] for byte in digest[:7])]
        words += [words[at % len(words)] for at in range(len(words), call.body.get("min_tokens") or 0)]
        limit = call.body.get("max_completion_tokens") or call.body.get("max_tokens") or len(words)
        return words[:limit], "length" if limit < len(words) else "stop"


async def _until(due: float) -> None:
    """By the loop's clock. Others get their turn in any case, as they do between two tokens of a real engine; and as
    there, one token that is taken late makes none of the next ones late.
    """
    await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


def fake_logprobs(adapter: str, prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> list[float]:
    """What `FakeEngine.score` gives for the adapter of this name ("" is the base): to record golden prompts with."""
    values = []
    for at, token in enumerate(completion_ids):
        digest = hashlib.sha256(f"{adapter}|{list(prompt_ids)}|{at}|{token}".encode()).digest()
        values.append(-1.0 - digest[0] / 64)
    return values


def _prompt_text(body: dict[str, Any]) -> str:
    if "messages" in body:
        return "\n".join(f"{message.get('role')}: {message.get('content')}" for message in body["messages"])
    return str(body.get("prompt", ""))


def _check_fields(body: dict[str, Any]) -> None:
    problems = [
        Problem(name, f"{body[name]!r} has the wrong type")
        for name, kind in _FIELDS.items()
        if body.get(name) is not None and not isinstance(body[name], kind)
    ]
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def _head(call: Call, *, streamed: bool) -> dict[str, Any]:
    kind = ("chat.completion.chunk" if streamed else "chat.completion") if call.kind == "chat" else "text_completion"
    return {"id": call.request_id, "object": kind, "created": 0, "model": call.model}


def _called(body: dict[str, Any]) -> str:
    """The function that the answer must call: the one chosen, or the first where some call is required."""
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    return str(body["tools"][0]["function"]["name"]) if choice == "required" else ""


def _said(choice: dict[str, Any]) -> str:
    delta = choice.get("delta")
    if delta is None:
        return str(choice["text"])
    return str(delta["tool_calls"][0]["function"]["arguments"] if "tool_calls" in delta else delta["content"])


def _message(call: Call, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if name := _called(call.body):
        function = {"name": name, "arguments": text}
        message |= {"content": "", "tool_calls": [{"id": f"call-{name}", "type": "function", "function": function}]}
    return message


def _delta(call: Call, piece: str, *, last: bool) -> dict[str, Any]:
    name = _called(call.body)
    if not name:
        return {"content": piece}
    arguments = piece + ('"}' if last else "")
    if piece.startswith(" "):
        return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}
    function = {"name": name, "arguments": f'{{"said": "{arguments}'}
    return {"tool_calls": [{"index": 0, "id": f"call-{name}", "type": "function", "function": function}]}


def _chunk(call: Call, index: int, piece: str, reason: str | None) -> str:
    content = {"delta": _delta(call, piece, last=bool(reason))} if call.kind == "chat" else {"text": piece}
    choice: dict[str, Any] = {"index": index, **content, "logprobs": None, "finish_reason": reason}
    if call.body.get("return_token_ids"):
        choice["token_ids"] = [zlib.crc32(piece.encode())]
    return json.dumps({**_head(call, streamed=True), "choices": [choice]}, ensure_ascii=False)
