"""What `/v1/models` lists: all that the caller may put into `model`, the base, aliases, versions, the embedder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from lifecycle.aliases import PROD, Alias
from lifecycle.errors import InvalidInput, ModelNotFound, Unavailable
from lifecycle.jobs.nouns import TunedModel
from lifecycle.states import CALLABLE, State
from lifecycle.version import Digest, Ref, Version
from service.catalogue import Snapshot
from service.resolution import EVALUATION, Base, Caller

if TYPE_CHECKING:
    from service.engine.interface import EngineFacts
    from service.openai.embedder import Embedder

_KEPT_BYTES = 64 * 2**20
"""Of pages that were put together: a service with thousands of versions sends megabytes."""
_BEGINS, _ENDS = b'{"object":"list","data":[', b"]}"


@dataclass(frozen=True, slots=True)
class Running:
    """What this service runs, besides the registry's versions."""

    base: Base
    max_model_len: int | None = None
    """Tokens; None until the engine is ready."""
    embedding_model: str = ""
    """Empty when there is none."""
    embedding_digest: Digest = ""
    lengths: tuple[tuple[Digest, int], ...] = ()
    """`max_model_len` of other bases."""

    def length_of(self, base: Base) -> int | None:
        return dict(self.lengths).get(base.digest, self.max_model_len)


async def running(base: Base, embedder: Embedder | None, facts: EngineFacts | None) -> Running:
    """What runs here now. An embedding model that is not to be had is not listed."""
    digest = ""
    if embedder is not None:
        with suppress(Unavailable):
            digest = await embedder.digest()
    return Running(
        base=base,
        max_model_len=facts.max_model_len if facts else None,
        embedding_model=embedder.name if embedder is not None and digest else "",
        embedding_digest=digest,
        lengths=tuple((other, beside.max_model_len) for other, beside in facts.beside.items()) if facts else (),
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """One card as it is sent, and who may see it."""

    ref: str
    """What a key must cover for the card to be shown: `triage:prod` for `triage`, and the base by its own name."""
    for_evaluation: bool
    """Shown to evaluations alone."""
    text: bytes


@dataclass(frozen=True, slots=True)
class _List:
    """All cards, as of a snapshot and what runs; and the pages that callers have asked for."""

    of: tuple[Mapping[str, Mapping[int, Version]], Mapping[str, Mapping[str, Alias]], Running]
    cards: Sequence[_Listed]
    pages: dict[tuple[tuple[str, ...] | None, bool], bytes] = field(default_factory=dict)

    def fits(self, snapshot: Snapshot, running: Running) -> bool:
        versions, aliases, of_running = self.of
        return versions is snapshot.versions and aliases is snapshot.aliases and of_running == running


class ModelList:
    """`GET /v1/models`. A card is written once for each version and alias, and a page once for each kind of caller:
    what comes after a change costs what changed, and what comes between two changes nothing."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: dict[str, tuple[tuple[object, ...], _Listed | None]] = {}
        """By ref: what a card was made of, and the card; None where there is none to show."""
        self._list = _List(({}, {}, Running(Base("", ""))), ())

    def page(self, snapshot: Snapshot, running: Running, caller: Caller) -> bytes | None:
        """What was made already; None when `make` has to be called."""
        current = self._list
        return current.pages.get(_kind(caller)) if current.fits(snapshot, running) else None

    def make(self, snapshot: Snapshot, running: Running, caller: Caller) -> bytes:
        """The base first, then by name, then the embedder. Takes long for thousands: call it in a thread."""
        with self._making:
            if not self._list.fits(snapshot, running):
                of = (snapshot.versions, snapshot.aliases, running)
                self._list = _List(of, [*self._cards(snapshot, running)])
            pages = self._list.pages
            if (page := pages.get(_kind(caller))) is None:
                texts = [card.text for card in _visible(self._list.cards, caller)]
                page = _page(texts)
                while pages and sum(map(len, pages.values())) + len(page) > _KEPT_BYTES:
                    del pages[next(iter(pages))]
                pages[_kind(caller)] = page
            return page

    def _cards(self, snapshot: Snapshot, running: Running) -> Iterator[_Listed]:
        of_running = self._list.of[2]
        before = self._made if of_running == running else {}
        self._made = {}
        for base in running.base.every:
            yield _Listed(base.name, False, to_json(_base_card(base, running)))
        for name in snapshot.names:
            numbers = snapshot.versions[name]
            for _, alias in sorted(snapshot.aliases.get(name, {}).items()):
                if (card := self._card(before, alias.ref, (alias, *snapshot.behind(alias)), running)) is not None:
                    yield card
            for _, version in sorted(numbers.items()):
                if (card := self._card(before, version.ref, (version,), running)) is not None:
                    yield card
        if running.embedding_model:
            yield _Listed(running.embedding_model, False, to_json(_embedder_card(running)))

    def _card(
        self,
        before: Mapping[str, tuple[tuple[object, ...], _Listed | None]],
        ref: str,
        parts: tuple[Alias | Version, ...],
        running: Running,
    ) -> _Listed | None:
        """The one that was made before, when all that it was made of is still the same."""
        known = before.get(ref)
        if (
            known is None
            or len(known[0]) != len(parts)
            or any(a is not b for a, b in zip(known[0], parts, strict=True))
        ):
            known = parts, _listed(ref, parts, running)
        self._made[ref] = known
        return known[1]


def card_of(model: str, snapshot: Snapshot, running: Running, caller: Caller) -> dict[str, Any]:
    """The card of one model. Raises `ModelNotFound` when the list has none of that name for this caller."""
    card = _one(model, snapshot, running, caller)
    if card is None:
        raise ModelNotFound(f"there is no model {model!r} that can be called here; GET /v1/models lists those that can")
    return card


def _one(model: str, snapshot: Snapshot, running: Running, caller: Caller) -> dict[str, Any] | None:
    plain: dict[str, Callable[[Running], dict[str, Any]]] = {running.embedding_model: _embedder_card}
    plain.update({base.name: partial(_base_card, base) for base in running.base.every})
    if model in plain:
        return plain[model](running) if caller.may_call(model) else None
    if caller.tuned is not None and model == caller.tuned.name:
        return _tuned_card(model, Ref.parse(caller.tuned.version), snapshot, running)
    try:
        ref = Ref.parse(model)
    except InvalidInput:
        return None
    if not caller.may_call(str(ref)):
        return None
    if ref.number is not None:
        version = snapshot.version(ref.name, ref.number)
        shown = version is not None and _is_shown(version, running.base, caller.purpose == EVALUATION)
        return _version_card(version.ref, version, None, running) if version is not None and shown else None
    alias = snapshot.aliases.get(ref.name, {}).get(str(ref.alias))
    return _alias_card(alias, [*snapshot.behind(alias)], running) if alias is not None else None


def with_tuned(page: bytes, tuned: Sequence[TunedModel], snapshot: Snapshot, running: Running) -> bytes:
    """The page with what jobs of the caller's have made, at its end."""
    cards = [_tuned_card(model.name, Ref.parse(model.version), snapshot, running) for model in tuned]
    texts = [to_json(card) for card in cards if card is not None]
    if not texts:
        return page
    listed = page.removeprefix(_BEGINS).removesuffix(_ENDS)
    return _page([listed, *texts] if listed else texts)


def _page(cards: Sequence[bytes]) -> bytes:
    return _BEGINS + b",".join(cards) + _ENDS


def _tuned_card(name: str, ref: Ref, snapshot: Snapshot, running: Running) -> dict[str, Any] | None:
    version = snapshot.version(ref.name, ref.number or 0)
    if version is None or not _is_shown(version, running.base, evaluation=True):
        return None
    return _version_card(name, version, None, running)


def _kind(caller: Caller) -> tuple[tuple[str, ...] | None, bool]:
    return caller.key.models if caller.key is not None else None, caller.purpose == EVALUATION


def _visible(cards: Iterable[_Listed], caller: Caller) -> Iterator[_Listed]:
    """Names are asked for once each, and not for every version."""
    covered: dict[str, bool] = {}
    for card in cards:
        if card.for_evaluation and caller.purpose != EVALUATION:
            continue
        name = card.ref.partition(":")[0]
        if name not in covered:
            covered[name] = caller.may_call(name)
        if covered[name] or caller.may_call(card.ref):
            yield card


def _listed(ref: str, parts: tuple[Alias | Version, ...], running: Running) -> _Listed | None:
    """Of an alias with the versions behind it, or of a version."""
    subject, *versions = parts
    if isinstance(subject, Alias):
        card = _alias_card(subject, [version for version in versions if isinstance(version, Version)], running)
        return None if card is None else _Listed(ref, False, to_json(card))
    if not _is_shown(subject, running.base, evaluation=True):
        return None
    for_evaluation = not _is_shown(subject, running.base, evaluation=False)
    return _Listed(ref, for_evaluation, to_json(_version_card(ref, subject, None, running)))


def _is_shown(version: Version, base: Base, evaluation: bool) -> bool:
    callable_now = version.state in CALLABLE or (evaluation and version.state is not State.RETIRED)
    return callable_now and not base.refusal(version)


def _base_card(base: Base, running: Running) -> dict[str, Any]:
    return {**_card(base.name, 0, None, _facts("base", base.digest)), "max_model_len": running.length_of(base)}


def _embedder_card(running: Running) -> dict[str, Any]:
    return _card(running.embedding_model, 0, None, _facts("embedding", running.embedding_digest))


def _alias_card(alias: Alias, behind: Sequence[Version], running: Running) -> dict[str, Any] | None:
    """`behind` are the versions that can be read. None for an alias that no request to would be answered by them."""
    live = {version.number: version for version in behind if version.state is not State.RETIRED}
    if not live or any(running.base.refusal(version) for version in behind):
        return None
    name = alias.name if alias.alias == PROD else str(Ref(name=alias.name, alias=alias.alias))
    # With several targets the card shows the one with the most traffic, and lists all.
    main = max((target for target in alias.targets if target.number in live), key=lambda target: target.weight)
    card = _version_card(name, live[main.number], alias.alias, running)
    card["dabt"]["targets"] = [
        {"version": f"{alias.name}:{target.number}", "weight": target.weight} for target in alias.targets
    ]
    return card


def _version_card(name: str, version: Version, alias: str | None, running: Running) -> dict[str, Any]:
    facts = {
        **_facts(version.spec.kind, version.digest),
        "version": version.ref,
        "state": version.state.value,
        "alias": alias,
        "adapter": version.spec.adapter,
        "weights": version.spec.weights,
        "classifier": version.spec.classifier,
        "index": version.spec.knowledge.index if version.spec.knowledge else None,
    }
    created = int(version.created_at.timestamp())
    if version.spec.classifier is not None:  # it runs beside the base, and the base's limit is not its own
        return _card(name, created, None, facts)
    base = running.base.of(version)
    return {**_card(name, created, base.name, facts), "max_model_len": running.length_of(base)}


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
