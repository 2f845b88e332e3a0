"""`dabt shadow report`: agreement, errors and times with their intervals, from records alone."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.errors import InvalidInput
from lifecycle.home import Home
from service.traffic import shadow_cli
from service.traffic.shadow_records import Records, ShadowRecord, Side
from service.traffic.shadow_report import ratio, share, summarise

DIGEST = "sha256:" + "b" * 64
START = datetime(2026, 1, 1, tzinfo=UTC)


def record(at: int, agree: bool | None = True, candidate: int = 2, slower: float = 2.0, code: str = "") -> ShadowRecord:
    times = {"ttft": 0.1, "seconds": 1.0 + 0.1 * (at % 3), "is_json": True, "answer": DIGEST}
    served = Side(ref="triage:1", digest=DIGEST, **times)
    slow = {"ttft": 0.1 * slower, "seconds": times["seconds"] * slower, "is_json": at % 2 == 0}
    other = Side(ref=f"triage:{candidate}", digest=DIGEST, **({"code": code} if code else slow))
    return ShadowRecord(
        at=START + timedelta(seconds=at),
        alias="triage:prod",
        request_id=f"r{at}",
        kind="chat",
        request=DIGEST,
        served=served,
        candidate=other,
        agree=None if code else agree,
    )


RECORDS = [record(at, agree=at % 4 != 0) for at in range(40)] + [record(40, code="adapter_unloadable")]


def test_the_figures_are_those_of_the_records() -> None:
    (found,) = summarise(RECORDS)
    assert (found.served, found.candidate, found.n) == ("triage:1", "triage:2", 41)
    assert found.agreement is not None
    assert (found.agreement.value, found.agreement.n) == (0.75, 40)
    assert (round(found.agreement.low, 3), round(found.agreement.high, 3)) == (0.598, 0.858), "Wilson's"
    assert found.candidate_errors is not None
    assert found.candidate_errors.value == pytest.approx(1 / 41)
    assert found.codes == {"adapter_unloadable": 1}
    assert found.candidate_json is not None
    assert found.candidate_json.value == 0.5
    assert found.ttft_ratio is not None
    assert found.ttft_ratio.value == pytest.approx(2.0)
    assert found.total_ratio is not None
    assert found.total_ratio.value == pytest.approx(2.0)
    assert found.candidate_p95 == pytest.approx(2 * found.served_p95)


def test_each_pair_of_versions_is_told_apart_the_newest_first() -> None:
    found = summarise([*RECORDS, *(record(at, candidate=3) for at in range(50, 60))])
    assert [(one.candidate, one.n) for one in found] == [("triage:3", 10), ("triage:2", 41)]
    assert summarise([]) == []


def test_the_ratio_of_times_is_the_geometric_mean_of_pairs_with_students_interval() -> None:
    found = ratio([(1.0, 1.0), (1.0, 2.0), (1.0, 4.0)])
    assert found is not None
    assert found.value == pytest.approx(2.0)
    reach = 4.302652729911275 * math.log(2) / math.sqrt(3)  # t of 2 degrees of freedom, at 97.5 %
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-reach), 2 * math.exp(reach)))
    assert ratio([(1.0, 2.0)]) is None
    assert ratio([(None, 2.0), (0.0, 1.0)]) is None
    assert share([]) is None


@pytest.fixture
def dabt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("DABT_HOME", str(tmp_path))
    app = typer.Typer()
    app.command("report")(shadow_cli.report)
    app.command("other")(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_the_report_is_printed_with_intervals_or_as_json(dabt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    records = Records(Home.at(tmp_path).shadow)
    for one in RECORDS:
        records.append("triage", "prod", one)
    said = dabt("report", "triage")
    assert "triage:2 in the shadow of triage:1: 41 requests" in said
    assert "75.0% [59.8%, 85.8%]" in said
    assert "2.00 × served [2.00, 2.00]" in said
    assert "adapter_unloadable 1" in said
    assert json.loads(dabt("report", "triage:prod", "--json"))[0]["n"] == 41


def test_a_report_on_nothing_says_how_to_begin(dabt) -> None:  # type: ignore[no-untyped-def]
    assert "dabt shadow start" in dabt("report", "triage")
    with pytest.raises(InvalidInput, match="name the alias"):
        dabt("report", "triage:2")
