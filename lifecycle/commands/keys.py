"""`dabt keys create | list | revoke | usage`: who may call a service, and how much they did."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import (
    HomeOption,
    JsonOption,
    ReasonOption,
    open_registry,
    print_table,
    say_left_out,
    this_user,
    to_json,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lifecycle.access.keys import ApiKey, KeyGrant
    from lifecycle.access.usage import Usage

NameArgument = Annotated[str, typer.Argument(help="What to call the key: a team, a program, a person.")]
KeyArgument = Annotated[str, typer.Argument(help="The key's name or id.")]
Day = Annotated[str | None, typer.Option(help="A day of UTC, such as 2026-11-21; it is included.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Without it there is no limit.")]


def create(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    name: NameArgument,
    role: Annotated[str, typer.Option(help="caller, evaluator, trainer, publisher or admin.")] = "caller",
    model: Annotated[
        list[str] | None, typer.Option(help="What it may call, such as triage or 'triage:prod'; again for more.")
    ] = None,
    requests_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    tokens_per_day: Limit = None,
    requests_at_once: Annotated[
        int | None, typer.Option(min=1, help="Half of what a service takes at once by default.")
    ] = None,
    choices_per_request: Annotated[
        int | None, typer.Option(min=1, help="The most that `n` may be; 128 by default.")
    ] = None,
    prompts_per_request: Annotated[
        int | None, typer.Option(min=1, help="Prompts or texts in one request's list.")
    ] = None,
    training_jobs: Annotated[int | None, typer.Option(min=1, help="Fine-tuning jobs that have not ended.")] = None,
    storage_mib: Annotated[int | None, typer.Option(min=1, help="Files that it has sent, and results.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="How long it lasts; for ever by default.")] = None,
    shares_with: Annotated[
        str, typer.Option(help="A key, by name or id, whose files, jobs and models it has too: one that it replaces.")
    ] = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Make a key. Its secret goes to standard output, this once, and nowhere else.

    Example: `dabt keys create clinic-app --model triage --requests-per-minute 600 --tokens-per-day 5000000`
    """
    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "requests_at_once": requests_at_once,
        "choices_per_request": choices_per_request,
        "prompts_per_request": prompts_per_request,
        "training_jobs": training_jobs,
        "storage_mib": storage_mib,
    }
    grant = _grant({"name": name, "role": role, "models": model or ["*"], "limits": limits}, days)
    with open_registry(home) as registry:
        key, secret = registry.keys.create(grant, actor=this_user(), shares_with=shares_with)
    if as_json:
        typer.echo(to_json({**key.model_dump(mode="json"), "secret": secret}))
        return
    typer.echo(f"{key.id}: {_described(key)}. Keep what follows; it is not shown again.", err=True)
    typer.echo(secret)


def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that were revoked or have expired, too.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the keys with their roles, models and limits; of the secrets, the last four characters.

    Example: `dabt keys list --all`
    """
    now = datetime.now().astimezone()
    with open_registry(home) as registry:
        keys, left_out = registry.keys.every()
    keys = [key for key in keys if all_ or key.problem(now) is None]
    say_left_out(left_out)
    if as_json:
        typer.echo(to_json([key.model_dump(mode="json") for key in keys]))
    elif keys:
        _show_keys(keys, now)
    elif not left_out:
        typer.echo("no keys; make one with `dabt keys create`")


def revoke(
    key: KeyArgument,
    reason: ReasonOption = "",
    cancel_jobs: Annotated[
        bool, typer.Option("--cancel-jobs", help="End the fine-tuning jobs that it asked for too.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """End a key: running services refuse it within a second. Its fine-tuning jobs go on.

    Example: `dabt keys revoke clinic-app --reason "leaked into a notebook"`
    """
    with open_registry(home) as registry:
        ended = registry.keys.revoke(key, actor=this_user(), reason=reason, cancel_jobs=cancel_jobs)
    typer.echo(f"{ended.id} ({ended.name}) is revoked")


def usage(
    key: Annotated[str | None, typer.Option(help="Only this key, by name or id.")] = None,
    since: Day = None,
    until: Day = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show what each key used, by day and version: requests, prompt tokens, completion tokens.

    Example: `dabt keys usage --since 2026-11-01 --csv > november.csv`
    """
    from lifecycle.access import usage as book

    with open_registry(home) as registry:
        wanted = registry.keys.find(key).id if key else None
        uses = registry.usage.between(book.day_of(since, "--since"), book.day_of(until, "--until"), wanted)
        names = {key.id: key.name for key in registry.keys.all()}
    if as_csv:
        typer.echo(book.as_csv(uses, names), nl=False)
    elif as_json:
        typer.echo(to_json([use.model_dump(mode="json") for use in uses]))
    elif uses:
        _show_usage(uses, names)
    else:
        typer.echo("no usage; a service writes it every few seconds")


def _grant(options: dict[str, object], days: int | None) -> KeyGrant:
    from datetime import timedelta

    from pydantic import ValidationError

    from lifecycle.access.keys import KeyGrant
    from lifecycle.errors import InvalidInput, Problem
    from lifecycle.validation import fault_of

    expires = datetime.now().astimezone() + timedelta(days=days) if days else None
    try:
        return KeyGrant.model_validate({**options, "expires_at": expires})
    except ValidationError as error:
        problems = [Problem(".".join(map(str, fault["loc"])), fault_of(fault)) for fault in error.errors()]
        raise InvalidInput("The key was not made:", problems) from error


def _described(key: ApiKey) -> str:
    until = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "until it is revoked"
    return f"{key.name}, {key.role}, for {', '.join(key.models)}, {_limits(key) or 'without limits'}, {until}"


def _limits(key: ApiKey) -> str:
    units = {
        "requests/min": key.limits.requests_per_minute,
        "tokens/min": key.limits.tokens_per_minute,
        "tokens/day": key.limits.tokens_per_day,
        "requests at once": key.limits.requests_at_once,
        "choices": key.limits.choices_per_request,
        "prompts": key.limits.prompts_per_request,
        "jobs": key.limits.training_jobs,
        "MiB of files": key.limits.storage_mib,
    }
    return ", ".join(f"{most} {unit}" for unit, most in units.items() if most is not None)


def _show_keys(keys: Sequence[ApiKey], now: datetime) -> None:
    from rich.table import Table

    table = Table("id", "name", "role", "models", "limits", "ends in", "made", "by", "state", box=None)
    for key in keys:
        models, made = ", ".join(key.models), f"{key.created_at:%Y-%m-%d}"
        cells = (key.id, key.name, key.role, models, _limits(key) or "–", f"…{key.hint}", made, key.created_by)
        table.add_row(*cells, key.problem(now) or (f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "good"))
    print_table(table)


def _show_usage(uses: Sequence[Usage], names: dict[str, str]) -> None:
    from rich.table import Table

    table = Table("day", "key", "version", "requests", "prompt tokens", "completion tokens", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    for use in uses:
        counts = (use.requests, use.prompt_tokens, use.completion_tokens)
        table.add_row(str(use.day), names.get(use.key, use.key), use.version, *(f"{count:,}" for count in counts))
    print_table(table)
