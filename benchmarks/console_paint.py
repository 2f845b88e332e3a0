"""How soon each screen is seen with 10,000 versions and 10,000 items of a report, and how much a first visit loads.

Two services over the fake engine, one with little to show and one with much, and a real browser that opens each screen
of both by turns, each time in a fresh context; the ratio of the medians is printed. Read `console.py` for the command.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from benchmarks.report_page import ARMS, CHROMIUM, PAINT, evaluation, items
from console.app import Console
from console.navigation import SCREENS
from evals.report import folder_of
from lifecycle.home import Home
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.report import Report
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Prompt, VersionSpec
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine

LITTLE, MUCH = 10, 10_000
OF_A_NAME = 5
OPENINGS = 7
MOST_RATIO, MOST_KIB = 2.0, 200
TRANSFERRED = """performance.getEntriesByType('navigation')[0].transferSize
  + performance.getEntriesByType('resource').reduce((sum, entry) => sum + entry.transferSize, 0)"""


@dataclass(frozen=True, slots=True)
class Side:
    url: str
    report: str
    """The beginning of its digest."""


def run() -> None:
    """Print the table. Ends with an error when a bound is not kept."""
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as root,
        served(Path(root, "little"), LITTLE) as little,
        served(Path(root, "much"), MUCH) as much,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
        rows = [(name, *_times(browser, little, much, path)) for name, path in places()]
        visit = _first_visit(browser, much.url) / 1024
        browser.close()
    print(table(rows, visit))
    slow = [name for name, few, many in rows if statistics.median(many) > MOST_RATIO * statistics.median(few)]
    if slow or visit > MOST_KIB:
        raise SystemExit(f"over the bound: {', '.join([*slow, *(['the first visit'] if visit > MOST_KIB else [])])}")


def places() -> list[tuple[str, str]]:
    """What is opened: every screen, and the pages of one version and of one report."""
    screens = [(screen.title, screen.path) for screen in SCREENS]
    return [
        *screens, ("A version", "/ui/versions/name-0000/1"), ("A report", "/ui/reports/{report}"),
        ("A change of an alias", "/ui/overview/change?ref=name-0000:prod"),
    ]  # fmt: skip


def table(rows: Sequence[tuple[str, Sequence[float], Sequence[float]]], visit: float) -> str:
    """In Markdown; times in milliseconds, `visit` in KiB."""
    lines = [f"| first paint | with {LITTLE} | with {MUCH:,} | ratio |", "|---|---|---|---|"]
    for name, few, many in rows:
        one, other = statistics.median(few), statistics.median(many)
        lines.append(f"| {name} | {one:.0f} ms | {other:.0f} ms | {other / one:.2f} |")
    lines.append(f"| a first visit, compressed | | {visit:.0f} KiB | |")
    return "\n".join(lines)


def fill(home: Home, base: Path, n: int) -> Report:
    """`n` versions under names that have five each, a `prod` for each name, and a report of `n` items."""
    with Registry.open(home.registry_url) as registry:
        digest = fingerprint(base).digest

        def version(name: str, text: str) -> str:
            spec = VersionSpec(base=digest, prompt=Prompt(system=text))
            return registry.create_version(name, spec, actor="benchmark").digest

        for place in range(n // OF_A_NAME):
            name = f"name-{place:04}"
            for number in range(OF_A_NAME):
                version(name, f"Answer as {number}.")
            registry.promote(f"{name}:1", actor="benchmark", reason="measured", force=True)
        digests = [version("clinic", arm) for arm in ARMS]
        made = evaluation(n).report
        arms = tuple(
            arm.model_copy(update={"version_digest": own}) for arm, own in zip(made.arms, digests, strict=True)
        )
        report = made.model_copy(update={"arms": arms})
        registry.record_report(report)
    folder = folder_of(home, report)
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(report.model_dump_json())
    with (folder / "items.jsonl").open("w", encoding="utf-8") as lines:
        for item in items(n):
            lines.write(json.dumps(item.model_dump(mode="json"), ensure_ascii=False) + "\n")
    return report


@contextmanager
def served(root: Path, n: int) -> Iterator[Side]:
    base = root / "tiny"
    base.mkdir(parents=True)
    (base / "config.json").write_text('{"model_type": "llama"}')
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_text("{}")
    (base / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    report = fill(home, base, n)
    with Registry.open(home.registry_url) as registry:
        store = ArtifactStore(home.artifacts_url, home.cache)
        config = ServeConfig(base=base, embedding_model="none", max_cpu_loras=4, max_loras=2)
        app = create_app(config, FakeEngine(), registry, store, console=partial(Console, home=home))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while httpx.get(f"{url}/ready", timeout=60).status_code != 200:
            time.sleep(0.05)  # between two askings of another thread
        yield Side(url, report.digest.removeprefix("sha256:")[:12])
        server.should_exit = True
        thread.join(30)


def _times(browser: Any, little: Side, much: Side, path: str) -> tuple[list[float], list[float]]:
    sides: tuple[tuple[Side, list[float]], ...] = ((little, []), (much, []))
    for side, _ in sides:
        _opened(browser, side, path)  # warm: what a service reads once it has read then
    for _ in range(OPENINGS):
        for side, times in sides:
            times.append(_opened(browser, side, path))
    return sides[0][1], sides[1][1]


def _opened(browser: Any, side: Side, path: str) -> float:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    answer = page.goto(side.url + path.format(report=side.report))
    assert answer.status == 200, f"{path}: {answer.status}"
    page.wait_for_function(f"() => ({PAINT}) !== null")
    paint = float(page.evaluate(PAINT))
    context.close()
    return paint


def _first_visit(browser: Any, url: str) -> float:
    """Bytes over the network, headers included."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.goto(f"{url}/ui", wait_until="load")
    transferred = float(page.evaluate(TRANSFERRED))
    context.close()
    return transferred
