"""`dabt data check`: what is wrong with training rows, before they are trained on. `../checks.py` does the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.lines import working

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.checks import DataReport

_SHOWN = 3
"""Places that the table shows of each finding; `--json` has all."""


def check(
    train: Annotated[Path, typer.Argument(help="Rows to train on: JSONL, JSON, CSV, TSV or Parquet, in any form.")],
    against: Annotated[
        list[Path] | None, typer.Option(help="Rows that must be unseen in training: validation or test. Repeatable.")
    ] = None,
    redact: Annotated[
        Path | None, typer.Option(help="Write a copy with personal data replaced by [EMAIL], [PHONE], …")
    ] = None,
    base: Annotated[str | None, typer.Option(help="A base whose tokenizer counts tokens: folder or hub id.")] = None,
    similarity: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="Jaccard similarity from which questions are near duplicates.")
    ] = 0.85,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything found as JSON.")] = False,
) -> None:
    """Say what is wrong with training rows: leaks, duplicates, personal data, imbalance, size.

    Ends with 1 when there is an error.

    Example: dabt data check data/train.jsonl --against data/test.jsonl --redact data/clean.jsonl
    """
    from rich.console import Console

    from lifecycle.conversation import Conversation
    from lifecycle.rows.files import Reading, scan
    from lifecycle.rows.writing import write_rows
    from training.data import checks
    from training.data.balance import lengths

    with working(f"looking at {train}"):
        reading = Reading(train)
        found = [row for row in reading if isinstance(row, Conversation)]
        bad = list(reading.told)
        others = {}
        for path in against or []:
            others[path.name if path.name not in others else str(path)], more = scan(path)
            bad += more
        report = checks.check(found, others, bad=bad, similarity=similarity).read_as(reading)
        if base is not None and report.balance is not None:
            counts = lengths("tokens in a row", _token_counts(base, found))
            balance = report.balance.model_copy(update={"lengths": (*report.balance.lengths, counts)})
            report = report.model_copy(update={"balance": balance})
    if redact is not None:
        cleaned, replaced = checks.cleaned(found)
        write_rows(redact, cleaned)
        print(f"{replaced} values replaced; {len(cleaned)} rows written to {redact}", file=sys.stderr)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        _print_report(report, train, Console())
    if report.of("error") or (strict and report.of("warning")):
        raise typer.Exit(1)


def _token_counts(base: str, rows: object) -> list[int]:
    from collections.abc import Sequence
    from typing import cast

    from lifecycle.conversation import Conversation
    from lifecycle.models.base import resolve_base
    from training.tokens import ChatTokenizer

    chat = ChatTokenizer.load(resolve_base(base))
    examples = chat.examples(cast("Sequence[Conversation]", rows), "", sys.maxsize)
    return [len(example.input_ids) for example in examples]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _print_report(report: DataReport, path: Path, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    held = "".join(f", held against {name} ({count:,})" for name, count in report.against.items())
    console.print(f"{path} ({report.file}): {_counted(report.rows, 'row')}{held}", highlight=False)
    for form in report.forms:
        console.print(f"  form: {form}", highlight=False)
    if report.balance:
        for what, counts in (("language", report.balance.languages), *report.balance.fields.items()):
            shares = "  ".join(f"{key} {count / sum(counts.values()):.0%}" for key, count in counts.items())
            console.print(f"  {what}: {shares}", highlight=False, markup=False)
        for length in report.balance.lengths:
            figures = f"{length.shortest} to {length.longest}, median {length.median:g}, p95 {length.p95:g}"
            console.print(f"  {length.unit}: {figures}", highlight=False)
    # Places share a folder nearly always; said once, they fit the line.
    folder = f"{path.parent}/"
    table = Table("", "check", "what was found", show_edge=False, pad_edge=False)
    colours = {"error": "red", "warning": "yellow", "note": "blue"}
    for finding in report.findings:
        shown = len(finding.places) if finding.check == "readable" else _SHOWN
        places = [place.replace(folder, "") for place in finding.places[:shown]]
        if more := len(finding.places) - len(places):
            places.append(f"and {more} more (--json)")
        said = "\n".join([finding.message, *(f"  {place}" for place in places), f"→ {finding.cure}"])
        table.add_row(Text(finding.level, style=colours[finding.level]), finding.check, Text(said, overflow="fold"))
    if report.findings:
        console.print(table)
    summary = f"{_counted(len(report.of('error')), 'error')}, {_counted(len(report.of('warning')), 'warning')}"
    console.print(summary if report.findings else "nothing found")
