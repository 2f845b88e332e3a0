"""A clock that jumps, by a day and back: nothing waits longer or shorter for it, and nobody is shut out.

The process runs under libfaketime (Debian's package `faketime`), which reads the jump from a file at every look; the
clock that only counts is left alone, as by a real jump.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from lifecycle.access.keys import KeyGrant
from tests.service.conftest import fake_base, make_house
from tests.service.faults.conftest import ROOT, Process, chat, metric
from tests.waiting import seen

pytestmark = pytest.mark.timeout(300)

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
JUMPS = ("+1d", "-1d", "+10y", "-3d")

WALL_CLOCKS = {
    "lifecycle/store/artifact_cache.py": "times of files",
    "lifecycle/store/artifacts.py": "times of files",
    "service/classification/request.py": "when an answer was made, as its reader is told",
    "service/openai/likelihoods.py": "when an answer was made, as its reader is told",
    "service/access/limiter.py": "how far it was set is noticed there",
    "service/access/windows.py": "minutes of the same clock; `limiter.py` has them forgotten when it was set",
}
"""Where `time.time()` is called, and for what: nowhere else, so that no duration is measured by it."""


def test_no_duration_is_measured_by_a_clock_that_can_be_set() -> None:
    callers = set()
    for path in sorted([*(ROOT / "service").rglob("*.py"), *(ROOT / "lifecycle").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.time":
                callers.add(path.relative_to(ROOT).as_posix())
    assert callers == set(WALL_CLOCKS)


@pytest.fixture(scope="module")
def told_the_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Path, str]]:
    """A service whose clock follows a file, and a key."""
    root = tmp_path_factory.mktemp("clock")
    house = make_house(root / "home", fake_base(root / "tiny"))
    house.adapter("one")
    house.adapter("bad", None, ())
    house.prod("triage", adapter="one")
    house.prod("bad", adapter="bad")
    damaged = house.store._folder(house.adapters["bad"]) / "adapter_model.safetensors"
    damaged.chmod(0o644)
    damaged.write_text("damaged")
    grant = KeyGrant.model_validate({"name": "app", "role": "admin", "limits": {"requests_per_minute": 1000}})
    secret = house.registry.keys.create(grant, actor="test")[1]
    clock = root / "clock"
    clock.write_text("+0")
    service = Process(
        house,
        environment={
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    service.ready().close()
    try:
        yield service, clock, secret
        service.terminate()
        assert service.end() == 0
    finally:
        service.process.kill()
        service.process.communicate()
        house.registry.close()


@pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: install Debian's package faketime to run this")
@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_of_the_clock_disturbs_no_request(told_the_time: tuple[Process, Path, str], jump: str) -> None:
    service, clock, secret = told_the_time
    headers = {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client, ThreadPoolExecutor(1) as pool:

        def ask(model: str = "triage", **extra: object) -> httpx.Response:
            return client.post("/v1/chat/completions", json=chat(model, **extra))

        wanted = ask().json()["choices"]
        assert ask("bad").status_code == 503
        service.tell("hold")
        under_way = pool.submit(ask, stream=True)
        seen(lambda: metric(client, "dabt_requests_in_flight"))
        clock.write_text(jump)

        def has_jumped() -> bool:
            date = client.get("/health").headers["date"]  # uvicorn writes it once a second
            told = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
            return abs(told - datetime.now(UTC)) > timedelta(hours=12)

        seen(has_jumped)
        service.tell("release")
        assert under_way.result().text.endswith("data: [DONE]\n\n")
        assert ask().json()["choices"] == wanted
        assert client.get("/ready").status_code == 200
        # What failed to load is tried again after its pause: not at once for ever, and not in ten years.
        refused = ask("bad")
        assert (refused.status_code, int(refused.headers["retry-after"]) <= 60) == (503, True)
        alias = f"other-{JUMPS.index(jump)}"
        order = {"ref": "triage:1", "alias": alias, "reason": "for the test", "force": True}
        assert client.post("/admin/promote", json=order).status_code == 200
        assert ask(f"triage:{alias}").json()["choices"] == wanted
        clock.write_text("+0")
        assert ask().json()["choices"] == wanted
        assert client.get("/ready").status_code == 200
        seen(lambda: not has_jumped())
