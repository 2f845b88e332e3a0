"""Short articles about one happening, with a one-sentence summary, in both languages.

Sentence by sentence the two languages say the same, so an article serves for summarising and for
translating. The corpus and the task `digest` (`digest.py`) draw from here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from examples.clinic.lexicon import COLOURS, DAYS, FIRST_NAMES, ITEMS, LANGS, PLACES, SURNAMES, Lang, entity, sentence
from examples.clinic.relations import hour, number

# A kind of happening: sentences (each with its phrasings) and the summary, per language.
# {e} unit, {p} and {q} people, {d} day, {h} hour, {n} and {m} numbers, {c} place, {i} item, {o} colour.
HAPPENINGS: list[dict[Lang, list[list[str]]]] = [
    {
        "en": [
            ["{e} opened its new building on {d}.", "The new building of {e} opened on {d}."],
            ["{p} is the head of the project.", "The project is led by {p}."],
            ["The work cost {n} dinars.", "The cost of the work was {n} dinars."],
            ["Each guest received a {i}.", "The guests were given a {i}."],
            ["{e} opened its new building on {d}, led by {p}."],
        ],
        "ar": [
            ["افتتح المبنى الجديد في {e} يوم {d}.", "شهد يوم {d} افتتاح المبنى الجديد في {e}."],
            ["رئيس المشروع هو {p}.", "يقود المشروع {p}."],
            ["كلفة العمل {n} دينارا.", "بلغت كلفة العمل {n} دينارا."],
            ["تلقى كل ضيف هدية هي {i}.", "هدية الضيوف كانت {i}."],
            ["افتتح المبنى الجديد في {e} يوم {d} برئاسة {p}."],
        ],
    },
    {
        "en": [
            ["{p} visited {e} on {d}.", "On {d}, {p} came to {e}."],
            ["The visit began at {h}.", "The visit started at {h}."],
            ["The visitor met {q} there.", "There the visitor met {q}."],
            ["They spoke about a plan for {n} beds.", "The talk was about a plan for {n} beds."],
            ["{p} visited {e} on {d} and met {q}."],
        ],
        "ar": [
            ["زار {p} {e} يوم {d}.", "في يوم {d} وصل {p} إلى {e}."],
            ["بدأت الزيارة الساعة {h}.", "انطلقت الزيارة الساعة {h}."],
            ["التقى الزائر هناك {q}.", "وهناك التقى الزائر {q}."],
            ["دار الحديث حول خطة من {n} سريرا.", "تحدثوا عن خطة من {n} سريرا."],
            ["زار {p} {e} يوم {d} والتقى {q}."],
        ],
    },
    {
        "en": [
            ["{e} will be closed on {d} for repairs.", "Repairs will close {e} on {d}."],
            ["The repairs take {n} days.", "The repairs will last {n} days."],
            ["Visitors can go to {c} instead.", "In its place, visitors can go to {c}."],
            ["For questions call {p}.", "Questions can be sent to {p}."],
            ["{e} closes on {d} for repairs of {n} days."],
        ],
        "ar": [
            ["تغلق أبواب {e} يوم {d} بسبب الإصلاحات.", "بسبب الإصلاحات تغلق أبواب {e} يوم {d}."],
            ["تستغرق الإصلاحات {n} يوما.", "مدة الإصلاحات {n} يوما."],
            ["يمكن للزوار الذهاب إلى {c} بدلا من ذلك.", "بدلا من ذلك يمكن للزوار الذهاب إلى {c}."],
            ["للأسئلة اتصلوا مع {p}.", "ترسل الأسئلة إلى {p}."],
            ["تغلق أبواب {e} يوم {d} لإصلاحات مدتها {n} يوما."],
        ],
    },
    {
        "en": [
            ["{p} won the health prize in {c}.", "In {c}, the health prize went to {p}."],
            ["The prize is worth {n} dinars.", "The winner gets {n} dinars."],
            ["The winner works at {e}.", "The winner is from {e}."],
            ["{q} gave the prize on {d}.", "On {d} the prize was given by {q}."],
            ["{p} of {e} won the health prize in {c}."],
        ],
        "ar": [
            ["فاز {p} بجائزة الصحة في {c}.", "جائزة الصحة في {c} فاز بها {p}."],
            ["قيمة الجائزة {n} دينارا.", "ينال الفائز {n} دينارا."],
            ["يعمل الفائز في {e}.", "الفائز من {e}."],
            ["سلم {q} الجائزة يوم {d}.", "تسلم الفائز الجائزة يوم {d} من {q}."],
            ["فاز {p} من {e} بجائزة الصحة في {c}."],
        ],
    },
    {
        "en": [
            ["A free course starts at {e} on {d}.", "On {d} a free course starts at {e}."],
            ["{p} teaches the course.", "The teacher is {p}."],
            ["The course has {n} places.", "There are {n} places in the course."],
            ["It starts at {h}.", "The first lesson is at {h}."],
            ["{p} teaches a free course at {e} from {d}."],
        ],
        "ar": [
            ["تبدأ دورة مجانية في {e} يوم {d}.", "يوم {d} تبدأ دورة مجانية في {e}."],
            ["يقدم الدورة {p}.", "مدرس الدورة هو {p}."],
            ["في الدورة {n} مقعدا.", "عدد مقاعد الدورة {n}."],
            ["تبدأ الساعة {h}.", "الدرس الأول الساعة {h}."],
            ["يقدم {p} دورة مجانية في {e} من يوم {d}."],
        ],
    },
    {
        "en": [
            ["{p} gave {n} dinars to {e}.", "{e} received {n} dinars from {p}."],
            ["The money pays for {m} beds.", "With the money, {m} beds will be bought."],
            ["The beds come from {c}.", "The beds are made in {c}."],
            ["{q} thanked the giver on {d}.", "On {d}, {q} thanked the giver."],
            ["{p} gave {e} {n} dinars for {m} beds."],
        ],
        "ar": [
            ["تبرع {p} بمبلغ {n} دينارا إلى {e}.", "حصل {e} على مبلغ {n} دينارا من {p}."],
            ["يكفي المبلغ لشراء {m} سريرا.", "سيشترى بالمبلغ {m} سريرا."],
            ["تأتي الأسرة من {c}.", "صنعت الأسرة في {c}."],
            ["شكر {q} المتبرع يوم {d}.", "في يوم {d} شكر {q} المتبرع."],
            ["تبرع {p} إلى {e} بمبلغ {n} دينارا لشراء {m} سريرا."],
        ],
    },
    {
        "en": [
            ["A bus now runs from {c} to {e}.", "{e} now has a bus from {c}."],
            ["It leaves at {h} on {d}.", "On {d} it leaves at {h}."],
            ["The bus is {o}.", "The colour of the bus is {o}."],
            ["A ticket costs {m} dinars.", "The ticket is {m} dinars."],
            ["A bus from {c} to {e} leaves on {d} at {h}."],
        ],
        "ar": [
            ["تسير الآن حافلة من {c} إلى {e}.", "هناك الآن حافلة من {c} إلى {e}."],
            ["تنطلق الساعة {h} يوم {d}.", "موعدها يوم {d} الساعة {h}."],
            ["لون الحافلة {o}.", "الحافلة لونها {o}."],
            ["ثمن التذكرة {m} دينارا.", "التذكرة بمبلغ {m} دينارا."],
            ["تنطلق حافلة من {c} إلى {e} يوم {d} الساعة {h}."],
        ],
    },
]


Belongs = Callable[[int, int], bool]


@dataclass(frozen=True)
class Article:
    """One happening: its text and its summary in both languages."""

    text: dict[Lang, str]
    summary: dict[Lang, str]
    kind: int


def _drawn_from(pairs: list[tuple[str, str]], belongs: Belongs, rng: random.Random) -> tuple[str, str]:
    return rng.choice([pair for index, pair in enumerate(pairs) if belongs(index, len(pairs))])


def article(rng: random.Random, belongs: Belongs = lambda index, total: True) -> Article:
    """Draws an article of three or four sentences (those that the summary needs come first).

    `belongs(index, total)` says which places and first names may be used.
    """
    kind = rng.randrange(len(HAPPENINGS))
    unit = entity(rng)
    while not belongs(PLACES.index(unit.place), len(PLACES)):
        unit = entity(rng)
    p, q = (
        (f"{first[0]} {last[0]}", f"{first[1]} {last[1]}")
        for first, last in ((_drawn_from(FIRST_NAMES, belongs, rng), rng.choice(SURNAMES)) for _ in range(2))
    )
    drawn = {
        "p": p,
        "q": q,
        "d": rng.choice(DAYS),
        "h": hour(rng),
        "n": number(20, 990)(rng),
        "m": number(3, 90)(rng),
        "c": _drawn_from(PLACES, belongs, rng),
        "i": rng.choice(ITEMS),
        "o": rng.choice(COLOURS),
    }
    wanted = rng.choice((3, 4, 4))
    phrasing = [rng.randrange(2) for _ in range(4)]
    text: dict[Lang, str] = {}
    summary: dict[Lang, str] = {}
    for index, lang in enumerate(LANGS):
        slots = {name: value[index] for name, value in drawn.items()} | {"e": unit.name(lang)}
        *body, gist = HAPPENINGS[kind][lang]
        text[lang] = " ".join(
            sentence(s[w].format(**slots)) for s, w in list(zip(body, phrasing, strict=True))[:wanted]
        )
        summary[lang] = sentence(gist[0].format(**slots))
    return Article(text, summary, kind)
