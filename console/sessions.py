"""Signing in once: an API key is shown, and a cookie that only this service can have made stands for it from then on.

The cookie names the key and not its secret, and is signed with a secret of the home. So a key that is revoked, or whose
role changes, counts at the next click, and services of one home, or with one `DABT_CONSOLE_SECRET`, know each other's
cookies.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer

from lifecycle.access.keys import ApiKey
from service.catalogue import Snapshot

COOKIE = "dabt_session"
HOURS = 12
"""After that a person signs in again."""
_VARIABLE = "DABT_CONSOLE_SECRET"


class Sessions:
    def __init__(self, secret: str) -> None:
        self._signer = URLSafeTimedSerializer(secret, salt="dabt.console.session")

    @classmethod
    def of(cls, home: Path) -> Sessions:
        return cls(os.environ.get(_VARIABLE) or _kept(home / "console-secret"))

    def cookie(self, key: ApiKey) -> str:
        return str(self._signer.dumps([key.id, key.digest]))

    def key(self, cookie: str, snapshot: Snapshot) -> ApiKey | None:
        """Whose cookie it is; None for one that is forged or too old, and for a key that cannot be used any more."""
        try:
            id_, digest = self._signer.loads(cookie, max_age=HOURS * 3600)
        except (BadSignature, ValueError, TypeError):
            return None
        key = snapshot.keys.get(digest)
        return key if key is not None and key.id == id_ and key.problem(datetime.now(UTC)) is None else None


def _kept(file: Path) -> str:
    """The secret of this home, made by whoever comes first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32))
        os.link(fresh, file)  # fails when there is one, so that two services that start together keep the same
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
    return file.read_text().strip()
