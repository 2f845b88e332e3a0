"""A traffic policy: the bounds that a canary must keep, and the candidate that gets copies of an alias's requests.

It belongs to an alias and outlives the moves of its targets (`aliases.py`). `service/traffic/canary.py` judges by
the bounds, `service/traffic/shadow.py` makes the copies.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lifecycle.answer_schema import AnswerSchema, require_schema
from lifecycle.errors import InvalidConfig, InvalidInput
from lifecycle.version import Frozen

Share = Annotated[float, Field(gt=0.0, le=1.0)]
Bound = Annotated[float, Field(gt=0.0, lt=1.0)]
"""A largest share. Not 0: no number of good answers shows that a share is exactly 0, and one bad one would end it."""
Ratio = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

AnswerGuard = Literal["empty", "cut_off", "not_json", "off_schema"]
"""What an answer may be found to be without any model: no text and no tool call; ended by its length limit; no JSON
text; no JSON text that fits `answer_schema`. An answer with several choices is as bad as its worst."""

_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(%?)")


class Shadow(Frozen):
    """Copies of the alias's requests go to this version as well. What it answers is recorded and never returned."""

    version: int = Field(ge=1)
    share: Share = 1.0
    """Of the alias's requests, drawn one by one."""
    record_bodies: bool = False
    """Keep the requests and both answers as text; otherwise digests, lengths, times and findings alone."""


class CanaryBounds(Frozen):
    """What a canary must keep to. It is rolled back when the evidence against one bound is strong enough.

    Judged is every target of a split alias but the incumbent, which is the one that had the alias to itself last.
    """

    max_error_rate: Bound | None = None
    """Of the requests that the version could have answered: faults of the caller or of the engine are not counted."""
    max_ttft_ratio: Ratio | None = None
    """Largest 95th percentile of the time to the first token, as a multiple of the incumbent's."""
    max_total_ratio: Ratio | None = None
    """The same for the whole answer."""
    guards: dict[AnswerGuard, Bound] = Field(default_factory=dict)
    """Largest share of answers that are what the guard names."""
    answer_schema: dict[str, Any] | None = None
    """JSON Schema (2020-12) for the guard `off_schema`; its references stay inside it. A file may name the file of one,
    or a pydantic model (`lifecycle/answer_schema.py`), which is read then and there."""
    min_requests: int = Field(default=20, ge=1)
    """Nothing is decided on fewer of the canary's."""
    window: int = Field(default=100, ge=20, le=10_000)
    """Times are compared within so many requests in a row, the incumbent's among them: both then met the same load.
    The figures that a decision is recorded with are of as many of the canary's."""
    false_removals: Bound = 0.01
    """A canary that keeps its bounds, if only just, is ever rolled back with this chance at most."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is watched."""
        rates = (("error_rate", self.max_error_rate), ("ttft", self.max_ttft_ratio), ("total", self.max_total_ratio))
        return (*(name for name, bound in rates if bound is not None), *self.guards)

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_releases(cls, values: Any) -> Any:
        """They wrote how many requests lie between two false alarms. A canary was thought to take 1,000."""
        if not isinstance(values, dict) or "false_alarm_every" not in values:
            return values
        every = values["false_alarm_every"]
        if "false_removals" in values or not isinstance(every, int) or every < 1_000:
            return values  # refused as a key that there is not
        kept = {key: value for key, value in values.items() if key != "false_alarm_every"}
        return {**kept, "false_removals": min(1_000 / every, 0.5)}

    @field_validator("answer_schema", mode="before")
    @classmethod
    def _of_its_file(cls, schema: Any, info: ValidationInfo) -> Any:
        if not isinstance(schema, str) or not info.context:
            return schema  # nobody names files of this machine but a file on it
        try:
            return AnswerSchema.load(schema, info.context["folder"]).body
        except InvalidConfig as error:
            raise ValueError("; ".join(problem.fault for problem in error.problems)) from error

    @field_validator("answer_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            require_schema(schema)
        return schema

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if not self.names:
            raise ValueError("set at least one of max_error_rate, max_ttft_ratio, max_total_ratio and guards")
        if ("off_schema" in self.guards) != (self.answer_schema is not None):
            raise ValueError("the guard off_schema and answer_schema need each other")
        return self


class TrafficPolicy(Frozen):
    """What an alias does besides sharing its requests out; nothing, unless it is set."""

    canary: CanaryBounds | None = None
    shadow: Shadow | None = None


def parse_share(text: str) -> float:
    """`10%` or `0.1`, as a share. Raises `InvalidInput` for what is none: not above 0, above 1, or no number."""
    written = _SHARE.fullmatch(text.strip())
    share = float(written[1]) / (100 if written[2] else 1) if written else 0.0
    if not 0 < share <= 1:
        raise InvalidInput(f"'{text}' is no share; write a percentage such as 10%, or a part of 1 such as 0.1")
    return share
