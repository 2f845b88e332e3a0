"""`dabt data check`, `dabt train` and `dabt import`: options in, words out.

The work is in `data/checks.py`, `run.py` and `importing.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.lines import working
from lifecycle.commands.terminal import HomeOption, this_user

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.checks import DataReport
    from training.run import TrainResult

_SHOWN = 3
"""Places that the table shows of each finding; `--json` has all."""


def data_check(
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


def train(
    config: Annotated[Path, typer.Argument(help="The run's YAML file.")],
    base: Annotated[str | None, typer.Option(help="Another base than the file names: folder or hub id.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train again, even if this very run is done.")] = False,
    actor: Annotated[
        str, typer.Option(envvar="USER", show_default=False, help="Who, for the registry's trail.")
    ] = "dabt",
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Where runs and the registry are kept.")] = None,
) -> None:
    """Train a LoRA adapter and publish it to the registry as a draft.

    A run that is already done (same configuration, data, base and seed) is reused.

    Example: dabt train examples/clinic/training/triage.yaml
    """
    from rich.console import Console

    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from training.config import TrainJob
    from training.progress import watcher

    job = TrainJob.load(config, base=base)
    place, console = Home.at(home), Console()
    with watcher(job.config.name, console) as watch:
        from training.run import train as run  # this takes a moment

        result = run(job, place, Shelf.at(place, actor=actor), force=force, watch=watch)
    _print_result(result, console)


def import_adapter(
    folder: Annotated[Path, typer.Argument(help="A PEFT folder: adapter_config.json, adapter_model.safetensors.")],
    name: Annotated[str, typer.Option(help="The name that the new version gets a number under.")],
    base: Annotated[
        str | None,
        typer.Option(envvar="DABT_BASE", help="Model folder or hub id; by default the one that the folder names."),
    ] = None,
    system: Annotated[str, typer.Option(help="System text that it was trained with.")] = "",
    max_rank: Annotated[int, typer.Option(min=1, help="The largest rank that the server takes.")] = 64,
    home: HomeOption = None,
) -> None:
    """Take in an adapter that was trained elsewhere (PEFT, LLaMA-Factory, Axolotl), after preflight, as a draft.

    Where PEFT can compute it here, a few golden prompts are recorded, as in training.

    Example: `dabt import saves/llama3-8b/lora/sft --name triage --base meta-llama/Llama-3.1-8B-Instruct`
    """
    from lifecycle.errors import AdapterRefused, InvalidConfig
    from lifecycle.home import Home
    from lifecycle.models.base import resolve_base
    from lifecycle.models.peft_config import read_config
    from lifecycle.publishing import Shelf
    from lifecycle.version import Prompt
    from training.importing import take_in

    config, problems = read_config(folder)
    trained_over = config.base_name if config else ""
    if base is None:
        if config is None:
            raise AdapterRefused(f"{folder} cannot be imported:", problems)
        if not trained_over:
            raise InvalidConfig(f"{folder} does not say which base it was trained over; give it with --base")
        base = trained_over
    note = f"from {folder.resolve()}, trained over {trained_over or '?'}"
    model, prompt = resolve_base(base), Prompt(system=system)
    shelf = Shelf.at(Home.at(home), actor=this_user(), max_rank=max_rank)
    with shelf.registry, working(f"importing {folder}") as tell:
        taken = take_in(folder, name=name, base=model, prompt=prompt, note=note, shelf=shelf, tell=tell)
    if taken.unproved:
        typer.echo(
            f"it has no golden prompts: {taken.unproved}. A service cannot check that it computes what its trainer saw"
        )
    else:
        typer.echo("its golden prompts are recorded: a service must reproduce them before it answers with it")
    version = taken.version
    typer.echo(f"{version.ref} is a {version.state}; evaluate it before it can take traffic: `dabt eval`")


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


def _print_result(result: TrainResult, console: Console) -> None:
    metrics, version = result.record.metrics, result.version
    console.print(
        f"{version.ref} is a draft ({'reused: this run was already done' if result.reused else 'trained'}): "
        f"validation loss {metrics['base_eval_loss']:.3f} → {metrics['eval_loss']:.3f} "
        f"on {metrics['validation_rows']:.0f} rows after {metrics['train_rows']:.0f} to learn from",
        highlight=False,
    )
    console.print(f"  run: {result.folder}", highlight=False, soft_wrap=True)
    for note in result.record.notes:
        console.print(f"  note: {note}", style="yellow", highlight=False)
    console.print("  next: dabt eval, which compares it with what needs no training", highlight=False)
