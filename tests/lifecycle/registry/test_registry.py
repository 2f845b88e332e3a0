"""The registry's promises, each on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from lifecycle.errors import InvalidInput, NotAllowed, NotFound, Unreadable
from lifecycle.manifests import (
    AdapterManifest,
    ClassifierManifest,
    GoldenPrompt,
    GoldenText,
    GoldenWeights,
    Manifest,
    WeightsManifest,
)
from lifecycle.registry import Registry, tables
from lifecycle.states import State
from lifecycle.version import Knowledge, Lineage, VersionSpec, digest_of

ROOT = Path(__file__).parents[2]
ARABIC = "صنّف رسالة المريض بالعربية"


def manifest(base: str = digest_of("base")) -> AdapterManifest:
    return AdapterManifest(
        digest=digest_of("adapter"),
        base=base,
        base_name="clinic-base",
        rank=8,
        alpha=16,
        scale=2.0,
        target_modules=("q_proj",),
        parameters=100,
        bytes=400,
        metrics={"eval_loss": 0.25},
        golden=(GoldenPrompt(prompt_ids=(1, 2), completion_ids=(3,), adapter_logprobs=(-0.1,), base_logprobs=(-2.5,)),),
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    )


def test_everything_recorded_is_there_after_reopening_arabic_and_all(registry, registry_url, house):
    registry.add_artifact(manifest())
    registry.add_index("handbook", digest_of("index"), {"passages": 12, "note": ARABIC})
    spec = VersionSpec(
        base=digest_of("base"), adapter=digest_of("adapter"), knowledge=Knowledge(index=digest_of("index"))
    )
    lineage = Lineage(source="training", run="r1", note=ARABIC)
    version = registry.create_version("triage", spec, actor="أمل", lineage=lineage)
    gate = house.gated()
    report = house.report_on(version)
    registry.record_report(report)
    registry.record_verdict(house.verdict_on(version, report))
    registry.promote(version.ref, actor="أمل", reason=ARABIC)

    with Registry.open(registry_url) as again:
        assert again.adapter(digest_of("adapter")) == manifest()
        assert again.index("handbook").facts["note"] == ARABIC
        assert again.index(digest_of("index")) == again.index("handbook")
        assert again.report(report.digest) == report
        assert again.report(report.digest).digest == report.digest
        found = again.version("triage")
        assert found == version.model_copy(update={"state": State.APPROVED})
        assert found.created_at == version.created_at
        assert again.gate("triage") == gate
        assert again.audit("triage")[0].reason == ARABIC


def test_numbers_count_up_by_name_and_the_same_recipe_is_the_same_version(registry, house):
    first, second = house.draft("a"), house.draft("b")
    other = house.draft("a", name="digest")
    assert [first.ref, second.ref, other.ref] == ["triage:1", "triage:2", "digest:1"]
    revision = registry.revision()
    assert house.draft("a") == first
    assert registry.revision() == revision, "nothing changed, so nobody need look again"
    assert registry.names() == ["digest", "triage"]
    assert [version.ref for version in registry.versions("triage")] == ["triage:1", "triage:2"]
    assert len(registry.versions()) == 3


@pytest.mark.parametrize("name", ["triage:1", "Triage", "", "tri age", "triage:prod", "triage\n", "ضبط", "-x"])
def test_a_version_needs_a_name_that_a_request_can_write(registry, house, name):
    with pytest.raises(InvalidInput):
        registry.create_version(name, house.spec("s"), actor="amal")
    assert registry.names() == []


def test_a_version_is_made_only_of_parts_that_are_registered(registry):
    spec = VersionSpec(base=digest_of("base"), adapter=digest_of("adapter"))
    with pytest.raises(NotFound, match="no adapter"):
        registry.create_version("triage", spec, actor="amal")
    spec = VersionSpec(base=digest_of("base"), knowledge=Knowledge(index=digest_of("index")))
    with pytest.raises(NotFound, match="no index"):
        registry.create_version("triage", spec, actor="amal")


def test_an_adapter_is_refused_over_a_base_that_it_was_not_trained_on(registry):
    registry.add_artifact(manifest(base=digest_of("another base")))
    spec = VersionSpec(base=digest_of("base"), adapter=digest_of("adapter"))
    with pytest.raises(InvalidInput, match="was trained on base"):
        registry.create_version("triage", spec, actor="amal")


def of_kind(kind: str) -> Manifest:
    known = manifest().model_dump(include={"digest", "base", "base_name", "parameters", "bytes", "created_at"})
    if kind == "weights":
        golden = GoldenWeights(prompt_ids=(1,), completion_ids=(2,), tuned_logprobs=(-0.1,), original_logprobs=(-3.0,))
        return WeightsManifest(**known, origin=digest_of("o"), architecture="GPT2LMHeadModel", golden=(golden,))
    if kind == "classifier":
        golden = GoldenText(text="ممتاز", logits=(2.0, -1.0))
        return ClassifierManifest(
            **known, labels=("good", "bad"), architecture="BertForSequenceClassification", golden=(golden,)
        )
    return manifest()


@pytest.mark.parametrize("kind", ["adapter", "weights", "classifier"])
def test_every_kind_of_artifact_is_kept_with_its_kind_and_told_by_the_trail(registry, registry_url, kind):
    made = of_kind(kind)
    registry.add_artifact(made, actor="amal")
    version = registry.create_version("triage", VersionSpec(base=made.base, **{kind: made.digest}), actor="amal")
    with Registry.open(registry_url) as again:
        assert again.artifact(made.digest) == made
        assert again.version(version.ref).spec.artifact == (kind, made.digest)
        assert again.changes.manifests([made.digest]) == ([made], [])
    created, added = registry.audit()
    assert (added.action, added.subject, added.detail["base"]) == (f"{kind}.add", made.digest, made.base)
    assert created.detail["kind"] == kind
    if kind != "adapter":
        with pytest.raises(NotFound, match=f"is no adapter, but {kind}"):
            registry.adapter(made.digest)


@pytest.mark.parametrize("kind", ["adapter", "weights", "classifier"])
def test_golden_answers_that_come_later_are_kept_and_told_of_every_kind(registry, kind):
    made = of_kind(kind)
    registry.add_artifact(made.model_copy(update={"golden": ()}))
    mark = registry.changes.newest()
    registry.add_artifact(made)
    assert registry.artifact(made.digest) == made
    assert registry.audit()[0].action == f"{kind}.golden"
    told = registry.changes.traffic(mark)
    assert (told.whole, told.now.artifacts) == (False, (made.digest,))


def test_an_artifact_of_one_kind_is_not_taken_for_another(registry):
    registry.add_artifact(of_kind("weights"))
    with pytest.raises(InvalidInput, match="known as weights, and not as adapter"):
        registry.add_artifact(manifest())
    spec = VersionSpec(base=digest_of("base"), adapter=digest_of("adapter"))
    with pytest.raises(InvalidInput, match="is of the kind weights, and the recipe names it as its adapter"):
        registry.create_version("triage", spec, actor="amal")


def test_an_artifact_of_a_kind_that_a_newer_release_has_costs_itself_alone(registry):
    registry.add_artifact(manifest())
    newer = of_kind("weights").model_copy(update={"digest": digest_of("newer")})
    registry.add_artifact(newer)
    with registry._database.write() as tx:
        where = tables.artifacts.c.digest == newer.digest
        tx.execute(tables.artifacts.update().where(where).values(kind="world-model"))
    with pytest.raises(Unreadable, match="of the kind world-model; upgrade"):
        registry.artifact(newer.digest)
    readable, (left_out,) = registry.changes.manifests([newer.digest, manifest().digest])
    assert (readable, left_out.kind, left_out.ref) == ([manifest()], "artifact", newer.digest)


def test_the_first_manifest_of_an_adapter_stays(registry):
    registry.add_artifact(manifest())
    registry.add_artifact(manifest().model_copy(update={"metrics": {"eval_loss": 9.0}}))
    assert registry.adapter(digest_of("adapter")).metrics == {"eval_loss": 0.25}


def test_an_index_name_means_its_newest_build_even_when_that_is_an_old_one_again(registry):
    for build in ("one", "two", "one"):
        registry.add_index("handbook", digest_of(build), {})
    assert registry.index("handbook").digest == digest_of("one")
    assert registry.index(digest_of("two")).name == "handbook"


def test_a_report_makes_drafts_evaluated_and_leaves_what_was_judged_as_it_was(registry, house):
    judged, draft = house.judged("a"), house.draft("b")
    registry.promote(judged.ref, actor="amal", reason="first")
    registry.record_report(house.report_on(judged, draft))
    assert registry.version(draft.ref).state is State.EVALUATED
    assert registry.version(judged.ref).state is State.APPROVED, "comparing with what serves must not unseat it"


def test_a_report_that_names_unknown_versions_is_refused_with_all_of_them(registry, house):
    known, other = house.draft("a"), house.draft("b")
    unknown = known.model_copy(update={"number": 7})
    changed = other.model_copy(update={"spec": house.spec("c")})
    with pytest.raises(InvalidInput) as caught:
        registry.record_report(house.report_on(known, unknown, changed))
    assert [problem.place for problem in caught.value.problems] == ["triage:7", "triage:2"]
    assert registry.version(known.ref).state is State.DRAFT, "all of it or none"
    assert registry.reports() == []


def test_a_verdict_approves_or_rejects_and_the_newest_decides(registry, house):
    version, report = house.evaluated()
    assert registry.record_verdict(house.verdict_on(version, report)).state is State.APPROVED
    later = house.verdict_on(version, report, passed=False)
    assert registry.record_verdict(later).state is State.DOUBTED
    assert registry.verdicts("triage:1") == [later, house.verdict_on(version, report)]
    assert registry.record_verdict(house.verdict_on(version, report)).state is State.DOUBTED, "a repeat is no news"


def test_a_verdict_needs_a_recorded_evaluation_of_that_very_version(registry, house):
    version, report = house.evaluated("a")
    other, other_report = house.evaluated("b")
    verdict = house.verdict_on(version, report)
    with pytest.raises(NotFound, match="no evaluation"):
        registry.record_verdict(verdict.model_copy(update={"evaluation_digest": digest_of("none")}))
    with pytest.raises(InvalidInput, match="is for"):
        registry.record_verdict(verdict.model_copy(update={"version_digest": other.digest}))
    with pytest.raises(InvalidInput, match="no arm"):
        registry.record_verdict(verdict.model_copy(update={"evaluation_digest": other_report.digest}))
    with pytest.raises(NotFound):
        registry.record_verdict(verdict.model_copy(update={"ref": "triage:9"}))
    assert registry.version(version.ref).state is State.EVALUATED


def test_a_retired_version_stays_retired(registry, house):
    version, report = house.evaluated()
    assert registry.retire(version.ref, "amal", "superseded").state is State.RETIRED
    with pytest.raises(NotAllowed, match="retired"):
        registry.record_verdict(house.verdict_on(version, report))
    assert registry.audit("triage")[0].reason == "superseded"


def test_a_version_behind_an_alias_cannot_be_retired(registry, house):
    version = house.promoted("a")
    with pytest.raises(NotAllowed, match="triage:prod"):
        registry.retire(version.ref, "amal", "tidy up")


def test_every_change_is_in_the_trail_with_who_and_why_and_grows_the_revision(registry, house):
    revisions = [registry.revision()]

    def step(change, *given, **named):
        change(*given, **named)
        revisions.append(registry.revision())

    step(house.gated)
    step(house.draft, "a")
    version = registry.version("triage:1")
    report = house.report_on(version)
    step(registry.record_report, report, actor="ci")
    step(registry.record_verdict, house.verdict_on(version, report), actor="ci")
    step(registry.promote, "triage:1", actor="amal", reason="gate passed")
    house.judged("b")
    step(registry.promote, "triage:2", actor="amal", reason="better")
    step(registry.rollback, "triage", actor="sami", reason="complaints")
    step(registry.retire, "triage:2", "sami", "was wrong")

    assert revisions == sorted(set(revisions)), "strictly growing"
    trail = [(entry.actor, entry.action, entry.subject, entry.reason) for entry in reversed(registry.audit())]
    assert trail == [
        ("amal", "gate.set", "triage", "what patients need"),
        ("amal", "version.create", "triage:1", ""),
        ("ci", "report.record", "triage", ""),
        ("ci", "version.state", "triage:1", ""),
        ("ci", "verdict.record", "triage:1", ""),
        ("ci", "version.state", "triage:1", ""),
        ("amal", "alias.move", "triage:prod", "gate passed"),
        ("amal", "version.create", "triage:2", ""),
        ("evals", "report.record", "triage", ""),
        ("evals", "version.state", "triage:2", ""),
        ("evals", "verdict.record", "triage:2", ""),
        ("evals", "version.state", "triage:2", ""),
        ("amal", "alias.move", "triage:prod", "better"),
        ("sami", "alias.rollback", "triage:prod", "complaints"),
        ("sami", "version.state", "triage:2", "was wrong"),
    ]
    assert registry.audit()[1].detail == {"from": {"triage:2": 1.0}, "to": {"triage:1": 1.0}}
    assert [entry.id for entry in registry.audit(limit=2)] == [revisions[-1], revisions[-2]]


def test_the_trail_of_a_name_leaves_out_names_that_merely_begin_like_it(registry, house):
    house.draft("a", name="triage")
    house.draft("a", name="triage_2")
    house.draft("a", name="triagex")
    assert {entry.subject for entry in registry.audit("triage")} == {"triage:1"}


@pytest.mark.e2e
def test_two_processes_that_create_versions_and_move_aliases_lose_nothing(registry, registry_url, house, at_once):
    house.judged("first")
    house.judged("second")
    script = """
from lifecycle.registry import Registry, Target
from lifecycle.version import Prompt, VersionSpec, digest_of
url, who = sys.argv[1:]
registry = Registry.open(url)
registry.names()
go()
for turn in range(15):
    spec = VersionSpec(base=digest_of("base"), prompt=Prompt(system=f"{who} {turn}"))
    print(registry.create_version("triage", spec, actor=who).number)
    registry.create_version("triage", VersionSpec(base=digest_of("base"), prompt=Prompt(system=f"{turn}")), actor=who)
    registry.promote(f"triage:{1 + turn % 2}", actor=who, reason=f"{who} {turn}")
"""
    outputs = at_once(script, [[registry_url, who] for who in ("amal", "sami", "noor")])
    numbers = [int(line) for output in outputs for line in output.split()]
    assert len(numbers) == len(set(numbers)) == 45
    versions = registry.versions("triage")
    assert [version.number for version in versions] == list(range(1, 2 + 45 + 15 + 1)), "no gap, none twice"
    assert len({version.digest for version in versions}) == len(versions)
    moves = [entry for entry in registry.audit(limit=1000) if entry.action == "alias.move"]
    # Each recorded move begins where the one before it ended: no move was lost or torn.
    assert moves[-1].detail["from"] == {}
    for later, earlier in pairwise(moves):
        assert later.detail["from"] == earlier.detail["to"] != later.detail["to"]
    assert json.dumps(moves[0].detail["to"]) == json.dumps({f"triage:{n}": w for n, w in house.prod().items()})


@pytest.mark.e2e
def test_processes_that_open_a_new_registry_at_once_all_find_it_whole(registry_url, at_once):
    script = """
from lifecycle.registry import Registry, tables
from lifecycle.version import Prompt, VersionSpec, digest_of
go()
registry = Registry.open(sys.argv[1])
spec = VersionSpec(base=digest_of("base"), prompt=Prompt(system=sys.argv[2]))
registry.create_version("triage", spec, actor=sys.argv[2])
"""
    at_once(script, [[registry_url, str(who)] for who in range(4)])
    with Registry.open(registry_url) as registry:
        assert [version.number for version in registry.versions("triage")] == [1, 2, 3, 4]


@pytest.mark.e2e
def test_a_writer_that_is_killed_leaves_nothing_and_holds_up_nobody(registry, registry_url, house):
    house.draft("a")
    script = """
import sys
from sqlalchemy import update
from lifecycle.registry import tables
from lifecycle.registry import Registry, tables
with Registry.open(sys.argv[1])._database.write() as tx:
    tx.execute(update(tables.versions).values(state="retired"))
    print("written", flush=True)
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script, registry_url]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as writer:
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    assert house.draft("b").number == 2
    assert registry.version("triage:1").state is State.DRAFT
