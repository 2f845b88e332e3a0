"""What a distillation is told, and what is wrong with it: all of it, before anything is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.rows.writing import writer_of
from lifecycle.version import Prompt, digest_of
from training.data.distill.inputs import Inputs
from training.data.distill.labels import Sampling
from training.data.distill.spending import Caps, Prices, Tokens
from training.data.distill.teacher import Dialect, TeacherSettings


@dataclass(frozen=True)
class Distillation:
    """All that a distillation is told."""

    inputs: Inputs
    out: Path
    """Rows: .jsonl, .json, .csv, .tsv, .parquet, and .gz of these."""
    schema: AnswerSchema
    prompt: Prompt
    """Instructions and worked examples for the teacher."""
    teacher: TeacherSettings
    sampling: Sampling = field(default_factory=Sampling)
    caps: Caps = field(default_factory=Caps)
    prices: Prices | None = None
    label: str = ""
    """Write rows of text and label with this field of the answer; empty: chat rows with the whole answer."""
    retry_rejected: bool = False

    @property
    def journal(self) -> Path:
        return self._beside("journal")

    @property
    def rejected(self) -> Path:
        return self._beside("rejected")

    @cached_property
    def instructions(self) -> str:
        return digest_of(self.prompt.model_dump(mode="json"))

    @property
    def identity(self) -> dict[str, str]:
        """What decides the answers: all that one journal holds were given to this."""
        return {
            "teacher": self.teacher.model,
            "schema": self.schema.digest,
            "instructions": self.instructions,
            "temperature": f"{self.teacher.temperature:g}",
        }

    def require_sound(self) -> None:
        """Raises `InvalidConfig` with everything that is wrong before anything is asked."""
        problems = [*self._files(), *self._examples(), *self._fields()]
        if self.caps.cost is not None and (self.prices is None or not any(self.prices.model_dump().values())):
            problems.append(Problem("--max-cost", "needs prices", "give --price-input and --price-output"))
        if self.sampling.needed > self.sampling.samples:
            problems.append(Problem("--agree", f"is more than {self.sampling.samples} samples", "ask more often"))
        if self.sampling.samples > 1 and not self.teacher.temperature:
            problems.append(Problem("--temperature", "at 0 all samples are the same", "give one above 0"))
        if problems:
            raise InvalidConfig("nothing was asked", problems)

    def _files(self) -> Iterator[Problem]:
        writer_of(self.out)
        if not self.out.resolve().parent.is_dir():
            yield Problem(str(self.out), "its folder is not there", "make it, or name another place")
        if self.out.exists() and self.inputs.path.exists() and self.out.samefile(self.inputs.path):
            yield Problem(str(self.out), "is the file of the inputs", "name another output")
        elif self.out.exists() and not self.journal.exists():
            fault = f"is there already, and no {self.journal.name} beside it says that it came from a distillation"
            yield Problem(str(self.out), fault, "name another output")

    def _examples(self) -> Iterator[Problem]:
        for number, shot in enumerate(self.prompt.shots, 1):
            for fault in self.schema.faults(shot.assistant):
                yield Problem(f"--shots, example {number}", fault, "an example must be as the answers must be")

    def _fields(self) -> Iterator[Problem]:
        fields = self.schema.fields()
        known = ", ".join(fields) or "none: the schema is no object with properties"
        named = [("--agree-on", name) for name in self.sampling.agree_on]
        for option, name in [*named, *([("--label", self.label)] if self.label else [])]:
            if name not in fields:
                yield Problem(option, f"the schema has no field {name}", known)
            elif option == "--label" and not _is_label(fields[name]):
                yield Problem(option, f"{name} is not a text or a whole number", "name a field that is")

    def _beside(self, what: str) -> Path:
        name = self.out.name.removesuffix(".gz")
        return self.out.with_name(f"{Path(name).stem}.{what}.jsonl")


def most(plan: Distillation) -> tuple[int, int, Tokens]:
    """How many inputs there are, how many of them differ, and the most that asking each once can take.

    Raises what `distil` raises before it asks.
    """
    plan.require_sound()
    first = Dialect.first(plan.schema)
    keys, tokens, count = set(), Tokens(), 0
    for asked in plan.inputs:
        count += 1
        if asked.key in keys:
            continue
        keys.add(asked.key)
        body = first.body(plan.teacher, plan.schema, asked.request(plan.prompt))
        sent = len(json.dumps(body, ensure_ascii=False).encode())
        once = Tokens(sent, plan.teacher.max_tokens)
        for _ in range(plan.sampling.samples):
            tokens += once
    return count, len(keys), tokens


def _is_label(schema: dict[str, Any]) -> bool:
    options = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if options is not None:
        return all(isinstance(option, str | int) and not isinstance(option, bool) for option in options)
    return schema.get("type") in ("string", "integer")
