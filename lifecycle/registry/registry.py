"""The one registry: adapters, indexes, versions, evaluations, verdicts, aliases, and the trail of every change.

Each public method is one transaction (`database.py`) and leaves an entry in the trail (`audit.py`). The rules are
elsewhere and pure: a version's life in `states.py`, what may stand behind an alias in `aliases.py`. Aliases move in
`moves.py`, rows become nouns in `records.py`. API keys, their use and what services tell each other of canaries are the
rooms beside: `keyring.py`, `usage_book.py`, `outcome_book.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Row, func, insert, select, update

from lifecycle.adapter import AdapterManifest
from lifecycle.aliases import PROD, Alias, Target
from lifecycle.errors import InvalidInput, NotAllowed, NotFound, Problem
from lifecycle.registry import alias_stack, audit, moves, records, tables
from lifecycle.registry.audit import AuditEntry
from lifecycle.registry.database import Database
from lifecycle.registry.keyring import Keyring
from lifecycle.registry.moves import Decision
from lifecycle.registry.outcome_book import OutcomeBook
from lifecycle.registry.records import IndexRecord
from lifecycle.registry.usage_book import UsageBook
from lifecycle.report import Report, Verdict
from lifecycle.states import State, move
from lifecycle.traffic import TrafficPolicy
from lifecycle.version import Digest, Lineage, Ref, Version, VersionSpec

UNKNOWN = Lineage()


class Registry:
    """Open it with `Registry.open(url)`. Safe to share between threads, and with any number of other processes.

    Every method may raise `Unavailable` when the database cannot be reached, is locked too long or is damaged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = Keyring(database)
        self.usage = UsageBook(database)
        self.outcomes = OutcomeBook(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """`sqlite:///path/registry.db` or `postgresql://…`; the tables are made on first use."""
        return cls(Database(url))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- adapters and indexes -------------------------------------------------------------------------------------

    def add_adapter(self, manifest: AdapterManifest, *, actor: str = "dabt") -> None:
        """Make the adapter known. The first manifest of a digest stays: equal bytes are one adapter."""
        with self._database.write() as tx:
            if tx.execute(select(tables.adapters).where(tables.adapters.c.digest == manifest.digest)).first():
                return
            body = manifest.model_dump(mode="json")
            row = {"digest": manifest.digest, "manifest": body, "created_at": manifest.created_at}
            tx.execute(insert(tables.adapters).values(row))
            audit.append(tx, actor, "adapter.add", manifest.digest, {"base": manifest.base, "rank": manifest.rank})

    def adapter(self, digest: Digest) -> AdapterManifest:
        """Raises `NotFound`."""
        with self._database.read() as tx:
            return records.adapter(tx, digest)

    def add_index(self, name: str, digest: Digest, facts: dict[str, Any], *, actor: str = "dabt") -> None:
        """Make the index known, and the newest of its name."""
        with self._database.write() as tx:
            newest = records.first(tx, tables.indexes, tables.indexes.c.name == name)
            if newest is not None and newest.digest == digest:
                return
            row = {"name": name, "digest": digest, "facts": facts, "created_at": datetime.now(UTC)}
            tx.execute(insert(tables.indexes).values(row))
            audit.append(tx, actor, "index.add", name, {"digest": digest})

    def index(self, name_or_digest: str) -> IndexRecord:
        """The newest index of the name, or the one with the digest. Raises `NotFound`."""
        with self._database.read() as tx:
            return records.index(tx, name_or_digest)

    # -- versions -------------------------------------------------------------------------------------------------

    def create_version(self, name: str, spec: VersionSpec, *, actor: str, lineage: Lineage = UNKNOWN) -> Version:
        """Number the recipe under the name, as a draft. The same recipe under the same name is the same version.

        Raises `NotFound` when its adapter or index is unknown, and `InvalidInput` when the name cannot be one or
        the adapter was trained on another base.
        """
        if (ref := Ref.parse(name)).name != name:
            raise InvalidInput(f"'{name}' names a version or alias; a new version needs a bare name such as {ref.name}")
        with self._database.write() as tx:
            if spec.adapter and (manifest := records.adapter(tx, spec.adapter)).base != spec.base:
                raise InvalidInput(
                    f"adapter {spec.adapter} was trained on base {manifest.base} ({manifest.base_name}), "
                    f"not on {spec.base}"
                )
            if spec.knowledge:
                records.index(tx, spec.knowledge.index)
            same_name = tables.versions.c.name == name
            if existing := records.first(tx, tables.versions, same_name & (tables.versions.c.digest == spec.digest)):
                return records.to_version(existing)
            number = tx.execute(
                select(func.coalesce(func.max(tables.versions.c.number), 0)).where(same_name)
            ).scalar_one()
            version = Version(
                name=name,
                number=int(number) + 1,
                spec=spec,
                state=State.DRAFT,
                lineage=lineage,
                created_at=datetime.now(UTC),
                created_by=actor,
            )
            tx.execute(
                insert(tables.versions).values(
                    **version.model_dump(mode="json", exclude={"created_at"}),
                    digest=spec.digest,
                    created_at=version.created_at,
                )
            )
            detail = {"digest": spec.digest, "kind": spec.kind, "source": lineage.source, "run": lineage.run}
            audit.append(tx, actor, "version.create", version.ref, detail, lineage.note)
            return version

    def version(self, ref: str | Ref) -> Version:
        """By number, or by an alias that has one target. Raises `NotFound`; `InvalidInput` for a split alias."""
        with self._database.read() as tx:
            return records.to_version(records.version_row(tx, ref))

    def versions(self, name: str | None = None) -> list[Version]:
        """By name and number."""
        query = select(tables.versions).order_by(tables.versions.c.name, tables.versions.c.number)
        if name is not None:
            query = query.where(tables.versions.c.name == name)
        with self._database.read() as tx:
            return [records.to_version(row) for row in tx.execute(query)]

    def names(self) -> list[str]:
        with self._database.read() as tx:
            query = select(tables.versions.c.name).distinct().order_by(tables.versions.c.name)
            return list(tx.execute(query).scalars())

    def retire(self, ref: str | Ref, actor: str, reason: str) -> Version:
        """Take the version out of service for good. Raises `NotAllowed` while an alias points at it."""
        with self._database.write() as tx:
            row = records.version_row(tx, ref)
            version = records.to_version(row)
            behind = [alias.ref for alias in alias_stack.every(tx, version.name) if _has(alias, version.number)]
            if behind:
                raise NotAllowed(f"{version.ref} is behind {', '.join(behind)}; move that first, then retire it")
            return self._move(tx, row, State.RETIRED, actor, reason=reason)

    # -- evaluations and verdicts ---------------------------------------------------------------------------------

    def record_report(self, report: Report, *, actor: str = "evals") -> Digest:
        """Keep the evaluation. Arms that are drafts become evaluated; what a verdict has judged stays as it was.

        Raises `InvalidInput` naming every arm whose version is unknown or has another digest.
        """
        with self._database.write() as tx:
            if records.first(tx, tables.reports, tables.reports.c.digest == report.digest):
                return report.digest
            found, problems = [], []
            for arm in report.arms:
                try:
                    row = records.version_row(tx, arm.ref)
                    if row.digest != arm.version_digest:
                        problems.append(Problem(arm.arm, f"{arm.ref} is {row.digest}, not {arm.version_digest}"))
                    found.append(row)
                except (NotFound, InvalidInput) as error:
                    problems.append(Problem(arm.arm, str(error), "create the version before it is evaluated"))
            if problems:
                raise InvalidInput(f"the report on {report.task} names versions that this registry lacks", problems)
            body = report.model_dump(mode="json")
            tx.execute(insert(tables.reports).values(digest=report.digest, task=report.task, body=body))
            detail = {
                "digest": report.digest,
                "arms": {arm.arm: arm.ref for arm in report.arms},
                "items": report.n_items,
            }
            audit.append(tx, actor, "report.record", report.task, detail)
            for row in found:
                if row.state == State.DRAFT:
                    self._move(tx, row, State.EVALUATED, actor, {"evaluation": report.digest})
            return report.digest

    def report(self, digest: Digest) -> Report:
        """Raises `NotFound`."""
        with self._database.read() as tx:
            return records.to_report(records.report_row(tx, digest))

    def reports(self, task: str | None = None) -> list[Report]:
        """Newest first."""
        query = select(tables.reports).order_by(tables.reports.c.id.desc())
        if task is not None:
            query = query.where(tables.reports.c.task == task)
        with self._database.read() as tx:
            return [records.to_report(row) for row in tx.execute(query)]

    def record_verdict(self, verdict: Verdict, *, actor: str = "evals") -> Version:
        """Keep the verdict and move its version to approved or rejected. No traffic moves, whatever the verdict.

        Raises `NotFound` for an unknown version or evaluation, and `InvalidInput` when the digests do not fit:
        the version is not the one that the verdict names, or was no arm of that evaluation.
        """
        with self._database.write() as tx:
            row = records.version_row(tx, verdict.ref)
            if row.digest != verdict.version_digest:
                raise InvalidInput(f"the verdict is for {verdict.version_digest}, and {verdict.ref} is {row.digest}")
            report = records.to_report(records.report_row(tx, verdict.evaluation_digest))
            if verdict.version_digest not in {arm.version_digest for arm in report.arms}:
                raise InvalidInput(f"{verdict.ref} was no arm of the evaluation {verdict.evaluation_digest}")
            if records.first(tx, tables.verdicts, tables.verdicts.c.digest == verdict.digest):
                return records.to_version(row)
            tx.execute(
                insert(tables.verdicts).values(
                    digest=verdict.digest,
                    version_id=row.id,
                    evaluation_digest=verdict.evaluation_digest,
                    passed=verdict.passed,
                    body=verdict.model_dump(mode="json"),
                )
            )
            version = records.to_version(row)
            names = {
                "verdict": verdict.digest,
                "evaluation": verdict.evaluation_digest,
                "policy": verdict.policy_digest,
            }
            audit.append(tx, actor, "verdict.record", version.ref, {**names, "passed": verdict.passed})
            return self._move(tx, row, State.APPROVED if verdict.passed else State.REJECTED, actor, names)

    def verdicts(self, ref: str | Ref) -> list[Verdict]:
        """Newest first."""
        with self._database.read() as tx:
            return records.verdicts(tx, records.version_row(tx, ref))

    # -- aliases --------------------------------------------------------------------------------------------------

    def aliases(self, name: str | None = None) -> list[Alias]:
        """In alphabetical order; those of `name`, or all of them."""
        with self._database.read() as tx:
            return alias_stack.every(tx, name)

    def alias(self, name: str, alias: str) -> Alias:
        """Raises `NotFound`."""
        with self._database.read() as tx:
            return alias_stack.get(tx, name, alias)

    def set_alias(
        self, name: str, alias: str, targets: Sequence[Target], *, actor: str, reason: str, force: bool = False
    ) -> Alias:
        """Move the traffic of `name:alias` to the targets, all at once. Weights are scaled to sum to 1.

        Raises `NotAllowed` with every reason when a target may not stand there (see `aliases.refusal`). `force`
        overrides all of them but retirement, needs a written reason, and is kept in the trail as forced. Pointing
        it where it points already changes nothing.
        """
        with self._database.write() as tx:
            return moves.point(tx, name, alias, targets, Decision(actor, reason, force))

    def promote(
        self,
        ref: str | Ref,
        *,
        actor: str,
        reason: str,
        alias: str = PROD,
        force: bool = False,
        share: float | None = None,
    ) -> Alias:
        """Give all of the alias's traffic to one version, or `share` of it beside what stands there: a canary.

        The rules are those of `set_alias`, for every target.
        """
        with self._database.write() as tx:
            return moves.promote(tx, ref, alias, share, Decision(actor, reason, force))

    def rollback(self, name: str, *, actor: str, reason: str, alias: str = PROD) -> Alias:
        """Point the alias back at what it pointed at before its last move; called again, one move further back.

        Moves are a stack: a rolled-back move is gone from it, so a promotion after a rollback goes back to where
        the rollback led. What was good enough then is taken as it was, unless it has been retired or, not having
        been forced, rejected since. Raises `NotAllowed` then, and when nothing came before.
        """
        with self._database.write() as tx:
            return moves.rollback(tx, name, alias, Decision(actor, reason))

    def roll_back_canary(self, judged: Alias, *, actor: str, reason: str, figures: dict[str, Any]) -> Alias | None:
        """Point a split alias back at its incumbent alone, if it still is what was `judged`; None if it is not.

        Of several services that find the same fault at once, one moves the alias. The moves between leave the stack,
        as if each had been rolled back; the rules are those of `rollback`.
        """
        with self._database.write() as tx:
            return moves.roll_back_canary(tx, judged, Decision(actor, reason), figures)

    def amend_policy(
        self, name: str, alias: str, amend: Callable[[TrafficPolicy], TrafficPolicy], *, actor: str, reason: str
    ) -> Alias:
        """Give the alias the policy that `amend` makes of the one it has, in one transaction.

        Raises `NotFound` for an alias that nothing stands behind, and `NotAllowed` when the policy's shadow was not
        evaluated, was rejected, or is retired.
        """
        with self._database.write() as tx:
            return moves.amend_policy(tx, name, alias, amend, Decision(actor, reason))

    # -- the trail ------------------------------------------------------------------------------------------------

    def audit(self, name: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """Newest first: the changes of a name with its versions and aliases, or of everything."""
        with self._database.read() as tx:
            return audit.entries(tx, name, limit)

    def revision(self) -> int:
        """A number that grows with every change and costs one index look-up: poll it to learn that aliases moved."""
        with self._database.read() as tx:
            return audit.newest(tx)

    @staticmethod
    def _move(
        tx: Connection, row: Row[Any], to: State, actor: str, detail: dict[str, Any] | None = None, reason: str = ""
    ) -> Version:
        version = records.to_version(row)
        if version.state is to:
            return version
        move(version.ref, version.state, to)
        tx.execute(update(tables.versions).where(tables.versions.c.id == row.id).values(state=to.value))
        states = {"from": version.state.value, "to": to.value}
        audit.append(tx, actor, "version.state", version.ref, {**states, **(detail or {})}, reason)
        return version.model_copy(update={"state": to})


def _has(alias: Alias, number: int) -> bool:
    return any(target.number == number for target in alias.targets)
