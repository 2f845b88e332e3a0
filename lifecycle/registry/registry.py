"""The one registry: artifacts, indexes, versions, evaluations, verdicts, aliases, and the trail of every change.

Each public method is one transaction (`database.py`) and leaves an entry in the trail (`audit.py`). The rules are
elsewhere and pure: a version's life in `states.py` and `standing.py`, what may stand behind an alias in `aliases.py`.
Artifacts are kept by `artifact_book.py`, aliases move in `moves.py`, states in `judging.py`, tries are counted in
`try_book.py`, and rows become nouns in `records.py`. API keys, their use and what services tell each other of canaries
are the rooms beside: `keyring.py`, `usage_book.py`, `outcome_book.py`; `changes.py` is for who keeps a copy,
`listings.py` for lists; `file_book.py`, `upload_book.py`, `job_book.py` and `job_leases.py` are of the fine-tuning API,
`rating_book.py` is of people's ratings, `need_book.py` of what the store must hold, `pin_book.py` of what engines keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import func, insert, select

from lifecycle.aliases import PROD, Alias, Target
from lifecycle.errors import InvalidInput, NotFound, Problem
from lifecycle.gates import Gate
from lifecycle.manifests import AdapterManifest, Manifest
from lifecycle.registry import alias_stack, artifact_book, audit, judging, moves, records, tables, try_book
from lifecycle.registry.audit import AuditEntry
from lifecycle.registry.changes import ChangeReader
from lifecycle.registry.database import Database
from lifecycle.registry.file_book import FileBook
from lifecycle.registry.job_book import JobBook
from lifecycle.registry.job_leases import JobLeases
from lifecycle.registry.keyring import Keyring
from lifecycle.registry.listings import Listings
from lifecycle.registry.moves import Decision
from lifecycle.registry.need_book import NeedBook
from lifecycle.registry.outcome_book import OutcomeBook
from lifecycle.registry.pin_book import PinBook
from lifecycle.registry.rating_book import RatingBook
from lifecycle.registry.records import IndexRecord
from lifecycle.registry.try_book import Attempt
from lifecycle.registry.upload_book import UploadBook
from lifecycle.registry.usage_book import UsageBook
from lifecycle.report import Report, Tries
from lifecycle.states import State
from lifecycle.traffic import TrafficPolicy
from lifecycle.verdict import Verdict
from lifecycle.version import Digest, Lineage, Ref, Version, VersionSpec

UNKNOWN = Lineage()


class Registry:
    """Open it with `Registry.open(url)`. Safe to share between threads, and with any number of other processes.

    Every method may raise `Unavailable` when the database cannot be reached, is locked too long or is damaged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.keys = Keyring(database)
        self.usage, self.outcomes = UsageBook(database), OutcomeBook(database)
        self.changes, self.listings = ChangeReader(database), Listings(database)
        self.files, self.uploads = FileBook(database), UploadBook(database)
        self.jobs, self.leases = JobBook(database), JobLeases(database)
        self.ratings, self.needs, self.pins = RatingBook(database), NeedBook(database), PinBook(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """`sqlite:///path/registry.db` or `postgresql://…`; the tables are made on first use."""
        database = Database(url)
        database.open()
        return cls(database)

    @classmethod
    def later(cls, url: str, *, new: bool) -> Self:
        """One that may be away now: it is opened with its first use, and made where it is not there and may be `new`.

        Raises `InvalidConfig` for a URL that cannot be one.
        """
        return cls(Database(url, new=new))

    def reach(self) -> None:
        """Open it now. Raises `InvalidConfig` for one that a newer release wrote."""
        self._database.open()

    @property
    def name(self) -> str:
        """Its URL, without a password."""
        return self._database.name

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- artifacts and indexes ------------------------------------------------------------------------------------

    def add_artifact(self, manifest: Manifest, *, actor: str = "dabt") -> None:
        """Make the artifact known. The first manifest of a digest stays: equal bytes are one artifact.

        One that was recorded without golden prompts gets those of a later one over the same base. Raises `InvalidInput`
        for bytes that are known as another kind.
        """
        with self._database.write() as tx:
            artifact_book.add(tx, manifest, actor)

    def artifact(self, digest: Digest) -> Manifest:
        """Of any kind. Raises `NotFound`."""
        with self._database.read() as tx:
            return records.artifact(tx, digest)

    def adapter(self, digest: Digest) -> AdapterManifest:
        """Raises `NotFound`, also for an artifact of another kind."""
        with self._database.read() as tx:
            manifest = records.artifact(tx, digest, "adapter")
        if not isinstance(manifest, AdapterManifest):
            raise NotFound(f"{digest} is no adapter, but {manifest.kind}")
        return manifest

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

        Raises `NotFound` when its artifact or index is unknown, and `InvalidInput` when the name cannot be one, or the
        artifact is of another kind or of another base.
        """
        if (ref := Ref.parse(name)).name != name:
            raise InvalidInput(f"'{name}' names a version or alias; a new version needs a bare name such as {ref.name}")
        with self._database.write() as tx:
            artifact_book.require_fit(tx, spec)
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
            return judging.retire(tx, ref, actor, reason)

    # -- evaluations and verdicts ---------------------------------------------------------------------------------

    def record_report(self, report: Report, *, actor: str = "evals") -> Digest:
        """Keep the evaluation. Drafts among its arms become evaluated, unless it is provisional.

        Raises `InvalidInput` naming every arm whose version is unknown or has another digest.
        """
        with self._database.write() as tx:
            if records.first(tx, tables.reports, tables.reports.c.digest == report.digest):
                return report.digest
            rows, problems = [], []
            for arm in report.arms:
                try:
                    row = records.version_row(tx, arm.ref)
                    if row.digest != arm.version_digest:
                        problems.append(Problem(arm.arm, f"{arm.ref} is {row.digest}, not {arm.version_digest}"))
                    rows.append(row)
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
            for row in rows:
                if row.state == State.DRAFT and not report.provisional:
                    judging.move_state(tx, row, State.EVALUATED, actor, {"evaluation": report.digest})
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
        """Keep the verdict, and move its version's state when it is one that the gate of its name asks for.

        No traffic moves, whatever the verdict. What is provisional, undecided or under another policy or suite is
        kept and moves nothing. Raises `NotFound` for an unknown version or evaluation, `InvalidInput` when the digests
        do not fit (the version is not the one that the verdict names, or was no arm of that evaluation) or when it
        claims more than the evaluation holds, `NotAllowed` for a retired version.
        """
        with self._database.write() as tx:
            return judging.record_verdict(tx, verdict, actor)

    def verdicts(self, ref: str | Ref) -> list[Verdict]:
        """Newest first."""
        with self._database.read() as tx:
            return records.verdicts(tx, records.version_row(tx, ref))

    def doubt(self, ref: str | Ref) -> str | None:
        """Why the version is doubted, in words; None when it is not. Raises `NotFound`."""
        with self._database.read() as tx:
            version = records.to_version(records.version_row(tx, ref))
            entry = audit.newest_of(tx, "version.state", version.ref)
            return entry.reason if version.state is State.DOUBTED and entry else None

    # -- gates and tries ------------------------------------------------------------------------------------------

    def gate(self, name: str) -> Gate | None:
        """What `prod` of the name demands; None while nobody has set it, and then `prod` takes nothing."""
        with self._database.read() as tx:
            return records.gate(tx, name)

    def gates(self) -> list[Gate]:
        """Of every name that has one, by name."""
        with self._database.read() as tx:
            return records.gates(tx)

    def set_gate(self, gate: Gate, *, actor: str, reason: str) -> None:
        """Make it the gate of its name from now on. Setting the same one again changes nothing.

        Versions whose kept verdicts satisfy it are approved at once. Nothing else changes its state, and no traffic
        moves: what was approved under the gate before serves on, and is held to this one at its next promotion.
        """
        with self._database.write() as tx:
            judging.set_gate(tx, gate, Decision(actor, reason))

    def count_try(
        self, data: Digest, *, candidates: Sequence[Digest], deployment: Digest | None, name: str, provisional: bool,
        actor: str, drawn: str = "",
    ) -> Tries:  # fmt: skip
        """Which try on these items the candidates are; counted over all names, because false passes add up over all.

        The same candidates in the same deployment are the same try, however often, unless their answers were `drawn`
        otherwise (seed, number of answers). A provisional run is told the next number, and takes none.
        """
        attempt = Attempt(data, candidates, deployment, name, drawn)
        with self._database.write() as tx:
            return try_book.count(tx, attempt, provisional=provisional, actor=actor)

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
        self, name: str, alias: str, targets: Sequence[Target], *, actor: str, reason: str, force: bool = False,
        expected_revision: int | None = None,
    ) -> Alias:  # fmt: skip
        """Move the traffic of `name:alias` to the targets, all at once. Weights are scaled to sum to 1.

        Raises `NotAllowed` with every reason when a target may not stand there (see `aliases.refusal`); one that does
        already is not asked again unless its share grows. `force`
        overrides all of them but retirement, needs a written reason, and is kept in the trail as forced. Pointing
        it where it points already changes nothing. Raises `AliasMoved`, and does nothing, when the alias was changed
        after the `expected_revision` of the registry.
        """
        with self._database.write() as tx:
            return moves.point(tx, name, alias, targets, Decision(actor, reason, force, expected_revision))

    def promote(
        self, ref: str | Ref, *, actor: str, reason: str, alias: str = PROD, force: bool = False,
        share: float | None = None, expected_revision: int | None = None,
    ) -> Alias:  # fmt: skip
        """Give all of the alias's traffic to one version, or `share` of it beside what stands there: a canary.

        The rules are those of `set_alias`, for every target.
        """
        with self._database.write() as tx:
            return moves.promote(tx, ref, alias, share, Decision(actor, reason, force, expected_revision))

    def rollback(
        self, name: str, *, actor: str, reason: str, alias: str = PROD, expected_revision: int | None = None
    ) -> Alias:
        """Point the alias back at what it pointed at before its last move; called again, one move further back.

        Moves are a stack: a rolled-back move is gone from it, so a promotion after a rollback goes back to where
        the rollback led. What stood behind `prod` is taken as it was unless it has been retired, whatever evaluations
        have found since; behind other aliases also unless it was rejected, not having been forced. Raises
        `NotAllowed` then, and when nothing came before, and `AliasMoved` as `set_alias` does.
        """
        with self._database.write() as tx:
            return moves.rollback(tx, name, alias, Decision(actor, reason, expected_revision=expected_revision))

    def stop_canary(
        self, name: str, *, actor: str, reason: str, alias: str = PROD, expected_revision: int | None = None
    ) -> Alias:
        """Point a split alias back at its incumbent alone, by the rules of `rollback`. Raises `NotAllowed` for none."""
        with self._database.write() as tx:
            return moves.stop_canary(tx, name, alias, Decision(actor, reason, expected_revision=expected_revision))

    def roll_back_canary(self, judged: Alias, *, actor: str, reason: str, figures: dict[str, Any]) -> Alias | None:
        """Point a split alias back at its incumbent alone, if it still is what was `judged`; None if it is not.

        Of several services that find the same fault at once, one moves the alias. The moves between leave the stack,
        as if each had been rolled back; the rules are those of `rollback`.
        """
        with self._database.write() as tx:
            return moves.roll_back_canary(tx, judged, Decision(actor, reason), figures)

    def note_stuck(self, judged: Alias, *, actor: str, problem: str, reason: str) -> None:
        """Keep why the canary behind `judged` is not rolled back, once; nothing when the alias has been moved since."""
        with self._database.write() as tx:
            moves.note_stuck(tx, judged, problem, Decision(actor, reason))

    def amend_policy(
        self, name: str, alias: str, amend: Callable[[TrafficPolicy], TrafficPolicy], *,
        actor: str, reason: str, expected_revision: int | None = None,
    ) -> Alias:  # fmt: skip
        """Give the alias the policy that `amend` makes of the one it has, in one transaction.

        Raises as `set_alias` does: `NotAllowed` when its shadow was not evaluated, was rejected, or is retired.
        """
        with self._database.write() as tx:
            decision = Decision(actor, reason, expected_revision=expected_revision)
            return moves.amend_policy(tx, name, alias, amend, decision)

    # -- the trail ------------------------------------------------------------------------------------------------

    def audit(self, name: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """Newest first: the changes of a name with its versions and aliases, or of everything."""
        with self._database.read() as tx:
            return audit.entries(tx, name, limit)

    def revision(self) -> int:
        """A number that grows with every change and costs one index look-up: poll it to learn that aliases moved."""
        with self._database.read() as tx:
            return audit.newest(tx)
