"""The numbers of `dabt eval` beside lm-eval's own, item by item: the same tasks, the same endpoint, the same weights.

    dabt serve --base examples/clinic/base_model          # in another terminal, over the home that is named here
    python -m benchmarks.parity

lm-eval asks with its own API models, and once with `hf`, which computes the same weights in transformers. The tasks are
lm-eval's YAML over the clinic's messages. A row's last column is how many items have another figure.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.tables import markdown
from evals.archive.items import read
from evals.config import ENDPOINT, EvalConfig
from evals.run import evaluate
from lifecycle.home import Home
from lifecycle.registry import Registry

_CLINIC = Path(__file__).parents[1] / "examples" / "clinic"
_SYSTEM = "Name the department that the message is for."
_SHOTS = 4
_ALIKE = 1e-9

Figures = Mapping[str, Mapping[str, float]]
"""Number of the item in its task → figure → number."""


@dataclass(frozen=True)
class Way:
    """One comparison: a task, how our arm is written, and which of lm-eval's models is asked in which way."""

    what: str
    task: str
    model: str
    arm: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    """Of our evaluation's file."""


_CHAT = {"apply_chat_template": True}
_WITH_SYSTEM = {**_CHAT, "system_instruction": _SYSTEM}
_PROMPT = {"prompt": {"system": "system.txt"}}
WAYS = (
    Way("choices, the text as it stands", "choice", "local-completions"),
    Way("the same", "choice", "hf"),
    Way("choices, four shots of the task", "choice_shots", "local-completions"),
    Way("choices, behind a system text", "choice", "local-completions", _PROMPT, _WITH_SYSTEM),
    Way("the same", "choice", "hf", _PROMPT, _WITH_SYSTEM),
    Way("written answers", "written", "local-chat-completions", theirs=_CHAT),
    Way("written answers, behind a system text", "written", "local-chat-completions", _PROMPT, _WITH_SYSTEM),
    Way("choices, four shots behind a system text", "choice_shots", "local-completions", _PROMPT, _WITH_SYSTEM),
    Way("the same", "choice_shots", "hf", _PROMPT, _WITH_SYSTEM),
    Way("written answers, four shots of the task", "written_shots", "local-chat-completions", theirs=_CHAT),
    Way(
        "the same, in one message",
        "written_shots",
        "local-chat-completions",
        theirs={**_CHAT, "fewshot_as_multiturn": False},
        more={"fewshot_as_multiturn": False},
    ),
    Way("the same, behind a system text", "written_shots", "local-chat-completions", _PROMPT, _WITH_SYSTEM),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", default=ENDPOINT)
    parser.add_argument("--home", type=Path, help="the service's")
    parser.add_argument("--base", type=Path, default=_CLINIC / "base_model", help="what the service serves")
    parser.add_argument("--items", type=int, default=100)
    given = parser.parse_args()
    home, rows = Home.at(given.home), []
    with tempfile.TemporaryDirectory(prefix="dabt-parity-") as made, Registry.open(home.registry_url) as registry:
        folder = Path(made)
        write_tasks(folder, given.items)
        for way in WAYS:
            config = _config(folder, way, given.base.resolve(), given.endpoint)
            evaluation = evaluate(config, registry, home, actor="parity")
            ours = {item.name.rpartition("/")[2]: dict(item.arms["base"].scores) for item in read(evaluation.folder)}
            rows += list(compared(way, ours, _theirs(folder, way, given.base.resolve(), given.endpoint)))
    print(markdown(["Task", "lm-eval's model", "Figure", "lm-eval", "dabt eval", "Items that differ"], rows))


def compared(way: Way, ours: Figures, theirs: Figures) -> Iterator[list[str]]:
    """A row for each figure that lm-eval has. Raises `SystemExit` where the two did not ask the same items."""
    if set(ours) != set(theirs):
        raise SystemExit(f"{way.what}: items of one side alone: {len(set(ours) ^ set(theirs))}")
    for figure in sorted({name for figures in theirs.values() for name in figures}):
        pairs = [(ours[item][figure], theirs[item][figure]) for item in theirs]
        mine, lm_evals = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
        differ = sum(abs(one - other) > _ALIKE for one, other in pairs)
        yield [way.what, f"`{way.model}`", f"`{figure}`", f"{lm_evals:.4f}", f"{mine:.4f}", f"{differ} of {len(pairs)}"]


def _config(folder: Path, way: Way, base: Path, endpoint: str) -> EvalConfig:
    written = {
        "name": "parity",
        "task": way.task,
        "task_files": ".",
        "base": str(base),
        "metric": "acc" if way.task.startswith("choice") else "exact_match",
        "provisional": ["a comparison with lm-eval"],
        "noise_items": 0,
        "endpoint": endpoint,
        **way.more,
        # An evaluation compares two arms or more; the second one is not looked at.
        "arms": {"base": dict(way.arm), "other": {**way.arm, "decoding": {"temperature": 0.5}}},
    }
    path = folder / "evaluation.yml"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    return EvalConfig.load(path)


def _served_base(endpoint: str) -> str:
    """The name by which the service calls its base. Raises `SystemExit` where it names none."""
    for model in httpx.get(f"{endpoint}/models", timeout=60).raise_for_status().json()["data"]:
        if model.get("dabt", {}).get("kind") == "base":
            return str(model["id"])
    raise SystemExit(f"{endpoint} names no base")


def _theirs(folder: Path, way: Way, base: Path, endpoint: str) -> Figures:
    """What lm-eval itself makes of the task."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    path = "chat/completions" if way.model == "local-chat-completions" else "completions"
    api = {"model": _served_base(endpoint), "base_url": f"{endpoint}/{path}", "num_concurrent": 8, "max_retries": 1}
    api |= {"tokenizer": str(base), "tokenizer_backend": "huggingface", "max_length": 1024}
    own = {"pretrained": str(base), "dtype": "float32", "max_length": 1024}
    with contextlib.redirect_stderr(io.StringIO()):  # its bars
        made = simple_evaluate(
            model=way.model,
            model_args=own if way.model == "hf" else api,
            tasks=[way.task],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            device="cpu",
            batch_size=1,
            bootstrap_iters=0,
            log_samples=True,
            **way.theirs,
        )
    return {
        str(sample["doc_id"]): {name: float(sample[name]) for name in sample["metrics"]}
        for sample in made["samples"][way.task]
    }


def write_tasks(folder: Path, items: int) -> None:
    """Messages with the department that is right, and three others to choose from; the shots are training rows."""
    (folder / "system.txt").write_text(_SYSTEM, encoding="utf-8")
    for name, count in (("test", items), ("train", _SHOTS)):
        lines = [json.dumps(row, ensure_ascii=False) for row in _rows(name, count)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {name: str(folder / f"{name}.jsonl") for name in ("test", "train")},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "doc_to_text": "{{question}}\nDepartment:",
    }
    choice = {
        "output_type": "multiple_choice",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    written = {
        "output_type": "generate_until",
        "doc_to_target": "{{choices[gold]}}",
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 16},
        "metric_list": [{"metric": "exact_match"}],
    }
    shots = {"num_fewshot": _SHOTS, "fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}}
    for name, kind in (("choice", choice), ("written", written)):
        for task, more in ((name, {}), (f"{name}_shots", shots)):
            text = yaml.safe_dump({"task": task, **shared, **kind, **more})
            (folder / f"{task}.yaml").write_text(text, encoding="utf-8")


def _rows(split: str, count: int) -> list[dict[str, Any]]:
    text = (_CLINIC / "data" / "triage" / f"{split}.jsonl").read_text(encoding="utf-8")
    said = [json.loads(line)["messages"] for line in text.splitlines()]
    every = sorted({json.loads(turns[-1]["content"])["department"] for turns in said})
    rows: dict[str, dict[str, Any]] = {}
    for turns in said:
        question, right = turns[-2]["content"], json.loads(turns[-1]["content"])["department"]
        at, others = len(rows) % 4, [name for name in every if name != right]
        choices = [others[(len(rows) + step) % len(others)] for step in range(3)]
        choices.insert(at, right)
        rows.setdefault(question, {"question": question, "choices": choices, "gold": at})
    return list(rows.values())[:count]


if __name__ == "__main__":
    main()
