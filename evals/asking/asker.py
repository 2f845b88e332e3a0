"""Asks one version through the endpoint, with what it took kept per request, and nothing finished asked twice.

A solver calls it (`solvers/solver.py`). It knows the OpenAI API and nothing of tasks. Read `measure.py` next.
"""

from __future__ import annotations

import asyncio
import copy
import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evals.asking.answers import Answer, AnswerStore, Conditions
from evals.asking.likelihoods import LIKELIHOODS, MOST_AT_ONCE, Question, body_of, likelihood, parts_of, probe_of
from evals.asking.together import together
from lifecycle.errors import NotAllowed, Unavailable
from lifecycle.text.strict_json import MOST_LEVELS, TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Callable

    from evals.asking.endpoint import Reply, Session
    from lifecycle.version import Version

_TEXTS = 2_048
"""Texts whose tokens are remembered: those of the items in flight, and not of all."""
_TOO_MANY = 8
"""So many failures in a row, and nothing else, are the service's fault and no finding about the version."""


class Asker:
    """Asks `version`, under `conditions`; what was finished before is read from `store`.

    Prompt, shots and knowledge are the version's, and the service applies them. A classifier is sent a text, and
    answers with its label. How log-likelihoods are asked for is in `likelihoods.py`.

    `item` names what a request is about: two requests of the same body about two items are two. Askers that share
    `flights` have no more requests in flight together than these let; without it as many as `conditions` say.
    """

    def __init__(
        self,
        session: Session,
        version: Version,
        conditions: Conditions,
        store: AnswerStore,
        response_format: dict[str, Any] | None = None,
        flights: asyncio.Semaphore | None = None,
    ) -> None:
        self.session, self.version = session, version
        self._conditions, self._store = conditions, store
        self._held = {} if response_format is None else {"response_format": response_format}
        self._warm: set[str] = set()
        self._warming = asyncio.Lock()
        self._flights = flights or asyncio.Semaphore(conditions.concurrency)
        self._running: dict[Hashable, asyncio.Lock] = {}
        self._tokens: dict[str, list[int]] = {}
        self._fresh: list[Answer] = []

    def repeat(self, number: int) -> Asker:
        """The same for each item's answer `number`, counted from 0: sampled with a seed of its own, kept apart."""
        return self._under(repeat=number)

    def again(self) -> Asker:
        """The same for the second pass, which finds the noise floor."""
        return self._under(take=1)

    def _under(self, **conditions: int) -> Asker:
        other = copy.copy(self)
        other._conditions = self._conditions.model_copy(update=conditions)
        return other

    @property
    def classifies(self) -> bool:
        """Whether the version is a classifier, which reads one text and takes no chat."""
        return self.version.spec.classifier is not None

    async def chat(
        self,
        item: str,
        messages: Sequence[dict[str, Any]],
        *,
        decoding: Mapping[str, Any] | None = None,
        tools: Sequence[dict[str, Any]] = (),
        parallel: bool | None = None,
    ) -> Answer:
        """The version's reply to `messages`. `decoding` is what the task sets; the rest is the version's own."""
        body: dict[str, Any] = {"messages": list(messages), **(decoding or {}), **self._held}
        if tools:
            body["tools"] = list(tools)
        if tools and parallel is not None:
            body["parallel_tool_calls"] = parallel
        sampled = body.get("temperature", self.version.spec.decoding.temperature) > 0
        seed = self._conditions.seed_of(item) if sampled else self._conditions.seed
        key = self._conditions.key("chat/completions", item, {**body, "seed": seed} if sampled else body)
        return await self._once("chat/completions", key, item, {**body, "seed": seed}, chat_reply)

    async def classify(self, item: str, text: str) -> Answer:
        """The label of a text, from a classifier."""
        body = {"input": text}
        return await self._once("classify", self._conditions.key("classify", item, body), item, body, _label)

    async def likelihoods(
        self, items: Sequence[str], question: Question, continuations: Sequence[str], *, from_last_word: bool = False
    ) -> list[Answer]:
        """How likely each continuation is behind `question`; of `items` each names the request about one of them.

        `from_last_word` counts the white space that ends a chat's prompt to each of them. A text is continued as it
        stands, messages are answered. Raises `NotAllowed` for a classifier, and for what the version or the endpoint
        cannot be asked.
        """
        if self.classifies:
            raise NotAllowed(
                f"{self.version.ref} is a classifier, which gives no text's likelihood; choose a task that generates"
            )
        if self.session.deployment is None:
            if not isinstance(question, str):
                raise NotAllowed(
                    f"{self.session.endpoint.url} is no service of Dabt, and no other gives likelihoods behind "
                    "messages; choose a task that generates"
                )
            pairs = zip(items, continuations, strict=True)
            return await together([self._echoed(item, question, text) for item, text in pairs])
        starts = range(0, len(continuations), MOST_AT_ONCE)
        parts = [slice(start, start + MOST_AT_ONCE) for start in starts]
        ask = partial(body_of, question, from_last_word=from_last_word)
        answers = await together([self._scored(items[part], question, continuations[part], ask) for part in parts])
        return [answer for part in answers for answer in part]

    async def _scored(
        self,
        items: Sequence[str],
        question: Question,
        continuations: Sequence[str],
        ask: Callable[[Sequence[str]], dict[str, Any]],
    ) -> list[Answer]:
        """In one request, without those that are known. `ask` makes the request about some continuations."""
        singles = [ask([text]) for text in continuations]
        asked = [(self._conditions.key(LIKELIHOODS, item, one), item) for item, one in zip(items, singles, strict=True)]
        keys = tuple(key for key, _ in asked)
        async with self._running.setdefault(keys, asyncio.Lock()):
            known = {key: answer for key in keys if (answer := self._store.get(key)) is not None}
            if missing := [at for at, key in enumerate(keys) if key not in known]:
                body = ask([continuations[at] for at in missing])
                reply = await self._sent(LIKELIHOODS, body, probe_of(question))
                shares = zip(missing, parts_of(reply, len(missing)), strict=True)
                fresh = [self._answer(*asked[at], share, likelihood) for at, share in shares]
                self._add(*fresh)
                known |= {answer.key: answer for answer in fresh}
        self._running.pop(keys, None)
        return [known[key] for key in keys]

    async def _echoed(self, item: str, context: str, continuation: str) -> Answer:
        """How likely `continuation` is behind `context`, by an endpoint that honours `echo`."""
        key = self._conditions.key("completions", item, {"context": context, "continuation": continuation})
        if (known := self._store.get(key)) is not None:
            return known
        whole, before = await self._span(context, continuation)
        body = {"prompt": whole, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
        return await self._once("completions", key, item, body, partial(_echo, len(whole), before))

    async def check_alive(self) -> None:
        """Raises `Unavailable` when of what was asked since the last call nothing was answered."""
        answers = list(self._fresh)
        self._fresh.clear()
        if not answers or any(answer.final for answer in answers):
            return
        await self.session.checked()
        if len(answers) >= _TOO_MANY:
            kept = "What is finished is kept: see" if self.session.deployment else "See"
            raise Unavailable(
                f"{self.version.ref}: none of {len(answers)} requests was answered ({answers[0].error}). "
                f"{kept} to the service, then run the same command to go on"
            )

    async def _once(
        self, path: str, key: str, item: str, body: dict[str, Any], read: Callable[[Reply], dict[str, Any]]
    ) -> Answer:
        """The answer under `key`: asked for unless it is known, and once where two want it at the same time."""
        if (known := self._store.get(key)) is not None:
            return known
        if (asking := self._running.get(key)) is not None:
            async with asking:
                return self._store.get(key) or await self._ask(path, key, item, body, read)
        async with self._running.setdefault(key, asyncio.Lock()):
            answer = await self._ask(path, key, item, body, read)
        self._running.pop(key, None)
        return answer

    async def _ask(
        self, path: str, key: str, item: str, body: dict[str, Any], read: Callable[[Reply], dict[str, Any]]
    ) -> Answer:
        reply = await self._sent(path, body)
        answer = self._answer(key, item, reply, read)
        self._add(answer)
        return answer

    async def _sent(self, path: str, body: dict[str, Any], probe: dict[str, Any] | None = None) -> Reply:
        """The reply of the version that is meant, on the deployment that is meant."""
        await self._warmed_up(path, probe)
        async with self._flights:
            reply = await self.session.post(path, {"model": self.version.ref, **body})
        self.session.must_be_the_same(reply)
        if reply.served and reply.served != self.version.digest:
            raise NotAllowed(
                f"{self.session.endpoint.url} serves another {self.version.ref} ({reply.served[:19]}…) than the "
                f"registry's ({self.version.digest[:19]}…): evaluate against the service of this registry"
            )
        return reply

    def _add(self, *answers: Answer) -> None:
        self._store.add(*answers)
        self._fresh += answers

    async def _warmed_up(self, path: str, probe: dict[str, Any] | None) -> None:
        if path in self._warm:
            return
        async with self._warming:
            if path in self._warm:
                return
            if path == "completions":
                asked = {"prompt": "One two three", "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
                reply = await self.session.warmed_up(self.version.ref, asked, path)
                if len(_logprobs(reply)) < 2:
                    raise NotAllowed(
                        f"{self.session.endpoint.url} ignores `echo`: every choice would get the log-likelihood 0. "
                        "Use a task that generates, or an endpoint that returns the prompt's log-probabilities"
                    )
            else:
                # A schema that the endpoint refuses is told now, once.
                asked = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, **self._held}
                body = {"input": "Hello"} if path == "classify" else asked
                await self.session.warmed_up(self.version.ref, probe or body, path)
            self._warm.add(path)

    async def _span(self, context: str, continuation: str) -> tuple[list[int], int]:
        """Token ids of context + continuation, and how many are the context's, as lm-eval's own models split them."""
        text = context.rstrip()  # trailing spaces belong to the first word of the answer
        whole, before = await together([self._tokenized(context + continuation), self._tokenized(text)])
        # The first token of all has no probability; with no context at all it is what one must condition on.
        return whole, max(1, len(before))

    async def _tokenized(self, text: str) -> list[int]:
        """Asked once: the choices of an item share their context."""
        if not text:
            return []
        async with self._running.setdefault(text, asyncio.Lock()):
            if (tokens := self._tokens.get(text)) is None:
                async with self._flights:
                    tokens = self._tokens[text] = await self.session.tokenize(self.version.ref, text)
        self._running.pop(text, None)
        if len(self._tokens) > _TEXTS:
            self._tokens.pop(next(iter(self._tokens)))
        return tokens

    def _answer(self, key: str, item: str, reply: Reply, read: Callable[[Reply], dict[str, Any]]) -> Answer:
        """Of a reply of any shape: one that is not as the API has it is a failure, which counts."""
        told: dict[str, Any] = {
            "key": key,
            "version": self.version.ref,
            "item": item,
            "latency": reply.latency,
            "concurrency": self._conditions.concurrency,
            "retries": reply.retries,
            "shared": reply.shared,
            "served": reply.served,
            "deployment": reply.deployment,
            "at": datetime.now(UTC),
        }
        if reply.error:
            return Answer(**told, error=_whole(reply.error), final=reply.final)
        try:
            usage = reply.body.get("usage") or {}
            passages = (reply.body.get("dabt") or {}).get("passages") or ()
            return Answer(**{
                **told,
                "prompt_tokens": usage.get("prompt_tokens") or 0,
                "completion_tokens": usage.get("completion_tokens") or 0,
                "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
                "first_token": reply.timing.get("ttft"),
                "searched": reply.timing.get("retrieval", 0.0),
                "passages": tuple(_whole(str(passage["id"])) for passage in passages),
                "texts": tuple(sys.intern(_whole(str(passage.get("text") or ""))) for passage in passages),
                **read(reply),
            })  # fmt: skip
        except MISSHAPEN as error:
            return Answer(**told, error=misshapen(error))


MISSHAPEN = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What reading a reply raises that is not as the API has it; pydantic's errors are among them."""


def misshapen(error: Exception) -> str:
    """In words, for a failure that counts."""
    where = [".".join(map(str, fault["loc"])) for fault in error.errors()] if isinstance(error, ValidationError) else []
    return f"the reply is not as the OpenAI API has it ({', '.join(where) or error})"[:300]


def chat_reply(reply: Reply) -> dict[str, Any]:
    """Text, calls and end of the first choice. Raises one of `MISSHAPEN` for what is none."""
    if not reply.body.get("choices"):
        raise ValueError("it has no choices")
    choice = reply.body["choices"][0]
    message = choice.get("message") or {}
    calls = tuple(_whole(call) for call in message.get("tool_calls") or ())
    if not all(isinstance(call, dict) and isinstance(call.get("function") or {}, dict) for call in calls):
        raise ValueError("a tool call has no function")
    text, finish = message.get("content") or "", choice.get("finish_reason") or ""
    if not isinstance(text, str) or not isinstance(finish, str):
        raise ValueError("its content or finish_reason is no text")
    return {"text": _whole(text), "tool_calls": calls, "finish_reason": finish}


def _whole(value: Any, level: int = 0) -> Any:
    """Without halves of surrogate pairs, which no UTF-8 file holds: each is the replacement character. Raises
    `ValueError` for what is nested so deeply that no file of answers holds it."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if level > MOST_LEVELS:
        raise ValueError(TOO_DEEP)
    if isinstance(value, dict):
        return {_whole(key): _whole(part, level + 1) for key, part in value.items()}
    return [_whole(part, level + 1) for part in value] if isinstance(value, list) else value


def _label(reply: Reply) -> dict[str, Any]:
    labels = reply.body.get("data") or [{}]
    return {"text": str(labels[0].get("label") or "")}


def _logprobs(reply: Reply) -> list[float | None]:
    choice = (reply.body.get("choices") or [{}])[0]
    return list((choice.get("logprobs") or {}).get("token_logprobs") or [])


def _echo(length: int, before: int, reply: Reply) -> dict[str, Any]:
    """Sum of the log-probabilities of the tokens from `before` to `length`, and whether each was the likeliest."""
    values = _logprobs(reply)[before:length]  # what follows was generated, not asked about
    if len(values) != length - before or any(value is None for value in values):
        return {"error": "the reply's log-probabilities do not cover the prompt", "final": True}
    tops = ((reply.body["choices"][0]["logprobs"] or {}).get("top_logprobs") or [])[before:length]
    numbers = [value for value in values if value is not None]
    greedy = len(tops) == len(numbers) and all(
        not top or number >= max(top.values()) - 1e-9 for number, top in zip(numbers, tops, strict=True)
    )
    return {"logprob": math.fsum(numbers), "greedy": greedy}
