"""A team's prices, as one YAML file. There are no defaults: what has no price here is told as unknown.

`costs.py` applies them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from lifecycle.config_file import load_mapping, validated
from lifecycle.version import Digest, Frozen, digest_of

Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
"""In the file's currency."""
MILLION = 1_000_000
HOUR = 3600


class Tokens(Frozen):
    """For a million tokens."""

    prompt: Amount
    completion: Amount
    cached: Amount | None = None
    """Of prompt tokens that the endpoint says it need not compute again; without it they cost what others do."""

    def of(self, prompt: float, cached: float, completion: float) -> float:
        """`cached` are some of `prompt`."""
        read = self.prompt if self.cached is None else self.cached
        return ((prompt - cached) * self.prompt + cached * read + completion * self.completion) / MILLION


class Machine(Frozen):
    """What serves, for an hour of it."""

    hour: Amount
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Of its hours, those in which it is as busy as in the evaluation; the others are paid as well."""


class Training(Frozen):
    """Of the machine that trains."""

    hour: Amount


class Retrieval(Frozen):
    """Of arms that retrieve."""

    index: Amount = 0.0
    """To make the index, once."""
    hour: Amount = 0.0
    """Of a service that searches it, asked or not; the file's `days` say for how long."""
    search: Amount = 0.0
    """For one search."""


class Serving(Frozen):
    """By tokens or by the machine's hours; not both, which would count the same work twice."""

    tokens: Tokens | None = None
    machine: Machine | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Serving:
        if self.tokens and self.machine:
            raise ValueError("tokens and machine are two ways to pay for the same work: write one of them")
        return self


class Prices(Serving):
    """The file. Amounts are in `currency`."""

    currency: str = Field(min_length=1, max_length=12)
    requests: int | None = Field(default=None, ge=1)
    """Expected in all, over which what is paid once is shared out."""
    days: Annotated[float, Field(gt=0.0)] | None = None
    """In which they come."""
    training: Training | None = None
    labelling: Tokens | None = None
    """Of the teacher that labelled training rows (`dabt data distill`)."""
    retrieval: Retrieval | None = None
    once: dict[str, Amount] = Field(default_factory=dict)
    """Arm → whatever else was paid for it once: people's labels, a licence."""
    arms: dict[str, Serving] = Field(default_factory=dict)
    """Arm → what serves it, where that is another price than the file's."""

    @model_validator(mode="after")
    def _days_for_hours(self) -> Prices:
        if self.retrieval and self.retrieval.hour and self.days is None:
            raise ValueError("retrieval.hour is paid asked or not: write `days` too")
        if not self.tokens and not self.machine and not self.arms:
            raise ValueError("nothing says what serving costs: write tokens, machine, or arms")
        return self

    @property
    def digest(self) -> Digest:
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))

    def serving(self, arm: str) -> Serving:
        return self.arms.get(arm, self)

    def unused(self, arms: list[str]) -> tuple[str, ...]:
        """Labels that are none of the evaluation's arms."""
        return tuple(label for label in dict.fromkeys([*self.arms, *self.once]) if label not in arms)


def load_prices(path: Path | None) -> Prices | None:
    """The prices in the YAML file, if one is named. Raises `InvalidConfig` with all problems."""
    return None if path is None else validated(Prices, load_mapping(path), path)
