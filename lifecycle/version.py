"""The version: a frozen recipe for answering a request. It is what is evaluated, gated and served.

Read `states.py` next for a version's life, and `registry.py` for where it is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from lifecycle.errors import InvalidInput
from lifecycle.states import State

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

ArtifactKind = Literal["adapter", "weights", "classifier"]
"""What training leaves: a LoRA over a base, a whole model folder, an encoder with a head and labels.

`artifact_kinds.py` has the table of what is done with each."""

ArmKind = Literal["base", "few-shot", "rag", "adapter", "classifier", "weights", "hybrid"]
"""What people call a recipe. Nothing is decided by it: what is trained, retrieves and costs to keep up follows from the
recipe's parts (`VersionSpec.upkeep`)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces."""
    return _CANONICAL.encode(value)


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value` in UTF-8, as `sha256:<hex>`."""
    return digest_of_canonical(canonical(value))


def digest_of_canonical(text: str) -> str:
    """The same of JSON that is canonical already: whoever takes many digests writes out once what they share."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class Frozen(BaseModel):
    """Base of every record here: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """pydantic's, without what was computed from the fields of the original (`cached_property`)."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class Shot(Frozen):
    """One worked example, shown to the model as a user turn and an assistant turn."""

    user: str
    assistant: str


_RENDERED = frozenset(
    [
        *("messages", "conversation", "tools", "documents", "chat_template", "tokenize", "tokenizer_kwargs"),
        *("add_generation_prompt", "continue_final_message", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask"),
    ]
)
"""What the renderer itself gives a chat template, or takes for itself."""


def _is_switch(name: str) -> str:
    if not name.isidentifier():
        raise ValueError("is no name that a chat template can read")
    if name in _RENDERED:
        raise ValueError("is what the renderer gives the chat template, and no switch of it")
    return name


TemplateKwargs = dict[
    Annotated[str, AfterValidator(_is_switch)], bool | int | Annotated[float, AllowInfNan(False)] | str
]
"""What a chat template is told beside the conversation, such as `enable_thinking: false`. The name is vLLM's."""


class Prompt(Frozen):
    """What is put before the caller's messages, and what the base's chat template is told beside them."""

    system: str = ""
    shots: tuple[Shot, ...] = ()
    chat_template_kwargs: TemplateKwargs = Field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.system, self.shots, frozenset(self.chat_template_kwargs.items())))


def _has_both_places(template: str) -> str:
    if missing := [place for place in ("{passages}", "{question}") if place not in template]:
        raise ValueError(f"the template needs {' and '.join(missing)}, or the model would never see it")
    return template


Template = Annotated[str, AfterValidator(_has_both_places)]
"""How passages and question become one message."""


class RetrieverStage(Frozen):
    """One stage of a version's retriever, as `retrieval/stages/table.py` declares it."""

    type: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Those that are not at their defaults."""
    fingerprint: Digest
    """Of its code's version or package, and of the files that it reads."""

    def __hash__(self) -> int:
        return hash(digest_of(self.model_dump(mode="json")))


class Knowledge(Frozen):
    """What to retrieve from, and how the passages enter the prompt."""

    index: Digest
    top_k: int = Field(default=3, ge=1, le=50)
    template: Template = "Passages:\n{passages}\n\nQuestion: {question}"
    """Wraps the last user message; `{passages}` is one `[id] text` line per passage, best first."""
    arabic_template: Template | None = None
    """In its place when that message is mainly Arabic. None: `template` wraps every message."""
    stages: tuple[RetrieverStage, ...] = ()
    """How the index is searched, in this order. None: by words and by meaning, fused, as the index says."""


class Decoding(Frozen):
    """Defaults for sampling; what the caller sets in the request wins."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: tuple[str, ...] = ()
    top_k: int = Field(default=0, ge=0)
    """0 for all."""
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    repetition_penalty: float = Field(default=1.0, gt=0.0)
    presence_penalty: float = Field(default=0.0, ge=-2.0, le=2.0)
    frequency_penalty: float = Field(default=0.0, ge=-2.0, le=2.0)


class AnswerSettings(Frozen):
    """What else in the base's folder decides an answer, while the base's fingerprint says whether an adapter fits it.

    `lifecycle/models/answers.py` reads it.
    """

    tokenizer_config: Digest
    """Of tokenizer_config.json, without the keys that change no token."""
    stops: tuple[int, ...] = ()
    """Token ids, besides the tokenizer's own, at which an answer ends; ascending."""
    dtype: str = ""
    """The number format that the checkpoint names, which `--dtype auto` takes on a GPU."""
    frozen_template: Digest | None = None
    """Of the chat template as it is rendered, when the base's own reads the clock."""
    files: dict[str, Digest] = Field(default_factory=dict)
    """Every other file that an engine may read, by its place in the folder."""

    def differences(self, other: AnswerSettings) -> list[str]:
        """What differs, in words; empty when both give the same answers."""
        named = {
            "tokenizer_config.json": (self.tokenizer_config, other.tokenizer_config),
            "the token ids that end an answer": (self.stops, other.stops),
            "the checkpoint's number format": (self.dtype, other.dtype),
            "the chat template's fixed date": (self.frozen_template, other.frozen_template),
            **{name: (self.files.get(name), other.files.get(name)) for name in sorted({*self.files, *other.files})},
        }
        return [name for name, (here, there) in named.items() if here != there]


class VersionSpec(Frozen):
    """The recipe itself. Two equal recipes have one digest, wherever they are made.

    `base` is the base model's fingerprint (weights, tokenizer and chat template, see `models/base.py`), `answers` what
    else in its folder decides an answer. What was trained is at most one of three digests of the artifact store:
    `adapter` over that base; `weights`, a whole model folder, whose own fingerprint `base` is then; `classifier`, an
    encoder with its head, where `base` is the encoder that it was trained from. base, few-shot, RAG, adapter and hybrid
    differ only in which parts are set.

    The digest leaves out what is at its default, so that a part added by a later release does not change the digests
    of the recipes that came before it. A default, once released, must therefore never change.
    """

    base: Digest
    adapter: Digest | None = None
    prompt: Prompt = Prompt()
    knowledge: Knowledge | None = None
    decoding: Decoding = Decoding()
    answers: AnswerSettings | None = None
    """None for a version from before this was recorded: the settings of whatever base serves it apply."""
    weights: Digest | None = None
    classifier: Digest | None = None

    @model_validator(mode="after")
    def _trained_once(self) -> Self:
        if len(made := [kind for kind in get_args(ArtifactKind) if getattr(self, kind)]) > 1:
            raise ValueError(f"a version is made of one artifact, and this one names {' and '.join(made)}")
        return self

    @cached_property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def artifact(self) -> tuple[ArtifactKind, Digest] | None:
        """What was trained; None for a recipe over the base as it is."""
        made = ((kind, getattr(self, kind)) for kind in get_args(ArtifactKind))
        return next(((kind, digest) for kind, digest in made if digest), None)

    @property
    def trained(self) -> bool:
        return self.artifact is not None

    @property
    def kind(self) -> ArmKind:
        """The arm that this recipe is in a comparison."""
        if self.artifact:
            return "hybrid" if self.knowledge else self.artifact[0]
        if self.knowledge:
            return "rag"
        return "few-shot" if self.prompt.shots else "base"

    @property
    def retrieves(self) -> bool:
        return self.knowledge is not None

    @property
    def has_recipe(self) -> bool:
        """Whether something of its own stands around a caller's messages, so that it is asked by messages alone."""
        return self.prompt != Prompt() or self.retrieves

    @property
    def upkeep(self) -> tuple[int, ...]:
        """How much there is to keep up, to be compared: training and retrieval together are the most, then what was
        trained (an adapter runs on a base that is there anyway, a classifier is a small model of its own, whole weights
        a large one), then retrieval, then shots."""
        made = self.artifact
        trained = ("adapter", "classifier", "weights").index(made[0]) + 1 if made else 0
        shots = bool(self.prompt.shots) and not made and not self.retrieves
        return (int(self.trained and self.retrieves), trained, int(self.retrieves), int(shots))


class Lineage(Frozen):
    """Where a version came from."""

    source: Literal["training", "checkpoint", "evaluation", "import", "manual"] = "manual"
    """A checkpoint is what a job's training left on its way, beside its result."""
    run: str = ""
    started_from: str = ""
    """The digest of the adapter that training went on from."""
    data_digest: str = ""
    code_revision: str = ""
    note: str = ""


class Version(Frozen):
    """A `VersionSpec` that the registry has numbered under a name: `triage:3`."""

    name: Name
    number: int = Field(ge=1)
    spec: VersionSpec
    state: State
    lineage: Lineage = Lineage()
    created_at: datetime
    created_by: str

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.number}"

    @property
    def digest(self) -> str:
        return self.spec.digest


class Ref(Frozen):
    """What a caller writes in `model`: `triage`, `triage:3` or `triage:canary`."""

    name: str
    number: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> Ref:
        """`triage` means its `prod` alias. Raises `InvalidInput` when `text` has no such form."""
        name, colon, tail = text.partition(":")
        number = _NUMBER.fullmatch(tail)
        # A tail of digits alone is never an alias: `triage:007` is a slip, not a name.
        alias = not tail.isdecimal() and _NAME.fullmatch(tail)
        if not _NAME.fullmatch(name) or (colon and not (number or alias)):
            raise InvalidInput(
                f"'{text}' names no model; write a name, name:number or name:alias, such as triage, triage:3, "
                "triage:canary (lower-case letters, digits, - and _)"
            )
        if not colon:
            return cls(name=name, alias="prod")
        return cls(name=name, number=int(tail)) if number else cls(name=name, alias=tail)

    def __str__(self) -> str:
        return f"{self.name}:{self.number if self.number is not None else self.alias}"
