"""A home in which everything has happened once: every table of its registry has rows, and its store what they name."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from lifecycle.access.keys import KeyGrant
from lifecycle.access.usage import Usage
from lifecycle.home import Home
from lifecycle.jobs.nouns import Job, JobCheckpoint, JobResult, Upload, UploadedFile, UploadPart, new_id
from lifecycle.manifests import AdapterManifest
from lifecycle.rating import Campaign, Choice, RatedArm, RatedItem
from lifecycle.registry import Registry, tables
from lifecycle.registry.database import Database
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from lifecycle.version import Digest, Knowledge, Lineage, Prompt, Version, VersionSpec, digest_of
from tests.lifecycle.conftest import BASE, House
from tests.lifecycle.registry.fine_tuning import job_of

MOMENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class LivedIn:
    def __init__(self, home: Home) -> None:
        self.home = home
        self.registry = Registry.open(home.registry_url)
        self.store = ArtifactStore(home.artifacts_url, home.cache)
        self.house = House(self.registry)

    def put(self, text: str) -> Digest:
        """A folder with one file."""
        with self.store.scratch() as scratch:
            (scratch / "bytes").write_text(text, encoding="utf-8")
            return self.store.put(scratch)

    def adapter(self, text: str, **facts: Any) -> Digest:
        digest = self.put(text)
        manifest = {
            "base": BASE,
            "base_name": "clinic",
            "rank": 8,
            "alpha": 16,
            "scale": 2,
            "parameters": 1,
            "bytes": 1,
        }
        manifest |= {"target_modules": ("q_proj",), "created_at": MOMENT, "metrics": {"eval_loss": 0.1}, **facts}
        self.registry.add_artifact(AdapterManifest.model_validate({"digest": digest, **manifest}))
        return digest

    def version(self, text: str, name: str = "triage", **lineage: Any) -> Version:
        spec = VersionSpec(base=BASE, adapter=self.adapter(text), prompt=Prompt(system="أجب"))
        return self.registry.create_version(name, spec, actor="amal", lineage=Lineage(source="training", **lineage))

    def approved(self, text: str, name: str = "triage") -> Version:
        version = self.version(text, name)
        if self.registry.gate(name) is None:
            self.house.gated(name)
        return self.house.judge(version)

    def file(self, text: str, owner: str = "amal", **changes: Any) -> UploadedFile:
        facts = {"id": new_id("file-"), "owner": owner, "purpose": "fine-tune", "filename": "صفوف.jsonl", "bytes": 3}
        facts |= {"digest": self.put(text), "created_at": datetime.now(UTC)}
        file = UploadedFile.model_validate({**facts, **changes})
        self.registry.files.add(file, actor=owner)
        return file

    def job(self, **changes: Any) -> Job:
        return self.registry.jobs.create(job_of(**changes), asked=new_id("asked-"), actor="amal")

    def trained(self) -> None:
        """A job that has ended, with a checkpoint, figures and names."""
        job = self.job(training_file=self.file("rows").id)
        self.registry.leases.validated(job.id, None, "w")
        taken = self.registry.leases.take("w", [BASE], {})
        assert taken is not None
        assert taken.id == job.id
        self.registry.leases.seal(job.id, "w")
        version = self.version("trained", run="run-1", started_from=self.put("where it started"))
        early = self.version("early")
        checkpoint = {"id": new_id("ftckpt_"), "job": job.id, "step": 1, "model": "ft:1:ckpt", "version": early.ref}
        checkpoints = [JobCheckpoint.model_validate({**checkpoint, "metrics": {"loss": 0.5}, "created_at": MOMENT})]
        figures = {"id": new_id("file-"), "owner": "amal", "purpose": "fine-tune-results", "filename": "m.csv"}
        figures |= {"bytes": 1, "digest": self.put("figures"), "created_at": datetime.now(UTC)}
        result = JobResult(model="ft:1", version=version.ref, result_files=(str(figures["id"]),))
        file = UploadedFile.model_validate(figures)
        self.registry.leases.succeeded(taken, "w", result, checkpoints, [], file)

    def uploading(self) -> None:
        now = datetime.now(UTC)
        upload = {"id": "upload-1", "owner": "amal", "filename": "big.jsonl", "purpose": "fine-tune", "bytes": 9}
        later = now.replace(year=now.year + 1)
        self.registry.uploads.create(
            Upload.model_validate({**upload, "created_at": now, "expires_at": later}), actor="a"
        )
        part = {"id": "part-1", "upload": "upload-1", "digest": self.put("part"), "bytes": 3, "created_at": now}
        self.registry.uploads.add_part(UploadPart.model_validate(part), "amal")

    def rated(self, one: Version, other: Version) -> None:
        arms = {v.ref: RatedArm(ref=v.ref, version_digest=v.digest) for v in (one, other)}
        report = self.house.report_on(one, other)
        self.registry.record_report(report)
        facts = {
            "name": "c",
            "task": "triage",
            "evaluation": report.digest,
            "arms": arms,
            "pairs": [(one.ref, other.ref)],
        }
        campaign = Campaign.model_validate({**facts, "votes": 1, "seed": 7, "created_at": MOMENT, "created_by": "amal"})
        asked = ({"role": "user", "content": "سؤال"},)
        item = RatedItem(key="k", name="item", messages=asked, target="t", answers={one.ref: "أ", other.ref: "ب"})
        self.registry.ratings.create(campaign, [item], actor="amal")
        ballot = self.registry.ratings.next("c", "badr")
        assert ballot is not None
        self.registry.ratings.vote("c", ballot.id, "badr", Choice.A)

    def everything(self) -> LivedIn:
        first = self.approved("one")
        second = self.approved("two")
        self.registry.promote(first.ref, actor="amal", reason="أفضل")
        self.registry.promote(second.ref, actor="amal", reason="better", share=0.1)
        self.registry.amend_policy(
            "triage",
            "prod",
            lambda _: TrafficPolicy(canary=CanaryBounds(max_error_rate=0.1)),
            actor="amal",
            reason="care",
        )
        self.registry.count_try(
            digest_of("items"), candidates=[first.digest], deployment=None, name="triage", provisional=False, actor="e"
        )
        index = self.put("index")
        self.registry.add_index("handbook", index, {"documents": 3})
        searching = VersionSpec(base=BASE, prompt=Prompt(system="s"), knowledge=Knowledge(index=index))
        self.registry.create_version("handbook", searching, actor="amal")
        key, _ = self.registry.keys.create(KeyGrant(name="clinic-app", models=("triage",)), actor="ops")
        self.registry.keys.create(KeyGrant(name="old"), actor="ops")
        self.registry.keys.revoke("old", actor="ops", reason="leaked")
        day = date(2026, 11, 1)
        self.registry.usage.add([Usage(day=day, key=key.id, version=first.ref, requests=7, prompt_tokens=70)], day)
        self.registry.outcomes.tell("service-1", {"sha256:trial": [1, 2]})
        self.trained()
        self.uploading()
        self.rated(first, second)
        return self

    def close(self) -> None:
        self.registry.close()


def rows(url: str) -> dict[str, list[dict[str, Any]]]:
    """All that a registry holds, by table."""
    with closing(Database(url, new=False)) as database, database.read() as tx:
        every = {}
        for table in tables.metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key.columns)
            every[table.name] = [dict(row) for row in tx.execute(query).mappings()]
        return every


def at(root: Path, registry_url: str = "", artifacts_url: str = "") -> Home:
    return Home(
        root=root,
        registry_url=registry_url or f"sqlite:///{root / 'registry.db'}",
        artifacts_url=artifacts_url or str(root / "artifacts"),
    )
