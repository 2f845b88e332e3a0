"""The screen at /ui/reports: `listing.py` is the list, `page.py` one evaluation, `rows.py` its items, `over_time.py` a
task over versions and `difference.py` two evaluations; `reading.py` finds what they show.
"""

from __future__ import annotations

from fastapi import APIRouter

from console.screens.reports import difference, listing, over_time, page, rows

router = APIRouter()
for part in (listing, over_time, difference, rows, page):  # the last takes whatever begins a digest
    router.include_router(part.router)
