"""`dabt advise`: whether a fine-tune is promising, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from evals.advice.questions import Advice


def advise(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    evaluation: Annotated[
        str | None,
        typer.Argument(help="The untrained arms' evaluation: its folder, its report.json, or its task's name."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Rows to train on, or what `dabt data check --json` printed of them.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="With rows: the base by which a run's time is estimated.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="YAML: use_case, tried, benefit, owner, facts_change, good_enough.")
    ] = None,
    use_case: Annotated[str, typer.Option(help="What the model is to do, and for whom.")] = "",
    prices: Annotated[Path | None, typer.Option(help="What tokens, machines and training cost, as YAML.")] = None,
    worth: Annotated[float, typer.Option(min=0.001, max=0.5, help="A lead that is worth finding.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False,
    home: Annotated[
        Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")
    ] = None,
) -> None:
    """Say whether a fine-tune is promising, from arms without training and the rows alone; nothing is trained or asked.

    What is not known is named as an open question, with the option that would answer it.

    Example: `dabt advise triage --data train.jsonl --use-case "sorts patients' messages for the front desk"`
    """
    from evals.advice.known import data_facts, with_evaluation
    from evals.advice.prospect import Prospect, load_about
    from evals.advice.questions import advice_of, markdown
    from evals.cost.prices import load_prices
    from lifecycle.commands.terminal import open_console
    from lifecycle.home import Home
    from lifecycle.registry import Registry

    told, paid, place = load_about(about, use_case), load_prices(prices), Home.at(home)
    facts = data_facts(data, base) if data else None
    known = Prospect(data=facts, about=told, prices=paid, worth=worth)
    if evaluation is not None:
        with Registry.open(place.registry_url) as registry:
            known = with_evaluation(known, evaluation, registry)
    advice = advice_of(known)
    if as_json:
        print(advice.model_dump_json(indent=2))
    elif as_markdown:
        print(markdown(advice), end="")
    else:
        show(advice, open_console())


def show(advice: Advice, console: Console) -> None:
    """The outlook, each rule that fired, and the questions with their answers; no line is longer than a terminal is."""
    from rich.padding import Padding
    from rich.text import Text

    colour = {"promising": "green", "not yet": "yellow", "not promising": "red", "open": "yellow"}[advice.outlook]
    console.print(Text(advice.summary, style=f"bold {colour}"))
    for rule in advice.rules:
        line = Text.assemble((f"{rule.leans}: ", "bold"), rule.sentence, (f" [{rule.rule}; {rule.source}]", "dim"))
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    console.print(Text("\nWhat is asked", style="bold"))
    for of in advice.questions:
        answer = Text(of.answer or "open", style="" if of.answer else "yellow")
        hint = f" (to give: {of.open})" if of.open else ""
        console.print(Padding(Text.assemble(f"{of.question} ", answer, (hint, "dim")), (0, 0, 0, 2), expand=False))
