"""The screens: where each is, what it is called, and who may open it. A path that no screen names is open to no one."""

from __future__ import annotations

from dataclasses import dataclass

from console.language import N_
from lifecycle.access.keys import Role


@dataclass(frozen=True, slots=True)
class Screen:
    path: str
    title: str
    """In English; shown translated."""
    role: Role
    """The least that opens it and all below it."""


OVERVIEW = Screen("/ui", N_("Overview"), Role.CALLER)
SCREENS = (
    OVERVIEW,
    Screen("/ui/versions", N_("Versions"), Role.CALLER),
    Screen("/ui/compare", N_("Compare"), Role.CALLER),
    Screen("/ui/reports", N_("Reports"), Role.EVALUATOR),
    Screen("/ui/rate", N_("Rate"), Role.EVALUATOR),
    Screen("/ui/train", N_("Train"), Role.TRAINER),
    Screen("/ui/knowledge", N_("Knowledge"), Role.EVALUATOR),
    Screen("/ui/watch", N_("Watch"), Role.EVALUATOR),
    Screen("/ui/keys", N_("Keys and usage"), Role.CALLER),
    Screen("/ui/settings", N_("Settings"), Role.EVALUATOR),
)
"""In the order of the navigation."""


def screen_of(path: str) -> Screen | None:
    """The screen that answers `path`: the overview answers /ui and /ui/overview, every other what is below its own."""
    if path in ("/ui", "/ui/") or path.startswith("/ui/overview"):
        return OVERVIEW
    return next((it for it in SCREENS[1:] if path == it.path or path.startswith(f"{it.path}/")), None)
