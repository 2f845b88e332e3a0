"""A small made-up handbook: some questions share its words, some only its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

HANDBOOK = """\
# Handbook

## h01
Visitors may see their relatives on the ward between four and six in the afternoon.

## h02
Form QX-71 must be stamped by the registrar before discharge.

## h03
The pharmacy sells insulin pens without an appointment.

## h04
Cars can be left behind the east building free of charge for two hours.

## h05
Form QX-17 is for lost property and goes to the front desk.

## h06
Do not eat for eight hours before giving blood; water is allowed.

## h07
Dr Rima Haddad is the dentist on Tuesdays and Thursdays.

## h08
Payment is by card only; coins and notes are not accepted.

## h09
تفتح الصيدلية أبوابها من الثامنة صباحًا حتى العاشرة مساءً.

## h10
يحتاج فحص الدم إلى صيام ثماني ساعات قبل الموعد.
"""


@pytest.fixture(scope="session")
def handbook_text() -> str:
    return HANDBOOK


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "handbook.md").write_text(HANDBOOK, encoding="utf-8")
    return folder
