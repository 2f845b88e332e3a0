"""`dabt shadow report`: what the copies of an alias's requests have shown of their candidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lifecycle.report import Interval
    from service.traffic.shadow_report import Summary


def report(
    alias: Annotated[str, typer.Argument(help="The alias: triage means triage:prod.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="The home of the service that copied.")] = None,
) -> None:
    """Compare a shadow's answers with those that were served: agreement, errors, times, with 95 % intervals.

    Example: `dabt shadow report triage`
    """
    from lifecycle.errors import InvalidInput
    from lifecycle.home import Home
    from lifecycle.version import Ref
    from service.traffic.shadow_records import Records
    from service.traffic.shadow_report import summarise

    ref = Ref.parse(alias)
    if ref.alias is None:
        raise InvalidInput(f"{ref} is a version; name the alias whose requests were copied, such as {ref.name}")
    summaries = summarise(Records(Home.at(home).shadow).read(ref.name, ref.alias))
    if as_json:
        typer.echo(json.dumps([summary.model_dump(mode="json") for summary in summaries], ensure_ascii=False, indent=2))
    elif summaries:
        for summary in summaries:
            typer.echo(_words(summary))
    else:
        typer.echo(f"nothing has been copied from {ref} into this home; begin with `dabt shadow start`")


def _words(summary: Summary) -> str:
    rows = [
        ("same answer", _percent(summary.agreement)),
        ("errors", f"{_percent(summary.candidate_errors)}, served {_percent(summary.served_errors)}"),
        ("valid JSON", f"{_percent(summary.candidate_json)}, served {_percent(summary.served_json)}"),
        ("time to first token", _times(summary.ttft_ratio)),
        (
            "whole answer",
            f"{_times(summary.total_ratio)}; p95 {summary.candidate_p95:.3g} s, served {summary.served_p95:.3g} s",
        ),
    ]
    if summary.codes:
        rows.append(("its errors", ", ".join(f"{code} {count}" for code, count in sorted(summary.codes.items()))))
    lines = [
        f"{summary.candidate} in the shadow of {summary.served}: {summary.n} requests",
        *(f"  {a:<20} {b}" for a, b in rows),
    ]
    return "\n".join(lines)


def _percent(share: Interval | None) -> str:
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]" if share else "–"


def _times(ratio: Interval | None) -> str:
    return f"{ratio.value:.2f} × served [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else "–"
