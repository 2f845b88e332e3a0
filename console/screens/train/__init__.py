"""Training from the page: rows are sent and looked at, a job is asked for, its losses are watched.

Everything is asked of the fine-tuning API (`/v1/files`, `/v1/uploads`, `/v1/fine_tuning/jobs`), as the key that was
signed in with.
"""

from __future__ import annotations

from fastapi import APIRouter

from console.screens.train import files, jobs, losses, sending

router = APIRouter()
for part in (jobs, losses, sending, files):
    router.include_router(part.router)
