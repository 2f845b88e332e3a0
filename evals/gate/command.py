"""`dabt gate set`: a policy and the evaluations that must be run under it become what `prod` of a name demands.

`dabt gate show` is in `lifecycle/commands/gates.py`: reading one takes no evaluation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, ReasonOption, this_user, to_json


def set_(
    name: Annotated[str, typer.Argument(help="The name, such as triage.")],
    policy: Annotated[Path, typer.Option(help="The policy that must be passed, as YAML.")],
    evaluation: Annotated[
        list[Path], typer.Option("--eval", help="An evaluation that must be run under it; again for more.")
    ],
    reason: ReasonOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the gate as JSON, as POST /admin/gates takes it.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Set what `prod` of a name demands: this policy, in the suites of these evaluations, and nothing else opens it.

    Example: `dabt gate set triage --policy policy.yaml --eval triage.yaml --reason "agreed with the clinic"`
    """
    from evals.gate.suites import make_gate
    from lifecycle.home import Home
    from lifecycle.registry import Registry

    place = Home.at(home)
    with Registry.open(place.registry_url) as registry:
        gate = make_gate(name, policy, evaluation, registry, place.cache)
        if dry_run:
            typer.echo(to_json(gate.model_dump(mode="json")))
            return
        registry.set_gate(gate, actor=this_user(), reason=reason)
    typer.echo(f"{gate.name}:prod now asks for {gate}")
