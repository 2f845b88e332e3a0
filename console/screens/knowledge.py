"""What the versions retrieve from: indexes, their documents and passages, and what a search finds and why."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.marked_words import Piece, marked
from console.paging import Paging
from console.rendering import show
from console.viewer import Viewer, viewer_of
from lifecycle.errors import NotFound
from lifecycle.registry.records import IndexRecord
from lifecycle.version import Digest, Knowledge, Version
from service.catalogue import Snapshot

if TYPE_CHECKING:
    from retrieval.index import Index
    from retrieval.passage import Chunk, LeftOut, Passage

router = APIRouter(prefix="/ui/knowledge")
_MOST_QUERY = 2000
"""Characters of a question; a search takes the processor that answers are made on."""
_MOST_FOUND = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a search found."""

    passage: Passage
    pieces: Sequence[Piece]
    """Its text, with the words that the question has too marked."""


@dataclass(frozen=True, slots=True)
class Search:
    question: str
    asked: str
    """The version whose way of searching it is; empty for the index's own."""
    found: Sequence[Found]
    rankings: Sequence[str]
    """Of all that were made, in their order."""
    left_out: Sequence[LeftOut]


@router.get("")
async def indexes(request: Request) -> Response:
    viewer, state = viewer_of(request), request.app.state
    users = _users(state.parts.catalogue.snapshot)
    listed = await state.parts.at_registry.run(state.registry.listings.indexes)
    shown = [record for record in listed if _sees(viewer, users, record.digest)]
    newest = {record.name: record.digest for record in reversed(shown)}
    return show(request, "knowledge/indexes.html", indexes=shown, users=users, newest=newest, sees=viewer.sees)


@router.get("/{digest}")
async def index(request: Request, digest: str, q: str = "", version: str = "", top_k: str = "5") -> Response:
    """The index, its documents, and what is found for the question `q` as `version` searches."""
    state = request.app.state
    record, users = await _seen(request, digest)
    loaded: Index = await state.parts.library.index(record.digest)
    mine = [user for user in users if viewer_of(request).sees(user.name)]
    search, many = None, _many(top_k)
    if question := q.strip()[:_MOST_QUERY]:
        asked = next((user for user in mine if user.ref == version), None)
        knowledge = asked.spec.knowledge if asked is not None else None
        told = knowledge or Knowledge(index=record.digest)
        retrieved = await state.parts.library.search(told.model_copy(update={"top_k": many}), question)
        names = dict.fromkeys(name for passage in retrieved for name in passage.why)
        found = await asyncio.to_thread(_marked, question, tuple(retrieved))
        search = Search(question, asked.ref if asked is not None else "", found, tuple(names), retrieved.left_out)
    documents = await asyncio.to_thread(_documents, loaded)
    return show(
        request, "knowledge/index.html", record=record, facts=loaded.facts, config=loaded.config, users=mine,
        documents=documents, search=search, q=q, version=version, top_k=many,
    )  # fmt: skip


@router.get("/{digest}/passages")
async def passages(request: Request, digest: str, document: str = "", q: str = "", page: str = "1") -> Response:
    """The passages as they stand in the index, of one document or all, that hold the words `q`."""
    record, _ = await _seen(request, digest)
    loaded: Index = await request.app.state.parts.library.index(record.digest)
    chosen = await asyncio.to_thread(lambda: list(_chosen(loaded, document, q.strip())))
    paging = Paging.of(page, len(chosen), request.url)
    shown = [(chunk, marked(chunk.text, q)) for chunk in paging.of_all(chosen)]
    return show(
        request, "knowledge/passages.html", record=record, passages=shown, paging=paging, document=document, q=q
    )  # fmt: skip


async def _seen(request: Request, digest: str) -> tuple[IndexRecord, Sequence[Version]]:
    """The index and the versions that retrieve from it. Raises `NotFound`, also for one that the key does not cover."""
    state = request.app.state
    record: IndexRecord = await state.parts.at_registry.run(state.registry.index, digest)
    users = _users(state.parts.catalogue.snapshot)
    if not _sees(viewer_of(request), users, record.digest):
        raise NotFound(f"no index {digest} is registered; build it with `dabt index`")
    return record, users.get(record.digest, ())


def _sees(viewer: Viewer, users: Mapping[Digest, Sequence[Version]], digest: Digest) -> bool:
    """A key that is for some names sees what versions of them retrieve from; one for all sees every index."""
    return viewer.sees("*") or any(viewer.sees(version.name) for version in users.get(digest, ()))


def _users(snapshot: Snapshot) -> dict[Digest, list[Version]]:
    users: dict[Digest, list[Version]] = {}
    for numbers in snapshot.versions.values():
        for version in numbers.values():
            if version.spec.knowledge is not None:
                users.setdefault(version.spec.knowledge.index, []).append(version)
    return users


def _documents(loaded: Index) -> list[tuple[str, int]]:
    """(name, its passages), in the order of the index."""
    return list(Counter(_document(chunk) for chunk in loaded.passages).items())


def _document(chunk: Chunk) -> str:
    return chunk.source.rpartition(":")[0] or chunk.source


def _chosen(loaded: Index, document: str, q: str) -> Iterator[Chunk]:
    from retrieval.analysis import analyse

    wanted = set(analyse(q))
    for chunk in loaded.passages:
        there = not document or _document(chunk) == document
        if there and (not q or q in (chunk.id, chunk.source) or (wanted and wanted <= set(analyse(chunk.text)))):
            yield chunk


def _marked(question: str, found: Sequence[Any]) -> list[Found]:
    return [Found(passage, marked(passage.text, question)) for passage in found]


def _many(text: str) -> int:
    return min(_MOST_FOUND, max(1, int(text))) if text.isascii() and text.isdigit() and len(text) < 4 else 5
