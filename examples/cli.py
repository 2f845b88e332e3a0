"""`dabt demo`: an example's whole loop."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Story(StrEnum):
    """Which example."""

    CLINIC = "clinic"
    REVIEWS = "reviews"


def demo(
    example: Annotated[
        Story, typer.Argument(help="clinic: the embedded toy. reviews: a real small model, fetched once.")
    ] = Story.CLINIC,
    base: Annotated[
        str,
        typer.Option(help="Another base model: a folder, a .gguf file or its folder, or a hub id."),
    ] = "",
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Where everything is kept.")] = None,
    limit: Annotated[int | None, typer.Option(help="Evaluate only the first N items of each task.", min=1)] = None,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Leave the service up at the end.")] = False,
) -> None:
    """Train, compare the arms of each task on the same items, gate, promote what passed, and ask it.

    Example: `dabt demo` (some minutes on 2 cores; a second run reuses what is unchanged).
    """
    from lifecycle.home import Home

    place = Home.at(home)
    if example is Story.REVIEWS:
        from examples.reviews.demo import reviews

        raise typer.Exit(reviews(place, base=base, limit=limit, keep_serving=keep_serving))
    from examples.clinic.demo import clinic

    raise typer.Exit(clinic(place, base=base, limit=limit, keep_serving=keep_serving))
