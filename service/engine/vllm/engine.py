"""The real engine: vLLM 0.32 in this process; its core and its workers are in children of it.

vLLM promises none of these entry points, so its version is pinned and all that touches it is in this folder, and in
`masked_lora.py` and `cpu/`, the kernels that its workers run on a CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from lifecycle.errors import AdapterUnloadable, Corrupt, DabtError, EngineDead, InvalidInput, Problem, Unavailable
from lifecycle.models.preflight import preflight
from lifecycle.version import Digest
from service.concurrency import Bulkhead, one_at_a_time
from service.config import QUEUE_FACTOR, ServeConfig
from service.engine.interface import AdapterHandle, Call, EngineAnswer, EngineDetail, EngineFacts, Tally
from service.engine.sharing import ALL, Share
from service.engine.vllm import (
    chunks,
    facts,
    first_tokens,
    forkserver,
    gpu_memory,
    likelihood,
    metrics,
    reasoning,
    rendering,
    requests,
    settings,
    start,
)
from service.engine.vllm import submission as submissions
from service.engine.vllm import tally as tallies
from service.engine.vllm.errors import border, last_line, raise_reported
from service.engine.vllm.flags import set_environment, takes_adapters, target_modules
from service.engine.vllm.options import parsed_arguments
from service.engine.vllm.structured import StructuredOutput
from service.engine.vllm.submission import Submission
from service.engine.vllm.tools import check_chat, check_template_fields, check_tools, takes_chats, template_names

T = TypeVar("T")

log = structlog.get_logger(__name__)

_LOOK_EVERY = 0.5
"""Seconds between two looks whether the engine that was asked is still there."""
_STOP_SECONDS = 30.0
_AT_THE_START = "dabt_scored_rows", "dabt_few_rows", "dabt_attention", "dabt_device"
_CHECK_SECONDS = 60.0
"""To read the adapter's tensors."""


class VllmEngine:
    """Implements `service.engine.interface.Engine`."""

    def __init__(self, config: ServeConfig, share: Share = ALL) -> None:
        """`share` is what of this machine it gets beside others."""
        self._config, self._share = config, share
        self._llm: Any = None
        self._state: Any = None
        self._series: CollectorRegistry | None = None
        self._template: frozenset[str] | None = frozenset()
        """What the base's chat template reads."""
        self._takes_chats = True
        self._starts: Bulkhead | None = None
        self._stops = Bulkhead("engine's end", at_once=1, waiting=1, seconds=_STOP_SECONDS)
        self._checks = Bulkhead("check of adapters", at_once=4, waiting=1024, seconds=_CHECK_SECONDS)
        self._preflighted: set[Path] = set()
        self._environment = dict(os.environ)
        self._asked = EngineDetail()
        self._structured = StructuredOutput(config.compile_seconds)

    def prepare(self) -> None:
        """Begin, in another process, with what takes long and needs nothing yet. `start` does so if nobody has."""
        start.begin()
        set_environment(self._config)
        if forkserver.usable() and self._config.tensor_parallel == 1:
            forkserver.begin(self._share.engines)

    async def start(self) -> EngineFacts:
        self.prepare()
        try:
            # Imports and process start-up take many seconds: a thread keeps /health and /ready answering meanwhile,
            # and one that no event loop waits for at its end.
            # vLLM has a deadline of its own for its processes (VLLM_ENGINE_READY_TIMEOUT_S).
            self._starts = Bulkhead("engine's start", at_once=1, waiting=0, seconds=None)
            args = await self._starts.run(self._build)
            self._state = await self._handlers(args)
            self._template = template_names(self._llm.renderer, self._llm.model_config)
            self._takes_chats = takes_chats(self._llm.renderer, self._llm.model_config)
            running = await self._facts()
            # One step now: a model that this machine has no kernels for must not be called ready.
            await self.score(None, [0], [0])
            self._structured.start(self._llm)
            settings.keep()
        except DabtError:
            await self.stop()
            raise
        except (Exception, SystemExit) as error:  # some of vLLM ends the process where it could raise
            await self.stop()
            raise EngineDead(f"vLLM did not start: {error}") from error
        finally:
            start.settle()
        return running

    @property
    def is_being_built(self) -> bool:
        """A thread is at it, which cannot be told to stop; its processes end with this one."""
        return self._starts is not None and self._starts.calls() > 0

    async def stop(self) -> None:
        llm, self._llm, self._state, self._series = self._llm, None, None, None
        await self._structured.stop()
        if llm is not None:
            from vllm.v1.engine.exceptions import EngineDeadError

            if llm.output_handler is not None:
                llm.output_handler.cancel()  # it would report the end of the engine as a failure
            # Nobody else tells the requests under way: a core that was killed or hangs says nothing, and that handler
            # may not have come to it.
            llm.output_processor.propagate_error(EngineDeadError())
            try:
                await self._stops.run(llm.shutdown, timeout=10)
            except Unavailable as error:
                log.error("the engine did not end in time", error=str(error))
            del llm
            start.forget()

    async def check(self) -> None:
        if self._state is None or self._is_dead():  # without a state it is being started
            raise EngineDead("the engine has stopped, or is being started")

    async def ping(self) -> None:
        with border(self._is_dead, Submission()):
            # Goes through the core's loop and each worker's.
            await self._answered(self._llm.collective_rpc("dabt_alive"))

    async def load(self, adapter: AdapterHandle) -> None:
        await self.check()
        if adapter.path not in self._preflighted:
            # vLLM would serve some of what this refuses, wrongly, and would look for a missing folder on the hub.
            await self._checks.run(self._preflight, adapter)
            self._preflighted.add(adapter.path)
        if not adapter.path.is_dir():
            raise AdapterUnloadable(f"the files of {adapter.name} are gone from {adapter.path}")
        request = requests.lora_request(adapter)
        try:
            loaded = await self._answered(self._llm.add_lora(request))
        except EngineDead:
            raise
        except Exception as error:
            if self._is_dead():
                raise EngineDead("the engine stopped while it loaded an adapter") from error
            raise AdapterUnloadable(f"vLLM could not load {adapter.name}: {last_line(error)}") from error
        if not loaded:
            raise AdapterUnloadable(f"vLLM did not take {adapter.name}")
        await self.check()  # it may have been stopped while this waited for its turn
        self._state.openai_serving_models.lora_requests[adapter.name] = request

    async def unload(self, adapter: AdapterHandle) -> None:
        await self.check()
        loaded = self._state.openai_serving_models.lora_requests
        if adapter.name in loaded and loaded[adapter.name].lora_int_id == adapter.id:
            del loaded[adapter.name]
        with border(self._is_dead, Submission()):
            await self._answered(self._llm.remove_lora(adapter.id))

    async def generate(self, call: Call) -> EngineAnswer:
        body = {**call.body, "stream": False}
        body.pop("stream_options", None)
        submission = submissions.begin(call)
        try:
            with border(self._is_dead, submission):
                result = await self._submit(submission, call, body)
                answer = result.model_dump()
        except BaseException:
            await self._abort(call)
            raise
        return EngineAnswer(answer, tallies.of(answer.get("usage"), answer.pop("metrics", None)))

    async def stream(self, call: Call) -> AsyncGenerator[str | Tally, None]:
        asked = call.body.get("stream_options")
        # Usage is always asked for, because the tally is read from it, and passed on only to those who want it.
        options = {**(asked or {}), "include_usage": True} if asked is None or isinstance(asked, dict) else asked
        wanted = isinstance(asked, dict) and bool(asked.get("include_usage"))
        done = False
        submission = submissions.begin(call)
        try:
            with border(self._is_dead, submission):
                events = await self._submit(submission, call, {**call.body, "stream": True, "stream_options": options})
                async with aclosing(events):
                    async for event in events:
                        text = event[6:-2]  # between "data: " and the blank line
                        if text.startswith('{"error"'):
                            raise_reported(json.loads(text)["error"], submission, dead=self._is_dead())
                        elif '"choices":[]' in text:  # the usage chunk; inside a string the quotes would be escaped
                            chunk = json.loads(text)
                            tally = tallies.of(chunk.get("usage"), chunk.pop("metrics", None))
                            if wanted:
                                yield json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))
                            yield tally
                        elif text == "[DONE]":
                            done = True
                        else:
                            yield text
        finally:
            if not done:
                await self._abort(call)

    async def likelihoods(self, call: Call) -> EngineAnswer:
        await self.check()
        if "messages" in call.body:
            check_chat(self._takes_chats)
            check_template_fields(call.body, self._template)
        lora = None if call.adapter is None else requests.lora_request(call.adapter)
        try:
            with border(self._is_dead, submissions.begin(call)):
                return await likelihood.answer(self._llm, self._state, call, lora)
        except BaseException:
            await self._abort(call)
            raise

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        await self.check()
        lora = None if adapter is None else requests.lora_request(adapter)
        text = likelihood.Text([*prompt_ids, *completion_ids], len(prompt_ids))
        with border(self._is_dead, submissions.begin()):
            scored = await likelihood.scored(self._llm, text, f"score-{uuid.uuid4().hex}", lora)
        return [token.logprob for token in scored]

    async def tokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        return await self._plain(requests.tokenize_request, body, "create_tokenize")

    async def detokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        await self.check()
        tokens, vocabulary = body.get("tokens"), self._llm.model_config.get_vocab_size()
        if isinstance(tokens, list) and tokens and max(tokens) >= vocabulary:
            # vLLM would leave it out in silence.
            at = next(at for at, token in enumerate(tokens) if token >= vocabulary)
            fault = f"{tokens[at]} is no token: the vocabulary has {vocabulary}"
            raise InvalidInput("The request is not valid:", [Problem(f"tokens.{at}", fault)])
        return await self._plain(requests.detokenize_request, body, "create_detokenize")

    async def metrics(self) -> bytes:
        return b"" if self._series is None else await metrics.page(self._series) + self._structured.page()

    def structured_output(self) -> str:
        return self._structured.state

    async def _answered(self, call: Coroutine[Any, Any, T]) -> T:
        """The answer of an administrative call. vLLM leaves it open for ever when its core dies meanwhile."""
        llm = self._llm
        asked = asyncio.ensure_future(call)
        try:
            while not asked.done():
                if self._llm is not llm or llm.errored:
                    raise EngineDead("the engine stopped before it answered")
                await asyncio.wait({asked}, timeout=_LOOK_EVERY)
            return asked.result()
        finally:
            asked.cancel()

    def _is_dead(self) -> bool:
        return self._llm is None or self._llm.errored

    def _preflight(self, adapter: AdapterHandle) -> None:
        config = self._config
        if not takes_adapters(config.base):
            raise AdapterUnloadable(f"{adapter.name} cannot be served: vLLM puts no adapter over {config.base.name}")
        try:
            preflight(adapter.path, config.base, max_rank=config.max_lora_rank, served_modules=target_modules(config))
        except (InvalidInput, Corrupt) as error:
            raise AdapterUnloadable(f"{adapter.name} cannot be served here: {error}") from error

    @one_at_a_time
    def _build(self) -> Any:
        """Make the engine, and return the parsed arguments that its handlers want too."""
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        settings.read_again()
        args, operators = parsed_arguments(self._config, self._share)
        context = UsageContext.OPENAI_API_SERVER
        engine_args = AsyncEngineArgs.from_cli_args(args)
        self._asked = facts.asked(engine_args, self._environment, operators)
        config = engine_args.create_engine_config(usage_context=context)
        scheduler = config.scheduler_config
        scheduler.max_num_queued_reqs = self._config.max_queue or QUEUE_FACTOR * scheduler.max_num_seqs
        gpu_memory.check_free(config)
        self._llm = AsyncLLM.from_vllm_config(config, usage_context=context)
        self._series = metrics.own_series(self._llm)
        submissions.follow(self._llm, self._structured.check)
        first_tokens.send_first(self._llm)
        rendering.render_short_at_once(self._llm.renderer)
        return args

    async def _handlers(self, args: Any) -> Any:
        """vLLM's request handlers, on a state of our own instead of its app's."""
        from starlette.datastructures import State
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state

        reasoning.drop_opening_marks()
        chunks.write_without_models()
        state = State()
        await init_app_state(self._llm, state, args, await self._llm.get_supported_tasks())
        # The handlers ask this for the name to put into answers, in the task of the request.
        state.openai_serving_models.model_name = submissions.public_name
        for handler in (state.openai_serving_chat, state.openai_serving_completion):
            submissions.raise_what_streams_report(handler)
        return state

    async def _facts(self) -> EngineFacts:
        """What runs in the workers. Raises `InvalidConfig` when a CPU would compute LoRA with the stock kernel."""
        kernels: set[str] = set()
        if takes_adapters(self._config.base):
            kernels = set(await self._answered(self._llm.collective_rpc("dabt_lora_kernel")))
            facts.check_kernels(kernels)
            await self._answered(self._llm.collective_rpc("dabt_keep_adapters"))
        _, few_rows, attention, devices = [
            await self._answered(self._llm.collective_rpc(asked)) for asked in _AT_THE_START
        ]
        config = self._llm.model_config
        return EngineFacts(
            engine="vllm",
            version=facts.engine_version(),
            dtype=str(config.dtype).removeprefix("torch."),
            max_model_len=config.max_model_len,
            lora_kernel=", ".join(sorted(kernels)),
            max_queue=self._llm.vllm_config.scheduler_config.max_num_queued_reqs,
            detail=facts.as_running(self._asked, self._llm.vllm_config, (*kernels, *few_rows, *attention), devices),
        )

    async def _submit(self, submission: Submission, call: Call, body: dict[str, Any]) -> Any:
        """vLLM's answer object, or its generator of SSE events."""
        await self.check()
        body["model"] = call.adapter.name if call.adapter else self._config.served_name
        body["request_id"] = call.request_id
        if call.kind == "chat" and not isinstance(body.get("messages"), list):
            # vLLM looks into them before it checks them.
            raise InvalidInput("The request is not valid:", [Problem("messages", "must be a list of messages")])
        submissions.check_size(body, self._llm.vllm_config.scheduler_config.max_num_queued_reqs)
        if call.kind == "chat":
            check_chat(self._takes_chats)
            check_tools(body, self._config.tool_parser, self._template)
            check_template_fields(body, self._template)
            result = await self._state.openai_serving_chat.create_chat_completion(
                requests.chat_request(body), submissions.traced(call)
            )
        else:
            result = await self._state.openai_serving_completion.create_completion(
                requests.completion_request(body), submissions.traced(call)
            )
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # vLLM makes an answer of it, "Client disconnected", as if it were an error
        return self._checked(result, submission)

    async def _plain(self, make: Callable[[dict[str, Any]], Any], body: dict[str, Any], handler: str) -> dict[str, Any]:
        await self.check()
        submission = submissions.begin(body=body)
        with border(self._is_dead, submission):
            request = make({**body, "model": self._config.served_name})
            result = self._checked(await getattr(self._state.serving_tokenization, handler)(request, None), submission)
        answer: dict[str, Any] = result.model_dump(exclude_none=True)
        return answer

    async def _abort(self, call: Call) -> None:
        """Make sure that the engine works on the call no more; nothing when it has ended.

        vLLM's own clean-up comes when its generators are collected, which may be after the lease on the adapter is
        returned. This abort is sent before any unload that may follow, and the engine takes them in order.
        """
        if self._is_dead():
            return
        await self._llm.abort(submissions.request_names(call))

    def _checked(self, result: Any, submission: Submission) -> Any:
        error = getattr(result, "error", None)
        if error is not None:
            raise_reported(error.model_dump(), submission, dead=self._is_dead())
        return result
