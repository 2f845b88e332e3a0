"""Outcomes as rows, each with where it is from: labelled ones that training reads, rejected ones to ask again."""

from __future__ import annotations

from typing import Any

from lifecycle.conversation import Conversation, Message
from lifecycle.rows.conversions import as_messages
from training.data.distill.inputs import Asked
from training.data.distill.journal import TeacherAnswer, Turn
from training.data.distill.labels import Label, Rejection
from training.data.distill.plan import Distillation

Answers = dict[Turn, TeacherAnswer]
Keys = dict[str, Any]


def labelled(plan: Distillation, asked: Asked, label: Label, answers: Answers) -> Keys:
    """A chat row with the answer as JSON, its keys in the schema's order; or a text with one field as its label."""
    more: Keys = {"answered_by": label.answer.model, "at": label.answer.at.isoformat(timespec="seconds")}
    if plan.sampling.samples > 1:
        more["votes"] = f"{label.votes} of {label.asked}"
    meta = asked.meta | {"distilled": _provenance(plan, asked, answers) | more}
    if plan.label:
        named = {"id": asked.id} if asked.id else {}
        return {**named, "text": asked.text, "label": label.value[plan.label], "meta": meta}
    answer = Message("assistant", plan.schema.written(label.value))
    return as_messages(Conversation(asked.place, asked.id, (*asked.messages, answer), meta))


def set_aside(plan: Distillation, asked: Asked, rejection: Rejection, answers: Answers) -> Keys:
    """A row that can be asked again as it is: of another teacher, or of a person."""
    why = {
        "code": rejection.code,
        "reasons": list(rejection.reasons),
        "answers": [answers[turn].text for turn in sorted(answers)],
    }
    meta = asked.meta | {"rejected": why | _provenance(plan, asked, answers)}
    return as_messages(Conversation(asked.place, asked.id, asked.messages, meta))


def _provenance(plan: Distillation, asked: Asked, answers: Answers) -> Keys:
    """Who said it, told what, and what that took."""
    told = answers.values()
    found: Keys = {
        "teacher": plan.teacher.model,
        "schema": plan.schema.digest,
        "instructions": plan.instructions,
        "requests": len(told),
        "prompt_tokens": sum(answer.prompt_tokens for answer in told),
        "completion_tokens": sum(answer.completion_tokens for answer in told),
    }
    if not all(answer.counted for answer in told):
        found["counted"] = False
    if any(answer.repair for answer in told):
        found["repaired"] = True
    return found if asked.given is None else {**found, "given": asked.given}
