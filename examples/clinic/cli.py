"""`dabt demo`: the whole loop on the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    base: Annotated[
        str,
        typer.Option(help="Base model: a folder, or a hub id. Default: the tiny base in examples/clinic/base_model."),
    ] = "",
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Where everything is kept.")] = None,
    limit: Annotated[int | None, typer.Option(help="Evaluate only the first N items of each task.", min=1)] = None,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Leave the service up at the end.")] = False,
) -> None:
    """Train three adapters, compare five arms of each task, gate, promote, and ask them all at once.

    Example: `dabt demo` (some minutes on 2 cores; a second run reuses what is unchanged).
    """
    from examples.clinic.demo import Demo
    from lifecycle.home import Home

    raise typer.Exit(Demo(Home.at(home), base=base, limit=limit, keep_serving=keep_serving).run())
