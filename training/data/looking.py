"""Files into one report: read once, looked at by the checks, counted by the base's tokenizer, set beside the machine.

`commands/check.py` and `commands/report.py` show what this gives.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.conversation import Conversation
from lifecycle.errors import InvalidConfig, InvalidData, InvalidInput, Problem
from lifecycle.home import Home
from lifecycle.models.tokenizer import load_tokenizer
from lifecycle.rows import hub
from lifecycle.rows.files import Reading
from lifecycle.rows.kinds import Labelled, PlainText, Preference, Row
from lifecycle.text.toxicity import Rules
from lifecycle.version import Prompt
from training import best_by, mixture
from training.data import advice
from training.data.balance import spread_lengths
from training.data.batches import Laid, blocks, lay
from training.data.checks import SIMILARITY, Checks, graded
from training.data.computer import this_computer
from training.data.estimate import Expected, expected
from training.data.findings import DataReport, Finding, Places, finding
from training.data.planned import Plan, Shape
from training.packing import LINE
from training.tokens import IGNORED

if TYPE_CHECKING:
    from training.completions import CompletionTokenizer
    from training.tokens import ChatTokenizer


@dataclass(frozen=True)
class Task:
    """What to look at, and how."""

    files: tuple[Path, ...]
    against: tuple[Path, ...] = ()
    """Rows that must be unseen: validation, test, the data of an evaluation (its YAML may be named)."""
    base: str | None = None
    prompt: Prompt = field(default_factory=Prompt)
    plan: Plan = field(default_factory=Plan)
    max_length: int = sys.maxsize
    similarity: float | None = SIMILARITY
    words: Path | None = None
    """Another list of toxic words."""
    validation: Path | None = None
    """The file among `against` that a run validates on."""

    @classmethod
    def of_run(cls, config: Path, **more: Any) -> Task:
        """What a run of the configuration would read. Raises `InvalidConfig`."""
        from training.config import TrainJob

        job = TrainJob.load(config)
        moved = job.config.optimisation
        how = job.config.method
        labels = how.type == "classification"
        delta = getattr(how, "lora", None) if labels else how
        unpacked = moved.packing is False or "optimisation.packing" in how.unused
        plan = Plan(
            moved.epochs, moved.batch_size, moved.accumulation, getattr(delta, "r", Plan.rank),
            method=how.type if not labels else "full" if delta is None else "lora", generates=not labels,
            layers=getattr(how, "layers", Plan.layers), max_steps=moved.max_steps or 0,
            holdout=job.config.data.holdout, weights=tuple(job.config.data.weights), packs=not unpacked,
            group=moved.group,
            cut=moved.max_length, answer_tokens=moved.best_by_max_tokens or 0,
            answers=moved.best_by_rows if moved.best_by in best_by.ANSWERED and not labels else 0,
            checkpointing=moved.gradient_checkpointing,
        )  # fmt: skip
        longest = sys.maxsize if getattr(how, "truncate", False) else moved.max_length
        validation = job.validation_path
        more |= {
            "against": ((validation,) if validation else ()) + tuple(more.get("against", ())),
            "validation": validation,
        }
        base = more.pop("base", None) or job.base
        return cls(job.train_paths, base=base, prompt=job.prompt, plan=plan, max_length=longest, **more)


def task_of(files: tuple[Path, ...], **options: Any) -> Task:
    """Of files of rows, or of one configuration of a run."""
    if len(files) == 1 and files[0].suffix in (".yaml", ".yml"):
        return Task.of_run(files[0], **options)
    return Task(files, **options)


def look(task: Task, *, home: Home | None = None, also: Callable[[Row], None] | None = None) -> DataReport:
    """The report. `also` sees every row too. Raises `InvalidConfig` for a base or a list that cannot be used."""
    others: dict[str, Reading] = {}
    for path in task.against:
        for file in data_of(path):
            others[file.name if file.name not in others else str(file)] = Reading(file)
    checks = Checks(others, similarity=task.similarity, rules=Rules.load(task.words))
    tokens = Tokens(task) if task.base is not None else None
    readings = [Reading(path) for path in task.files]
    for reading in readings:
        if tokens is not None:
            tokens.begin()
        for row in reading:
            checks.see(row)
            if tokens is not None:
                tokens.see(row)
            if also is not None:
                also(row)
    report = checks.report([problem for reading in (*readings, *others.values()) for problem in reading.told])
    findings = [*report.findings, *_kinds(readings)]
    update: dict[str, Any] = {
        "file": ", ".join(dict.fromkeys(reading.words for reading in readings)),
        "forms": tuple(form for reading in readings for form in reading.summary),
    }
    if tokens is not None and tokens.sizes:
        findings += tokens.findings()
        update |= {"tokens": tokens.lengths, "expected": tokens.expected()}
    if home is not None and report.rows and not any(home.evaluations.glob("*/report.json")):
        findings.append(advice.untried())
    return report.model_copy(update={**update, "findings": graded(findings)})


def data_of(path: Path) -> list[Path]:
    """The rows of an evaluation's configuration (its `data`, or that of its task's file); any other file is rows."""
    if path.suffix not in (".yaml", ".yml"):
        return [path]
    from lifecycle.config_file import load_mapping

    raw = load_mapping(path)
    folder, named = path.resolve().parent, raw.get("data")
    if isinstance(named, str):
        return [Path(named) if hub.named(named) and not (folder / named).exists() else folder / named]
    cure = "name the file of its rows itself"
    raise InvalidConfig(f"{path} cannot be looked into", [Problem(f"{path}: data", "names no file of rows", cure)])


def _kinds(readings: Sequence[Reading]) -> Iterator[Finding]:
    for reading in readings:
        if reading.kind and reading.kind.method != "LoRA":
            text = f"these are {reading.kind.name}: {reading.kind.method} learns from them"
            cure = "`dabt data convert` shows what they can be"
            yield Finding(level="note", check="form", message=text, cure=cure)


class Tokens:
    """Rows as they come, each rendered and counted as training does it."""

    def __init__(self, task: Task) -> None:
        from lifecycle.models.base import resolve_base

        assert task.base is not None
        self._task = task
        self._folder = resolve_base(task.base)
        self.sizes: Counter[int] = Counter()
        self._rows: list[Counter[int]] = []
        self._answer = 0
        """Tokens of the longest."""
        self._learnt = 0
        """Tokens that are scored, of all rows."""
        self._too_long, self._refused = Places(), Places()

    @cached_property
    def _chat(self) -> ChatTokenizer | CompletionTokenizer:
        from training.completions import tokenizer_of

        return tokenizer_of(self._folder, None, self._task.prompt)

    @cached_property
    def _of_texts(self) -> Any:
        """The tokenizer alone: an encoder's has no end of a turn."""
        return load_tokenizer(self._folder)

    def begin(self) -> None:
        """Another file of rows."""
        self._rows.append(Counter())

    def see(self, row: Row) -> None:
        try:
            sizes = self._sizes(row)
        except InvalidData as error:
            for problem in error.problems:
                self._refused.add(str(problem))
            return
        self._rows[-1][min(max(sizes), self._task.plan.cut)] += 1
        for size in sizes:
            self.sizes[size] += 1
            if size > self._task.max_length:
                self._too_long.add(f"{row.place} ({size:,})")

    def _sizes(self, row: Row) -> list[int]:
        if isinstance(row, Conversation):
            (example,) = self._chat.examples([row], self._task.prompt.system, sys.maxsize)
            self._answer = max(self._answer, example.answer_end - example.answer_start)
            self._learnt += sum(label != IGNORED for label in example.labels)
            return [len(example.input_ids)]
        if isinstance(row, Labelled):
            return [len(self._of_texts(row.text)["input_ids"])]
        if isinstance(row, PlainText):
            ids = self._of_texts(row.text)["input_ids"]
            ended = len(ids) + (ids[-1:] != [self._of_texts.eos_token_id])
            self._learnt += ended - 1  # nothing comes before the first
            return [ended]
        if isinstance(row, Preference):
            turns = ((*row.messages, *row.chosen), (*row.messages, *row.rejected))
            talks = [Conversation(row.place, row.id, said, row.meta, row.tools) for said in turns]
            pair = self._chat.examples(talks, self._task.prompt.system, sys.maxsize)
            self._answer = max(self._answer, pair[0].answer_end - pair[0].answer_start)
            self._learnt += sum(answer.answer_end - answer.answer_start for answer in pair)
            return [len(example.input_ids) for example in pair]
        return self._sizes(row.conversation)

    @property
    def lengths(self) -> Any:
        return spread_lengths("tokens in a row", self.sizes)

    def findings(self) -> Iterator[Finding]:
        cure = "shorten them, or raise optimisation.max_length: a run would refuse them"
        message = f"rows longer than {self._task.max_length:,} tokens"
        yield from finding("error", "tokens", message, self._too_long, cure)
        yield from finding(
            "error", "tokens", "rows that the base refuses", self._refused, "mend them, or change the base"
        )

    def expected(self) -> Expected | None:
        """None where the base's files do not say its shape."""
        try:
            shape = Shape.of(self._folder)
        except (InvalidInput, KeyError, OSError, ValueError):
            return None
        plan = replace(self._task.plan, answer_tokens=self._task.plan.answer_tokens or self._answer + best_by.SPARE)
        files = validation = self._rows
        seen = [sizes.total() for sizes in files]
        if self._task.validation is None:
            held = [round(plan.holdout * count) for count in seen]
            seen = [count - out for count, out in zip(seen, held, strict=True)]
        else:
            apart = Tokens(self._task)
            apart.begin()
            for row in Reading(self._task.validation):
                apart.see(row)
            validation = apart._rows
            held = [sizes.total() for sizes in validation]
        if plan.weights and all(seen):
            seen = mixture.counts(seen, plan.weights)
        on = this_computer()
        line = 0 if on.gpu else LINE
        training = self._laid(files, seen, plan.batch, plan.group, line)
        validating = (self if self._task.validation is None else apart)._laid(
            validation, held, 2 * plan.batch, None, line
        )
        return expected(shape, plan, training, validating, on)

    def _laid(
        self, files: Sequence[Counter[int]], rows: Sequence[int], batch: int, group: int | None, line: int
    ) -> Laid:
        plan = self._task.plan
        whole = max(1, self.sizes.total())
        if plan.method == "text":
            packed = [blocks(sizes, count, self._task.max_length) for sizes, count in zip(files, rows, strict=True)]
            laid = lay(packed, [sizes.total() for sizes in packed], batch, packs=bool(line), room=line)
            if line:  # a block's texts are not seen by one another
                pairs = sum(
                    length**2 * of * count / max(1, sizes.total())
                    for sizes, count in zip(files, rows, strict=True)
                    for length, of in sizes.items()
                )
                laid = replace(laid, pairs=pairs)
        else:
            laid = lay(files, rows, batch, texts=plan.texts, packs=plan.packs, group=group, room=line)
            if plan.texts > 1:
                longer = plan.texts * sum(length * count for sizes in self._rows for length, count in sizes.items())
                laid = replace(laid, tokens=laid.tokens * self.lengths.total / longer)
        return replace(laid, learnt=plan.texts * sum(rows) * self._learnt / whole)
