"""`dabt train` and `dabt import`: options in, words out. The work is in `run.py` and `importing.py`.

`dabt data` has its commands in `data/commands/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lifecycle.commands.lines import working
from lifecycle.commands.terminal import HomeOption, open_console, this_user
from lifecycle.text.counting import counted

if TYPE_CHECKING:
    from lifecycle.version import Prompt
    from training.run import TrainResult


def train(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    config: Annotated[Path | None, typer.Argument(help="The run's YAML file.")] = None,
    again: Annotated[
        str | None, typer.Option(help="Instead of a file: a run's folder, or its name; it is gone on with, or reused.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Instead of the file's: folder, .gguf file or hub id.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train again, even if this very run is done.")] = False,
    actor: Annotated[
        str, typer.Option(envvar="USER", show_default=False, help="Who, for the registry's trail.")
    ] = "dabt",
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Where runs and the registry are kept.")] = None,
    launcher: Annotated[
        Literal["here", "ray"], typer.Option(help="In this process, or by the workers of Ray Train.")
    ] = "here",
    workers: Annotated[int, typer.Option(min=1, help="Of --launcher ray, each with a GPU where there are some.")] = 1,
    each: Annotated[
        str, typer.Option(metavar="JSON", help='What Ray sets aside for each of them: {"CPU": 4, "GPU": 1}.')
    ] = "{}",
) -> None:
    """Train by a method (LoRA where none is named) and publish the result to the registry as a draft.

    A run that is already done (same configuration, data, base and seed) is reused; `--force` trains it again.

    Example: dabt train examples/clinic/training/triage.yaml
    """
    from training import processes
    from training.launching import Asked, here

    if (config is None) == (again is None):
        raise typer.BadParameter("name a YAML file, or a run with --again")
    asked = Asked(config, again, base, force, actor, home)
    if launcher == "ray":
        from training.by_ray import Group, by_ray

        group = Group.told(workers, each, "--workers")
        _print_result(by_ray(asked, group, lambda why: typer.echo(f"{why}; Ctrl-C ends this")))
        return
    if workers != 1 or each != "{}":
        raise typer.BadParameter("--workers and --each are for --launcher ray; torchrun --nproc-per-node starts others")
    with processes.together():
        result = here(asked)
        if processes.is_first():
            _print_result(result)


def import_adapter(
    adapter: Annotated[
        str,
        typer.Argument(
            help="A PEFT folder (adapter_config.json, adapter_model.safetensors), its archive, or a hub id."
        ),
    ],
    name: Annotated[str, typer.Option(help="The name that the new version gets a number under.")],
    base: Annotated[
        str | None,
        typer.Option(envvar="DABT_BASE", help="Model folder or hub id; by default the one that the folder names."),
    ] = None,
    system: Annotated[str, typer.Option(help="System text that it was trained with.")] = "",
    chat_template_kwargs: Annotated[
        str, typer.Option(metavar="JSON", help='What the chat template was told, as {"enable_thinking": false}.')
    ] = "{}",
    use_its_template: Annotated[
        bool, typer.Option("--use-its-template", help="A chat template beside it becomes part of its base.")
    ] = False,
    max_rank: Annotated[int, typer.Option(min=1, help="The largest rank that the server takes.")] = 64,
    home: HomeOption = None,
) -> None:
    """Take in an adapter that was trained elsewhere (PEFT, LLaMA-Factory, Axolotl), after preflight, as a draft.

    Where PEFT can compute it here, a few golden prompts are recorded, as in training.

    A hub id may have a revision: org/name@revision.

    Example: `dabt import saves/llama3-8b/lora/sft --name triage --base meta-llama/Llama-3.1-8B-Instruct`
    """
    from lifecycle.errors import AdapterRefused, InvalidConfig
    from lifecycle.home import Home
    from lifecycle.models.adapter_source import adapter_folder
    from lifecycle.models.base import resolve_base
    from lifecycle.models.peft_config import read_config
    from lifecycle.publishing import Shelf
    from training.importing import take_in

    place = Home.at(home)
    folder = adapter_folder(adapter, place.cache / "imports")
    config, problems = read_config(folder)
    trained_over = config.base_name if config else ""
    if base is None:
        if config is None:
            raise AdapterRefused(f"{folder} cannot be imported:", problems)
        if not trained_over:
            raise InvalidConfig(f"{folder} does not say which base it was trained over; give it with --base")
        base = trained_over
    note = f"from {folder.resolve() if Path(adapter).is_dir() else adapter}, trained over {trained_over or '?'}"
    model, prompt = resolve_base(base), _prompt(system, chat_template_kwargs)
    shelf, bases = Shelf.at(place, actor=this_user(), max_rank=max_rank), place.cache / "bases"
    with shelf.registry, working(f"importing {folder}") as tell:
        taken = take_in(
            folder,
            name=name,
            base=model,
            prompt=prompt,
            note=note,
            shelf=shelf,
            tell=tell,
            bases=bases if use_its_template else None,
        )
    if taken.template is not None:
        typer.echo(f"it has a base of its own: dabt serve --base {base} --chat-template {taken.template}")
    if taken.unproved:
        typer.echo(
            f"it has no golden prompts: {taken.unproved}. A service cannot check that it computes what its trainer saw"
        )
    else:
        typer.echo("its golden prompts are recorded: a service must reproduce them before it answers with it")
    version = taken.version
    typer.echo(f"{version.ref} is a {version.state}; evaluate it before it can take traffic: `dabt eval`")


def _prompt(system: str, kwargs: str) -> Prompt:
    """Raises `InvalidConfig` for switches that are no JSON object of a chat template's switches."""
    from pydantic import ValidationError

    from lifecycle.errors import InvalidConfig, Problem
    from lifecycle.text import strict_json
    from lifecycle.validation import fault_of
    from lifecycle.version import Prompt

    try:
        return Prompt(system=system, chat_template_kwargs=strict_json.parse(kwargs))
    except ValidationError as error:
        faults = [fault_of(each) for each in error.errors()]
    except ValueError as error:
        faults = [str(error)]
    cure = 'write a JSON object, as {"enable_thinking": false}'
    raise InvalidConfig("nothing was imported", [Problem("--chat-template-kwargs", fault, cure) for fault in faults])


def _print_result(result: TrainResult) -> None:
    console = open_console()
    metrics, version = result.record.metrics, result.version

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    done = "reused: this run was already done" if result.reused else "trained"
    losses = f"validation loss {metrics['base_eval_loss']:.3f} → {metrics['eval_loss']:.3f}"
    rows = f"on {counted(int(metrics['validation_rows']), 'row')} after {metrics['train_rows']:.0f} to learn from"
    say(f"{version.ref} is a draft ({done}): {losses} {rows}")
    say(f"  run: {result.folder}")
    for note in result.record.notes:
        say(f"  note: {note}", "yellow")
    say("  next: dabt eval, which compares it with what needs no training")
