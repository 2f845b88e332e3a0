"""An API key: who may call a service, for what, and how much. The registry holds them (`keyring.py`).

Only the secret's SHA-256 is kept. A slow hash (bcrypt, argon2) makes guessing of passwords dear, because people choose
them from few; a secret here is 256 bits from the system's random source, and nobody gets through those whatever one
guess costs, so each request may pay a microsecond and not a tenth of a second (OWASP, Password Storage Cheat Sheet,
says "password" for the same reason). Read `usage.py` for what a key has used, `service/access/authentication.py` for
who asks.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import Field, field_validator

from lifecycle.version import Digest, Frozen, Name

SECRET = re.compile(r"dabt-[A-Za-z0-9_-]{43}")
"""What a secret looks like, so that a scanner of repositories, or our own log, knows one when it sees it."""


class Role(StrEnum):
    """What a key may do; each role may do all that the ones before it may."""

    CALLER = "caller"
    """Call the base and what is approved or behind an alias."""
    EVALUATOR = "evaluator"
    """Also call versions that are not approved, as an evaluation; read the metrics."""
    TRAINER = "trainer"
    """Also send files and have jobs train on them, and call what those made."""
    PUBLISHER = "publisher"
    """Also move traffic: promote what passed its gate, roll back."""
    ADMIN = "admin"
    """Also force past the gate, make and revoke keys, and read their usage."""

    def includes(self, other: Role) -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


MOST_CHOICES = 128
"""Of one request, as in OpenAI's API."""


class KeyLimits(Frozen):
    """How much a key may use; None is without a limit of its own. A day is a day of UTC."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Prompt and answer together, as in the answer's `usage`."""
    tokens_per_day: int | None = Field(default=None, ge=1)
    requests_at_once: int | None = Field(default=None, ge=1)
    """Being answered at the same time. None: half of what a service takes at once, so that no key fills it alone."""
    choices_per_request: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    """Answers to one prompt, the field `n`."""
    prompts_per_request: int | None = Field(default=None, ge=1)
    """Prompts or texts in one request's list."""
    training_jobs: int | None = Field(default=None, ge=1)
    """Fine-tuning jobs that have not ended yet."""
    storage_mib: int | None = Field(default=None, ge=1)
    """Of files that it has sent, and results that it keeps."""


class KeyGrant(Frozen):
    """What a new key is to be."""

    name: Name
    role: Role = Role.CALLER
    models: tuple[str, ...] = ("*",)
    """Patterns of what it may write into `model`, see `allows`."""
    limits: KeyLimits = KeyLimits()
    expires_at: datetime | None = None

    @field_validator("models")
    @classmethod
    def _some_model(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models or not all(models):
            raise ValueError("name at least one model, or '*' for all of them")
        return models

    @field_validator("expires_at")
    @classmethod
    def _with_a_zone(cls, moment: datetime | None) -> datetime | None:
        # A moment without a zone would end hours early or late, depending on who reads it.
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


class ApiKey(KeyGrant):
    """A key that was given out."""

    id: str
    """Names the key in logs, trail, metrics and usage; no secret."""
    owner: str = Field(default_factory=lambda known: str(known["id"]))
    """Whose its files, jobs and tuned models are: the id of the first of the keys that share them, which is its own
    unless it was made to share another's. Keys from before schema 8 have their name here."""
    hint: str
    """The secret's last four characters, to tell keys apart."""
    digest: Digest = Field(exclude=True, repr=False)
    """SHA-256 of the secret. It opens nothing, and still nobody needs to see it."""
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None

    def __str__(self) -> str:
        return f"API key {self.id} ({self.name})"

    def problem(self, now: datetime) -> str | None:
        """Why the key cannot be used at `now`; None when it can."""
        if self.revoked_at is not None:
            return f"was revoked on {self.revoked_at:%Y-%m-%d}"
        if self.expires_at is not None and self.expires_at <= now:
            return f"expired on {self.expires_at:%Y-%m-%d}"
        return None


def allows(models: Sequence[str], ref: str) -> bool:
    """Whether one of the patterns covers `ref`: `triage:3`, `triage:prod` (never the bare name), or the base's name.

    A pattern is a shell's (`*`, `?`). One without a colon covers a name in every form (`triage` covers `triage:prod`,
    `triage:3` and `triage:canary`), one with a colon covers what it says.
    """
    name = ref.partition(":")[0]
    return any(fnmatchcase(ref, pattern) or fnmatchcase(name, pattern) for pattern in models)


def new_secret() -> str:
    return f"dabt-{secrets.token_urlsafe(32)}"


def digest_of_secret(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def owner_of(key: ApiKey | None) -> str:
    """Whose files, jobs and tuned models a key's are; without keys all are everybody's, and that owner has no name."""
    return "" if key is None else key.owner
