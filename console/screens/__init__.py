"""The screens: one module each with its routes, below the path that `console/navigation.py` gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.datastructures import State

from console.live import Source
from console.screens import compare, keys, knowledge, overview, rate, reports, settings, train, versions, watch

ROUTERS = tuple(
    screen.router for screen in (overview, versions, compare, reports, rate, train, knowledge, watch, keys, settings)
)

SOURCES: tuple[Callable[[State], Sequence[Source]], ...] = (overview.sources, watch.sources)
"""What the screens show live: each function makes a screen's sources of what the console knows."""
