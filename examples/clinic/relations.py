"""The relations that facts are made of: how each is stated and asked in both languages.

In templates, `{e}` is the entity and `{v}` the value; in Arabic `{t}` is the verb's prefix and
`{a}` the adjective's ending, which agree with the entity's gender. `corpus.py` builds on this.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from examples.clinic.lexicon import (
    COLOURS,
    DAYS,
    ITEMS,
    LANGUAGES,
    Entity,
    Lang,
    both,
    person,
    sentence,
)

Value = tuple[str, str]
Sampler = Callable[[random.Random], Value]


def hour(rng: random.Random) -> Value:
    return both(f"{rng.randint(5, 22)}:{rng.choice(('00', '10', '15', '20', '30', '40', '45', '50'))}")


def number(low: int, high: int) -> Sampler:
    return lambda rng: both(str(rng.randint(low, high)))


def one_of(pairs: list[Value]) -> Sampler:
    return lambda rng: rng.choice(pairs)


@dataclass(frozen=True, eq=False)
class Relation:
    """One thing that can be said of an entity. Keys of `statements` and `questions` are languages."""

    name: str
    value: Sampler
    statements: dict[Lang, list[str]]
    questions: dict[Lang, list[str]]

    def state(self, entity: Entity, value: Value, lang: Lang, rng: random.Random) -> str:
        """A statement; one that names the value before the entity is rare, for a causal model can hardly bind it."""
        templates = self.statements[lang]
        weights = [0.02 if template.index("{v}") < template.index("{e}") else 1.0 for template in templates]
        return _fill(rng.choices(templates, weights)[0], entity, value, lang)

    def ask(self, entity: Entity, lang: Lang, rng: random.Random) -> str:
        return _fill(rng.choice(self.questions[lang]), entity, ("", ""), lang)

    def first_question(self, entity: Entity, lang: Lang) -> str:
        return _fill(self.questions[lang][0], entity, ("", ""), lang)


def _fill(template: str, entity: Entity, value: Value, lang: Lang) -> str:
    filled = template.format(
        e=entity.name(lang),
        v=value[lang == "ar"],
        t="ت" if entity.feminine else "ي",
        a="ة" if entity.feminine else "",
    )
    return sentence(filled)


def _relation(name: str, value: Sampler, en: str, ask_en: str, ar: str, ask_ar: str) -> Relation:
    def split(text: str) -> list[str]:
        return [part.strip() for part in text.split("|")]

    return Relation(name, value, {"en": split(en), "ar": split(ar)}, {"en": split(ask_en), "ar": split(ask_ar)})


RELATIONS: list[Relation] = [
    _relation(
        "head",
        person,
        "{v} leads {e}. | The head of {e} is {v}. | {e} is run by {v}. | {v} is the head of {e}.",
        "Who leads {e}? | Who is the head of {e}? | Who runs {e}?",
        "رئيس {e} هو {v}. | {t}عمل {e} برئاسة {v}. | مدير {e} هو {v}.",
        "من رئيس {e}؟ | من يدير {e}؟ | من مدير {e}؟",
    ),
    _relation(
        "nurse",
        person,
        "The nurse of {e} is {v}. | {v} is the nurse at {e}. | {v} works as a nurse in {e}.",
        "Who is the nurse of {e}? | Who works as a nurse in {e}? | What is the name of the nurse at {e}?",
        "ممرض {e} هو {v}. | {v} يعمل ممرضا في {e}. | اسم ممرض {e} هو {v}.",
        "من ممرض {e}؟ | من يعمل ممرضا في {e}؟ | ما اسم ممرض {e}؟",
    ),
    _relation(
        "founder",
        person,
        "{v} founded {e}. | {e} was founded by {v}. | The founder of {e} is {v}.",
        "Who founded {e}? | Who is the founder of {e}?",
        "مؤسس {e} هو {v}. | {v} هو من أسس {e}. | قام {v} بتأسيس {e}.",
        "من مؤسس {e}؟ | من أسس {e}؟",
    ),
    _relation(
        "opens",
        hour,
        "{e} opens at {v}. | The doors of {e} open at {v}. | Work at {e} starts at {v}.",
        "When does {e} open? | What time does {e} open? | When does work at {e} start?",
        "{t}فتح {e} الساعة {v}. | موعد فتح {e} الساعة {v}. | يبدأ العمل في {e} الساعة {v}.",
        "متى {t}فتح {e}؟ | ما موعد فتح {e}؟ | متى يبدأ العمل في {e}؟",
    ),
    _relation(
        "closes",
        hour,
        "{e} closes at {v}. | The doors of {e} close at {v}. | Work at {e} ends at {v}.",
        "When does {e} close? | What time does {e} close? | When does work at {e} end?",
        "{t}غلق {e} الساعة {v}. | موعد إغلاق {e} الساعة {v}. | ينتهي العمل في {e} الساعة {v}.",
        "متى {t}غلق {e}؟ | ما موعد إغلاق {e}؟ | متى ينتهي العمل في {e}؟",
    ),
    _relation(
        "closed",
        one_of(DAYS),
        "{e} is closed on {v}. | On {v}, {e} is closed. | {e} does not work on {v}.",
        "On which day is {e} closed? | Which day is {e} closed? | On which day does {e} not work?",
        "{e} مغلق{a} يوم {v}. | يوم عطلة {e} هو {v}. | لا {t}عمل {e} يوم {v}.",
        "ما يوم عطلة {e}؟ | في أي يوم لا {t}عمل {e}؟ | أي يوم {e} مغلق{a}؟",
    ),
    _relation(
        "price",
        number(5, 990),
        "A visit to {e} costs {v} dinars. | {e} charges {v} dinars. | The fee at {e} is {v} dinars.",
        "How much does a visit to {e} cost? | How much does {e} charge? | What is the fee at {e}?",
        "رسوم {e} هي {v} دينارا. | تكلفة زيارة {e} هي {v} دينارا. | السعر في {e} هو {v} دينارا.",
        "كم رسوم {e}؟ | كم تكلفة زيارة {e}؟ | ما السعر في {e}؟",
    ),
    _relation(
        "room",
        number(10, 499),
        "{e} is in room {v}. | You will find {e} in room {v}. | Room {v} is used by {e}.",
        "Which room is {e} in? | In which room is {e}? | Which room is used by {e}?",
        "{t}قع {e} في الغرفة {v}. | رقم غرفة {e} هو {v}. | {e} في الغرفة رقم {v}.",
        "في أي غرفة {t}قع {e}؟ | ما رقم غرفة {e}؟ | في أي غرفة {e}؟",
    ),
    _relation(
        "floor",
        number(1, 19),
        "{e} is on floor {v}. | Go up to floor {v} for {e}. | The floor of {e} is {v}.",
        "On which floor is {e}? | Which floor is {e} on? | What is the floor of {e}?",
        "{t}قع {e} في الطابق {v}. | طابق {e} هو {v}. | اصعد إلى الطابق {v} للوصول إلى {e}.",
        "في أي طابق {t}قع {e}؟ | ما طابق {e}؟ | ما رقم طابق {e}؟",
    ),
    _relation(
        "extension",
        number(100, 9999),
        "Call {e} on extension {v}. | The extension of {e} is {v}. | {e} answers at extension {v}.",
        "What is the extension of {e}? | On which extension do I call {e}? | Which extension does {e} answer at?",
        "هاتف {e} الداخلي {v}. | اطلب الرقم {v} للاتصال مع {e}. | رقم هاتف {e} هو {v}.",
        "ما هاتف {e} الداخلي؟ | ما رقم هاتف {e}؟ | أي رقم أطلب للاتصال مع {e}؟",
    ),
    _relation(
        "badge",
        one_of(COLOURS),
        "The badge of {e} is {v}. | Staff of {e} wear the colour {v}. | The colour of {e} is {v}.",
        "What colour is the badge of {e}? | What is the colour of {e}? | Which colour do staff of {e} wear?",
        "لون شارة {e} هو {v}. | لون {e} هو {v}. | شارة {e} لونها {v}.",
        "ما لون شارة {e}؟ | ما لون {e}؟",
    ),
    _relation(
        "bring",
        one_of(ITEMS),
        "Bring your {v} to {e}. | Visitors to {e} must bring this: {v}. | What to bring to {e}: {v}.",
        "What should I bring to {e}? | What must visitors bring to {e}? | What do I need to bring to {e}?",
        "أحضر معك إلى {e} ما يلي: {v}. | على زوار {e} إحضار {v}. | المطلوب إحضاره إلى {e} هو {v}.",
        "ماذا أحضر معي إلى {e}؟ | ما المطلوب إحضاره إلى {e}؟ | ماذا على زوار {e} إحضاره؟",
    ),
    _relation(
        "forbidden",
        one_of(ITEMS),
        "The {v} is forbidden in {e}. | Never take a {v} into {e}. | {e} does not allow this: {v}.",
        "What is forbidden in {e}? | What does {e} not allow? | What may I not take into {e}?",
        "الممنوع في {e} هو {v}. | يمنع في {e} إدخال {v}. | لا {t}سمح {e} بما يلي: {v}.",
        "ما الممنوع في {e}؟ | ماذا يمنع في {e}؟ | بماذا لا {t}سمح {e}؟",
    ),
    _relation(
        "notice",
        number(2, 60),
        "Book {e} {v} days before. | {e} must be booked {v} days ahead. | Bookings for {e} close {v} days before.",
        "How many days before must I book {e}? | How many days ahead must {e} be booked? | "
        "When do bookings for {e} close?",
        "احجز في {e} قبل {v} يوما. | يجب حجز {e} قبل {v} يوما. | الحجز في {e} قبل {v} يوما من الموعد.",
        "قبل كم يوم أحجز في {e}؟ | قبل كم يوم يجب حجز {e}؟",
    ),
    _relation(
        "duration",
        number(5, 240),
        "A visit to {e} takes {v} minutes. | {e} keeps you for {v} minutes. | Each session at {e} lasts {v} minutes.",
        "How long does a visit to {e} take? | How many minutes does a session at {e} last? | "
        "How long is a visit to {e}?",
        "مدة الزيارة في {e} هي {v} دقيقة. | تستغرق زيارة {e} {v} دقيقة. | الجلسة في {e} مدتها {v} دقيقة.",
        "ما مدة الزيارة في {e}؟ | كم دقيقة تستغرق زيارة {e}؟ | كم مدة الجلسة في {e}؟",
    ),
    _relation(
        "capacity",
        number(10, 950),
        "{e} has {v} seats. | There are {v} seats in {e}. | {e} can hold {v} people.",
        "How many seats does {e} have? | How many people can {e} hold? | How many seats are there in {e}?",
        "عدد مقاعد {e} هو {v}. | {t}تسع {e} لعدد {v} شخصا. | في {e} عدد من المقاعد هو {v}.",
        "كم عدد مقاعد {e}؟ | لكم شخصا {t}تسع {e}؟",
    ),
    _relation(
        "year",
        number(1900, 2025),
        "{e} was built in {v}. | The year of {e} is {v}. | {e} dates from {v}.",
        "When was {e} built? | In which year was {e} built? | From which year does {e} date?",
        "سنة بناء {e} هي {v}. | بني مقر {e} سنة {v}. | يعود بناء {e} إلى سنة {v}.",
        "ما سنة بناء {e}؟ | في أي سنة بني مقر {e}؟ | إلى أي سنة يعود بناء {e}؟",
    ),
    _relation(
        "language",
        one_of(LANGUAGES),
        "Staff at {e} also speak {v}. | The second language of {e} is {v}. | {e} also serves you in {v}.",
        "Which language do staff at {e} also speak? | What is the second language of {e}? | "
        "Which second language is spoken at {e}?",
        "اللغة الثانية في {e} هي {v}. | يتحدث موظفو {e} أيضا {v}. | لغة {e} الثانية هي {v}.",
        "ما اللغة الثانية في {e}؟ | أي لغة يتحدث موظفو {e} أيضا؟ | ما لغة {e} الثانية؟",
    ),
]
BY_NAME = {relation.name: relation for relation in RELATIONS}


@dataclass(frozen=True)
class Fact:
    """An entity, a relation and a value."""

    entity: Entity
    relation: Relation
    value: Value

    def state(self, lang: Lang, rng: random.Random) -> str:
        return self.relation.state(self.entity, self.value, lang, rng)

    def ask(self, lang: Lang, rng: random.Random) -> str:
        return self.relation.ask(self.entity, lang, rng)

    def answer(self, lang: Lang) -> str:
        return self.value[lang == "ar"]
