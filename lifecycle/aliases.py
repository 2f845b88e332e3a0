"""Aliases: names for traffic, and what may stand behind one. Pure; `registry/alias_stack.py` keeps them.

`refusal` is asked inside the transaction that moves an alias (`registry/moves.py`). What an alias does besides
sharing its requests out is its policy (`traffic.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.gates import Gate
from lifecycle.standing import objections
from lifecycle.states import State
from lifecycle.traffic import TrafficPolicy
from lifecycle.verdict import Verdict
from lifecycle.version import Frozen, Ref, Version

PROD = "prod"
"""The alias that a bare name means, and the only one that its gate (`gates.py`) guards."""

_ROUNDING = 1e-9
"""Shares are scaled to sum to 1."""
_AS_WRITTEN = 2e-3
"""33.3% three times are all of the requests."""


class Target(Frozen):
    """One version behind an alias, with its share of the traffic."""

    number: int = Field(ge=1)
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


class Alias(Frozen):
    """`triage:prod` and what it points at. The weights of its targets sum to 1."""

    name: str
    alias: str
    targets: tuple[Target, ...]
    move: int = 0
    """The move that pointed it there: while this stands, nothing has been moved."""
    incumbent: int | None = None
    """Of several targets, the version that had the alias to itself last: the others are canaries beside it. None when
    there is one target, or when that version is no longer among them."""
    policy: TrafficPolicy = TrafficPolicy()

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.alias}"

    @property
    def numbers(self) -> frozenset[int]:
        """Of the versions behind it."""
        return frozenset(target.number for target in self.targets)

    def __str__(self) -> str:
        """`triage:3 (90%), triage:4 (10%)`"""
        return ", ".join(f"{self.name}:{target.number} ({100 * target.weight:.4g}%)" for target in self.targets)


def shares(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets by number, with weights that sum to 1. Raises `InvalidInput` for none, or one named twice."""
    numbers = [target.number for target in targets]
    if not numbers or len(set(numbers)) < len(numbers):
        raise InvalidInput("an alias needs at least one target, and each version once")
    total = math.fsum(target.weight for target in targets)
    if math.isclose(total, 1.0, abs_tol=1e-9):
        total = 1.0
    by_number = sorted(targets, key=lambda target: target.number)
    return tuple(Target(number=target.number, weight=target.weight / total) for target in by_number)


def check_whole(written: Sequence[float]) -> None:
    """Of shares that somebody wrote as parts of all requests, and that are no mere weights.

    Raises `InvalidInput` when they come to more or less: what was meant is not known, and scaled they would be others.
    """
    total = math.fsum(written)
    if abs(total - 1) > _AS_WRITTEN:
        raise InvalidInput(f"the shares come to {100 * total:.4g}%, and not to 100%; write shares that come to 100%")


def beside(alias: Alias, number: int, share: float) -> tuple[Target, ...]:
    """The alias's targets with `share` of the traffic for version `number`, and the rest as it was shared out before.

    Raises `NotAllowed` when there is no other version to have the rest.
    """
    others = [target for target in alias.targets if target.number != number]
    if not others:
        raise NotAllowed(f"{alias.ref} has no other version than {alias.name}:{number} that could have the rest")
    if share == 1:
        return (Target(number=number),)
    kept = math.fsum(target.weight for target in others)
    rest = [Target(number=target.number, weight=target.weight / kept * (1 - share)) for target in others]
    return shares([*rest, Target(number=number, weight=share)])


def growing(before: Alias | None, targets: Sequence[Target]) -> list[Target]:
    """Those that get more than they have. Only they are asked whether they may: what stands there may keep its share or
    give of it, whatever was found since.
    """
    has = {target.number: target.weight for target in before.targets} if before else {}
    return [target for target in targets if target.weight > has.get(target.number, 0.0) + _ROUNDING]


def refusal(alias: str, version: Version, gate: Gate | None = None, verdicts: Sequence[Verdict] = ()) -> str | None:
    """Why `version` may not stand behind `alias`; None when it may. `verdicts` are its own, the newest first.

    `prod` takes an approved version whose verdicts satisfy the gate of its name, and nothing where there is no gate.
    Every other alias (canary, shadow) takes what has been evaluated and not rejected, by whatever evaluation. A retired
    version stands behind nothing.
    """
    if version.state is State.RETIRED:
        return f"{version.ref} is retired; make a new version of its recipe"
    if alias == PROD:
        return "; ".join(objections(gate, version, verdicts)) or None
    if version.state in (State.DRAFT, State.REJECTED):
        return f"{version.ref} is {version.state}; only an evaluated or approved version can take {alias}"
    return None


def check_name(alias: str) -> str:
    """Raises `InvalidInput` for a name that would read as a version's number, or that no request could write."""
    if Ref.parse(f"x:{alias}").alias != alias:
        raise InvalidInput(f"'{alias}' cannot name an alias: it would be read as a version's number")
    return alias
