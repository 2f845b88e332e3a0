"""`/v1/embeddings`: the retrieval model's vectors for callers' own texts, in the OpenAI shape.

It runs beside the engine on the processor, in one thread of its own, a few texts at a time: so long lists take turns,
and a caller that leaves stops paying. The model is loaded by the first request. Read `retrieval/dense.py` next.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from lifecycle.errors import InvalidConfig, InvalidInput, ModelNotFound, Overloaded, Problem, Unavailable
from lifecycle.version import Digest
from retrieval import dense
from service.concurrency import Bulkhead, Once
from service.openai.text_inputs import read_texts, wrong

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SLICE = 16
"""Texts embedded before another request has its turn."""
_MOST_REQUESTS = 64
"""Being embedded or waiting; beyond it callers get 503."""
_LOAD_SECONDS = 300.0
"""For the model, which may have to come from the hub."""
_EMBED_SECONDS = 300.0
"""For one slice, and for its turn."""
_DIGEST_PATIENCE = 2.0
"""Seconds that a list of models waits for the digest, which goes on by itself."""


class EmbeddingRequest(BaseModel):
    """What is read of the body. Other fields (`user`) are ignored, as in the OpenAI API."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: StrictStr
    input: StrictStr | list[StrictStr]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = Field(default=None, ge=1)

    @property
    def texts(self) -> list[str]:
        """Raises `InvalidInput` for none, or an empty one."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if not texts or not all(texts):
            raise wrong("input", "is empty or holds an empty text", "send a text, or a list of texts")
        return texts


@dataclass(frozen=True, slots=True)
class Embedded:
    body: dict[str, Any]
    tokens: int


class Encoder(Protocol):
    """The part of `retrieval.dense.Encoder` that is used here."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...
    def documents(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The encoder, with what must be known on the event loop: asking it would wait for the text that it embeds."""

    encoder: Encoder
    dimensions: int
    max_tokens: int | None


class Embedder:
    """Belongs to one event loop. `model` is what `retrieval.dense.locate` takes, `name` what callers write for it."""

    def __init__(
        self, model: str, load: Callable[[str], LoadedModel] | None = None, load_seconds: float = _LOAD_SECONDS
    ) -> None:
        # A folder is called by its own name: where it lies on this machine is nobody's business.
        self.name = Path(model).name if Path(model).is_dir() else model
        self._waiting = 0
        # Loading apart from embedding: what a hub does not send must not hold up what is here.
        self._loading = Bulkhead("embedding model", at_once=2, waiting=0, seconds=load_seconds)
        self._embedding = Bulkhead("embeddings", at_once=1, waiting=_MOST_REQUESTS, seconds=_EMBED_SECONDS)
        self._model = Once(lambda: self._loading.run(load or _load, model))
        self._digest = Once(lambda: self._loading.run(_digest_of, model))

    @property
    def standing(self) -> Literal["unasked", "making", "made", "failed"]:
        """Of the model, which the first request has loaded."""
        return self._model.standing

    async def answer(self, body: dict[str, Any]) -> Embedded:
        """Embed the texts of an OpenAI request.

        Raises `InvalidInput` with all faults and their places, a text over the model's limit among them;
        `ModelNotFound` for another model; `Overloaded` when too many wait; `Unavailable` when the model is not to be
        had.
        """
        request = self._parse(body)
        texts = request.texts
        if self._waiting >= _MOST_REQUESTS:
            raise Overloaded(f"{self._waiting} requests for embeddings are waiting", retry_after=1.0)
        self._waiting += 1
        try:
            return await self._embedded(request, texts)
        finally:
            self._waiting -= 1

    async def digest(self) -> Digest:
        """Of the model's files, read once. Raises `Unavailable` when the model is not to be had, or not soon."""
        try:
            async with asyncio.timeout(_DIGEST_PATIENCE):
                return await self._digest.result()
        except TimeoutError as error:
            raise Unavailable("the embedding model is still being read or fetched", retry_after=5.0) from error

    def _parse(self, body: dict[str, Any]) -> EmbeddingRequest:
        request = read_texts(EmbeddingRequest, body)
        if request.model != self.name:
            raise ModelNotFound(f"there is no embedding model {request.model!r}; this service has {self.name!r}")
        return request

    async def _embedded(self, request: EmbeddingRequest, texts: list[str]) -> Embedded:
        model = await self._model.result()
        if request.dimensions not in (None, model.dimensions):
            fault = f"{self.name} gives vectors of {model.dimensions}, and a part of one means nothing"
            raise wrong("dimensions", fault, "leave it out")
        counts: list[int] = []
        for at in range(0, len(texts), _SLICE):
            counts += await self._embedding.run(model.encoder.count_tokens, texts[at : at + _SLICE])
        _check_lengths(counts, model.max_tokens)
        data: list[dict[str, Any]] = []
        for at in range(0, len(texts), _SLICE):
            rows = await self._embedding.run(model.encoder.documents, texts[at : at + _SLICE])
            data += [
                {"object": "embedding", "index": at + offset, "embedding": _written(row, request.encoding_format)}
                for offset, row in enumerate(rows)
            ]
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        return Embedded({"object": "list", "data": data, "model": self.name, "usage": usage}, sum(counts))


def _check_lengths(counts: list[int], limit: int | None) -> None:
    """A text over the limit would be cut in silence, and its vector would be another text's."""
    problems = [
        Problem(f"input.{at}", f"has {count} tokens, and the model reads {limit}", "send it in pieces")
        for at, count in enumerate(counts)
        if limit is not None and count > limit
    ]
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def _written(row: NDArray[np.float32], encoding: str) -> list[float] | str:
    # base64 of little-endian float32 is what the official clients ask for unless told otherwise.
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if encoding == "base64" else row.tolist()


def _load(model: str) -> LoadedModel:
    encoder = dense.Encoder(_folder_of(model))
    encoder.warm()
    return LoadedModel(encoder, encoder.dimensions, encoder.max_tokens)


def _digest_of(model: str) -> Digest:
    return dense.fingerprint(_folder_of(model))


def _folder_of(model: str) -> Path:
    try:
        return dense.locate(model)
    except InvalidConfig as error:
        # What is wrong is this service's configuration, and not the caller's request.
        raise Unavailable(f"the embedding model cannot be loaded: {error}") from error
