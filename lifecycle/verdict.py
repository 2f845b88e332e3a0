"""What a policy says of a version (`Verdict`): its ruling, and the checks that led to it.

`evals` writes it from a report; `registry.py` lets only one that passed open `prod`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from lifecycle.report import Where
from lifecycle.version import Digest, Frozen, digest_of


class Ruling(StrEnum):
    """What was decided. `undecided` is neither: the items, or the answers, cannot tell."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


class Check(Frozen):
    """One line of a policy, held against the report."""

    rule: str
    ruling: Ruling
    detail: str
    """The figures and the bound, in words."""
    slice: Where | None = None
    """Of which items; None for all."""
    sees: float | None = None
    """For a comparison: the smallest true difference that would have passed in 4 of 5 such runs (80 % power)."""

    @property
    def passed(self) -> bool:
        return self.ruling is Ruling.PASSED


class Verdict(Frozen):
    """A policy's word on one version in one deployment. It binds all of them, and the evaluation, by digest."""

    ref: str
    version_digest: Digest
    evaluation_digest: Digest
    policy_digest: Digest
    suite_digest: Digest | None = None
    """What was measured (`gates.SuiteFacts`); None in verdicts from before gates, which open nothing."""
    deployment: Digest | None = None
    """What answered; None where the endpoint did not say, and such a verdict opens nothing."""
    provisional: tuple[str, ...] = ()
    """Why it is a look and no verdict; empty for a verdict."""
    ruling: Ruling
    checks: tuple[Check, ...]
    created_at: datetime

    @property
    def passed(self) -> bool:
        return self.ruling is Ruling.PASSED

    @property
    def decides(self) -> bool:
        """Whether it may move a version's state: of a whole run, decided, and bound to a suite and a deployment."""
        bound = self.suite_digest is not None and self.deployment is not None
        return bound and not self.provisional and self.ruling is not Ruling.UNDECIDED

    @property
    def why(self) -> str:
        """In words: of a failed verdict the checks that failed, else those that did not pass."""
        failed = [check for check in self.checks if check.ruling is Ruling.FAILED]
        told = failed or [check for check in self.checks if not check.passed]
        lacking = "; ".join(f"{check.rule}: {check.detail}" for check in told)
        return lacking or "no reason given"

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))
