"""The task `triage`: a patient's message → intent, department, urgency and a reply in house style.

Splits are disjoint by construction: a pair (what is wrong, how the message opens) belongs to one
split, and so does every patient's name. `tasks.py` writes the files.
"""

from __future__ import annotations

import json
import random

from examples.clinic.lexicon import FIRST_NAMES, HOUSE, SURNAMES, Lang, sentence
from examples.clinic.patients import (
    APPOINTMENTS,
    CLOSERS,
    DEPARTMENTS,
    EMERGENCIES,
    EMERGENCY_LINE,
    INTRODUCTIONS,
    OPENERS,
    REQUESTS,
    SYMPTOMS,
    TIMES,
)
from examples.clinic.rows import Row, Split, part

SYSTEM = "Triage the message. Reply with JSON: intent, department, urgency, reply."
ACUTE = {"since yesterday", "since this morning", "since last night", "for some hours"}
SAYS: dict[str, tuple[str, str]] = {
    "routine": ("{d} will see you this week.", "سيراك قسم {d} هذا الأسبوع."),
    "soon": ("{d} will see you today.", "سيراك قسم {d} اليوم."),
    "appointment": ("{d} will call you with a time.", "سيتصل بك قسم {d} لتحديد موعد."),
    "prescription": ("{d} will prepare it today.", "سيجهز قسم {d} طلبك اليوم."),
    "billing": ("{d} will check your account.", "سيراجع قسم {d} حسابك."),
    "results": ("{d} will send your results.", "سيرسل قسم {d} نتائجك."),
    "emergency": (f"call {EMERGENCY_LINE} now.", f"اتصل الآن على {EMERGENCY_LINE}."),
}
NAMELESS_CLOSERS = {"train": [*CLOSERS[:3], CLOSERS[-1]], "validation": CLOSERS[3:4], "test": CLOSERS[4:6]}
CLOSING = (f"Be well, {HOUSE[0]}.", f"دمتم بخير، {HOUSE[1]}.")


def _cases() -> list[tuple[str, str, tuple[str, str]]]:
    """Everything that can be wrong: (intent, department, words in both languages)."""
    cases = [("symptom", department, words) for department, symptoms in SYMPTOMS.items() for words in symptoms]
    cases += [("emergency", "Emergency", words) for words in EMERGENCIES]
    cases += [(intent, department, words) for intent, (department, said) in REQUESTS.items() for words in said]
    return cases + [
        ("appointment", department, (en.format(d=department), ar.format(d=DEPARTMENTS[department])))
        for department in SYMPTOMS
        for en, ar in APPOINTMENTS
    ]


CASES = _cases()
SHARES = {
    "symptom": 0.44,
    "emergency": 0.18,
    "appointment": 0.16,
    "prescription": 0.08,
    "billing": 0.07,
    "results": 0.07,
}


def _belongs(case: int, opener: int, split: Split) -> bool:
    slot = (case * 3 + opener) % len(OPENERS)
    return slot < 5 if split == "train" else slot == 5 if split == "validation" else slot > 5


def draw(rng: random.Random, split: Split) -> Row:
    """A message and its answer."""
    lang: Lang = rng.choice(("en", "ar"))
    i = int(lang == "ar")
    intent = rng.choices(list(SHARES), list(SHARES.values()))[0]
    case = rng.choice([index for index, (kind, _, _) in enumerate(CASES) if kind == intent])
    _, department, words = CASES[case]
    opener = rng.choice([index for index in range(len(OPENERS)) if _belongs(case, index, split)])
    time = rng.choice(TIMES) if intent == "symptom" else ("", "")
    names = [
        name for index, name in enumerate(FIRST_NAMES) if part(index * 7 % len(FIRST_NAMES), len(FIRST_NAMES), split)
    ]
    name = rng.choice(names)[i] if rng.random() < 0.8 else ""
    whole = f"{name} {rng.choice(SURNAMES)[i]}" if name and rng.random() < 0.3 else name
    comma = (", ", "، ")[i]
    core = f"{words[i]} {time[i]}".strip()
    body = (
        OPENERS[opener][i]
        + comma
        + (rng.choice(INTRODUCTIONS)[i].format(n=whole) + ". " + sentence(core) if name else core)
    )
    closers = CLOSERS if name else NAMELESS_CLOSERS[split]  # with no name, the closing words keep the splits apart
    message = f"{body}. {rng.choice(closers)[i]}".strip()
    urgency = "routine"
    if intent == "emergency":
        urgency = "emergency"
    elif intent == "prescription" or (department == "Pediatrics" and intent == "symptom") or time[0] in ACUTE:
        urgency = "soon"
    says = SAYS[urgency if intent == "symptom" else intent][i].format(d=(department, DEPARTMENTS[department])[i])
    greeting = ("Hello", "مرحبا")[i] + (f" {name}" if name else "") + comma
    answer = {
        "intent": intent,
        "department": department,
        "urgency": urgency,
        "reply": f"{greeting}{says} {CLOSING[i]}",
    }
    return Row(message, json.dumps(answer, ensure_ascii=False), {"language": lang, "emergency": intent == "emergency"})
