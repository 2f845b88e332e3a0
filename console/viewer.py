"""Who looks at a page: the key that was signed in with, what it may see, and how this person likes to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evals.report.words import Digits
from lifecycle.access.keys import ApiKey, Role, allows
from lifecycle.aliases import PROD

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Scope

_PLACE = "dabt.viewer"
"""In the ASGI scope."""

Theme = Literal["auto", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """Kept in cookies, so that every page and every tab of one browser reads alike."""

    language: str = "en"
    theme: Theme = "auto"
    digits: Digits = "latn"
    """The numbering system, as CLDR names it: 123, or ١٢٣ in Arabic pages."""


@dataclass(frozen=True, slots=True)
class Viewer:
    key: ApiKey | None
    """None where the service asks for no keys: then whoever is on this machine may do everything."""
    preferences: Preferences
    client: tuple[str, int] | None
    host: str
    """The header Host of the request, as it was sent."""
    scheme: str = "http"

    @property
    def role(self) -> Role:
        return Role.ADMIN if self.key is None else self.key.role

    def may(self, role: Role | str) -> bool:
        """Whether to offer what needs `role`. The service decides again when it is asked for."""
        return self.role.includes(Role(role))

    def sees(self, name: str, alias: str = PROD) -> bool:
        """Whether the key covers the versions of `name`."""
        return self.key is None or allows(self.key.models, f"{name}:{alias}")

    @property
    def called(self) -> str:
        return "" if self.key is None else self.key.name


def viewer_of(connection: HTTPConnection) -> Viewer:
    viewer: Viewer = connection.scope[_PLACE]
    return viewer


def let_in(scope: Scope, viewer: Viewer) -> None:
    scope[_PLACE] = viewer
