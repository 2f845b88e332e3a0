"""lm-eval's result files: `results_*.json`, and beside it `samples_TASK_*.jsonl` of runs with `--log_samples`.

Read as lm-eval 0.4.13 writes them (`lm_eval/loggers/evaluation_tracker.py`); a test runs it. Figures are named as our
own evaluations of its tasks name them, and items have the keys that those give.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from evals.archive.items import Item, ItemAnswer
from evals.foreign.run import FaultList, ForeignRun, Told, lines, loaded, score_of, settings_of, unreadable
from lifecycle.version import digest_of

_SETTINGS = ("model", "limit", "gen_kwargs", "random_seed", "fewshot_seed", "batch_size", "device")
_MODEL = ("pretrained", "model", "revision", "dtype", "peft", "tokenizer", "max_length")
_PLACES = ("metadata", "dataset_kwargs", "fewshot_config")
"""Of a task's configuration: where its files are, and what repeats other keys."""


def is_one(raw: object) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("results"), dict) and isinstance(raw.get("configs"), dict)


def read(path: Path) -> Iterator[ForeignRun]:
    """A run for each task; groups are means of tasks, and are left out. Raises `InvalidData` with file and line."""
    raw = loaded(path)
    if not is_one(raw):
        raise unreadable(str(path), "is no result file of lm-eval: `results` and `configs` are not in it")
    faults = FaultList()
    for task, figures in raw["results"].items():
        config = raw["configs"].get(task)
        if isinstance(config, dict) and isinstance(figures, dict):
            run = faults.without(partial(_run, path, raw, str(task), figures, config))
            if run is not None:
                yield run
    faults.tell()


def _run(path: Path, raw: dict[str, Any], task: str, figures: dict[str, Any], config: dict[str, Any]) -> ForeignRun:
    run, model = raw.get("config") or {}, str(raw.get("model_name") or raw.get("model_source") or "model")
    tool = f"lm-eval {raw.get('lm_eval_version') or '(version unknown)'}"
    given = run.get("model_args")
    arguments: dict[str, Any] = given if isinstance(given, dict) else {}
    shots = (raw.get("n-shot") or {}).get(task)
    settings = {**settings_of(run, _SETTINGS), **settings_of(arguments, _MODEL), "shots": str(shots or 0)}
    samples = path.with_name(f"samples_{task}_{path.stem.removeprefix('results_')}.jsonl")
    items = _items(samples, task, model) if samples.is_file() else []
    counts = (raw.get("n-samples") or {}).get(task) or {}
    whole, asked = counts.get("original"), counts.get("effective")
    notes = [] if samples.is_file() else [f"{samples.name} is not there: no item can be shown or compared"]
    if isinstance(whole, int) and isinstance(asked, int) and asked < whole:
        notes.append(f"{asked} of {whole} items were asked")
    lower = [name for name, better in ((raw.get("higher_is_better") or {}).get(task) or {}).items() if better is False]
    if lower:
        notes.append(f"of {', '.join(lower)} less is better")
    scoring = {key: value for key, value in config.items() if key not in _PLACES}
    date = score_of(raw.get("date"))
    return ForeignRun(
        tool=tool,
        file=path,
        file_digest="sha256:" + sha256(path.read_bytes()).hexdigest(),
        task=task,
        model=model,
        created_at=datetime.fromtimestamp(date if date is not None else path.stat().st_mtime, UTC),
        scoring=[scoring, shots, (raw.get("versions") or {}).get(task), raw.get("system_instruction_sha"),
                 raw.get("chat_template_sha"), run.get("gen_kwargs")],
        settings=settings,
        items=items,
        metrics=list(dict.fromkeys(name for item in items for name in item.arms[model].scores)),
        told=_told(figures),
        n=asked if isinstance(asked, int) else len(items),
        notes=tuple(notes),
    )  # fmt: skip


def _told(figures: Mapping[str, Any]) -> dict[str, Told]:
    """`acc,none` and `acc_stderr,none`."""
    told = {}
    for key, value in figures.items():
        name, comma, kind = key.partition(",")
        number = score_of(value)
        if comma and not name.endswith("_stderr") and number is not None:
            told[_named(name, kind)] = Told.by_error(number, score_of(figures.get(f"{name}_stderr,{kind}")))
    return told


def _named(metric: str, kind: str) -> str:
    return metric if kind in ("", "none") else f"{metric},{kind}"


def _items(path: Path, task: str, model: str) -> list[Item]:
    """A line for each item and filter: the lines of an item are one item with the figures of all."""
    items: dict[str, Item] = {}
    for row in lines(path, _no_sample):
        doc, number = row["doc"], row["doc_id"]
        key = f"{task}/{number}/{digest_of(doc)[7:19]}"
        kind = str(row.get("filter") or "none")
        scores, unscored = {}, {}
        for metric in row.get("metrics") or ():
            score = score_of(row.get(metric))
            if score is None:
                unscored[_named(metric, kind)] = "it is no number of this item alone"
            else:
                scores[_named(metric, kind)] = score
        known = items.get(key)
        answer = known.arms[model] if known else ItemAnswer(answer=_said(row.get("filtered_resps")))
        answer = answer.model_copy(
            update={"scores": {**answer.scores, **scores}, "unscored": {**answer.unscored, **unscored}}
        )
        items[key] = Item(
            key=key,
            name=f"{task}/{number}",
            question=_question(row),
            target=_text(row.get("target")),
            arms={model: answer},
        )
    return list(items.values())


def _no_sample(row: Mapping[str, Any]) -> str:
    whole = isinstance(row.get("doc"), dict) and isinstance(row.get("doc_id"), int)
    return "" if whole else "is no sample: it has no `doc` and `doc_id`"


def _question(row: Mapping[str, Any]) -> str:
    first = next(iter((row.get("arguments") or {}).values()), None) if isinstance(row.get("arguments"), dict) else None
    return _text(first.get("arg_0")) if isinstance(first, dict) else ""


def _said(answers: object) -> str:
    """Its one answer, or of a multiple choice the log-likelihoods in the order of the choices."""
    parts = answers if isinstance(answers, list) else [answers]
    return _text(parts[0]) if len(parts) == 1 else _text(parts)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
