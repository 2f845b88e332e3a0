"""A stream's usual chunks, written without models: nothing but some text, in a form that vLLM's own models have made.

vLLM 0.32 makes pydantic models of each token, checks them and turns them into JSON, which is a good part of what a
token costs the API's process. What differs from one such chunk of an answer to the next is the text, and the
token's id where it is asked for. All else is written once by those models, with a marker in the place of each of the
two, so that the form is vLLM's whatever it is. Other chunks (the first and the last, logprobs, tools, reasoning, usage
in every chunk) are the models' as before.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

_TEXT, _TOKEN = uuid4().hex, uuid4().int >> 66
"""The markers. No name of a model and no request's id has them."""
_CHUNK = frozenset({"id", "object", "created", "model", "choices"})
"""The fields that a usual chunk is made with, no more and no less: a field that was not given is not written."""
_WRITTEN = {"exclude_unset": True}
"""How vLLM has a chunk written."""
_FORMS = 4096
"""Answers whose forms are kept, some hundred bytes each."""

Form = tuple[str, str, str]
"""What stands before the text, between it and the tokens' ids, and at the end; the last is empty without ids."""


def write_without_models() -> None:
    """From now on in this process, for the streams of chats and of completions."""
    from vllm.entrypoints.openai.chat_completion import serving as chat
    from vllm.entrypoints.openai.completion import serving as completion

    if not isinstance(chat.DeltaMessage, type):
        return  # an earlier start of the engine has been here
    chats = ChatChunks(chat.ChatCompletionStreamResponse, chat.ChatCompletionResponseStreamChoice, chat.DeltaMessage)
    chat.ChatCompletionStreamResponse, chat.ChatCompletionResponseStreamChoice = chats.chunk, chats.choice
    chat.DeltaMessage = chats.delta
    completions = Chunks(completion.CompletionStreamResponse, completion.CompletionResponseStreamChoice)
    completion.CompletionStreamResponse, completion.CompletionResponseStreamChoice = (
        completions.chunk,
        completions.choice,
    )


class Chunks:
    """A completion's: `chunk` and `choice` are called in the place of vLLM's models, which they make where a chunk is
    unusual.
    """

    nulls: tuple[str, ...] = ("logprobs", "finish_reason", "stop_reason", "prompt_token_ids")
    """The fields that are null in a usual choice."""
    says = "text"
    """The field with its text."""

    def __init__(self, chunk_model: Any, choice_model: Any) -> None:
        self._chunk_model, self._choice_model = chunk_model, choice_model
        self._choice = frozenset({"index", self.says, "token_ids", *self.nulls})
        self._given, self._nothing = itemgetter(*self.nulls), (None,) * len(self.nulls)
        self.form = lru_cache(_FORMS)(self._new_form)

    def choice(self, **fields: Any) -> Any:
        text = self.text(fields[self.says])
        if text is not None and fields.keys() == self._choice and self._given(fields) == self._nothing:
            return Piece(text, fields)
        return self._choice_of(fields)

    def chunk(self, **fields: Any) -> Any:
        choices = fields["choices"]
        if len(choices) == 1 and type(choices[0]) is Piece and fields.keys() == _CHUNK:
            return Chunk(self, fields, choices[0])
        return self.whole(fields)

    def text(self, said: Any) -> str | None:
        """None where it is more than some text."""
        return said if type(said) is str else None

    def whole(self, fields: dict[str, Any]) -> Any:
        """vLLM's model of a chunk."""
        choices = [self._choice_of(each.fields) if type(each) is Piece else each for each in fields["choices"]]
        return self._chunk_model(**{**fields, "choices": choices})

    def _choice_of(self, fields: dict[str, Any]) -> Any:
        return self._choice_model(**{**fields, self.says: self._said(fields[self.says])})

    def _said(self, said: Any) -> Any:
        """As vLLM's model of a choice has it."""
        return said

    def _new_form(self, id_: str, object_: str, created: int, model: str, index: int, told: bool) -> Form:
        """`told` says whether tokens' ids are."""
        choice = {**dict.fromkeys(self.nulls), "index": index, "token_ids": [_TOKEN] if told else None}
        choice[self.says] = self._marked()
        fields = {
            "id": id_,
            "object": object_,
            "created": created,
            "model": model,
            "choices": [self._choice_of(choice)],
        }
        head, _, rest = self._chunk_model(**fields).model_dump_json(**_WRITTEN).partition(f'"{_TEXT}"')
        middle, _, end = rest.partition(f"[{_TOKEN}]")
        return head, middle, end

    def _marked(self) -> Any:
        return _TEXT


class ChatChunks(Chunks):
    """A chat's: `delta` too is called in the place of a model."""

    nulls = ("logprobs", "finish_reason")
    says = "delta"

    def __init__(self, chunk_model: Any, choice_model: Any, delta_model: Any) -> None:
        super().__init__(chunk_model, choice_model)
        self._delta_model = delta_model

    def delta(self, **fields: Any) -> Any:
        text = fields.get("content")
        return Delta(text) if type(text) is str and len(fields) == 1 else self._delta_model(**fields)

    def text(self, said: Any) -> str | None:
        return said.content if type(said) is Delta else None

    def _said(self, said: Any) -> Any:
        return self._delta_model(content=said.content) if type(said) is Delta else said

    def _marked(self) -> Any:
        return Delta(_TEXT)


class Delta:
    """What a chat says more: some text and nothing else."""

    __slots__ = ("content",)
    role = reasoning = None
    tool_calls = ()

    def __init__(self, content: str) -> None:
        self.content = content


class Piece:
    """The choice of a usual chunk."""

    __slots__ = ("fields", "text")
    finish_reason = None
    tool_calls = ()
    """vLLM looks for them, to leave out all but one."""

    def __init__(self, text: str, fields: dict[str, Any]) -> None:
        self.text, self.fields = text, fields


class Chunk:
    """A chunk that is usual unless it is given its usage."""

    __slots__ = ("_chunks", "_fields", "_piece", "usage")

    def __init__(self, chunks: Chunks, fields: dict[str, Any], piece: Piece) -> None:
        self._chunks, self._fields, self._piece = chunks, fields, piece
        self.usage: Any = None

    def model_dump_json(self, **options: Any) -> str:
        fields, piece = self._fields, self._piece
        if self.usage is not None or options != _WRITTEN:
            chunk = self._chunks.whole(fields)
            if self.usage is not None:
                chunk.usage = self.usage
            written: str = chunk.model_dump_json(**options)
            return written
        ids = piece.fields["token_ids"]
        head, middle, end = self._chunks.form(
            fields["id"], fields["object"], fields["created"], fields["model"], piece.fields["index"], ids is not None
        )
        told = "" if ids is None else to_json(ids).decode()
        return f"{head}{to_json(piece.text).decode()}{middle}{told}{end}"
