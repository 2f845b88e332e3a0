"""Few-shot imitation: conversations whose first turns show a new output frame for the rest to follow.

A frame is drawn afresh for every conversation: marks, keys, constants, labels and which parts of
the input go where. `held_out=True` draws keys, constants and marks that no frame of
training has.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from examples.clinic.lexicon import COLOURS, DAYS, FIRST_NAMES, ITEMS, MARK_RUNS, PLACES, SIGNS, Lang, entity, person
from examples.clinic.patients import CLOSERS, DEPARTMENTS, EMERGENCIES, OPENERS, REQUESTS, SYMPTOMS, TIMES
from examples.clinic.relations import RELATIONS, Fact, hour, number


def _words(text: str) -> list[str]:
    return text.split()


KEYS = _words(
    "name who person day when time hour place where room value answer result item thing label kind type "
    "tag code id key note text title topic state status level price cost number count colour owner unit "
    "guest from to at out word field info data entry main first second part group team user score"
)
KEYS_AR = _words("الاسم اليوم الوقت المكان القيمة النوع الرقم الشيء الحالة النص الوصف العنوان")
CONSTANTS = _words(
    "ok yes no done new open true ready v1 v2 auto test main clinic list none sent seen draft final todo"
)
LABELS = _words(
    "alpha beta gamma high low mid left right A B C X Y Z one two three hot cold fast slow up down east west"
)
MARKS = _words("< > [ ] ( ) { } | / # * -> => :: = : ; ! ~ -- ... + & @ % >> << _ ^")
HELD_KEYS = _words(
    "intent urgency section author city shift badge task reason source detail action ward target origin scale"
)
HELD_KEYS_AR = _words("القسم السبب المصدر الزائر")
HELD_CONSTANTS = _words("pending closed stage active queue fixed")
HELD_LABELS = _words("north south blue7 soon later gold2 top base")
HELD_MARKS = _words("|| ## ~> == <> ** ]] [[ // ::: -")
SYLLABLES = _words(
    "ka lo mi ra ten sol vi dar pel no ri zu ha mar bel to qua fen gi os ul ern ash ib yor dan wes cam tri lu"
)
SYLLABLES_AR = _words("با دو سي نار لم كو رى تا فيل مس جو قا هي وز شم را")


def _vocabulary(lang: Lang) -> list[str]:
    """Every word of the small world's sentences, to make up words from."""
    i = int(lang == "ar")
    said = [pair[i] for pairs in (*SYMPTOMS.values(), EMERGENCIES, OPENERS, TIMES, CLOSERS) for pair in pairs]
    said += [pair[i] for _, pairs in REQUESTS.values() for pair in pairs]
    said += [text for relation in RELATIONS for text in relation.statements[lang] + relation.questions[lang]]
    words = {word for text in said for word in re.findall(r"[^\W\d_]{2,}", text)}
    return sorted(words)


VOCABULARY: dict[Lang, list[str]] = {"en": _vocabulary("en"), "ar": _vocabulary("ar")}
PIECES: dict[Lang, list[str]] = {"en": [], "ar": []}
"""The tokenizer's tokens in letters (`tokenizer.pieces`), set before pre-training; empty, words do without them."""
HELD_WORDS = {*HELD_KEYS, *HELD_KEYS_AR, *HELD_CONSTANTS, *HELD_LABELS}


def made_up(rng: random.Random, lang: Lang = "en") -> str:
    """A word that nobody has seen: syllables, letters, or parts of words put together."""
    while True:
        kind = rng.random()
        if PIECES[lang] and rng.random() < 0.4:
            word = "".join(rng.choices(PIECES[lang], k=rng.choice((1, 2, 2, 3))))
        elif kind < 0.25:
            word = "".join(rng.choices(SYLLABLES if lang == "en" else SYLLABLES_AR, k=rng.choice((1, 2, 2, 3))))
        elif kind < 0.4:
            letters = "abcdefghijklmnopqrstuvwxyz" if lang == "en" else "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
            word = "".join(rng.choices(letters, k=rng.randint(2, 6)))
        elif kind < 0.65:
            word = rng.choice(VOCABULARY[lang])
        else:
            first, last = rng.choice(VOCABULARY[lang]), rng.choice(VOCABULARY[lang])
            word = first[: rng.randint(1, 4)] + last[-rng.randint(1, 5) :]
        if rng.random() < 0.1:  # the same letter twice
            at = rng.randrange(len(word))
            word = word[: at + 1] + word[at:]
        if rng.random() < 0.08:
            word += str(rng.randint(1, 9))
        if word not in HELD_WORDS:
            return rng.choice((word, word, word, word.capitalize(), word.upper())) if lang == "en" else word


def mark(rng: random.Random, words: Words) -> str:
    """One of the known marks, or some put together; the held-out ones come up in no frame of training."""
    if words is UNSEEN or rng.random() < 0.5:
        return rng.choice(words.marks)
    while True:
        made = "".join(rng.choices(SIGNS, k=rng.choice((1, 2, 2, 3))))
        if rng.random() < 0.4:
            made = rng.choice(MARK_RUNS)
        if made not in HELD_MARKS:
            return made


@dataclass(frozen=True)
class Source:
    """A kind of input: draws (text, slots); the slots are what an output may copy."""

    draw: Callable[[random.Random, Lang], tuple[str, dict[str, str]]]


def _visit(rng: random.Random, lang: Lang) -> tuple[str, dict[str, str]]:
    i = int(lang == "ar")
    slots = {"name": person(rng)[i], "unit": entity(rng).name(lang), "day": rng.choice(DAYS)[i], "hour": hour(rng)[i]}
    forms = (
        (
            "{name} visits {unit} on {day} at {hour}.",
            "On {day} at {hour}, {name} goes to {unit}.",
            "Visit to {unit} by {name}: {day}, {hour}.",
        ),
        (
            "يزور {name} {unit} يوم {day} الساعة {hour}.",
            "يوم {day} الساعة {hour} يذهب {name} إلى {unit}.",
            "زيارة إلى {unit}: {name}، {day}، {hour}.",
        ),
    )[i]
    return rng.choice(forms).format(**slots), slots


def _order(rng: random.Random, lang: Lang) -> tuple[str, dict[str, str]]:
    i = int(lang == "ar")
    slots = {
        "name": rng.choice(FIRST_NAMES)[i],
        "item": rng.choice(ITEMS)[i],
        "count": number(2, 99)(rng)[i],
        "place": rng.choice(PLACES)[i],
        "colour": rng.choice(COLOURS)[i],
    }
    forms = (
        (
            "{name} from {place} wants {count} of this: {item}, {colour}.",
            "Send {count} x {item} ({colour}) to {name} in {place}.",
            "{place}: {name} needs a {colour} {item}, {count} times.",
        ),
        (
            "{name} من {place} يطلب عدد {count} من {item} لون {colour}.",
            "أرسلوا {item} لون {colour} عدد {count} إلى {name} في {place}.",
            "{place}: {name} يحتاج {item} {colour} عدد {count}.",
        ),
    )[i]
    return rng.choice(forms).format(**slots), slots


def _fact(rng: random.Random, lang: Lang) -> tuple[str, dict[str, str]]:
    relation = rng.choice(RELATIONS)
    fact = Fact(entity(rng), relation, relation.value(rng))
    return fact.state(lang, rng), {"unit": fact.entity.name(lang), "value": fact.answer(lang)}


def _record(rng: random.Random, lang: Lang) -> tuple[str, dict[str, str]]:
    i = int(lang == "ar")
    slots = {
        "name": person(rng)[i],
        "room": number(10, 499)(rng)[i],
        "day": rng.choice(DAYS)[i],
        "item": rng.choice(ITEMS)[i],
    }
    names = {
        "name": ("name", "الاسم"),
        "room": ("room", "الغرفة"),
        "day": ("day", "اليوم"),
        "item": ("item", "الغرض"),
    }
    parts = [f"{names[key][i]}: {value}" for key, value in slots.items()]
    rng.shuffle(parts)
    return rng.choice(("; ", ", ", "\n")).join(parts), slots


def _patient(rng: random.Random, lang: Lang) -> tuple[str, dict[str, str]]:
    i = int(lang == "ar")
    department = rng.choice(list(SYMPTOMS))
    symptom, time, name = rng.choice(SYMPTOMS[department])[i], rng.choice(TIMES)[i], rng.choice(FIRST_NAMES)[i]
    forms = (
        ("I am {n}, {s} {t}.", "{n} here. {s} {t}.", "Hello, {s} {t}. {n}"),
        ("أنا {n}، {s} {t}.", "معكم {n}. {s} {t}.", "مرحبا، {s} {t}. {n}"),
    )[i]
    return rng.choice(forms).format(n=name, s=symptom, t=time), {
        "name": name,
        "time": time,
        "symptom": symptom,
        "department": (department, DEPARTMENTS[department])[i],
    }


SOURCES = [Source(_visit), Source(_order), Source(_fact), Source(_record), Source(_patient)]


@dataclass(frozen=True)
class Words:
    """The words that a frame may be made of."""

    keys: list[str]
    keys_ar: list[str]
    constants: list[str]
    marks: list[str]

    def key(self, rng: random.Random, lang: Lang) -> str:
        if rng.random() < (0.25 if self is UNSEEN else 0.75):
            return made_up(rng, lang if rng.random() < 0.3 else "en").lower()
        return rng.choice(self.keys_ar if lang == "ar" and rng.random() < 0.4 else self.keys)

    def constant(self, rng: random.Random) -> str:
        if self is SEEN and rng.random() < 0.15:  # an ordinary word that is not a copy of the input's
            word = rng.choice(rng.choice((COLOURS, ITEMS, DAYS, FIRST_NAMES, PLACES)))[0]
            return word + rng.choice(("", "", str(rng.randint(1, 9))))
        return made_up(rng) if rng.random() < (0.4 if self is UNSEEN else 0.75) else rng.choice(self.constants)


SEEN = Words(KEYS, KEYS_AR, CONSTANTS + LABELS, MARKS)
UNSEEN = Words(HELD_KEYS, HELD_KEYS_AR, HELD_CONSTANTS + HELD_LABELS, HELD_MARKS)
Render = Callable[[dict[str, str]], str]


def _text_frame(rng: random.Random, slots: list[str], words: Words, lang: Lang) -> Render:
    chosen = rng.sample(slots, rng.randint(1, min(3, len(slots))))
    pieces: list[str] = []
    for slot in chosen:
        before = rng.choice(
            (
                "",
                mark(rng, words),
                words.constant(rng) + rng.choice((" ", ":", "=", ": ")),
                words.key(rng, lang) + rng.choice(("=", ": ")),
            )
        )
        pieces.append(before + "{" + slot + "}" + rng.choice(("", mark(rng, words))))
    glue = rng.choice((" ", ", ", " " + mark(rng, words) + " ", " | ", "; "))
    start, end = (
        rng.choice(("", mark(rng, words), words.constant(rng) + " ")),
        rng.choice(("", mark(rng, words), " " + words.constant(rng))),
    )

    def render(values: dict[str, str]) -> str:
        filled = glue.join(pieces)
        for slot in chosen:
            filled = filled.replace("{" + slot + "}", values[slot])
        return start + filled + end

    return render


def _json_frame(rng: random.Random, slots: list[str], words: Words, lang: Lang) -> Render:
    count = rng.choice((2, 2, 3, 3, 3, 4))
    copied = rng.sample(slots, min(len(slots), max(1, count - rng.choice((0, 0, 1, 1, 2)))))
    fields: dict[str, str] = {}
    plan: list[str] = ["{" + slot + "}" for slot in copied] + [words.constant(rng) for _ in range(count - len(copied))]
    rng.shuffle(plan)
    for planned in plan:
        value = planned
        if value.startswith("{") and rng.random() < 0.2:
            value = rng.choice(
                (words.constant(rng) + " " + value, value + " " + words.constant(rng), value + rng.choice("!.?"))
            )
        key = words.key(rng, lang)
        while key in fields:
            key = words.key(rng, lang)
        fields[key] = value

    def render(values: dict[str, str]) -> str:
        filled = {}
        for key, template in fields.items():
            filled[key] = template
            for slot in copied:
                filled[key] = filled[key].replace("{" + slot + "}", values[slot])
        return json.dumps(filled, ensure_ascii=False)

    return render


@dataclass(frozen=True)
class Shots:
    """Inputs and outputs of one frame, in order; outputs from `known_from` on follow from those before."""

    pairs: list[tuple[str, str]]
    known_from: int


def shots(
    rng: random.Random, lang: Lang, count: int, as_json: bool, held_out: bool = False, labelled: bool | None = None
) -> Shots:
    """Draws `count` examples of one new frame; `labelled`, only for JSON, has a field that is to be judged."""
    words = UNSEEN if held_out else SEEN
    source = rng.choice(SOURCES)
    slots = list(source.draw(rng, lang)[1])
    known_from = 1
    if as_json and (rng.random() < 0.2 if labelled is None else labelled):
        return _labelled(rng, lang, count, words)
    render = (_json_frame if as_json else _text_frame)(rng, slots, words, lang)
    pairs = []
    for _ in range(count):
        text, values = source.draw(rng, lang)
        pairs.append((text, render(values)))
    return Shots(pairs, known_from)


def _labelled(rng: random.Random, lang: Lang, count: int, words: Words) -> Shots:
    """A JSON frame in which one field is a label that depends on what the sentence is about."""
    relations = rng.sample(RELATIONS, 2)
    labels = rng.sample(words.constants, 2)
    keys: list[str] = []
    while len(set(keys)) < 3:
        keys = [words.key(rng, lang) for _ in range(3)]
    order = [0, 1] + [rng.randrange(2) for _ in range(count - 2)]
    fields = rng.sample(("label", "unit", "value"), rng.choice((2, 3)))
    if "label" not in fields:
        fields[0] = "label"
    pairs = []
    for which in order:
        fact = Fact(entity(rng), relations[which], relations[which].value(rng))
        values = {"label": labels[which], "unit": fact.entity.name(lang), "value": fact.answer(lang)}
        pairs.append(
            (
                fact.state(lang, rng),
                json.dumps({k: values[f] for k, f in zip(keys, fields, strict=False)}, ensure_ascii=False),
            )
        )
    return Shots(pairs, 2)
