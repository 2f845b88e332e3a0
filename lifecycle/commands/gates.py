"""`dabt gate show`: what `prod` of each name demands. Setting one takes an evaluation: `evals/gate/command.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import HomeOption, JsonOption, open_registry, print_table, say_left_out, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lifecycle.gates import Gate


def show(
    name: Annotated[str | None, typer.Argument(help="Only this name.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show which policy and which suites `prod` of a name demands.

    Example: `dabt gate show triage`
    """
    with open_registry(home) as registry:
        listed = registry.listings.gates(name)
    say_left_out(listed.left_out)
    gates = listed.rows
    if as_json:
        typer.echo(to_json([gate.model_dump(mode="json") for gate in gates]))
    elif gates:
        _show(gates)
    elif not listed.left_out:
        of_name = f"{name} has no gate" if name else "no name has a gate"
        typer.echo(f"{of_name} yet, so prod takes nothing; set one with `dabt gate set`")


def _show(gates: Sequence[Gate]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "policy", "suite", "decided by", "safety", "clusters", "rivals", "items", box=None)
    for gate in gates:
        for suite in gate.suites:
            policy = f"{gate.policy_name} ({_short(gate.policy)})"
            rivals, items = ", ".join(suite.rivals) or "–", _short(suite.data_digest)
            cells = (suite.task, suite.metric, suite.safety_metric or "–", suite.cluster or "–", rivals, items)
            table.add_row(*(Text(cell) for cell in (gate.name, policy, *cells)))
    print_table(table)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
