"""NeMo Evaluator's results: `eval-*.json` with `results.jsonl` beside it (0.3.0), and the older `results.yml`.

The first as `nemo_evaluator/engine/artifacts.py` and `eval_loop.py` of 0.3.0 write them, the second as the
documentation describes it (tasks → metrics → scores with statistics). The items of the second are in the form of each
harness, and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from evals.archive.items import Item, ItemAnswer
from evals.foreign.run import ForeignRun, Told, lines, loaded, score_of, settings_of, unreadable
from lifecycle.version import digest_of

REWARD = "reward"
_SETTINGS = ("model", "temperature", "max_tokens", "top_p", "seed", "system_prompt", "repeats", "max_problems",
             "shuffle_seed", "framework", "task", "image")  # fmt: skip
_SCORING = ("benchmark", "system_prompt", "repeats", "framework", "task", "image", "judge")


def is_one(raw: object) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("benchmark"), dict)


def is_older(raw: object) -> bool:
    return (
        isinstance(raw, dict) and isinstance(raw.get("results"), dict) and isinstance(raw["results"].get("tasks"), dict)
    )


def read(path: Path) -> Iterator[ForeignRun]:
    """Of one benchmark. Raises `InvalidData` with file and line."""
    raw = loaded(path)
    if not is_one(raw):
        raise unreadable(str(path), "is no result file of NeMo Evaluator: `benchmark` is not in it")
    benchmark, config = raw["benchmark"], raw.get("config") or {}
    name, model = str(benchmark.get("name") or "benchmark"), str(config.get("model") or "model")
    rows = path.with_name("results.jsonl")
    items = _items(rows, name, model) if rows.is_file() else []
    notes = [] if rows.is_file() else [f"{rows.name} is not there: no item can be shown or compared"]
    repeats = benchmark.get("repeats")
    if isinstance(repeats, int) and repeats > 1:
        notes.append(f"each item was asked {repeats} times, and its score is the mean of them")
    samples = benchmark.get("samples")
    yield ForeignRun(
        tool=f"NeMo Evaluator {raw.get('sdk_version') or '(version unknown)'}",
        file=path,
        file_digest="sha256:" + sha256(path.read_bytes()).hexdigest(),
        task=name,
        model=model,
        created_at=_moment(raw.get("timestamp"), path),
        scoring={key: config.get(key) for key in _SCORING},
        settings=settings_of(config, _SETTINGS),
        items=items,
        metrics=list(dict.fromkeys(figure for item in items for figure in item.arms[model].scores)),
        told=_told(benchmark.get("scores") or {}, reward=bool(items)),
        n=samples if isinstance(samples, int) else len(items),
        notes=tuple(notes),
    )


def read_older(path: Path, raw: Mapping[str, Any]) -> Iterator[ForeignRun]:
    """A run for each task of a `results.yml`, by its statistics alone."""
    target = (raw.get("target") or {}).get("api_endpoint") or {}
    config = raw.get("config") or {}
    for task, body in raw["results"]["tasks"].items():
        told: dict[str, Told] = {}
        n = 0
        for metric, measured in ((body or {}).get("metrics") or {}).items():
            for score, entry in (measured.get("scores") or {}).items():
                value, stats = score_of(entry.get("value")), entry.get("stats") or {}
                if value is not None:
                    name = str(metric) if metric == score else f"{metric},{score}"
                    told[name] = Told.by_error(value, score_of(stats.get("stderr")))
                    n = max(n, int(score_of(stats.get("count")) or 0))
        yield ForeignRun(
            tool="NeMo Evaluator",
            file=path,
            file_digest="sha256:" + sha256(path.read_bytes()).hexdigest(),
            task=str(task),
            model=str(target.get("model_id") or "model"),
            created_at=_moment(None, path),
            scoring=[config.get("type"), (config.get("params") or {}).get("extra")],
            settings=settings_of(config, ("type",)),
            told=told,
            n=n,
            notes=("a results.yml has no items: none can be shown or compared",),
        )  # fmt: skip


def _told(scores: Mapping[str, Any], *, reward: bool) -> dict[str, Told]:
    """What it says of the whole benchmark. With items, its mean of them is held against ours as `reward`."""
    told: dict[str, Told] = {}
    for name, entry in scores.items():
        value = score_of(entry.get("value")) if isinstance(entry, dict) else None
        if value is None:
            continue
        mean = name in ("pass@1", "mean_reward")
        ends = [score_of(entry.get(f"{kind}_{end}")) for kind in ("bootstrap_ci", "ci") for end in ("lower", "upper")]
        low, high = ends[:2] if None not in ends[:2] else ends[2:]
        told[REWARD if reward and mean else str(name)] = Told(value, low, high)
    return told


def _items(path: Path, task: str, model: str) -> list[Item]:
    """A line for each item and repeat."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in lines(path, _no_record):
        number = row["problem_idx"]
        content = digest_of([row.get("prompt"), row.get("expected_answer")])
        grouped.setdefault(f"{task}/{number}/{content[7:19]}", []).append(row)
    return [_item(key, rows, task, model) for key, rows in grouped.items()]


def _no_record(row: Mapping[str, Any]) -> str:
    return "is no record: it has no `problem_idx`" if row.get("problem_idx") is None else ""


def _item(key: str, rows: list[dict[str, Any]], task: str, model: str) -> Item:
    first = rows[0]
    figures: dict[str, list[float]] = {}
    for row in rows:
        more = row.get("scorer_rewards")
        for name, value in {REWARD: row.get("reward"), **(more if isinstance(more, dict) else {})}.items():
            if (score := score_of(value)) is not None:
                figures.setdefault(str(name), []).append(score)
    unscored = {} if REWARD in figures else {REWARD: "the record has no reward"}
    answer = ItemAnswer(
        answer=_text(first.get("model_response")),
        scores={name: sum(values) / len(values) for name, values in figures.items()},
        unscored=unscored,
    )
    category = (first.get("metadata") or {}).get("category") if isinstance(first.get("metadata"), dict) else None
    return Item(
        key=key,
        name=f"{task}/{first['problem_idx']}",
        question=_text(first.get("prompt")),
        target=_text(first.get("expected_answer")),
        slices={"category": str(category)} if category is not None else {},
        arms={model: answer},
    )


def _moment(text: object, path: Path) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(value: object) -> str:
    return "" if value is None else str(value)
