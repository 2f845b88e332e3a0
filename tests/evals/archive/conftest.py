"""Kept reports with few items, made without a model: scores are given, the rest is as an evaluation writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evals.archive.library import Kept, Library, imports_of
from evals.gate.policy import Policy, judge
from evals.report import folder_of
from evals.report.stored import StoredEvaluation
from evals.statistics.comparison import paired
from evals.statistics.intervals import mean_interval
from lifecycle.gates import SuiteFacts
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.report import ArmResult, Imported, Report
from lifecycle.version import Prompt, Version, VersionSpec, digest_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy.model_validate({"name": "toy policy", "alpha": 0.05, "rules": [{"rule": "beats"}]})
Scores = Mapping[str, float | None]
"""Item → score; None where it could not be scored."""
Keep = Callable[..., Kept]


def version_of(registry: Registry, system: str, name: str = "toy") -> Version:
    spec = VersionSpec(base=digest_of("base"), prompt=Prompt(system=system))
    return registry.create_version(name, spec, actor="test")


@pytest.fixture
def library(registry: Registry, home: Home) -> Library:
    return Library(registry, home)


@pytest.fixture
def keep(registry: Registry, home: Home) -> Keep:
    """See `keep_report`."""
    return partial(keep_report, registry, home)


def keep_report(
    registry: Registry,
    home: Home,
    arms: Mapping[str, Scores],
    *,
    task: str = "toy",
    name: str = "toy",
    day: int = 0,
    systems: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    clusters: Mapping[str, str] | None = None,
    judged: bool = True,
    **changes: Any,
) -> Kept:
    """Keeps a report: `arms` are label → item → score, `systems` label → system text of its version, which is one of
    `name`."""
    versions = {arm: version_of(registry, (systems or {}).get(arm, arm), name) for arm in arms}
    results = tuple(_result(arm, versions[arm], list(scores.values())) for arm, scores in arms.items())
    first, *others = arms
    names = list(arms[first])
    given: dict[str, Any] = {
        "task": task,
        "task_digest": digest_of(["task", names]),
        "base": "tiny-base",
        "metric": "exact",
        "arms": results,
        "comparisons": [_comparison(arm, first, arms) for arm in others],
        "n_items": len(names),
        "scoring": digest_of("scoring"),
        "suite": SuiteFacts(task=task, task_digest=digest_of("t"), data_digest=digest_of(names), metric="exact",
                            baseline=first),
        "seed": 1,
        "created_at": START + timedelta(days=day),
    }  # fmt: skip
    report = Report(**(given | changes))
    registry.record_report(report)
    verdicts = judge(report, POLICY, others, at=report.created_at) if judged else ()
    for verdict in verdicts:
        registry.record_verdict(verdict)
    folder = folder_of(home, report)
    _write(folder, arms, texts or {}, clusters or {})
    stored = StoredEvaluation(report=report, verdicts=tuple(verdicts), policy=POLICY.name)
    (folder / "evaluation.json").write_text(stored.model_dump_json(), encoding="utf-8")
    return Kept(report, tuple(verdicts), folder)


def take_in(home: Home, report: Report) -> Kept:
    """The same as another tool's, as `dabt reports import` keeps it."""
    told = Imported(tool="lm-eval 0.4.13", file="results_1.json", file_digest=digest_of("f"))
    report = report.model_copy(update={"imported": told})
    folder = imports_of(home) / f"{report.task}-{report.digest[7:19]}"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    return Kept(report, (), folder)


def _result(arm: str, version: Version, scores: list[float | None]) -> ArmResult:
    known = [score for score in scores if score is not None]
    without = len(scores) - len(known)
    return ArmResult(
        arm=arm,
        ref=version.ref,
        version_digest=version.digest,
        metrics={"exact": mean_interval(known)},
        latency_p50=0.5,
        latency_p95=1.0,
        prompt_tokens=10,
        completion_tokens=2,
        unscored={"exact": {"late": without}} if without else {},
    )


def _comparison(arm: str, against: str, arms: Mapping[str, Scores]) -> Any:
    pairs = [
        (first, second)
        for name in arms[arm]
        if (first := arms[arm][name]) is not None and (second := arms[against].get(name)) is not None
    ]
    first, second = zip(*pairs, strict=True)
    return paired(first, second, None, arm=arm, against=against, metric="exact")


def _write(folder: Path, arms: Mapping[str, Scores], texts: Mapping[str, str], clusters: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    rows = []
    for name in next(iter(arms.values())):
        answers = {
            arm: {
                "answer": texts.get(name, f"{arm} says {scores[name]}"),
                "scores": {} if scores[name] is None else {"exact": scores[name]},
                "unscored": {"exact": "late"} if scores[name] is None else {},
                "latency": 0.1, "prompt_tokens": 3, "completion_tokens": 2,
            }
            for arm, scores in arms.items()
        }  # fmt: skip
        key = name if "/" in name else f"{name}/abc"
        row = {"key": key, "name": name.partition("/")[0], "question": f"ask {name}", "target": "t"}
        rows.append({**row, "cluster": clusters.get(name), "slices": {"language": "latin"}, "arms": answers})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "items.jsonl").write_text(text, encoding="utf-8")
