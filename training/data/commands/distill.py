"""`dabt data distill`: a teacher labels inputs. `../distill/` does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.text.counting import counted

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.distill.distillation import Course, Distilled
    from training.data.distill.plan import Distillation

_WARM = 0.7
"""Temperature of several samples: at 0 they would all be the same."""


def distill(  # noqa: PLR0913  (one parameter is one option of the command)
    inputs: Annotated[Path, typer.Argument(help='Rows in any form, answered or not, or texts ({"text": …}).')],
    out: Annotated[Path, typer.Argument(help="Rows to train on; its name says the kind of file, such as .jsonl.")],
    *,
    schema: Annotated[str, typer.Option(help="What answers must be: a JSON schema's file, or package.module:Model.")],
    model: Annotated[str, typer.Option(help="The teacher, as the endpoint calls it.")],
    endpoint: Annotated[
        str, typer.Option(help="OpenAI-compatible, with its version path.")
    ] = "https://api.openai.com/v1",
    instructions: Annotated[Path | None, typer.Option(help="A text for the teacher: what to do, and how.")] = None,
    shots: Annotated[Path | None, typer.Option(help="Rows with a question and a good answer, as examples.")] = None,
    key_env: Annotated[str, typer.Option(help="The environment variable that has the key.")] = "OPENAI_API_KEY",
    text: Annotated[str, typer.Option(help="The key of rows in no form whose value is the text.")] = "",
    meta: Annotated[
        list[str] | None, typer.Option(help="A key that no form has: keep it under meta. Repeatable.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A key that no form has: leave it out. Repeatable.")] = None,
    label: Annotated[str, typer.Option(help="Write text and label, this field of the answer, in place of chat.")] = "",
    max_cost: Annotated[float | None, typer.Option(min=0, help="The most that it may cost. Needs the prices.")] = None,
    max_total_tokens: Annotated[int | None, typer.Option(min=0, help="The most tokens, asked and answered.")] = None,
    max_requests: Annotated[int | None, typer.Option(min=0, help="The most requests, further tries too.")] = None,
    price_input: Annotated[float, typer.Option(min=0, help="For a million tokens that are sent.")] = 0.0,
    price_output: Annotated[float, typer.Option(min=0, help="For a million tokens of answers.")] = 0.0,
    samples: Annotated[int, typer.Option(min=1, max=32, help="Ask each input so often.")] = 1,
    agree: Annotated[
        int | None, typer.Option(min=1, help="So many samples must say the same; else more than half.")
    ] = None,
    agree_on: Annotated[list[str] | None, typer.Option(help="Compare this field alone. Repeatable.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="0, or 0.7 with several samples.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of one answer.")] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, max=512, help="Requests under way at once.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds without a byte until a request has failed.")] = 120.0,
    retry_rejected: Annotated[bool, typer.Option("--retry-rejected", help="Ask again what was set aside.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask nothing; say what it could take at most.")] = False,
) -> None:
    """Have a teacher label inputs into a schema: rows to train on, in the inputs' order.

    May be stopped at any moment: the same command goes on, and pays for no answer twice. What was asked and answered is
    in OUT's `.journal.jsonl`; what no good answer was found for is in its `.rejected.jsonl`, with the reasons.

    Example: dabt data distill tickets.jsonl train.jsonl --schema triage.schema.json --model gpt-4.1-mini --max-cost 5
    --price-input 0.4 --price-output 1.6
    """
    from pydantic import ValidationError

    from lifecycle.answer_schema import AnswerSchema
    from lifecycle.commands.terminal import open_console
    from lifecycle.config_file import faults
    from lifecycle.errors import InvalidConfig
    from lifecycle.rows.prompt_files import read_prompt
    from training.data.distill.distillation import distil
    from training.data.distill.inputs import Inputs
    from training.data.distill.labels import Sampling
    from training.data.distill.plan import Distillation
    from training.data.distill.spending import Caps, Prices
    from training.data.distill.teacher import TeacherSettings

    put = {**dict.fromkeys(meta or (), "meta"), **dict.fromkeys(ignore or (), ""), **({text: "text"} if text else {})}
    warmth = temperature if temperature is not None else _WARM if samples > 1 else 0.0
    teacher = {
        "url": endpoint, "model": model, "key_env": key_env, "temperature": warmth, "max_tokens": max_tokens,
        "concurrency": concurrency, "timeout": timeout,
    }  # fmt: skip
    try:
        settings = TeacherSettings.model_validate(teacher)
    except ValidationError as error:
        raise InvalidConfig("nothing was asked", faults(error, TeacherSettings, teacher)) from error
    plan = Distillation(
        inputs=Inputs(inputs, put),
        out=out,
        schema=AnswerSchema.load(schema),
        prompt=read_prompt(instructions, shots),
        teacher=settings,
        sampling=Sampling(samples=samples, agree=agree, agree_on=tuple(agree_on or ())),
        caps=Caps(cost=max_cost, tokens=max_total_tokens, requests=max_requests),
        prices=Prices(prompt=price_input, completion=price_output) if price_input or price_output else None,
        label=label,
        retry_rejected=retry_rejected,
    )
    if dry_run:
        _foretell(plan)
        return
    with _shown(open_console(stderr=True)) as watch:
        found = distil(plan, watch)
    for form in plan.inputs.summary:
        typer.echo(f"read: {form}")
    _tell(plan, found)
    if found.stopped:
        raise found.stopped


def _foretell(plan: Distillation) -> None:
    from training.data.distill.plan import most

    inputs, different, tokens = most(plan)
    cost = f", cost {plan.prices.of(tokens):,.4f}" if plan.prices else ""
    typer.echo(f"{inputs:,} inputs, of which {different:,} differ; nothing was asked")
    typer.echo(f"each asked once: at most {tokens.prompt:,} tokens sent and {tokens.completion:,} answered{cost}")
    typer.echo("repairs and further tries come on top; tokens sent are counted as bytes, which are more")


def _tell(plan: Distillation, found: Distilled) -> None:
    cost = f", cost {found.cost:.4f}" if found.cost is not None else ""
    typer.echo(f"{found.labelled:,} of {found.inputs:,} inputs labelled → {plan.out}")
    if found.rejected:
        codes = ", ".join(f"{code} {count:,}" for code, count in found.rejected.most_common())
        typer.echo(f"{found.rejected.total():,} set aside ({codes}) → {plan.rejected}")
    if found.unanswered:
        typer.echo(f"{found.unanswered:,} not asked to the end yet")
    tokens = f"{found.tokens.prompt:,} tokens sent, {found.tokens.completion:,} answered"
    typer.echo(f"in all {counted(found.requests, 'request')}, {tokens}{cost}")
    for note in found.notes:
        typer.echo(f"note: {note}")


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Course], None]]:
    """A bar on a terminal, lines elsewhere."""
    from lifecycle.commands.lines import lines

    if not console.is_terminal:
        with lines(console) as said:
            said.step("labelling")
            yield lambda course: said.far(course.words)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(), TextColumn("{task.description}"), console=console) as bars:
        bar = bars.add_task("labelling", total=None)
        yield lambda course: bars.update(bar, completed=course.done, total=course.total, description=course.words)
