"""The screen at /ui/versions: `listing.py` is the list, `page.py` a version, `comparing.py` two of them."""

from __future__ import annotations

from fastapi import APIRouter

from console.screens.versions import comparing, listing, page

router = APIRouter()
for part in (listing, comparing, page):
    router.include_router(part.router)
