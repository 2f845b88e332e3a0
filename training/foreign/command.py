"""`dabt convert-config`: another trainer's YAML as a configuration of `dabt train`. `translation.py` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.foreign.translation import Translation


def convert_config(
    file: Annotated[Path, typer.Argument(help="The YAML file of LLaMA-Factory, Axolotl or TRL.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; without it, it is printed.")] = None,
    name: Annotated[
        str, typer.Option(help="Of the version's family in the registry; by default as the file is called.")
    ] = "",
    root: Annotated[
        Path, typer.Option(help="Where that tool is started: relative paths of its file start there.")
    ] = Path(),
    devices: Annotated[
        int | None, typer.Option(min=1, help="How many devices trained together there; a step had the rows of all.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A key that is lost or means something else here: go on. Repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Make a configuration for `dabt train` of a YAML file of LLaMA-Factory, Axolotl or TRL.

    Each value has a comment that says which key it came of, and the tool's own defaults are written out. What would
    change the result and has no counterpart here is an error, all of it at once, until --accept names it.

    Example: `dabt convert-config examples/train_lora/qwen3_lora_sft.yaml --out triage.yaml --accept template`
    """
    from lifecycle.errors import InvalidConfig, Problem
    from lifecycle.rows.writing import replaced
    from training.foreign.reading import converted
    from training.foreign.translation import Asked
    from training.foreign.written import written

    if out is not None and not out.parent.is_dir():
        problem = Problem(str(out), f"there is no folder {out.parent}", "make it, or name another place")
        raise InvalidConfig("nothing was written", [problem])
    called = name or (out or file).stem.lower()
    asked = Asked(called, root, out, devices, frozenset(accept or ()))
    made = converted(file, asked)
    text = written(made, file.name)
    if out is None:
        typer.echo(text, nl=False)
        _tell(made)
        return
    files = {out: text} | {out.with_name(f"{out.stem}{ending}"): more for ending, more in made.texts.items()}
    if there := [path for path in files if path.exists() and not force]:
        problems = [Problem(str(path), "exists", "name another by --out, or use --force") for path in there]
        raise InvalidConfig("nothing was written", problems)
    for path, more in files.items():
        with replaced(path) as handle:
            handle.write(more.encode())
    _tell(made)
    typer.echo(f"written to {', '.join(map(str, files))}; next: dabt train {out}", err=True)


def _tell(made: Translation) -> None:
    """What is not in the file, on the stream of errors: the file itself may be what is printed."""
    for reason in dict.fromkeys(made.idle.values()):
        keys = ", ".join(key for key, why in made.idle.items() if why == reason)
        typer.echo(f"left out, {reason}: {keys}", err=True)
    for key, fault in made.accepted.items():
        typer.echo(f"accepted: {key}: {fault}", err=True)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
