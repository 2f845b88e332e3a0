"""`dabt versions | promote | rollback`: the registry from the terminal. Read `traffic.py` for the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import (
    AliasOption,
    ForceOption,
    HomeOption,
    JsonOption,
    ReasonOption,
    open_registry,
    print_table,
    say_left_out,
    this_user,
    to_json,
)

if TYPE_CHECKING:
    from lifecycle.registry.audit import AuditEntry
    from lifecycle.registry.listings import VersionRow

ShareOption = Annotated[
    str | None, typer.Option(help="Only this part of the traffic, such as 10%, beside what stands there now.")
]


def versions(
    name: Annotated[str | None, typer.Argument(help="Only this name.")] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Show the trail of changes, newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many entries of the trail to show.")] = 100,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the versions with their state, aliases and newest verdict, or the audit trail.

    Example: `dabt versions triage`, `dabt versions --audit`
    """
    with open_registry(home) as registry:
        if audit:
            entries = registry.audit(name, limit)
            if as_json:
                typer.echo(to_json([entry.model_dump(mode="json") for entry in entries]))
            else:
                _show_trail(entries)
            return
        listed = registry.listings.versions(name)
    say_left_out(listed.left_out)
    rows = [_row(row) for row in listed.rows]
    if as_json:
        typer.echo(to_json(rows))
    elif rows:
        _show_versions(rows)
    elif not listed.left_out:
        typer.echo(f"no versions{f' of {name}' if name else ''} yet; make one with `dabt train` or `dabt import`")


def promote(
    ref: Annotated[str, typer.Argument(help="The version, such as triage:3.")],
    reason: ReasonOption = "",
    alias: AliasOption = "prod",
    share: ShareOption = None,
    force: ForceOption = False,
    home: HomeOption = None,
) -> None:
    """Give an alias's traffic to one version, or a share of it as a canary; `prod` takes only what passed its gate.

    Example: `dabt promote triage:3 --reason "beats few-shot by 9 points"`, `dabt promote triage:4 --share 10%`
    """
    from lifecycle.traffic import parse_share

    part = parse_share(share) if share is not None else None
    with open_registry(home) as registry:
        moved = registry.promote(ref, actor=this_user(), reason=reason, alias=alias, force=force, share=part)
    shown = str(moved) if len(moved.targets) > 1 else f"{moved.name}:{moved.targets[0].number}"
    typer.echo(f"{moved.ref} → {shown}" + (" (forced)" if force else ""))


def rollback(
    name: Annotated[str, typer.Argument(help="The name, such as triage.")],
    reason: ReasonOption = "",
    alias: AliasOption = "prod",
    home: HomeOption = None,
) -> None:
    """Point an alias back at what it pointed at before its last move; again, one move further back.

    Example: `dabt rollback triage --reason "wrong department in Arabic"`
    """
    with open_registry(home) as registry:
        moved = registry.rollback(name, actor=this_user(), reason=reason, alias=alias)
    typer.echo(f"{moved.ref} → {moved}")


def _row(row: VersionRow) -> dict[str, object]:
    version = row.version
    verdict = next((verdict for verdict in row.verdicts if not verdict.provisional), None)
    return {
        "name": version.name,
        "number": version.number,
        "kind": version.spec.kind,
        "state": version.state.value,
        "digest": version.digest,
        "aliases": [
            alias.alias if len(alias.targets) == 1 else f"{alias.alias} {100 * target.weight:.4g}%"
            for alias in row.aliases
            for target in alias.targets
            if target.number == version.number
        ],
        "decoding": version.spec.decoding.model_dump(mode="json"),
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "created_by": version.created_by,
        # A look is shown as one only where there is no verdict: it decides nothing.
        "verdict": verdict.ruling.value if verdict else ("look" if row.verdicts else None),
        "doubt": row.doubt,
    }


def _show_versions(rows: list[dict[str, object]]) -> None:
    from rich.table import Table

    headings = ("name", "#", "kind", "state", "digest", "aliases", "created", "verdict")
    table = Table(*headings, box=None, padding=(0, 1, 0, 0))  # which fits into 80 columns
    for row in rows:
        aliases = row["aliases"] if isinstance(row["aliases"], list) else []
        table.add_row(
            *(str(row[key]) for key in ("name", "number", "kind", "state")),
            str(row["digest"]).removeprefix("sha256:")[:12],
            ", ".join(aliases),
            str(row["created_at"])[:10],
            str(row["verdict"] or "–"),
        )
    print_table(table)
    for row in rows:
        if row["doubt"] is not None:
            typer.echo(f"{row['name']}:{row['number']} is doubted: {row['doubt']}")


def _show_trail(entries: list[AuditEntry]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("#", "at", "who", "what", "on", "detail", "why", box=None)
    for entry in entries:
        # Text, not markup: a reason may hold brackets.
        cells = (entry.actor, entry.action, entry.subject, _brief(entry.detail), entry.reason)
        table.add_row(str(entry.id), f"{entry.at:%Y-%m-%d %H:%M:%S}", *(Text(cell) for cell in cells))
    print_table(table)


def _brief(detail: dict[str, object]) -> str:
    def short(value: object) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text[:19] if text.startswith("sha256:") else text

    return ", ".join(f"{key} {short(value)}" for key, value in detail.items())
