"""A house in which every screen has something to show, and in which whoever could wrote what should break a page.

Names and texts are as hostile as their places take them: HTML, Markdown, SVG, marks that turn letters around, letters
without a width, and words without a space. `walk` finds every page of it by the links of the others.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.routing import Match

from console.navigation import SCREENS
from lifecycle.aliases import Target
from lifecycle.jobs.nouns import Job, JobEvent, JobFault, JobProgress, JobRequest, UploadedFile
from lifecycle.jobs.states import JobState
from lifecycle.rating import Campaign, RatedArm, RatedItem
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from retrieval.config import IndexConfig
from retrieval.index import build_index
from tests.console.conftest import Served
from tests.evals.archive.conftest import keep_report
from tests.lifecycle.conftest import gate_of, report_on, verdict_on
from tests.service.conftest import House

RUNS = "document.title='run'"
MARKUP = f'<img src=x onerror="{RUNS}"><script>{RUNS}</script><svg onload="{RUNS}">'
MARKDOWN = "![x](https://evil.example/x.png) [y](javascript:alert(1)) <link rel=stylesheet href=//evil.example>"
TURNED = "\u202eevil\u202d \u2067x \u200b\u200d\ufeff"
LONG = "ط" * 3_000 + "w" * 3_000
WIDE = f"|a|b|\n|-|-|\n|{'t' * 300}|x|\n\n```\n{'c' * 300}\n```"
HOSTILE = f"{MARKUP}\n{MARKDOWN}\n{TURNED}\n{LONG}\n</textarea></template></main>"
NAME = f"{TURNED}{MARKUP}{'n' * 120}"
"""Where a name is asked for."""
SLUG = "a" * 63
"""The longest that the registry takes as the name of a version or a key."""
_NO_PAGES = (".csv", ".json", ".html")
"""Ends of addresses that are downloads."""
_BEHIND_FORMS = (
    "/ui/train/losses?job=ftjob-running&job=ftjob-failed",
    "/ui/versions/compare?a=triage:1&b=triage:2",
    "/ui/overview/confirm?do=promote&ref=triage:prod&version=2",
)
_MOST_OF_A_KIND = 2


def fill(house: House) -> None:
    house.key("ann", role="admin")
    house.key(SLUG, role="caller", models=(f"{SLUG}:*", "x" * 200))
    _versions(house)
    _reports(house)
    _campaigns(house)
    _knowledge(house)
    _jobs(house)


def walk(served: Served, page: Any) -> Iterator[bool]:
    """Opens every page that links lead to, a kind of page at most twice, and stays on it until the next is asked for:
    whether it is the first of its kind.

    A kind is a route with the names of what its address asks.
    """
    routes = [route for route in served.app.state.console.pages.routes if hasattr(route, "path")]
    pair = [kept.digest[7:19] for kept in served.house.registry.reports() if kept.task.startswith("task")]
    (passages,) = {it.digest for it in served.house.registry.listings.indexes()}
    waiting = deque(
        [*(screen.path for screen in SCREENS), *_BEHIND_FORMS, f"/ui/reports/diff?a={pair[0]}&b={pair[1]}",
         f"/ui/knowledge/{passages}?q=ward+img"]
    )  # fmt: skip
    seen, opened = set(waiting), Counter[str]()
    while waiting:
        place = waiting.popleft()
        parts = urlsplit(place)
        scope = {"type": "http", "method": "GET", "path": parts.path}
        route = next((route.path for route in routes if route.matches(scope)[0] is Match.FULL), None)
        kind = f"{route} {sorted(name for name, _ in parse_qsl(parts.query))}"
        if opened[kind] == _MOST_OF_A_KIND:
            continue
        opened[kind] += 1
        answer = page.goto(place)
        assert answer.status == 200, f"{place}: {answer.status}"
        for link in page.evaluate("[...document.links].map((link) => link.href)"):
            path = link.removeprefix(served.url).partition("#")[0]
            if path.startswith("/ui") and path not in seen and not urlsplit(path).path.endswith(_NO_PAGES):
                seen.add(path)
                waiting.append(path)
        yield opened[kind] == 1


def _versions(house: House) -> None:
    registry = house.registry
    registry.set_gate(gate_of("triage"), actor=NAME, reason=HOSTILE)
    house.adapter("one")
    shots = ({"user": HOSTILE, "assistant": HOSTILE},)
    old = house.prod("triage", prompt={"system": HOSTILE, "shots": shots})
    new = house.version("triage", adapter="one", prompt={"system": f"أجب بالعربية.\n{HOSTILE}x"})
    report = report_on(old, new)
    registry.record_report(report)
    registry.record_verdict(verdict_on(new, report))
    registry.record_verdict(verdict_on(old, report, passed=False))
    targets = [Target(number=1, weight=0.5), Target(number=2, weight=0.5)]
    registry.set_alias("triage", "prod", targets, actor=NAME, reason=HOSTILE, force=True)
    bounds = TrafficPolicy(canary=CanaryBounds(max_error_rate=0.02, max_ttft_ratio=2.0))
    registry.amend_policy("triage", "prod", lambda _: bounds, actor=NAME, reason=HOSTILE)
    house.prod(SLUG, prompt={"system": "x"})
    registry.set_alias(SLUG, "b" * 63, [Target(number=1)], actor="test", reason=NAME, force=True)


def _reports(house: House) -> None:
    names = [f"q{number:02}" for number in range(60)] + [NAME]
    for day, right in enumerate((3, 6)):
        arms = {
            "base": {name: float(at % 10 < 2) for at, name in enumerate(names)},
            f"adapter {TURNED}{MARKUP}": {name: float(at % 10 < right) for at, name in enumerate(names)},
        }
        keep_report(
            house.registry, house.home, arms, day=day, task=f"task {TURNED}{MARKUP}", prod="base",
            texts={"q00": HOSTILE, "q01": MARKDOWN + "ط" * 100_000, NAME: LONG}, clusters={"q00": NAME},
        )  # fmt: skip


def _campaigns(house: House) -> None:
    versions = [house.registry.version(f"triage:{number}") for number in (1, 2)]
    for name in ("mine", SLUG):
        campaign = Campaign.model_validate(
            {"name": name, "task": NAME, "votes": 4, "seed": 7, "created_by": NAME, "created_at": datetime.now(UTC),
             "pairs": [[it.ref for it in versions]],
             "arms": {it.ref: RatedArm(ref=it.ref, version_digest=it.digest) for it in versions}}
        )  # fmt: skip
        for number in range(3):
            answers: dict[str, str | None] = {
                it.ref: f"{HOSTILE}\n\n{WIDE}\n{number}{at}" for at, it in enumerate(versions)
            }
            item = RatedItem(
                key=f"k{number}", name=NAME, messages=({"role": "user", "content": HOSTILE},), answers=answers
            )
            house.registry.ratings.collect(campaign, item, actor="test")


def _knowledge(house: House) -> None:
    documents = house.home.root / "documents"
    documents.mkdir()
    text = (
        f"## h01\nVisitors may see the ward.\n\n## h02\n{MARKUP} {MARKDOWN} {TURNED} {LONG}\n\n## h03\nتفتح الصيدلية.\n"
    )
    (documents / f"{TURNED}<img src=x>{'d' * 100}.md").write_text(text, encoding="utf-8")
    folder = house.home.root / "index"
    facts = build_index(documents, folder, IndexConfig(dense="none"))
    digest = house.store.put(folder)
    house.registry.add_index("handbook", digest, facts.model_dump(mode="json"))
    house.prod("desk", knowledge={"index": digest})


def _jobs(house: House) -> None:
    registry = house.registry
    key = next(key for key in registry.keys.all() if key.name == "ann")
    talk = [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]
    folder = house.home.root / "rows"
    folder.mkdir()
    (folder / "file-hostile").write_text(json.dumps({"messages": talk}) + "\n{\n", encoding="utf-8")
    digest = house.store.put(folder)
    registry.files.add(
        UploadedFile(
            id="file-hostile", owner=key.owner, purpose="fine-tune", filename=f"{NAME}.jsonl", bytes=1, digest=digest,
            created_at=datetime.now(UTC),
        ), actor="test",
    )  # fmt: skip
    for id_, suffix in (("ftjob-running", NAME[:64]), ("ftjob-failed", SLUG), ("ftjob-queued", "")):
        asked = JobRequest(
            model="tiny", training_file="file-hostile", suffix=suffix, seed=7, metadata={"team": NAME}, key=key.id
        )
        job = Job(id=id_, owner=key.owner, state=JobState.VALIDATING, base=house.base_digest, name="made",
                  request=asked, created_at=datetime.now(UTC))  # fmt: skip
        registry.jobs.create(job, asked=id_, actor="test")
    leases = registry.leases
    for id_ in ("ftjob-running", "ftjob-failed"):
        assert leases.validated(id_, None, "w")
        job = leases.take("w", [house.base_digest], {})
        assert job is not None
        figures: list[dict[str, Any]] = [{"base_valid_loss": 2.5}] + [
            {"step": step, "train_loss": math.nan if step == 9 else 3 / step, "valid_loss": 2.6 - step / 20}
            for step in range(1, 20)
        ]
        told = [JobEvent(message="told", data=figure) for figure in figures]
        leases.tell(id_, "w", [JobEvent(message=HOSTILE, level="warn"), *told])
        if id_ == "ftjob-failed":
            leases.failed(id_, "w", JobFault(code="stopped", message=HOSTILE))
        else:
            finish = datetime.now(UTC) + timedelta(hours=2)
            leases.beat(id_, "w", JobProgress(step=19, total_steps=40, estimated_finish=finish))
