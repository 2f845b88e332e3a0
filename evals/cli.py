"""`dabt eval`: compare the arms of one task, print the table and the advice, record the verdicts."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals.ci.usage import FOLDER

if TYPE_CHECKING:
    from evals.report.evaluation import Evaluation


def eval_(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    config: Annotated[
        Path | None, typer.Argument(help="The evaluation, as YAML: task, arms, metric, policy. Or --data and --arms.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Where the models answer, with /v1; else the file's own.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base of the inline recipes: folder, .gguf file or hub id.")] = None,
    chat_template: Annotated[
        str | None, typer.Option(help="What the service was given as --chat-template; else the file's `template`.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="A seeded sample of so many items; nothing is decided by a part.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Rows to look at, a file or a hub's org/name, alone or in place of the evaluation's own."),
    ] = None,
    arms: Annotated[
        str, typer.Option(help="Without a file: what to compare, the baseline first, such as base,triage:3.")
    ] = "",
    suites: Annotated[
        str, typer.Option(help="Suites of harm to look at, such as safety/refusal,safety/injection; or `safety`: all.")
    ] = "",
    metric: Annotated[str | None, typer.Option(help="The figure that decides; else the file's or rows' own.")] = None,
    candidate: Annotated[
        str | None, typer.Option(help="The version that NAME:newest in the file stands for, such as triage:5.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Answers to each item, sampled apart: their mean, pass@k, majority vote.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="What tokens, machines and training cost, as YAML; else the file's own.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Of the report: en or ar; else the file's own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look: nothing is decided, the run is kept.")] = False,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests in flight.")] = None,
    ci: Annotated[
        bool, typer.Option("--ci", help="Exit with 0 passed, 1 error, 2 failed, 3 undecided, and write for a pipeline.")
    ] = False,
    arm: Annotated[
        list[str] | None, typer.Option(help="With --ci: an arm that must pass; else all that name a version.")
    ] = None,
    ci_folder: Annotated[Path, typer.Option(help="With --ci: where summary.md and junit.xml are written.")] = Path(
        FOLDER
    ),
    home: Annotated[
        Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")
    ] = None,
) -> None:
    """Compare base, few-shot, RAG, adapter and hybrid on the same items, and say which to ship.

    A run on all items is a verdict; whether it opens an alias is for the gate of its name: `dabt gate show`.

    Example: `dabt eval examples/clinic/evals/triage.yaml --endpoint http://127.0.0.1:8000/v1 --limit 50`

    `--suites safety/refusal` asks the same arms what a suite of harm has, and is a look.

    Without a file, rows that training reads are enough: `dabt eval --data test.jsonl --arms base,triage:3`

    An interrupted run goes on where it stopped; what is unchanged is not asked again.

    In a pipeline: `dabt eval triage.yaml --ci` exits with 0 only where the verdict is a pass.
    """
    from evals.ci.files import clear, write_error, write_step
    from evals.ci.outcome import require_judged, step_of
    from evals.config import EvalConfig
    from evals.progress import shown
    from evals.report.table import print_evaluation
    from evals.run import evaluate
    from evals.safety.table import named_suites
    from lifecycle.commands.terminal import open_console
    from lifecycle.errors import InvalidInput
    from lifecycle.home import Home
    from lifecycle.registry import Registry
    from lifecycle.rows import hub

    place, console = Home.at(home), open_console()
    if arm and not ci:
        raise InvalidInput("--arm says which arm must pass, with --ci: add that")

    def local(named: str | None) -> str | None:
        return str(Path(named).resolve()) if named and Path(named).exists() else named

    def planned() -> list[EvalConfig]:
        if ci and suites:
            raise InvalidInput("--ci judges one evaluation, and what --suites measures is a look: take one of them out")
        given = {
            "endpoint": endpoint,
            "limit": limit,
            "concurrency": concurrency,
            "metric": metric,
            "base": local(base),
            "repeats": repeats,
            "language": language,
        }
        given |= {"prices": str(prices.resolve()) if prices else None, "template": local(chat_template)}
        items = str(hub.file_of(data).resolve()) if data else None
        asked = named_suites(suites)
        if config is None:
            return [EvalConfig.of_rows(items, arms, **given, task=task) for task in (*asked,) or (None,)]
        if arms:
            raise InvalidInput(f"the arms are those of {config}: take --arms out, or the file")
        look = ("a dry run",) if dry_run else None
        plan = EvalConfig.load(config, **given, data=items, candidate=candidate, provisional=look)
        return [plan.of_suite(suite) for suite in asked] or [plan]

    def evaluated(plan: EvalConfig) -> Evaluation:
        with Registry.open(place.registry_url) as registry, shown(plan.title, console) as progress:
            return evaluate(plan, registry, place, actor=_actor(), progress=progress, first_deploy=ci)

    def tell(evaluation: Evaluation) -> None:
        print_evaluation(evaluation, console)
        console.print(f"report: {evaluation.folder / 'report.html'}", soft_wrap=True, highlight=False)

    if not ci:
        for plan in planned():
            tell(evaluated(plan))
        return
    clear(ci_folder)
    try:
        (plan,) = planned()
        require_judged(plan, arm or ())
        evaluation = evaluated(plan)
        step = step_of(evaluation, arm or ())
    except Exception as error:
        write_error(str(config or data or "dabt eval"), error, ci_folder)
        raise
    tell(evaluation)
    write_step(step, ci_folder)
    console.print(f"{step.outcome.name.lower()}: {step.why}", markup=False, highlight=False)
    raise typer.Exit(step.outcome)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
