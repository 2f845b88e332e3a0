"""What a move of traffic will do: who gets which version then, and what the gate says of it. Changes nothing.

The registry decides again when the move is made (`lifecycle/registry/moves.py`), by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lifecycle import aliases
from lifecycle.aliases import PROD, Alias, Target
from lifecycle.errors import InvalidInput, NotAllowed, Problem
from lifecycle.registry import Registry
from lifecycle.states import State
from lifecycle.traffic import parse_share
from lifecycle.version import Ref, Version
from service.catalogue import Snapshot

Kind = Literal["promote", "split", "rollback", "stop"]
PLACES = 20
"""Versions that a form shares traffic out over."""


@dataclass(frozen=True, slots=True)
class Move:
    """What a form says, not looked at yet but for its alias."""

    kind: Kind
    ref: str
    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.ref.partition(":")[0]

    @property
    def alias(self) -> str:
        return self.ref.partition(":")[2]

    def share(self) -> float | None:
        """Of a promotion; None for all of it."""
        return parse_share(self.fields["share"]) if self.fields.get("share", "").strip() else None

    def number(self) -> int:
        return _number(self.fields.get("version", ""), "version")

    def targets(self) -> list[Target]:
        """Of a split. Raises `InvalidInput` with every fault."""
        targets, problems = [], []
        for place in range(PLACES):
            version, share = (self.fields.get(f"{field}{place}", "").strip() for field in ("version", "share"))
            if not version and not share:
                continue
            try:
                targets.append(Target(number=_number(version, f"version{place}"), weight=parse_share(share)))
            except InvalidInput as error:
                problems.append(Problem(f"{place + 1}", error.summary))
        if problems:
            raise InvalidInput("These shares cannot be used:", problems)
        split = aliases.shares(targets)
        aliases.check_whole([target.weight for target in targets])
        return list(split)


def asked_of(fields: Mapping[str, str]) -> Move:
    """Raises `InvalidInput` for a ref that is no alias, and for a move that there is not."""
    kind, ref = fields.get("do", ""), Ref.parse(fields.get("ref", ""))
    if ref.alias is None:
        raise InvalidInput(f"{ref} is a version; an alias is moved, such as {ref.name}:{PROD}")
    if kind not in get_args(Kind):
        raise InvalidInput(f"there is no move {kind[:40]!r}: it is one of {', '.join(get_args(Kind))}")
    return Move(kind, str(ref), fields)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Change:
    """Of one version's share of the requests."""

    number: int
    version: Version | None
    now: float
    then: float
    refusal: str | None = None
    """Why the gate, or the rule of this alias, does not let it have more than now."""


@dataclass(frozen=True, slots=True)
class Plan:
    asked: Move
    before: Alias | None
    revision: int
    """Of the registry as it was looked at."""
    changes: tuple[Change, ...]
    is_asked: bool
    """Whether any version gets more than now, so that the gate was asked."""
    can_be_forced: bool

    @property
    def refusals(self) -> list[str]:
        return [change.refusal for change in self.changes if change.refusal is not None]

    @property
    def canaries(self) -> list[int]:
        """Versions that will answer beside the one that has the alias to itself now."""
        then = [change.number for change in self.changes if change.then > 0]
        alone = self.before is not None and len(self.before.targets) == 1
        return [n for n in then if self.before is not None and n not in self.before.numbers] if alone else []


def order_of(asked: Move, revision: int, reason: str, *, force: bool) -> tuple[str, dict[str, Any]]:
    """The route of the API that does it, and what is sent there: a move by what was seen at `revision`."""
    said = {"reason": reason, "actor": "console", "expected_revision": revision}
    match asked.kind:
        case "promote":
            body = {**said, "ref": f"{asked.name}:{asked.number()}", "alias": asked.alias, "force": force}
            return "/admin/promote", {**body, "share": asked.share()}
        case "split":
            targets = [target.model_dump() for target in asked.targets()]
            return "/admin/traffic/split", {**said, "alias": asked.ref, "targets": targets, "force": force}
        case "rollback":
            return "/admin/rollback", {**said, "name": asked.name, "alias": asked.alias}
        case "stop":
            return "/admin/traffic/stop-canary", {**said, "alias": asked.ref}


def plan_of(asked: Move, snapshot: Snapshot, registry: Registry) -> Plan:
    """Reads the registry, so it may block.

    Raises `InvalidInput`, `NotFound` and `NotAllowed` for what cannot be done at all.
    """
    before = snapshot.aliases.get(asked.name, {}).get(asked.alias)
    targets = _targets(asked, before, registry)
    known = snapshot.versions.get(asked.name, {})
    has = {target.number: target.weight for target in before.targets} if before else {}
    gets = {target.number: target.weight for target in targets}
    # What an alias is led back to is not asked again.
    growing = aliases.growing(before, targets) if asked.kind in ("promote", "split") else []
    refusals = {target.number: _refusal(asked, target.number, registry) for target in growing}
    retired = [n for n in refusals if n in known and known[n].state is State.RETIRED]
    changes = [
        Change(n, known.get(n), has.get(n, 0.0), gets.get(n, 0.0), refusals.get(n)) for n in sorted({*has, *gets})
    ]
    return Plan(asked, before, snapshot.revision, tuple(changes), bool(growing), not retired)


def _targets(asked: Move, before: Alias | None, registry: Registry) -> tuple[Target, ...]:
    match asked.kind:
        case "promote":
            number, share = asked.number(), asked.share()
            if share is None:
                return (Target(number=number),)
            if before is None:
                raise NotAllowed(
                    f"{asked.ref} serves nothing yet, so nothing can have the rest; promote with all of it"
                )
            return aliases.beside(before, number, share)
        case "split":
            return tuple(asked.targets())
        case "rollback":
            if (led_to := registry.listings.before(asked.name, asked.alias)) is None:
                raise NotAllowed(f"{asked.ref} has nothing before it to go back to; promote a version instead")
            return led_to.targets
        case "stop":
            if before is None or before.incumbent is None:
                raise NotAllowed(f"{asked.ref} has no canary beside a version that had it to itself before")
            return (Target(number=before.incumbent),)


def _refusal(asked: Move, number: int, registry: Registry) -> str | None:
    version = registry.version(Ref(name=asked.name, number=number))
    gate = registry.gate(asked.name) if asked.alias == PROD else None
    return aliases.refusal(asked.alias, version, gate, registry.verdicts(version.ref))


def _number(text: str, place: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and 0 < int(text[:12]) < 10**9):
        raise InvalidInput(f"{place}: {text[:40]!r} is no version's number")
    return int(text)
