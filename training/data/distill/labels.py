"""What a teacher's answers amount to: a label, a rejection with its reasons, or what has still to be asked. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from lifecycle.answer_schema import AnswerSchema
from lifecycle.text import strict_json
from lifecycle.version import Frozen
from training.data.distill.journal import TeacherAnswer, Turn
from training.data.distill.teacher import Messages, in_words

Answers = Mapping[Turn, TeacherAnswer]
Code = Literal["off_schema", "refused", "cut_off", "endpoint_refused", "no_agreement"]
"""Why an input has no label: no answer fitted the schema, not even the repaired one; the teacher refused; the answer
ended by its length limit; the endpoint refused the request; too few of the samples agree."""

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\s*```\s*", re.DOTALL)


class Sampling(Frozen):
    """How often each input is asked, and how many answers must be the same."""

    samples: int = Field(default=1, ge=1, le=32)
    agree: int | None = Field(default=None, ge=1)
    """None: more than half of them."""
    agree_on: tuple[str, ...] = ()
    """Fields that are compared; none: the whole answer. Free texts hardly ever agree."""

    @property
    def needed(self) -> int:
        return self.agree or self.samples // 2 + 1


@dataclass(frozen=True, slots=True)
class Label:
    """The answer that an input gets. `votes` of `asked` samples said it; `answer` is the first of them."""

    value: Any
    answer: TeacherAnswer
    votes: int
    asked: int


@dataclass(frozen=True, slots=True)
class Rejection:
    code: Code
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The next request of an input, as the turns that stand behind its question."""

    turn: Turn
    behind: Messages = ()


def wanted(answers: Answers, schema: AnswerSchema, sampling: Sampling) -> Wanted | None:
    """What is still to be asked; None when more answers would change nothing."""
    for sample in range(sampling.samples):
        first = answers.get((sample, False))
        if first is None:
            best = max(_votes(answers, schema, sampling).values(), default=0)
            decided = best >= sampling.needed or best + sampling.samples - sample < sampling.needed
            return None if decided else Wanted((sample, False))
        if (sample, True) not in answers and _fault_code(first) is None and (faults := _faults(first, schema)):
            return Wanted((sample, True), _repair(first, faults, schema))
    return None


def judged(answers: Answers, schema: AnswerSchema, sampling: Sampling) -> Label | Rejection | None:
    """None while something is wanted."""
    if wanted(answers, schema, sampling):
        return None
    votes = _votes(answers, schema, sampling)
    asked = len({sample for sample, _ in answers})
    if votes:
        said, count = votes.most_common(1)[0]
        if count >= sampling.needed:
            answer = next(answer for answer in _fitting(answers, schema) if _vote(answer, sampling) == said)
            return Label(value_of(answer), answer, count, asked)
    last = [_last(answers, sample) for sample in range(asked)]
    if len(votes) > 1 or (votes and asked > 1):
        reasons = tuple(f"{count} of {asked}: {said}" for said, count in votes.most_common())
        return Rejection("no_agreement", reasons)
    return Rejection(_fault_code(last[0]) or "off_schema", tuple(_reasons(answers, schema)))


def value_of(answer: TeacherAnswer) -> Any:
    """The JSON value. Raises ValueError for a text that is none. A fence around the whole of it is no part of it."""
    fenced = _FENCED.fullmatch(answer.text)
    return strict_json.parse(fenced[1] if fenced else answer.text)


def _faults(answer: TeacherAnswer, schema: AnswerSchema) -> list[str]:
    try:
        value = value_of(answer)
    except ValueError as error:
        return [f"the answer {error}" if answer.text.strip() else "the answer is empty"]
    return schema.faults_of(value)


def _fault_code(answer: TeacherAnswer) -> Code | None:
    """What no repair would mend."""
    if answer.error:
        return "endpoint_refused"
    if answer.refusal or answer.finish == "content_filter":
        return "refused"
    return "cut_off" if answer.finish == "length" else None


def _fitting(answers: Answers, schema: AnswerSchema) -> list[TeacherAnswer]:
    """In order, the good answer of each sample that has one."""
    last = [_last(answers, sample) for sample in sorted({sample for sample, _ in answers})]
    return [answer for answer in last if _fault_code(answer) is None and not _faults(answer, schema)]


def _last(answers: Answers, sample: int) -> TeacherAnswer:
    return answers.get((sample, True)) or answers[sample, False]


def _votes(answers: Answers, schema: AnswerSchema, sampling: Sampling) -> Counter[str]:
    return Counter(_vote(answer, sampling) for answer in _fitting(answers, schema))


def _vote(answer: TeacherAnswer, sampling: Sampling) -> str:
    value = value_of(answer)
    if sampling.agree_on:
        value = {field: value.get(field) for field in sampling.agree_on}
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _repair(answer: TeacherAnswer, faults: list[str], schema: AnswerSchema) -> Messages:
    told = "\n".join(f"- {fault}" for fault in faults)
    return (
        {"role": "assistant", "content": answer.text or "(nothing)"},
        {"role": "user", "content": f"That answer cannot be used:\n{told}\n\n{in_words(schema)}"},
    )


def _reasons(answers: Answers, schema: AnswerSchema) -> list[str]:
    """Of all answers, in order, each reason once."""
    reasons: dict[str, None] = {}
    for turn in sorted(answers):
        answer = answers[turn]
        if answer.error or answer.refusal:
            reasons[answer.error or answer.refusal] = None
        elif code := _fault_code(answer):
            limit = "the answer ended at its limit of tokens (--max-tokens)"
            reasons[limit if code == "cut_off" else "the endpoint filtered the answer"] = None
        else:
            reasons |= dict.fromkeys(_faults(answer, schema))
    return list(reasons)
