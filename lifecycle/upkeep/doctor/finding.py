"""What a check says: one line with what was found, and how to cure it."""

from __future__ import annotations

from enum import StrEnum

from lifecycle.version import Frozen


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should know."""
    FAULT = "fault"
    """Something does not work, or will not."""


class Finding(Frozen):
    check: str
    """What was looked at: `python`, `registry`, …"""
    level: Level
    says: str
    cure: str = ""
    """What to do; empty where all is well."""


def ok(check: str, says: str) -> Finding:
    return Finding(check=check, level=Level.OK, says=says)


def warning(check: str, says: str, cure: str) -> Finding:
    return Finding(check=check, level=Level.WARNING, says=says, cure=cure)


def fault(check: str, says: str, cure: str) -> Finding:
    return Finding(check=check, level=Level.FAULT, says=says, cure=cure)
