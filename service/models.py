"""What `/v1/models` lists: the base, and every alias and version that the caller may put into `model`."""

from __future__ import annotations

from typing import Any

from lifecycle.aliases import PROD, Alias
from lifecycle.errors import NotFound
from lifecycle.states import State
from lifecycle.version import Ref, Version
from service.catalogue import Snapshot
from service.resolution import EVALUATION, Base, Caller


def listed(snapshot: Snapshot, base: Base, caller: Caller) -> list[dict[str, Any]]:
    """Model cards in the OpenAI shape, with our facts under `dabt`. The base first, then by name."""
    cards = [_card(base.name, 0, None, {"digest": base.digest, "state": None, "alias": None, "kind": "base"})]
    for name, numbers in sorted(snapshot.versions.items()):
        usable = {number: one for number, one in numbers.items() if one.spec.base == base.digest}
        for _, alias in sorted(snapshot.aliases.get(name, {}).items()):
            if all(target.number in usable for target in alias.targets):
                cards += _alias_card(alias, usable, base)
        for _, version in sorted(usable.items()):
            if version.state is State.APPROVED or (caller.purpose == EVALUATION and version.state is not State.RETIRED):
                cards.append(_version_card(version.ref, version, None, base))
    return cards


def found(model: str, snapshot: Snapshot, base: Base, caller: Caller) -> dict[str, Any]:
    """The card of one model. Raises `NotFound` when the list has none of that name."""
    wanted = model.removesuffix(f":{PROD}")
    for card in listed(snapshot, base, caller):
        if card["id"] == wanted:
            return card
    raise NotFound(f"there is no model {model!r} that can be called here; GET /v1/models lists those that can")


def _alias_card(alias: Alias, versions: dict[int, Version], base: Base) -> list[dict[str, Any]]:
    name = alias.name if alias.alias == PROD else str(Ref(name=alias.name, alias=alias.alias))
    live = [target for target in alias.targets if versions[target.number].state is not State.RETIRED]
    if not live:
        return []
    # With several targets the card shows the one with the most traffic, and lists all.
    main = max(live, key=lambda target: target.weight)
    card = _version_card(name, versions[main.number], alias.alias, base)
    card["dabt"]["targets"] = [
        {"version": versions[target.number].ref, "weight": target.weight} for target in alias.targets
    ]
    return [card]


def _version_card(name: str, version: Version, alias: str | None, base: Base) -> dict[str, Any]:
    facts = {
        "version": version.ref,
        "digest": version.digest,
        "state": version.state.value,
        "alias": alias,
        "kind": version.spec.kind,
        "adapter": version.spec.adapter,
        "index": version.spec.knowledge.index if version.spec.knowledge else None,
    }
    return _card(name, int(version.created_at.timestamp()), base.name, facts)


def _card(name: str, created: int, parent: str | None, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "dabt",
        "parent": parent,
        "dabt": {**facts, "parent": parent},
    }
