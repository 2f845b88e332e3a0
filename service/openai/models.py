"""What `/v1/models` lists: all that the caller may put into `model`, the base, aliases, versions, the embedder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifecycle.aliases import PROD, Alias
from lifecycle.errors import ModelNotFound, Unavailable
from lifecycle.states import CALLABLE, State
from lifecycle.version import Digest, Ref, Version
from service.catalogue import Snapshot
from service.resolution import EVALUATION, Base, Caller

if TYPE_CHECKING:
    from service.parts import Parts


@dataclass(frozen=True, slots=True)
class Running:
    """What this service runs, besides the registry's versions."""

    base: Base
    max_model_len: int | None = None
    """Tokens; None until the engine is ready."""
    embedding_model: str = ""
    """Empty when there is none."""
    embedding_digest: Digest = ""


async def running(parts: Parts) -> Running:
    """What runs here now. An embedding model that is not to be had is not listed."""
    digest = ""
    if parts.embedder is not None:
        with suppress(Unavailable):
            digest = await parts.embedder.digest()
    facts = parts.supervisor.facts
    return Running(
        base=parts.base,
        max_model_len=facts.max_model_len if facts else None,
        embedding_model=parts.embedder.name if parts.embedder is not None and digest else "",
        embedding_digest=digest,
    )


def listed(snapshot: Snapshot, running: Running, caller: Caller) -> list[dict[str, Any]]:
    """Model cards in the OpenAI shape, with our facts under `dabt`. The base first, then by name."""
    base = running.base
    cards = [_card(base.name, 0, None, _facts("base", base.digest))]
    for name, numbers in sorted(snapshot.versions.items()):
        usable = {number: one for number, one in numbers.items() if not base.refusal(one)}
        for _, alias in sorted(snapshot.aliases.get(name, {}).items()):
            if all(target.number in usable for target in alias.targets):
                cards += _alias_card(alias, usable, base)
        for _, version in sorted(usable.items()):
            if version.state in CALLABLE or (caller.purpose == EVALUATION and version.state is not State.RETIRED):
                cards.append(_version_card(version.ref, version, None, base))
    for card in cards:
        card["max_model_len"] = running.max_model_len
    if running.embedding_model:
        cards.append(_card(running.embedding_model, 0, None, _facts("embedding", running.embedding_digest)))
    return [card for card in cards if caller.may_call(_ref(card))]


def found(model: str, snapshot: Snapshot, running: Running, caller: Caller) -> dict[str, Any]:
    """The card of one model. Raises `ModelNotFound` when the list has none of that name."""
    wanted = model.removesuffix(f":{PROD}")
    for card in listed(snapshot, running, caller):
        if card["id"] == wanted:
            return card
    raise ModelNotFound(f"there is no model {model!r} that can be called here; GET /v1/models lists those that can")


def _ref(card: Mapping[str, Any]) -> str:
    """What a key must cover for the card to be shown: `triage:prod` for `triage`, and the base by its own name."""
    return str(Ref.parse(card["id"])) if card["parent"] else str(card["id"])


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
        **_facts(version.spec.kind, version.digest),
        "version": version.ref,
        "state": version.state.value,
        "alias": alias,
        "adapter": version.spec.adapter,
        "index": version.spec.knowledge.index if version.spec.knowledge else None,
    }
    return _card(name, int(version.created_at.timestamp()), base.name, facts)


def _facts(kind: str, digest: Digest) -> dict[str, Any]:
    """What every card says, in one order; versions fill in the rest."""
    return {"version": None, "digest": digest, "state": None, "alias": None, "kind": kind}


def _card(name: str, created: int, parent: str | None, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "dabt",
        "parent": parent,
        "dabt": {**facts, "parent": parent},
    }
