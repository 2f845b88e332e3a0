"""What only happens past one machine: clocks that differ by minutes, and registry and bucket away at once."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.access.keys import KeyGrant
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from tests.lifecycle.conftest import postgres, postgres_url  # noqa: F401
from tests.lifecycle.store.s3_server import OWNER, running
from tests.service.faults.conftest import Begin, chat
from tests.service.faults.test_clock import LIBRARY
from tests.service.faults.test_registry import Cable, promote, two_versions
from tests.waiting import seen

pytestmark = [pytest.mark.timeout(300), pytest.mark.e2e]


@pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: install Debian's package faketime to run this")
def test_two_services_whose_clocks_are_ten_minutes_apart_serve_the_same(
    house: Any,
    begin: Begin,
    postgres_url: str,  # noqa: F811
) -> None:
    house.registry.close()
    house.registry = Registry.open(postgres_url)
    two_versions(house)
    grant = KeyGrant.model_validate({"name": "app", "role": "admin", "limits": {"requests_per_minute": 10_000}})
    headers = {"authorization": f"Bearer {house.registry.keys.create(grant, actor='test')[1]}"}
    clients = []
    for minutes in (-5, 5):
        skew = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": f"{minutes:+d}m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        service = begin(registry=postgres_url, environment=skew)
        service.ready().close()
        clients.append(httpx.Client(base_url=service.url, headers=headers, timeout=60))
    behind, ahead = clients

    def serves(client: httpx.Client) -> str:
        reply = client.post("/v1/chat/completions", json=chat("triage"))
        assert reply.status_code == 200, reply.text
        return str(reply.json()["dabt"]["version"])

    # Each moves the alias in its turn: the last one to move it wins everywhere, whatever its clock says.
    for mover, other, ref in ((ahead, behind, "triage:2"), (behind, ahead, "triage:1"), (ahead, behind, "triage:2")):
        order = {"ref": ref, "reason": "for the test", "force": True}
        assert mover.post("/admin/promote", json=order).status_code == 200
        assert serves(mover) == ref
        while serves(other) != ref:
            pass
    rolled_back = behind.post("/admin/rollback", json={"name": "triage", "reason": "for the test"})
    assert rolled_back.status_code == 200, rolled_back.text
    assert serves(behind) == "triage:1"
    seen(lambda: serves(ahead) == "triage:1")
    moves = [entry.action for entry in house.registry.audit("triage") if entry.action.startswith("alias.")]
    assert moves[:4] == ["alias.rollback", "alias.force", "alias.force", "alias.force"], "newest first, by their ids"
    # A key of ten minutes hence opens now, and one that is revoked opens neither.
    made = ahead.post("/admin/keys", json={"name": "late"})
    assert made.status_code == 201
    key = {"authorization": f"Bearer {made.json()['secret']}"}
    seen(lambda: behind.post("/v1/chat/completions", json=chat("triage"), headers=key).status_code == 200)
    house.registry.keys.revoke("app", actor="elsewhere")
    for client in clients:
        while client.post("/v1/chat/completions", json=chat("triage")).status_code != 401:
            pass
        client.close()


async def test_with_registry_and_bucket_away_what_is_loaded_answers_and_all_comes_back(
    house: Any,
    start: Any,
    until: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres_url: str,  # noqa: F811
) -> None:
    import s3fs

    with running() as server:
        bucket = f"b-{uuid.uuid4().hex}"
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(key=OWNER[0], secret=OWNER[1], endpoint_url=server).mkdir(bucket)
        database = Cable(int(postgres_url.split("127.0.0.1:")[1].split("/", maxsplit=1)[0]))
        store = Cable(int(server.rpartition(":")[2]))
        for name, value in {
            "AWS_ACCESS_KEY_ID": OWNER[0],
            "AWS_SECRET_ACCESS_KEY": OWNER[1],
            "AWS_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
        }.items():
            monkeypatch.setenv(name, value)
        house.registry.close()
        real_port = postgres_url.split("127.0.0.1:")[1].split("/", maxsplit=1)[0]
        house.registry = Registry.open(postgres_url.replace(f":{real_port}/", f":{database.port}/"))
        house.store = ArtifactStore(f"s3://{bucket}/dabt", tmp_path / "cache")
        two_versions(house)
        house.registry.promote("triage:2", actor="t", reason="r", alias="next", force=True)
        async with start(house) as service:
            assert (await service.chat("triage")).status_code == 200, "its adapter is fetched and loaded"
            catalogue = service.app.state.parts.catalogue
            database.pull()
            store.pull()
            await until(lambda: catalogue.problem is not None)
            assert (await service.client.get("/ready")).status_code == 200
            assert (await service.chat("triage")).json()["dabt"]["version"] == "triage:1"
            not_here = await service.chat("triage:next")
            assert (not_here.status_code, int(not_here.headers["retry-after"]) > 0) == (503, True)
            assert (await promote(service, "triage:2")).status_code == 503
            database.cut = store.cut = False
            await until(lambda: catalogue.problem is None)

            async def next_answers() -> bool:
                return bool((await service.chat("triage:next")).status_code == 200)

            await until(next_answers)
            assert (await promote(service, "triage:2")).status_code == 200
            assert (await service.chat("triage")).json()["dabt"]["version"] == "triage:2"
        database.close()
        store.close()
        s3fs.S3FileSystem.clear_instance_cache()
