"""`dabt train-container`: what the training image runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def train_container(
    context: typer.Context,
    root: Annotated[Path, typer.Option(hidden=True, help="Where the platform's folders begin.")] = Path("/"),
    home: Annotated[
        Path | None, typer.Option(envvar="DABT_HOME", help="Where the run and the registry are kept.")
    ] = None,
) -> None:
    """Train in a container of SageMaker (/opt/ml) or Vertex AI (AIP_… and --key=value), and leave the model there.

    The trained folder goes where the platform takes it from; with DABT_REGISTRY_URL and DABT_ARTIFACTS_URL it is a
    draft of that registry too, and otherwise `dabt import model.tar.gz` makes one of it.

    Example: `dabt train-container train`
    """
    from lifecycle.home import Home
    from training import container

    arguments = [word for word in context.args if word != "train"]  # SageMaker's word for what to do
    ref = container.run(container.find(arguments, os.environ, root), Home.at(home))
    sys.stdout.write(f"{ref}\n")
