"""`/v1/classify`: one request and its answer, in the shape of vLLM's own `/classify`.

`probs` are in the order of the classifier's labels, and `label` is the likeliest of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Version
from service.engine.interface import Call, EngineAnswer, Kind, Tally
from service.openai.text_inputs import read_texts, wrong

_WHOLE = -1
"""`truncate_prompt_tokens`, as vLLM has it: as many tokens as the classifier reads."""


class _Body(BaseModel):
    """What is read of the body. `allowed_fields.py` has seen to the other fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    input: StrictStr | list[StrictStr]
    use_activation: StrictBool | None = None
    truncate_prompt_tokens: StrictInt | None = Field(default=None, ge=-1)


class Answering(Protocol):
    """What the answer takes from the classifier."""

    labels: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True, slots=True)
class ClassificationRequest:
    texts: tuple[str, ...]
    cut_at: int | None
    """Tokens; None where a longer text is an error."""
    activated: bool
    """Probabilities, and not logits."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> ClassificationRequest:
        """Raises `InvalidInput` with every fault and its place."""
        read = read_texts(_Body, body)
        given = (read.input,) if isinstance(read.input, str) else tuple(read.input)
        if not given or not all(given):
            raise wrong("input", "is empty or holds an empty text", "send a text, or a list of texts")
        if read.truncate_prompt_tokens == 0:
            raise wrong("truncate_prompt_tokens", "leaves nothing of a text", "1 or more, or -1 for all that is read")
        return cls(given, read.truncate_prompt_tokens, read.use_activation is not False)

    def most_tokens(self, limit: int, *, cut: bool) -> int | None:
        """Where a text is cut: None for nowhere. `cut` says that the classifier was trained on cut texts."""
        if self.cut_at is None:
            return limit if cut else None
        return limit if self.cut_at == _WHOLE else min(self.cut_at, limit)


def count_texts(body: Mapping[str, Any]) -> int:
    """Of a body that nobody has read yet."""
    texts = body.get("input")
    return len(texts) if isinstance(texts, list) else 1


def check_answerer(kind: Kind, ref: str, version: Version | None) -> None:
    """Raises `InvalidInput` when who was named cannot give what was asked for; `version` None is the base."""
    is_classifier = version is not None and version.spec.kind == "classifier"
    if is_classifier and kind != "classification":
        raise wrong("model", f"{ref} is a classifier, and writes no text", "send its text as `input` to /v1/classify")
    if kind == "classification" and not is_classifier:
        cure = "call /v1/chat/completions, or name a classifier: GET /v1/models says each one's kind"
        raise wrong("model", f"{ref} writes text, and is no classifier", cure)


def check_lengths(counts: Sequence[int], limit: int) -> None:
    """A text over the limit would be cut in silence, and its label would be another text's."""
    cure = "send less of it, or truncate_prompt_tokens: -1 to have its end cut off"
    problems = [
        Problem(f"input.{at}", f"has {count} tokens, and the classifier reads {limit}", cure)
        for at, count in enumerate(counts)
        if count > limit
    ]
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def answer_of(
    call: Call,
    request: ClassificationRequest,
    classifier: Answering,
    logits: Sequence[Sequence[float]],
    tokens: int,
    seconds: float,
) -> EngineAnswer:
    """`tokens` were read, in `seconds` from the classifier's door."""
    from service.classification.classifier import probabilities

    data = []
    for index, row in enumerate(logits):
        best = max(range(len(row)), key=row.__getitem__)
        probs = probabilities(row, classifier.exclusive) if request.activated else list(row)
        data.append({"index": index, "label": classifier.labels[best], "probs": probs, "num_classes": len(row)})
    body = {
        "id": f"classify-{call.request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": call.model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
    # A label comes whole: its first token is all of it.
    return EngineAnswer(body, Tally(prompt_tokens=tokens, completion_tokens=0, first_token=seconds))
