"""`dabt traffic show | split | policy` and `dabt shadow start | stop`: what an alias does with its requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import (
    ForceOption,
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
    from lifecycle.aliases import Alias, Target

AliasArgument = Annotated[str, typer.Argument(help="The alias: triage means triage:prod.")]


def show(
    name: Annotated[str | None, typer.Argument(help="Only the aliases of this name.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show every alias with its shares, the bounds of its canary, why that is not rolled back, and who gets copies.

    Example: `dabt traffic show triage`
    """
    with open_registry(home) as registry:
        listed = registry.listings.aliases(name)
    say_left_out(listed.left_out)
    if as_json:
        typer.echo(to_json([{**row.alias.model_dump(mode="json"), "stuck": row.stuck} for row in listed.rows]))
    elif listed.rows:
        _show([row.alias for row in listed.rows])
        for row in listed.rows:
            if row.stuck is not None:
                typer.echo(f"the canary of {row.alias.ref} broke a bound and is not rolled back: {row.stuck}")
    elif not listed.left_out:
        typer.echo(f"no aliases{f' of {name}' if name else ''} yet; make one with `dabt promote`")


def split(
    alias: AliasArgument,
    targets: Annotated[list[str], typer.Argument(help="Versions with their shares: 3=90% 4=10%, or 3=1 4=1.")],
    reason: ReasonOption = "",
    force: ForceOption = False,
    home: HomeOption = None,
) -> None:
    """Share an alias's traffic out over several versions, as for an A/B test. A session stays with its version.

    Example: `dabt traffic split triage 3=50% 4=50% --reason "shorter replies?"`
    """
    name, called = _alias_of(alias)
    wanted = _targets(name, targets)
    with open_registry(home) as registry:
        moved = registry.set_alias(name, called, wanted, actor=this_user(), reason=reason, force=force)
    typer.echo(f"{moved.ref} → {moved}" + (" (forced)" if force else ""))


def policy(
    alias: AliasArgument,
    file: Annotated[Path | None, typer.Argument(help="YAML with canary and shadow; else show what holds.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Bound nothing and copy nothing from now on.")] = False,
    reason: ReasonOption = "",
    home: HomeOption = None,
) -> None:
    """Set the bounds that an alias's canary must keep, or it is rolled back; without a file, print the policy.

    Example: `dabt traffic policy triage canary.yaml --reason "before the first canary"`
    """
    import yaml

    from lifecycle.config_file import load_mapping, validated
    from lifecycle.traffic import TrafficPolicy

    name, called = _alias_of(alias)
    wanted = TrafficPolicy() if clear else None
    if file is not None and not clear:
        wanted = validated(TrafficPolicy, load_mapping(file), file)
    with open_registry(home) as registry:
        if wanted is None:
            now = registry.alias(name, called)
        else:
            now = registry.amend_policy(name, called, lambda _: wanted, actor=this_user(), reason=reason)
    plain = now.policy.model_dump(mode="json", exclude_none=True)
    typer.echo(f"# {now.ref}\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)}".rstrip())


def shadow_start(
    ref: Annotated[str, typer.Argument(help="The version that gets copies, such as triage:5.")],
    share: Annotated[str, typer.Option(help="Of the alias's requests, such as 20%.")] = "100%",
    alias: Annotated[str, typer.Option(help="The alias whose requests are copied.")] = "prod",
    record_bodies: Annotated[bool, typer.Option("--record-bodies", help="Keep the texts, not digests alone.")] = False,
    reason: ReasonOption = "",
    home: HomeOption = None,
) -> None:
    """Send copies of an alias's requests to a version as well: its answers are recorded and never returned.

    Example: `dabt shadow start triage:5 --share 20% --reason "is it faster on real questions?"`
    """
    from lifecycle.traffic import Shadow, parse_share

    part = parse_share(share)
    with open_registry(home) as registry:
        version = registry.version(ref)
        shadow = Shadow(version=version.number, share=part, record_bodies=record_bodies)
        amended = registry.amend_policy(
            version.name,
            alias,
            lambda policy: policy.model_copy(update={"shadow": shadow}),
            actor=this_user(),
            reason=reason,
        )
    typer.echo(f"{100 * part:.4g}% of the requests to {amended.ref} are copied to {version.ref}")


def shadow_stop(
    alias: AliasArgument,
    reason: ReasonOption = "",
    home: HomeOption = None,
) -> None:
    """Copy no more requests of an alias. What was recorded stays: `dabt shadow report`.

    Example: `dabt shadow stop triage --reason "enough seen"`
    """
    name, called = _alias_of(alias)
    with open_registry(home) as registry:
        amended = registry.amend_policy(
            name, called, lambda policy: policy.model_copy(update={"shadow": None}), actor=this_user(), reason=reason
        )
    typer.echo(f"requests to {amended.ref} are not copied")


def _alias_of(text: str) -> tuple[str, str]:
    from lifecycle.errors import InvalidInput
    from lifecycle.version import Ref

    ref = Ref.parse(text)
    if ref.alias is None:
        raise InvalidInput(f"{ref} is a version; name an alias, such as {ref.name} (its prod) or {ref.name}:canary")
    return ref.name, ref.alias


def _targets(name: str, written: list[str]) -> list[Target]:
    """`3=90%` or `triage:3=0.9`, all faults together. Weights such as 3=2 4=1 need not sum to 1."""
    from pydantic import ValidationError

    from lifecycle.aliases import Target, check_whole
    from lifecycle.errors import InvalidInput, Problem

    targets, problems = [], []
    for text in written:
        ref, _, weight = text.partition("=")
        try:
            number = int(ref.removeprefix(f"{name}:"))
            targets.append(Target(number=number, weight=float(weight.removesuffix("%"))))
        except (ValueError, ValidationError):
            problems.append(Problem(text, "is no share of a version", "a number and its share, such as 3=90%"))
    if len({text.endswith("%") for text in written}) > 1:
        problems.append(Problem(" ".join(written), "some shares are percentages and some are not", "write all alike"))
    if problems:
        raise InvalidInput("The traffic cannot be shared out like this:", problems)
    whole = 100 if written[0].endswith("%") else 1
    if whole == 100 or all(target.weight < 1 for target in targets):
        check_whole([target.weight / whole for target in targets])
    return targets


def _show(aliases: list[Alias]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("alias", "targets", "incumbent", "bounds of a canary", "copies to", box=None)
    for alias in aliases:
        canary, shadow = alias.policy.canary, alias.policy.shadow
        cells = (
            alias.ref,
            str(alias),
            f"{alias.name}:{alias.incumbent}" if alias.incumbent else "–",
            ", ".join(canary.names) if canary else "–",
            f"{alias.name}:{shadow.version} ({100 * shadow.share:.4g}%)" if shadow else "–",
        )
        table.add_row(*(Text(cell) for cell in cells))
    print_table(table)
