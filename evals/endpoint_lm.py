"""Our lm-eval model: one version, asked through the endpoint, with latency and token usage kept per item.

lm-eval's own API models drop usage and time, and their cache mixes models up. This module imports lm-eval when it is
imported, so import it inside functions. Read `lmeval_task.py` next.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from evals.answers import Answer, AnswerStore, Conditions
from evals.chat_rows import messages_before
from evals.endpoint import Reply, Session
from lifecycle.errors import NotAllowed, Unavailable
from lifecycle.version import Version, digest_of

Advance = Callable[[int], None]
"""Told how many requests are finished."""

_TOO_MANY = 8
"""So many failures in a row, and nothing else, are the service's fault and no finding about the version."""


class EndpointLM(LM):  # type: ignore[misc]  # lm-eval has no types
    """Answers lm-eval's requests for `version`, from `store` where the very same request was finished before.

    `generate_until` sends the question after what its row says before it: prompt, shots and knowledge are the
    version's, and the service applies them. A classifier is sent the question alone, and answers with its label.
    `loglikelihood` needs an endpoint that honours `echo`, and a version without prompt.
    """

    def __init__(
        self,
        session: Session,
        version: Version,
        conditions: Conditions,
        store: AnswerStore,
        advance: Advance,
        response_format: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._session, self._version, self._conditions, self._store = session, version, conditions, store
        self._held = {} if response_format is None else {"response_format": response_format}
        self.advance = advance
        self._warm: set[str] = set()
        self._spans: dict[tuple[str, str], tuple[list[int], int]] = {}
        self.answers: dict[tuple[str, int], list[Answer]] = {}
        """Of the last pass, by task and lm-eval's running number of the item; several for multiple choice."""
        self.asked = 0
        """Requests that went to the endpoint, as against answers that were known."""

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[str]:
        if self._classifies:
            return [answer.text for answer in self._all("classify", requests, _input, _label)]

        def body(request: Instance) -> dict[str, Any]:
            question, settings = request.args
            asked = {"role": "user", "content": question}
            return {"messages": [*messages_before(request.doc), asked], **_decoding(settings), **self._held}

        answers = self._all("chat/completions", requests, body, _chat)
        return [_cut(answer.text, request.args[1]) for answer, request in zip(answers, requests, strict=True)]

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        if self._classifies:
            raise NotAllowed(
                f"{self._version.ref} is a classifier, which gives no text's likelihood; choose a task that generates"
            )

        def body(request: Instance) -> dict[str, Any]:
            context, continuation = request.args
            return {"context": context, "continuation": continuation}

        answers = self._all("completions", requests, body, partial(_echo, self._spans))
        # A failed choice gets no probability; its item is scored zero whatever lm-eval then picks (see scoring.py).
        return [(-math.inf if answer.logprob is None else answer.logprob, bool(answer.greedy)) for answer in answers]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[float]:
        raise NotAllowed("perplexity tasks give no score per item to compare arms by; choose a task that has one")

    @property
    def _classifies(self) -> bool:
        return self._version.spec.classifier is not None

    def _all(
        self,
        path: str,
        requests: Sequence[Instance],
        body_of: Callable[[Instance], dict[str, Any]],
        read: Callable[[Reply, dict[str, Any]], dict[str, Any]],
    ) -> list[Answer]:
        seen: Counter[int] = Counter()
        plan: list[tuple[str, str, dict[str, Any]]] = []
        for request in requests:
            seen[id(request)] += 1  # lm-eval repeats the same object for tasks that sample several answers
            body, item = body_of(request), digest_of([request.task_name, request.doc, request.idx, seen[id(request)]])
            plan.append((self._conditions.key(path, item, body), item, body))
        missing = {key: (key, item, body) for key, item, body in plan if self._store.get(key) is None}
        self.advance(len(plan) - len(missing))
        fresh = self._ask(path, list(missing.values()), read) if missing else {}
        answers = [fresh.get(key) or self._store.get(key) for key, _, _ in plan]
        answered = [answer for answer in answers if answer is not None]
        for place in {(request.task_name, request.doc_id) for request in requests}:
            self.answers[place] = []
        for request, answer in zip(requests, answered, strict=True):
            self.answers[(request.task_name, request.doc_id)].append(answer)
        return answered

    def _ask(
        self,
        path: str,
        work: list[tuple[str, str, dict[str, Any]]],
        read: Callable[[Reply, dict[str, Any]], dict[str, Any]],
    ) -> dict[str, Answer]:
        self._warm_up(path, work)

        async def ask(key: str, item: str, body: dict[str, Any]) -> Answer:
            reply = await self._session.post(path, {"model": self._version.ref, **self._sent(body)})
            self._session.must_be_the_same(reply)
            if reply.served and reply.served != self._version.digest:
                raise NotAllowed(
                    f"{self._session.endpoint.url} serves another {self._version.ref} ({reply.served[:19]}…) than the "
                    f"registry's ({self._version.digest[:19]}…): evaluate against the service of this registry"
                )
            return self._answer(key, item, reply, {} if reply.error else read(reply, body))

        def done(answer: Answer) -> None:
            self._store.add(answer)
            self.advance(1)

        answers = self._session.gather(
            [partial(ask, *piece) for piece in work], concurrency=self._conditions.concurrency, done=done
        )
        self.asked += len(answers)
        if not any(answer.final for answer in answers):
            self._session.check()
            if len(answers) >= _TOO_MANY:
                kept = "What is finished is kept: see" if self._session.deployment else "See"
                raise Unavailable(
                    f"{self._version.ref}: none of {len(answers)} requests was answered ({answers[0].error}). "
                    f"{kept} to the service, then run the same command to go on"
                )
        return {answer.key: answer for answer in answers}

    def _sent(self, body: dict[str, Any]) -> dict[str, Any]:
        if "input" in body:
            return body
        if "context" not in body:
            return {**body, "seed": self._conditions.seed}
        whole, _ = self._spans[body["context"], body["continuation"]]
        return {"prompt": whole, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}

    def _warm_up(self, path: str, work: list[tuple[str, str, dict[str, Any]]]) -> None:
        if path == "completions":
            self._find_spans([body for _, _, body in work])
        if path in self._warm:
            return
        if path == "completions":
            probe = {"prompt": "One two three", "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
            reply = self._session.warm_up(self._version.ref, probe, path)
            if len(_logprobs(reply)) < 2:
                raise NotAllowed(
                    f"{self._session.endpoint.url} ignores `echo`: every choice would get the log-likelihood 0. "
                    "Use a task that generates, or an endpoint that returns the prompt's log-probabilities"
                )
        else:
            # A schema that the endpoint refuses is told now, once.
            asked = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, **self._held}
            self._session.warm_up(self._version.ref, {"input": "Hello"} if path == "classify" else asked, path)
        self._warm.add(path)

    def _find_spans(self, bodies: list[dict[str, Any]]) -> None:
        """Token ids of context + continuation, and how many are the context's, as lm-eval's own models split them."""

        async def tokenized(context: str, continuation: str) -> tuple[tuple[str, str], tuple[list[int], int]]:
            text = context.rstrip()  # trailing spaces belong to the first word of the answer
            whole = await self._session.tokenize(self._version.ref, context + continuation)
            before = len(await self._session.tokenize(self._version.ref, text)) if text else 0
            # The first token of all has no probability; with no context at all it is what one must condition on.
            return (context, continuation), (whole, max(1, before))

        pairs = {(body["context"], body["continuation"]) for body in bodies} - self._spans.keys()
        spans = self._session.gather(
            [partial(tokenized, *pair) for pair in sorted(pairs)],
            concurrency=self._conditions.concurrency,
            done=_ignore,
        )
        self._spans.update(spans)

    def _answer(self, key: str, item: str, reply: Reply, content: dict[str, Any]) -> Answer:
        usage = reply.body.get("usage") or {}
        passages = (reply.body.get("dabt") or {}).get("passages") or ()
        outcome = {"error": reply.error, "final": reply.final} | content
        return Answer(
            key=key,
            version=self._version.ref,
            item=item,
            latency=reply.latency,
            concurrency=self._conditions.concurrency,
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            passages=tuple(str(passage["id"]) for passage in passages),
            retries=reply.retries,
            served=reply.served,
            deployment=reply.deployment,
            at=datetime.now(UTC),
            **outcome,
        )


def _decoding(settings: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's generation settings as OpenAI's. What the task does not set is left to the version."""
    sent: dict[str, Any] = {}
    length = settings.get("max_gen_toks", settings.get("max_tokens"))
    if length is not None:
        sent["max_tokens"] = int(length)
    if stops := _stops(settings):
        sent["stop"] = stops[:4]  # OpenAI takes no more; `_cut` sees to the rest
    if settings.get("temperature") is not None or settings.get("do_sample") is False:
        sent["temperature"] = float(settings.get("temperature") or 0.0)
    if settings.get("top_p") is not None:
        sent["top_p"] = float(settings["top_p"])
    return sent


def _stops(settings: dict[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else [stop for stop in until if stop]


def _cut(text: str, settings: dict[str, Any]) -> str:
    """The text before the first stop string, for those that the endpoint was not sent."""
    for stop in _stops(settings):
        text = text.split(stop, 1)[0]
    return text


def _chat(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    choice = (reply.body.get("choices") or [{}])[0]
    text = (choice.get("message") or {}).get("content") or ""
    return {"text": text, "finish_reason": choice.get("finish_reason") or ""}


def _input(request: Instance) -> dict[str, Any]:
    """The question. A system text of the items says what to write, which a classifier does not need.

    Raises `NotAllowed` where there are turns before the question: a classifier reads one text.
    """
    if any(message["role"] != "system" for message in messages_before(request.doc)):
        name = request.doc.get("id") or request.doc_id
        raise NotAllowed(f"the item {name} has turns before its question, and a classifier reads one text")
    return {"input": request.args[0]}


def _label(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    labels = reply.body.get("data") or [{}]
    return {"text": str(labels[0].get("label") or "")}


def _logprobs(reply: Reply) -> list[float | None]:
    choice = (reply.body.get("choices") or [{}])[0]
    return list((choice.get("logprobs") or {}).get("token_logprobs") or [])


def _echo(spans: dict[tuple[str, str], tuple[list[int], int]], reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    """Sum of the continuation's log-probabilities, and whether each of its tokens was the likeliest."""
    whole, before = spans[body["context"], body["continuation"]]
    values = _logprobs(reply)[before : len(whole)]  # what follows was generated, not asked about
    if len(values) != len(whole) - before or any(value is None for value in values):
        return {"error": "the reply's log-probabilities do not cover the prompt", "final": True}
    tops = ((reply.body["choices"][0]["logprobs"] or {}).get("top_logprobs") or [])[before : len(whole)]
    numbers = [value for value in values if value is not None]
    greedy = len(tops) == len(numbers) and all(
        not top or number >= max(top.values()) - 1e-9 for number, top in zip(numbers, tops, strict=True)
    )
    return {"logprob": math.fsum(numbers), "greedy": greedy}


def _ignore(_: object) -> None:
    """A finished tokenisation is nothing to save."""
