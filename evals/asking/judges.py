"""Judges over the API: asked within the evaluation's own loop, each question once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals.asking.answers import Answer, AnswerStore
from evals.asking.asker import MISSHAPEN, chat_reply, misshapen
from evals.asking.endpoint import Reply, Session
from evals.judging.judge import Judge
from lifecycle.version import digest_of


class ServedJudges:
    """`own` is the evaluation's session; judges with an endpoint of their own get one that shares its loop."""

    def __init__(self, own: Session, folder: Path, concurrency: int) -> None:
        self._own, self._folder = own, folder
        self._sessions: dict[str, Session] = {}
        self._stores: dict[str, AnswerStore] = {}
        self._flights = asyncio.Semaphore(concurrency)

    async def ask(self, judge: Judge, item: str, messages: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        """The judge's text, and why there is none. For later runs it is kept as any answer is (`answers.py`)."""
        session = self._session(judge.endpoint)
        deployed = session.deployment.digest if session.deployment else None
        key = digest_of([judge.model_dump(mode="json"), session.endpoint.place, deployed, item, list(messages)])
        store = self._store(judge, session)
        if (known := store.get(key)) is None:
            async with self._flights:
                known = await self._answer(session, judge, key, item, messages)
            store.add(known)
        return known.text, known.error

    async def _answer(
        self, session: Session, judge: Judge, key: str, item: str, messages: Sequence[Mapping[str, Any]]
    ) -> Answer:
        body = {"model": judge.model, "messages": list(messages), "max_tokens": judge.max_tokens}
        try:
            async with asyncio.timeout(judge.patience):
                reply = await session.post("chat/completions", {**body, "temperature": judge.temperature})
        except TimeoutError:
            late = f"nothing came within {judge.patience:g} s"
            given: dict[str, Any] = {"error": late, "final": False, "latency": judge.patience}
        else:
            given = {"error": reply.error, "final": reply.final, "latency": reply.latency, "served": reply.served}
            given |= {"deployment": reply.deployment}
            given |= {} if reply.error else _read(reply)
        at = datetime.now(UTC)
        return Answer(key=key, version=judge.model, item=item, concurrency=1, at=at, **given)

    def _session(self, endpoint: str | None) -> Session:
        if endpoint is None:
            return self._own
        if endpoint not in self._sessions:
            self._sessions[endpoint] = self._own.beside(endpoint)
        return self._sessions[endpoint]

    def _store(self, judge: Judge, session: Session) -> AnswerStore:
        name = digest_of([judge.model, session.endpoint.place])
        if name not in self._stores:
            self._stores[name] = AnswerStore.of_version(self._folder, name)
        return self._stores[name]


def _read(reply: Reply) -> dict[str, Any]:
    try:
        return chat_reply(reply)
    except MISSHAPEN as error:
        return {"error": misshapen(error)}
