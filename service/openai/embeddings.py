"""One request for embeddings, counted, charged and waited for like every other. Read `embedder.py` for the vectors."""

from __future__ import annotations

from typing import Any

from lifecycle.errors import ModelNotFound
from service.engine.interface import Tally
from service.openai.amounts import check_texts
from service.parts import Parts
from service.request_context import RequestContext, code_of
from service.resolution import caller_of, permit


async def answer(parts: Parts, body: dict[str, Any], context: RequestContext) -> dict[str, Any]:
    """Answer one request: no version answers it, and the engine takes no part. Raises what `Embedder.answer` does."""
    parts.under_way.check()
    embedder = parts.embedder
    if embedder is None:
        raise ModelNotFound("this service gives no embeddings: it was started with --embedding-model none")
    permit(embedder.name, caller_of(body, context))
    figures = parts.telemetry.request(embedder.name, "embedding")
    context.answered_by(embedder.name, "", figures)
    with parts.under_way.counted():
        try:
            check_texts(len(texts) if isinstance(texts := body.get("input"), list) else 1, context.key)
            embedded = await embedder.answer(body)
        except BaseException as error:
            figures.failed(code_of(error))
            raise
    figures.done(Tally(prompt_tokens=embedded.tokens, completion_tokens=0))
    parts.accounts.settle(context.key, embedder.name, body, figures)
    return embedded.body
