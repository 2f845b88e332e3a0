"""Every method of training on one small task: the table of quality, time and memory in the guide of training.

The task is the clinic's: to which of twelve departments does a patient's message in English go? Methods that generate
are asked it and must answer with the department; a classifier gives it as a label; both are judged by the same messages
of the test file. `dpo` and going on from an adapter start at what `lora` left, with rows that it has not seen. `text`
learns the messages themselves, and has a perplexity in place of an accuracy.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.bases import TINY, gpt2
from benchmarks.our_run import Ran, run
from benchmarks.tables import markdown
from examples.reviews.base import encoder

_ROWS = Path(__file__).parents[1] / "examples" / "clinic" / "data" / "triage"
_FIRST = 160
"""Rows that the methods learn from; those that go on from an adapter learn from the others."""
_SHORTEST = 48
"""Rows of each file where it is quick."""
_LONGEST = 12
"""Tokens of a department's name, and some to spare."""
HEADER = ("Method", "Learns from", "Before", "After", "Training", "Start to draft", "Peak memory")


@dataclass(frozen=True)
class Asked:
    """A message and the department that it goes to."""

    text: str
    department: str

    def as_conversation(self) -> dict[str, Any]:
        user, answer = {"role": "user", "content": self.text}, {"role": "assistant", "content": self.department}
        return {"messages": [user, answer]}

    def as_labelled(self) -> dict[str, Any]:
        return {"text": self.text, "label": self.department}

    def as_text(self) -> dict[str, Any]:
        return {"text": self.text}

    def as_pair(self, other: str) -> dict[str, Any]:
        """With a wrong department as the worse answer."""
        user = {"role": "user", "content": self.text}
        good, bad = ([{"role": "assistant", "content": name}] for name in (self.department, other))
        return {"prompt": [user], "chosen": good, "rejected": bad}


@dataclass(frozen=True)
class Case:
    """A line of the table."""

    name: str
    method: Mapping[str, Any]
    lr: float
    rows: str = "train"
    """`train`, or `more`: those that `lora` has not seen."""
    form: str = "conversation"
    base: str = "clinic"
    goes_on: bool = False
    """From the adapter that `lora` left."""
    how: Mapping[str, Any] = field(default_factory=lambda: {"epochs": 2})


CASES = (
    Case("lora, rslora: false", {"type": "lora", "rslora": False}, 4e-3),
    Case("lora", {"type": "lora"}, 4e-3),
    Case("qlora", {"type": "qlora"}, 4e-3),
    Case("full", {"type": "full"}, 1e-3),
    Case("last_layers, layers: 2", {"type": "last_layers"}, 2e-3),
    Case("lora, going on from lora", {"type": "lora"}, 1e-3, rows="more", goes_on=True),
    Case("dpo, going on from lora", {"type": "dpo"}, 5e-4, rows="more", form="pair", goes_on=True),
    Case("merged_lora", {"type": "merged_lora"}, 4e-3, rows="more", base="gpt2"),
    Case("classification", {"type": "classification"}, 2e-4, form="labelled", base="encoder"),
    Case("classification, lora", {"type": "classification", "lora": {"r": 16}}, 2e-3, form="labelled", base="encoder"),
    Case("text", {"type": "text"}, 2e-3, form="text"),
)


def table(work: Path, quick: bool, busy: bool) -> str:
    """The table in Markdown, with what stands above it. One process a method, one after another."""
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="methods-") as place:
        return measured(Path(place), CASES, quick, busy)


def measured(place: Path, cases: Sequence[Case], quick: bool, busy: bool) -> str:
    """The same of some `cases`, in the folder `place`."""
    counts, test = _written(place, quick)
    bases = {"clinic": TINY, "encoder": encoder(), "gpt2": _gpt2(place, cases)}
    before = {name: _accuracy("base", base, base, test) for name, base in bases.items() if name != "encoder"}
    adapter: Path | None = None
    first = math.nan
    lines: list[list[str]] = []
    for case in cases:
        method = {**case.method, "adapter": str(adapter)} if case.goes_on else dict(case.method)
        raw = _configuration(place, case, method, bases[case.base])
        ran = run(place / f"run-{len(lines)}", raw, busy=busy)
        after = math.nan if case.form == "text" else _accuracy(ran.kind, ran.artifact, bases[case.base], test)
        if case.name == "lora":
            adapter, first = ran.artifact, after
        start = first if case.goes_on else before.get(case.base, math.nan)
        lines.append(_line(case, ran, start, after, counts))
    seconds = "seconds of one thread's processor time" if busy else "seconds by the clock"
    told = (
        f"{len(test)} messages of the test file, {counts['train']} and {counts['more']} rows to learn from; {seconds}"
    )
    return f"{told}\n\n{markdown(HEADER, lines)}"


def _line(case: Case, ran: Ran, before: float, after: float, counts: Mapping[str, int]) -> list[str]:
    learnt = {"conversation": "conversations", "pair": "pairs", "labelled": "labelled texts", "text": "texts"}
    quality = [_share(before), _share(after)]
    if case.form == "text":
        quality = [f"perplexity {math.exp(ran.metrics[key]):.1f}" for key in ("base_eval_loss", "eval_loss")]
    if case.form == "pair":
        quality[1] += f"; better answer ahead in {ran.metrics['reward_accuracy']:.0%} of pairs"
    return [
        f"`{case.name}`",
        f"{counts[case.rows]} {learnt[case.form]}",
        *quality,
        f"{ran.seconds:.0f} s",
        f"{ran.whole:.0f} s",
        f"{ran.peak_mib:.0f} MiB",
    ]


def _share(right: float) -> str:
    return "" if math.isnan(right) else f"{right:.0%} right"


def _configuration(place: Path, case: Case, method: Mapping[str, Any], base: Path) -> dict[str, Any]:
    return {
        "name": "measured",
        "base": str(base),
        "data": {
            "train": str(place / f"{case.rows}-{case.form}.jsonl"),
            "validation": str(place / f"validation-{case.form}.jsonl"),
            "checks": "off",
        },
        "method": dict(method),
        "optimisation": {"lr": case.lr, "batch_size": 8, "max_length": 128, **case.how},
    }


def _written(place: Path, quick: bool) -> tuple[dict[str, int], list[Asked]]:
    """The files of every form, and what is asked at the end."""
    read = {part: messages(part) for part in ("train", "validation", "test")}
    parts = {"train": read["train"][:_FIRST], "more": read["train"][_FIRST:], "validation": read["validation"]}
    parts["more"] = parts["more"][:_FIRST]
    if quick:
        parts, read["test"] = {name: rows[:_SHORTEST] for name, rows in parts.items()}, read["test"][:_SHORTEST]
    names = sorted({row.department for row in read["train"]})
    chance = Random(17)

    def pair(row: Asked) -> dict[str, Any]:
        return row.as_pair(chance.choice([name for name in names if name != row.department]))

    forms: dict[str, Callable[[Asked], dict[str, Any]]] = {
        "conversation": Asked.as_conversation,
        "labelled": Asked.as_labelled,
        "text": Asked.as_text,
        "pair": pair,
    }
    for part, rows in parts.items():
        for form, made in forms.items():
            lines = (json.dumps(made(row), ensure_ascii=False) + "\n" for row in rows)
            (place / f"{part}-{form}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {part: len(rows) for part, rows in parts.items()}, read["test"]


def messages(part: str) -> list[Asked]:
    """The messages in English, each once."""
    rows = [json.loads(line) for line in (_ROWS / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = {}
    for row in rows:
        if row["meta"]["language"] == "en":
            *_, user, answer = (message["content"] for message in row["messages"])
            asked[user] = json.loads(answer)["department"]
    return [Asked(text, department) for text, department in asked.items()]


def _gpt2(place: Path, cases: Sequence[Case]) -> Path:
    """A GPT-2 that knows the task a little: random weights after one epoch of `full` over the first rows."""
    base = gpt2(place / "random-gpt2")
    case = Case("full", {"type": "full"}, 3e-3, how={"epochs": 1})
    if not any(case.base == "gpt2" for case in cases):
        return base
    return run(place / "gpt2", _configuration(place, case, case.method, base)).artifact


def _accuracy(kind: str, folder: Path, base: Path, test: Sequence[Asked]) -> float:
    """The share of `test` that is answered with its department, in float32."""
    answer = _classified(folder) if kind == "classifier" else _generated(kind, folder, base)
    return sum(answer(row.text) == row.department for row in test) / len(test)


def _classified(folder: Path) -> Callable[[str], str]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def answer(text: str) -> str:
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits
        return str(model.config.id2label[int(logits.argmax())])

    return answer


def _generated(kind: str, folder: Path, base: Path) -> Callable[[str], str]:
    """Greedily, from the base's own chat template."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from training.tokens import ChatTokenizer

    chat = ChatTokenizer.load(base)
    model = AutoModelForCausalLM.from_pretrained(base if kind == "adapter" else folder, dtype=torch.float32)
    if kind == "adapter":
        model = PeftModel.from_pretrained(model, str(folder))
    model.eval()

    def answer(text: str) -> str:
        asked = chat.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            ids = model.generate(
                **asked,
                do_sample=False,
                max_new_tokens=_LONGEST,
                eos_token_id=sorted(chat.stops),
                pad_token_id=min(chat.stops),
            )
        return str(chat.tokenizer.decode(ids[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)).strip()

    return answer
