"""From what a caller writes in `model` to the version that answers: names, aliases, weights, states.

A pure function of the catalogue's snapshot. Read `serving.py` for what happens with the result.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from lifecycle.access.keys import ApiKey, allows, owner_of
from lifecycle.aliases import PROD, Alias, Target
from lifecycle.errors import Forbidden, InvalidInput, ModelNotFound, NotAllowed, Problem, Unreadable
from lifecycle.jobs.nouns import TunedModel
from lifecycle.states import CALLABLE, State
from lifecycle.version import AnswerSettings, Decoding, Digest, Ref, Version
from service.catalogue import UPGRADE, Snapshot

if TYPE_CHECKING:
    from service.request_context import RequestContext

EVALUATION = "evaluation"
PURPOSE_HEADER = "x-dabt-purpose"
SESSION_HEADER = "x-dabt-session"
_SHOWN = 12
"""Names in a message."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What of a request, besides `model`, bears on which version answers."""

    purpose: str = ""
    """`evaluation` may also call versions that are not approved."""
    session: str = ""
    """From the session header or the body's `user`: the same one gets the same target of a weighted alias."""
    key: ApiKey | None = None
    """None where no keys are asked for."""
    tuned: TunedModel | None = None
    """What a job of its own has made, where it asks for that: it may call it as a draft."""

    @property
    def owner(self) -> str:
        """Whose files, jobs and tuned models it has; without keys, everybody's on this machine."""
        return owner_of(self.key)

    def may_call(self, ref: str) -> bool:
        """Whether its key covers `triage:3`, `triage:prod`, or the base's name."""
        return self.key is None or allows(self.key.models, ref)


def caller_of(body: Mapping[str, Any], context: RequestContext) -> Caller:
    user = body.get("user")
    return Caller(context.purpose, context.session or (user if isinstance(user, str) else ""), context.key)


_UNSAID = Decoding()


@dataclass(frozen=True, slots=True)
class Base:
    """The model that this service runs."""

    name: str
    digest: Digest
    """Its fingerprint's."""
    answers: AnswerSettings | None = None
    """What else of its folder decides an answer."""
    decoding: Decoding = _UNSAID
    """Its makers'. Requests to the base itself get what of it is set, and so do old versions (`openai/decoding.py`)."""
    beside: tuple[Base, ...] = ()
    """Others that this service runs, on engines of their own."""
    folder: Digest = ""
    """Of everything in its folder that decides an answer: of the recipe that is the base alone."""

    @property
    def every(self) -> tuple[Base, ...]:
        return (self, *self.beside)

    def of(self, version: Version | None) -> Base:
        """The one that the version is served over; this one for what is over none of them."""
        return next((each for each in self.every if version is not None and version.spec.base == each.digest), self)

    def refusal(self, version: Version) -> str:
        """Why the version cannot be served here; empty when it can, as a classifier can beside any base."""
        return self.of(version)._refusal(version, self.every)

    def _refusal(self, version: Version, every: tuple[Base, ...]) -> str:
        here = f"{' and '.join(each.name for each in every)}{{}} {'run' if len(every) > 1 else 'runs'} here"
        spec = version.spec
        if spec.classifier is not None:
            return ""
        if spec.base != self.digest and spec.weights:
            return (
                f"{version.ref} is whole weights, a model of its own, and {here.format('')}; serve it with "
                f"`dabt serve --base {version.ref}`"
            )
        if spec.base != self.digest:
            return (
                f"{version.ref} was made for another base model than {here.format(', which')}; serve it with its "
                "own base, of which the chat template is a part, or train it again on this one"
            )
        if spec.answers and self.answers and (differ := spec.answers.differences(self.answers)):
            return (
                f"{version.ref} was made over a base that differs from {self.name}, which runs here, in "
                f"{', '.join(differ)}: it would not answer as it was evaluated. Serve it with its own base, or make a "
                "version over this one: write its recipe as an arm of an evaluation, and run that"
            )
        return ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The answerer. `version` is None for the base under its own name."""

    asked: str
    ref: str
    digest: Digest
    revision: int
    """Of the registry, as it was when this was decided."""
    base: Base
    """Whose engine answers."""
    version: Version | None = None
    alias: Alias | None = None
    """What was asked for, when that was an alias."""
    session: str = ""
    """The caller's: behind an alias all of its requests go to one version, while the shares stand."""


def resolve(model: object, caller: Caller, snapshot: Snapshot, base: Base) -> Resolved:
    """Raises `InvalidInput` for no name at all, `ModelNotFound` for an unknown one, `Forbidden` for one that the
    caller's key does not cover, whether it is there or not, and `NotAllowed` for a version that may not be
    called: retired, made for another base, or not approved. Raises `Unreadable` for what another release wrote.

    A version called by number must be approved, or have been so and be doubted since, unless the caller says that it is
    an evaluation. Behind an alias it need not be: what may stand there was decided, and written down, when the alias
    was moved. What a job of the caller's own has made need not be either, by the name that the job gave it.
    """
    if not isinstance(model, str) or not model:
        fault = "is missing" if model is None else "must be a model's name"
        cure = f"one of {_names(caller, snapshot, base)}"
        raise InvalidInput("The request names no model:", [Problem("model", fault, cure)])
    if (itself := next((each for each in base.every if each.name == model), None)) is not None:
        permit(itself.name, caller)
        return Resolved(model, itself.name, itself.digest, snapshot.revision, itself)
    if caller.tuned is not None and model == caller.tuned.name:
        version, alias = _tuned(caller.tuned, caller, snapshot), None
    else:
        version, alias = _find(model, caller, snapshot, base)
    if reason := base.refusal(version):
        raise NotAllowed(reason)
    if (made := version.spec.artifact) is not None and ("artifact", made[1]) in snapshot.left_out:
        raise Unreadable(f"the {made[0]} of {version.ref}, {made[1]}: {UPGRADE}")
    over = base.of(version)
    return Resolved(model, version.ref, version.digest, snapshot.revision, over, version, alias, caller.session)


def permit(ref: str, caller: Caller) -> None:
    """Raises `Forbidden` when the caller's key does not cover `ref`."""
    key = caller.key
    if key is not None and not allows(key.models, ref):
        raise Forbidden(f"the {key} is for {', '.join(key.models)}, and not for {ref}")


def _find(model: str, caller: Caller, snapshot: Snapshot, base: Base) -> tuple[Version, Alias | None]:
    try:
        ref = Ref.parse(model)
    except InvalidInput as error:
        raise _unknown(model, caller, snapshot, base) from error
    permit(str(ref), caller)
    numbers = snapshot.versions.get(ref.name, {})
    if ref.number is not None:
        if ref.number in numbers:
            return _callable_by_number(numbers[ref.number], caller), None
        _refuse_unreadable("version", ref, snapshot)
        if not numbers:
            raise _unknown(model, caller, snapshot, base)
        raise ModelNotFound(f"{ref.name} has no version {ref.number}; it has {_listed(numbers, len(numbers))}")
    alias = snapshot.aliases.get(ref.name, {}).get(str(ref.alias))
    if alias is None:
        _refuse_unreadable("alias", ref, snapshot)
        if not numbers:
            raise _unknown(model, caller, snapshot, base)
        raise ModelNotFound(_no_alias(ref, caller, snapshot))
    number = _pick(alias, caller.session)
    if number not in numbers:
        raise Unreadable(f"{ref.name}:{number}, behind {ref}: {UPGRADE}")
    version = numbers[number]
    if version.state is State.RETIRED:
        raise NotAllowed(f"{version.ref}, behind {ref}, is retired; move the alias with `dabt promote` or `rollback`")
    return version, alias


def _tuned(tuned: TunedModel, caller: Caller, snapshot: Snapshot) -> Version:
    ref = Ref.parse(tuned.version)
    _refuse_unreadable("version", ref, snapshot)
    version = snapshot.version(ref.name, ref.number or 0)
    if version is None:
        raise ModelNotFound(f"{tuned.version}, which {tuned.name} names, is not in the registry")
    if version.state is State.RETIRED:
        return _callable_by_number(version, caller)
    return version


def _refuse_unreadable(kind: Literal["version", "alias"], ref: Ref, snapshot: Snapshot) -> None:
    if (kind, str(ref)) in snapshot.left_out:
        raise Unreadable(f"{ref}: {UPGRADE}")


def _callable_by_number(version: Version, caller: Caller) -> Version:
    if version.state is State.RETIRED:
        raise NotAllowed(f"{version.ref} is retired and no longer served; call another version or an alias")
    if version.state not in CALLABLE and caller.purpose != EVALUATION:
        raise NotAllowed(
            f"{version.ref} is {version.state}, not approved: evaluate it with `dabt eval`, or send the header "
            f"{PURPOSE_HEADER}: {EVALUATION} if this is an evaluation"
        )
    return version


def _pick(alias: Alias, session: str) -> int:
    """A target by weight. A session always draws the same point, so it moves only when its share moves."""
    point = _point(f"{alias.ref}|{session}") if session else random.random()
    return _at(alias.targets, point)


def _at(targets: tuple[Target, ...], point: float) -> int:
    passed = 0.0
    for target in targets:
        passed += target.weight
        if point < passed:
            return target.number
    return targets[-1].number


def _point(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _unknown(model: str, caller: Caller, snapshot: Snapshot, base: Base) -> ModelNotFound:
    return ModelNotFound(f"there is no model {model!r}; this service has {_names(caller, snapshot, base)}")


def _names(caller: Caller, snapshot: Snapshot, base: Base) -> str:
    """What the caller may know of: the base, and names that it may call in production.

    All names are looked through once for each snapshot and kind of caller, and not for each slip of a caller.
    """
    kind = caller.key.models if caller.key is not None else None
    if kind not in snapshot.named:
        covered = [name for name in snapshot.names if caller.may_call(f"{name}:{PROD}")]
        snapshot.named[kind] = tuple(covered[:_SHOWN]), len(covered)
    names, count = snapshot.named[kind]
    bases = [each.name for each in base.every if caller.may_call(each.name)]
    return _listed((*bases, *names), count + len(bases))


def _no_alias(ref: Ref, caller: Caller, snapshot: Snapshot) -> str:
    aliases = [alias for alias in snapshot.aliases.get(ref.name, {}) if caller.may_call(f"{ref.name}:{alias}")]
    if ref.alias == "prod":
        return f"{ref.name} has no version in production yet: promote one with `dabt promote {ref.name}:<number>`"
    return f"{ref.name} has no alias {ref.alias!r}; it has {_listed(aliases, len(aliases))}"


def _listed(names: Iterable[object], count: int) -> str:
    """At most `_SHOWN` of the `count` that there are, so that a message stays one."""
    shown = ", ".join(str(name) for name in islice(names, _SHOWN))
    return shown + (f" and {count - _SHOWN} more" if count > _SHOWN else "") or "none"
