"""The first screen: what each alias serves now, what runs and what is wrong, and the moves that change it.

`page.py` is the list, `alerts.py` and `figures.py` are what it shows besides; `moving.py` has the pages that move
traffic, and `plan.py` what a move will do.
"""

from __future__ import annotations

from fastapi import APIRouter

from console.screens.overview import moving, page
from console.screens.overview.figures import sources

router = APIRouter()
router.include_router(page.router)
router.include_router(moving.router)

__all__ = ["router", "sources"]
