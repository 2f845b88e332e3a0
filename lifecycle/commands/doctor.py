"""`dabt doctor`: what is wrong here, and how to cure it."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, JsonOption, to_json


def doctor(
    base: Annotated[
        list[str] | None,
        typer.Option(
            envvar="DABT_BASE",
            help="What `dabt serve --base` is given, to hold versions against it; may be repeated, as there.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="What `dabt serve --port` is given.")] = 8000,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte that the registry needs again.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Look at this machine, the home, the registry and the store: a line for each check, and a cure for what is wrong.

    Nothing is changed. It exits with 1 when it finds a fault.

    Example: `dabt doctor --base examples/clinic/base_model`
    """
    from lifecycle.home import Home
    from lifecycle.upkeep.doctor.checkup import Patient, examine
    from lifecycle.upkeep.doctor.finding import Level

    findings = []
    for finding in examine(Patient(Home.at(home), bases=tuple(base or ()), port=port, deep=deep)):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{finding.level:<8}{finding.check:<12}{finding.says}")
            if finding.cure:
                typer.echo(f"{'':<20}→ {finding.cure}")
    if as_json:
        typer.echo(to_json([finding.model_dump(mode="json") for finding in findings]))
    if any(finding.level is Level.FAULT for finding in findings):
        raise typer.Exit(1)
