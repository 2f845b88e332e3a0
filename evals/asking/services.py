"""The services that an evaluation asks: its own endpoint, and those that arms name for themselves.

A service runs one base or several. A version over a base that it does not run, such as whole weights beside the base
that they were trained from, is asked where it is served, and all services must be alike in whatever else decides
answers and seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evals.arms import Arm
from evals.asking.endpoint import Endpoint, Session
from lifecycle.aliases import PROD
from lifecycle.deployment import Deployment
from lifecycle.errors import InvalidConfig, Problem

if TYPE_CHECKING:
    import httpx

_ITS_OWN = frozenset({"base", "arguments"})
"""What services over two bases differ in: the base, and the limits and options that follow from it."""


_CURE = "serve its base too (`dabt serve --base A --base B`), or give its arm the endpoint it has"
_CURE_OF_PROD = "serve its base too, or take prod out of the policy's rules for the change of the base"


@dataclass(frozen=True)
class Services:
    """Open sessions. `others` are those of arms with an endpoint of their own, by label."""

    own: Session
    others: dict[str, Session] = field(default_factory=dict)

    def of(self, label: str) -> Session:
        return self.others.get(label, self.own)


@contextmanager
def asked(endpoint: Endpoint, arms: Sequence[Arm], transport: httpx.AsyncBaseTransport | None) -> Iterator[Services]:
    """Sessions with every service that the arms need, which has said what it is.

    Raises `Unavailable` where none answers, and `InvalidConfig` where two cannot be compared, or arms are over more
    bases than one runs.
    """
    with ExitStack() as opened:
        by_url: dict[str, Session] = {}
        for url in ("", *(arm.endpoint for arm in arms)):
            if url not in by_url:
                place = endpoint.model_copy(update={"url": url}) if url else endpoint
                runner = by_url[""].runner if by_url else None  # one loop for all: a scorer may ask several
                by_url[url] = opened.enter_context(Session(place, transport, runner))
                by_url[url].check()
                by_url[url].ask_deployment()
        services = Services(by_url[""], {arm.label: by_url[arm.endpoint] for arm in arms if arm.endpoint})
        _require_served([arm for arm in arms if not arm.endpoint], services.own)
        _require_alike(services)
        yield services


def _require_served(arms: Sequence[Arm], session: Session) -> None:
    """One base of the arms may be the service's first; it tells of the others (`service/deployment.py`)."""
    if session.deployment is None:
        return
    beside = session.deployment.arguments.get("beside", {})
    by_base: dict[str, list[Arm]] = {}
    for arm in arms:
        # A classifier is served beside any base.
        if not arm.version.spec.classifier and arm.version.spec.base not in beside:
            by_base.setdefault(arm.version.spec.base, []).append(arm)
    problems = [
        Problem(
            f"arms.{arm.label}",
            f"{arm.version.ref} is over another base ({base[:19]}…) than {session.endpoint.url} runs",
            _CURE_OF_PROD if arm.label == PROD else _CURE,
        )
        for base in list(by_base)[1:]
        for arm in by_base[base]
    ]
    if problems:
        raise InvalidConfig("the arms are over more bases than the endpoint serves", problems)


def _require_alike(services: Services) -> None:
    problems = []
    for label, session in services.others.items():
        if differ := _differences(services.own.deployment, session.deployment):
            fault = f"{session.endpoint.url} and {services.own.endpoint.url} differ in {', '.join(differ)}"
            problems.append(Problem(f"arms.{label}.endpoint", fault, "serve both alike, on machines of one kind"))
    if problems:
        raise InvalidConfig("answers and seconds of these services cannot be compared", problems)


def _differences(one: Deployment | None, other: Deployment | None) -> list[str]:
    """By name; none where a service does not say, which makes the run provisional."""
    if one is None or other is None:
        return []
    names = [name for name in Deployment.model_fields if name not in _ITS_OWN]
    return [name for name in names if getattr(one, name) != getattr(other, name)]
