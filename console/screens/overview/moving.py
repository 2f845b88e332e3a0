"""Moving traffic: a page to choose what to do with an alias, one that says what will happen, and the order itself.

The order goes to the API with the revision of the registry that its person saw, so that of two people who move an alias
at once the second is told what the first has done.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.api import Refused
from console.forms import form_of
from console.rendering import show
from console.screens.overview.alerts import change_page
from console.screens.overview.page import STATES
from console.screens.overview.plan import PLACES, Move, Plan, asked_of, order_of, plan_of
from console.trail_words import ACTIONS
from console.viewer import viewer_of
from lifecycle.access.keys import Role
from lifecycle.errors import DabtError, Forbidden, InvalidInput, NotFound
from lifecycle.registry import Registry
from lifecycle.version import Ref, Version
from service.parts import Parts

MOST_OFFERED = 100
"""Versions of a name in a list to choose from, the newest."""
MOST_MOVES = 20
router = APIRouter(prefix="/ui/overview")


@router.get("/change")
async def choose(request: Request) -> Response:
    """`ref` is the alias, `version` what may be offered for it."""
    viewer, parts = viewer_of(request), request.app.state.parts
    ref = _alias(request)
    name, _, alias = ref.partition(":")
    snapshot = parts.catalogue.snapshot
    numbers = snapshot.versions.get(name, {})
    if not numbers or not viewer.sees(name):
        raise NotFound(f"there is no {ref}")
    registry: Registry = request.app.state.registry
    trail = await parts.at_registry.run(registry.audit, ref, MOST_MOVES)
    wanted = request.query_params.get("version", "")
    offered = sorted(numbers.values(), key=lambda version: -version.number)[:MOST_OFFERED]
    if wanted.isdigit() and int(wanted) in numbers and numbers[int(wanted)] not in offered:
        offered.append(numbers[int(wanted)])
    now = snapshot.aliases.get(name, {}).get(alias)
    before = await parts.at_registry.run(registry.listings.before, name, alias) if now is not None else None
    return show(
        request, "overview/change.html", ref=ref, name=name, alias=alias, now=now, numbers=numbers, offered=offered,
        wanted=wanted, chosen=_chosen(offered, now.numbers if now else frozenset(), wanted), trail=trail,
        goes_back=before is not None,
        done="done" in request.query_params, may_move=viewer.may(Role.PUBLISHER), states=STATES, actions=ACTIONS,
        places=range(min(PLACES, max(4, len(now.targets) + 1))) if now else (), change_page=change_page,
    )  # fmt: skip


@router.get("/confirm")
async def confirm(request: Request) -> Response:
    asked = _asked(request, dict(request.query_params))
    return _confirmation(request, asked, await _plan(request, asked))


@router.post("/change")
async def change(request: Request) -> Response:
    form = await form_of(request)
    asked = _asked(request, form)
    seen = form.get("revision", "")
    if not (seen.isascii() and seen.isdigit() and len(seen) < 18):
        raise InvalidInput("the form does not say which revision of the registry it was made by; open it again")
    reason, force = form.get("reason", ""), "force" in form
    state = request.app.state
    path, body = order_of(asked, int(seen), reason, force=force)
    try:
        await state.api.call(viewer_of(request), "POST", path, body)
    except Refused as refused:
        parts: Parts = state.parts
        await parts.catch_up()
        try:
            plan = await _plan(request, asked)
        except DabtError:  # it cannot be done any more at all
            plan = None
        return _confirmation(request, asked, plan, reason, refused)
    return RedirectResponse(f"{change_page(asked.ref)}&done=1", 303)


def _confirmation(
    request: Request, asked: Move, plan: Plan | None, reason: str = "", refused: Refused | None = None
) -> Response:
    status = 200 if refused is None else refused.status
    may_force = viewer_of(request).may(Role.ADMIN)
    moved = refused is not None and refused.code == "alias_moved"
    return show(
        request, "overview/confirm.html", status, plan=plan, asked=asked, reason=reason, refused=refused,
        moved=moved, may_force=may_force, change_page=change_page, places=range(PLACES),
        share=asked.share() if asked.kind == "promote" else None,
    )  # fmt: skip


async def _plan(request: Request, asked: Move) -> Plan:
    parts: Parts = request.app.state.parts
    return await parts.at_registry.run(plan_of, asked, parts.catalogue.snapshot, request.app.state.registry)


def _asked(request: Request, fields: dict[str, str]) -> Move:
    """Raises `Forbidden` for who may move nothing, so that nobody fills in a form in vain; the API decides again."""
    viewer = viewer_of(request)
    if not viewer.may(Role.PUBLISHER):
        raise Forbidden(f"the {viewer.key} may not move traffic; it needs the role {Role.PUBLISHER} or more")
    asked = asked_of(fields)
    if not viewer.sees(asked.name):
        raise NotFound(f"there is no {asked.ref}")
    return asked


def _alias(request: Request) -> str:
    ref = Ref.parse(request.query_params.get("ref", ""))
    if ref.alias is None:
        raise InvalidInput(f"{ref} is a version; an alias is moved, such as {ref.name}:prod")
    return str(ref)


def _chosen(offered: list[Version], behind: frozenset[int], wanted: str) -> int | None:
    """What a list has chosen at first: what was asked for, or the newest that does not serve yet."""
    if wanted.isdigit():
        return int(wanted)
    return next((version.number for version in offered if version.number not in behind), None)
