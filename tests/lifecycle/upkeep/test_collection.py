"""`dabt gc`: what nothing needs goes, what anything needs stays, and nobody who publishes meanwhile loses a byte."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dabt
from lifecycle.errors import Conflict
from lifecycle.home import Home
from lifecycle.registry import Registry, tables
from lifecycle.registry.need_book import Retention
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.store.stock import Stock
from lifecycle.upkeep.collection import Rule, collect, look
from lifecycle.version import Digest, Knowledge, Prompt, VersionSpec
from tests.lifecycle.conftest import BASE
from tests.lifecycle.upkeep.lived_in import LivedIn, at

pytestmark = pytest.mark.timeout(300)

NOW = Rule(grace=timedelta(0))
"""Without a time of grace: what nothing needs goes at once."""


@pytest.fixture(params=["folder", "object store"])
def lived(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LivedIn]:
    url = f"memory://{uuid.uuid4().hex}/dabt" if request.param == "object store" else ""
    with closing(LivedIn(at(tmp_path / "home", artifacts_url=url))) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LivedIn]:
    with closing(LivedIn(at(tmp_path / "home"))) as made:
        yield made


def gone(lived: LivedIn, rule: Rule = NOW) -> set[Digest]:
    return {leftover.digest for leftover in collect(lived.registry, lived.store, rule, actor="amal").leftovers}


# -- what is needed ---------------------------------------------------------------------------------------------------


def test_of_a_home_in_which_all_has_happened_nothing_goes_but_what_nobody_names(lived):
    lived.everything()
    orphan = lived.put("its trainer died before it was registered")
    held = {holding.digest for holding in Stock(lived.store).holdings()}
    plan = look(lived.registry, lived.store, NOW)
    assert [(leftover.digest, leftover.why) for leftover in plan.leftovers] == [
        (orphan, "nothing in the registry names it")
    ]
    assert plan.bytes >= len("its trainer died before it was registered")
    assert {holding.digest for holding in Stock(lived.store).holdings()} == held, "a look removed something"
    assert gone(lived) == {orphan}
    assert {holding.digest for holding in Stock(lived.store).holdings()} == held - {orphan}
    entry = lived.registry.audit()[0]
    assert (entry.action, entry.subject, entry.actor) == ("artifact.collect", orphan, "amal")
    assert entry.detail["bytes"] == plan.bytes
    assert gone(lived) == set()


def test_the_bytes_of_a_retired_version_go_and_those_that_an_alias_or_another_version_needs_stay(lived):
    retired, kept = lived.version("one"), lived.approved("two")
    shared = lived.version("shared")
    spec = shared.spec.model_copy(update={"prompt": Prompt(system="other")})
    lived.registry.create_version("digest", spec, actor="amal")
    for version in (retired, shared):
        lived.registry.retire(version.ref, actor="amal", reason="old")
    lived.registry.promote(kept.ref, actor="amal", reason="good")
    assert gone(lived) == {retired.spec.adapter}
    assert lived.registry.audit()[0].reason == "only of triage:1, which is retired"


def test_a_verdict_keeps_a_retired_versions_bytes_unless_it_is_asked_otherwise(lived):
    judged = lived.approved("one")
    lived.registry.retire(judged.ref, actor="amal", reason="old")
    assert gone(lived) == set()
    assert gone(lived, Rule(grace=timedelta(0), verdicts=False)) == {judged.spec.adapter}
    assert lived.registry.verdicts(judged.ref), "the verdict itself stays"
    assert judged.spec.adapter not in lived.registry.needs.all().required, "nothing is wrong where it is not there"


def test_what_a_training_went_on_from_stays_as_far_back_as_is_known(lived):
    grandparent = lived.version("one")
    parent = lived.version("two", started_from=grandparent.spec.adapter)
    lived.version("three", started_from=parent.spec.adapter)
    for version in (grandparent, parent):
        lived.registry.retire(version.ref, actor="amal", reason="old")
    assert gone(lived) == set()
    lived.registry.retire("triage:3", actor="amal", reason="old")
    assert len(gone(lived)) == 3


def test_an_unfinished_job_keeps_what_it_starts_from_and_the_file_that_was_deleted_since(lived):
    start, file = lived.version("one"), lived.file("rows")
    job = lived.job(start=start.ref, training_file=file.id)
    lived.registry.retire(start.ref, actor="amal", reason="old")
    lived.registry.files.delete(file.id, "amal", actor="amal")
    assert gone(lived) == set()
    assert lived.registry.needs.all().required[file.digest] == file.id
    lived.registry.jobs.move(job.id, lived.registry.jobs.get(job.id, None).state.CANCELLED, None, actor="amal")
    assert gone(lived) == {start.spec.adapter}
    assert not lived.store.has(file.digest), "what was deleted is purged on the way"


def test_an_earlier_index_goes_when_no_version_searches_it(lived):
    earlier, used, newest = (lived.put(text) for text in ("a", "b", "c"))
    for digest in (earlier, used, newest):
        lived.registry.add_index("handbook", digest, {})
    spec = VersionSpec(base=BASE, prompt=Prompt(system="s"), knowledge=Knowledge(index=used))
    lived.registry.create_version("handbook", spec, actor="amal")
    assert gone(lived) == {earlier}


def test_bytes_on_their_way_stay_though_no_file_is_there_yet(lived):
    lived.uploading()
    with lived.store.scratch() as scratch:
        (scratch / "bytes").write_text("expected")
        digest = lived.store.put(scratch)
    from tests.lifecycle.registry.fine_tuning import file_of

    lived.registry.files.expect(file_of(digest=digest))
    assert gone(lived) == set()


# -- grace, and stores that others use --------------------------------------------------------------------------------


def test_what_was_put_or_whose_version_was_retired_within_the_grace_stays(local):
    orphan = local.put("on its way")
    retired = local.version("one")
    local.registry.retire(retired.ref, actor="amal", reason="old")
    long_ago = time.time() - 3 * 24 * 3600
    for folder in (local.home.root / "artifacts/sha256").iterdir():
        os.utime(folder, (long_ago, long_ago))
    plan = look(local.registry, local.store, Rule(grace=timedelta(days=2)))
    assert [leftover.digest for leftover in plan.leftovers] == [orphan], "a request to the retired one may be under way"
    assert local.put("on its way") == orphan
    plan = look(local.registry, local.store, Rule(grace=timedelta(days=2)))
    assert (plan.leftovers, plan.young) == ((), 1), "it was put again, so somebody wants it"


def test_what_the_registry_never_named_is_left_to_another_one_where_it_may_be_shared(lived):
    strange, retired = lived.put("another registry's"), lived.version("one")
    lived.registry.retire(retired.ref, actor="amal", reason="old")
    rule = Rule(grace=timedelta(0), unnamed=False)
    assert look(lived.registry, lived.store, rule).strange == 1
    assert gone(lived, rule) == {retired.spec.adapter}
    assert lived.store.has(strange)


def test_an_object_stores_bytes_without_their_list_go_too(tmp_path):
    url = f"memory://{uuid.uuid4().hex}/dabt"
    with closing(LivedIn(at(tmp_path / "home", artifacts_url=url))) as lived:
        digest = lived.put("half")
        lived.store._remote.rm_file(lived.store._at(digest) + ".json")
        assert not lived.store.complete(digest)
        plan = look(lived.registry, lived.store, NOW)
        assert [leftover.why for leftover in plan.leftovers] == ["left by a put that was never ended"]
        assert gone(lived) == {digest}
        assert lived.store._remote.find(url.removeprefix("memory://")) == []


# -- races ------------------------------------------------------------------------------------------------------------


def test_one_that_was_put_again_since_it_was_looked_at_stays(lived):
    digest = lived.put("wanted again")
    (held,) = Stock(lived.store).holdings()
    while Stock(lived.store).holdings()[0].put_at == held.put_at:  # a file system's clock goes by milliseconds
        lived.put("wanted again")
    with pytest.raises(Conflict, match="stays"):
        Stock(lived.store).take_out(held)
    assert lived.store.get(digest).is_dir()


def test_one_that_got_a_version_since_it_was_looked_at_stays(lived):
    digest = lived.put("one")
    (held,) = Stock(lived.store).holdings()
    version = lived.version("one")
    assert version.spec.adapter == digest
    assert lived.registry.needs.let_go(digest, lambda: 1 / 0, Retention(), why="", actor="gc") is None
    assert held.digest == digest


def test_a_removal_that_fails_leaves_no_entry_in_the_trail(local):
    digest = local.put("one")
    with pytest.raises(ZeroDivisionError):
        local.registry.needs.let_go(digest, lambda: 1 / 0, Retention(), why="", actor="gc")
    assert local.registry.audit() == []


def test_who_publishes_while_bytes_are_collected_all_the_time_loses_none(tmp_path, peft, base):
    """Without a time of grace, so that every put that has no version yet may be taken."""
    from lifecycle.publishing import Provenance, Shelf, publish

    folders = []
    for number in range(6):
        peft.config["lora_alpha"] = 8 + number
        peft.folder = tmp_path / f"adapter-{number}"
        folders.append(peft.save())
    home = at(tmp_path / "home")
    Registry.open(home.registry_url).close()
    over, taken, refs = threading.Event(), [], []

    def clear() -> None:
        shelf = Shelf.at(home)
        with shelf.registry:
            while not over.is_set():
                taken.extend(collect(shelf.registry, shelf.store, NOW, actor="gc").leftovers)

    def make(folder: Path) -> None:
        shelf = Shelf.at(home)
        with shelf.registry:
            version = publish(
                folder, name="triage", base=base, prompt=Prompt(system="s"), provenance=Provenance(source="import"),
                shelf=shelf,
            )  # fmt: skip
            refs.append(version)

    clearer = threading.Thread(target=clear)
    clearer.start()
    makers = [threading.Thread(target=make, args=(folder,)) for folder in folders]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    over.set()
    clearer.join()
    assert len(refs) == len(folders)
    for version in refs:
        ArtifactStore(home.artifacts_url, home.cache).verify(version.spec.adapter)


def test_what_was_collected_between_its_bytes_and_its_version_is_put_again(tmp_path, peft, base, monkeypatch):
    from lifecycle.publishing import Provenance, Shelf, publish

    home = at(tmp_path / "home")
    shelf = Shelf.at(home)
    taken = []

    def add(manifest, **options):  # the moment between the two
        taken.extend(collect(shelf.registry, shelf.store, NOW, actor="gc").leftovers)
        return real(manifest, **options)

    real = shelf.registry.add_artifact
    monkeypatch.setattr(shelf.registry, "add_artifact", add)
    version = publish(
        peft.save(), name="triage", base=base, prompt=Prompt(system="s"), provenance=Provenance(source="import"),
        shelf=shelf,
    )  # fmt: skip
    assert [leftover.digest for leftover in taken] == [version.spec.adapter]
    shelf.store.verify(version.spec.adapter)
    shelf.registry.close()


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_lists_first_and_removes_when_it_is_told(home: Home):
    with closing(LivedIn(home)) as lived:
        orphan = lived.put("nobody's")
        kept = lived.version("one")

    def gc(*words: str) -> str:
        return CliRunner().invoke(dabt.app, ["gc", *words], catch_exceptions=False).output

    assert "0 folders" in gc()
    listed = gc("--grace-days", "0")
    assert orphan in listed
    assert "1 folder, 8 B would be freed" in listed
    assert "`dabt gc --yes` removes them" in listed
    store = ArtifactStore(home.artifacts_url, home.cache)
    assert store.has(orphan)
    body = gc("--grace-days", "0", "--yes", "--json")
    told = json.loads(body[body.index("{") :])
    assert (told["bytes"], told["removed"], told["kept"]) == (8, True, 1)
    assert not store.has(orphan)
    assert store.has(kept.spec.adapter)
    with Registry.open(home.registry_url) as registry, registry._database.read() as tx:
        actions = [row.action for row in tx.execute(tables.audit.select())]
    assert actions.count("artifact.collect") == 1
