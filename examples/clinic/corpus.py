"""The pre-training mix: every skill is a function that draws one conversation.

A conversation is a list of turns; the loss falls on the assistant's turns that are `taught`. Many
turns ask over the same context, so that one reading is paid for by several supervised answers.
No unit of the clinic's handbook is ever drawn (`lexicon.Entity.reserved`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from examples.clinic.articles import article
from examples.clinic.frames import made_up, shots
from examples.clinic.lexicon import (
    COLOURS,
    DAYS,
    FIRST_NAMES,
    ITEMS,
    KINDS,
    LANGUAGES,
    MARK_RUNS,
    PASSAGE_IDS,
    PLACES,
    RESERVED_NAMES,
    SIGNS,
    SURNAMES,
    Entity,
    Lang,
    entity,
    person,
    sentence,
)
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
from examples.clinic.relations import RELATIONS, Fact, hour, number

UNKNOWN: dict[Lang, str] = {"en": "I do not know", "ar": "لا أعرف"}
NO_SOURCE = "none"


@dataclass(frozen=True)
class Turn:
    """One message; `taught` marks an assistant's message that the loss falls on."""

    role: str
    content: str
    taught: bool = False


Conversation = list[Turn]
SYSTEMS: dict[Lang, list[str]] = {
    "en": [
        "",
        "",
        "You are a helpful assistant.",
        "Answer the question.",
        "Be brief.",
        "Answer from the passages only.",
    ],
    "ar": ["", "", "أنت مساعد مفيد.", "أجب عن السؤال.", "اختصر في الجواب.", "أجب من المقاطع فقط."],
}
JSON_ASKS: dict[Lang, list[str]] = {
    "en": [
        "Answer as JSON with the answer and its source.",
        "Reply with JSON: answer and source.",
        "Give JSON with answer and source.",
        "Return a JSON object with the keys answer and source.",
    ],
    "ar": [
        "أجب بصيغة JSON مع الجواب والمصدر.",
        "اكتب JSON فيه answer و source.",
        "أعط الجواب والمصدر بصيغة JSON.",
        "Answer as JSON with the answer and its source.",
    ],
}


def language(rng: random.Random) -> Lang:
    return "ar" if rng.random() < 0.48 else "en"


def opening(system: str) -> Conversation:
    return [Turn("system", system)] if system else []


def said(user: str, assistant: str, taught: bool = True) -> Conversation:
    return [Turn("user", user), Turn("assistant", assistant, taught)]


# --- reading: facts in a context, questions about them -------------------------------------------


def draw_facts(rng: random.Random, entities: int, most: int) -> list[Fact]:
    """Facts of several units, often alike in name or relation, so that a question must be read whole."""
    drawn: list[Entity] = []
    while len(drawn) < entities:
        unit = entity(rng)
        if drawn and rng.random() < 0.3:
            other = rng.choice(drawn)
            unit = (
                Entity(other.place, rng.choice(KINDS)) if rng.random() < 0.5 else Entity(rng.choice(PLACES), other.kind)
            )
        if unit not in drawn and not unit.reserved:
            drawn.append(unit)
    shared = rng.sample(RELATIONS, 3)
    facts = []
    for unit in drawn:
        wanted = rng.randint(1, most)
        pool = shared + rng.sample(RELATIONS, 3) if rng.random() < 0.7 else RELATIONS
        for relation in {relation.name: relation for relation in rng.choices(pool, k=wanted)}.values():
            facts.append(Fact(unit, relation, relation.value(rng)))
    return facts


def missing(rng: random.Random, facts: list[Fact]) -> Fact:
    """A question that the facts do not answer, close to one that they do."""
    known = {(fact.entity, fact.relation.name) for fact in facts}
    while True:
        unit = rng.choice(facts).entity
        relation = rng.choice(facts).relation if rng.random() < 0.5 else rng.choice(RELATIONS)
        if rng.random() < 0.5:
            unit = entity(rng)
            if rng.random() < 0.4:
                unit = Entity(rng.choice(facts).entity.place, rng.choice(KINDS))
        if not unit.reserved and (unit, relation.name) not in known:
            return Fact(unit, relation, relation.value(rng))


@dataclass(frozen=True)
class Context:
    """A written context, and for each fact the id of the passage that states it (if it has ids)."""

    text: str
    source: dict[Fact, str]


def passage_id(rng: random.Random) -> str:
    """Mostly one of those that are one token; a service's user may name passages otherwise."""
    return rng.choice(PASSAGE_IDS) if rng.random() < 0.9 else f"{rng.choice('abcdefns')}{rng.randint(1, 300)}"


def passages(rng: random.Random, facts: list[Fact], lang: Lang) -> Context:
    """The retrieval prompt's format: `Passages:` and one `[id] text` a line."""
    by_unit: dict[Entity, list[Fact]] = {}
    for fact in facts:
        by_unit.setdefault(fact.entity, []).append(fact)
    groups: list[list[Fact]] = []
    for group in by_unit.values():
        rest = list(group)
        while rest:
            size = rng.randint(1, 3)
            groups.append(rest[:size])
            rest = rest[size:]
    rng.shuffle(groups)
    ids: list[str] = []
    while len(ids) < len(groups):
        fresh = passage_id(rng)
        if fresh not in ids:
            ids.append(fresh)
    lines, source = [], {}
    for name, group in zip(ids, groups, strict=True):
        lines.append(f"[{name}] " + " ".join(fact.state(lang, rng) for fact in group))
        source.update(dict.fromkeys(group, name))
    return Context(("Passages:\n" if lang == "en" else "المقاطع:\n") + "\n".join(lines), source)


def plain_context(rng: random.Random, facts: list[Fact], lang: Lang) -> Context:
    order = list(facts)
    if rng.random() < 0.6:
        rng.shuffle(order)
    joint, head = rng.choice((("\n", ""), (" ", ""), ("\n- ", "- ")))
    text = head + joint.join(fact.state(lang, rng) for fact in order)
    return Context(rng.choice(("", "", "Context:\n" if lang == "en" else "النص:\n")) + text, {})


def question_line(fact: Fact, lang: Lang, rng: random.Random) -> str:
    return ("Question: " if lang == "en" else "السؤال: ") + fact.ask(lang, rng)


def plain_answer(fact: Fact, lang: Lang, known: bool) -> str:
    return fact.answer(lang) if known else UNKNOWN[lang] + "."


def cited(fact: Fact, lang: Lang, source: str | None) -> str:
    answer = {"answer": fact.answer(lang) if source else UNKNOWN[lang], "source": source or NO_SOURCE}
    return json.dumps(answer, ensure_ascii=False)


def reading(
    rng: random.Random,
    lang: Lang | None = None,
    as_json: bool | None = None,
    entities: int | None = None,
    unknown_share: float = 0.3,
    turns: int | None = None,
) -> Conversation:
    """Questions over a context, answered in plain words or as JSON with the source."""
    lang = lang or language(rng)
    units = entities or rng.choice((2, 2, 3, 3, 4, 5))
    facts = draw_facts(rng, units, 4 if units < 4 else 3)
    as_json = rng.random() < 0.45 if as_json is None else as_json
    numbered = as_json or rng.random() < 0.4
    context = (passages if numbered else plain_context)(rng, facts, lang)
    questions = [(fact, True) for fact in rng.sample(facts, len(facts))]
    questions = [(missing(rng, facts), False) if rng.random() < unknown_share else known for known in questions]
    questions = questions[: turns or rng.choice((1, 3, 5, 7, 9))]
    system, tail = rng.choice(SYSTEMS[lang]), ""
    if as_json:
        instruction = rng.choice(JSON_ASKS[lang])
        system, tail = (instruction, "") if rng.random() < 0.7 else (rng.choice(("", system)), "\n" + instruction)
    talk = opening(system)
    for turn, (fact, known) in enumerate(questions):
        asked = question_line(fact, lang, rng) if numbered or rng.random() < 0.5 else fact.ask(lang, rng)
        user = f"{context.text}\n\n{asked}{tail}" if turn == 0 else asked
        answer = (
            cited(fact, lang, context.source[fact] if known else None) if as_json else plain_answer(fact, lang, known)
        )
        talk += said(user, answer)
    return talk


def locate(rng: random.Random) -> Conversation:
    """Which passage is about what: the answer is a passage's id."""
    lang = language(rng)
    facts = draw_facts(rng, rng.choice((2, 3, 4)), 3)
    context = passages(rng, facts, lang)
    wanted = {
        "en": ("Which passage answers this? {}", "Source of this? {}"),
        "ar": ("أي مقطع يجيب؟ {}", "ما مصدر هذا؟ {}"),
    }
    ask = rng.choice(wanted[lang])
    talk: Conversation = []
    for turn, fact in enumerate(rng.sample(facts, min(len(facts), 6))):
        what = ask.format(rng.choice((fact.ask(lang, rng), fact.answer(lang), fact.state(lang, rng))))
        talk += said(f"{context.text}\n\n{what}" if turn == 0 else what, context.source[fact])
    return talk


def answered_question(rng: random.Random) -> Conversation:
    """Given a value of the context, the question that it answers.

    Reading goes from unit and relation to value; this goes back, which teaches what reading needs most: to keep with
    each value whose it is.
    """
    lang = language(rng)
    facts = draw_facts(rng, rng.choice((2, 3, 4, 5)), 3)
    context = (passages if rng.random() < 0.5 else plain_context)(rng, facts, lang)
    values = [fact.answer(lang) for fact in facts]
    single = [fact for fact in facts if values.count(fact.answer(lang)) == 1]
    ask = rng.choice(
        {
            "en": ("Which question has this answer? {}", "What does this answer? {}"),
            "ar": ("ما السؤال الذي جوابه هذا؟ {}", "عم يجيب هذا؟ {}"),
        }[lang]
    )
    talk: Conversation = []
    for turn, fact in enumerate(rng.sample(single, min(len(single), 7))):
        what = ask.format(fact.answer(lang))
        talk += said(
            f"{context.text}\n\n{what}" if turn == 0 else what, fact.relation.first_question(fact.entity, lang)
        )
    return talk or answered_question(rng)


def no_context(rng: random.Random) -> Conversation:
    """Questions of fact with nothing to read: the only honest answer is not to know."""
    lang = language(rng)
    as_json = rng.random() < 0.3
    talk = opening(rng.choice(JSON_ASKS[lang] if as_json else SYSTEMS[lang]))
    for _ in range(rng.randint(1, 2)):
        fact = missing(rng, draw_facts(rng, 1, 1))
        talk += said(fact.ask(lang, rng), cited(fact, lang, None) if as_json else UNKNOWN[lang] + ".")
    return talk


# --- copying ---------------------------------------------------------------------------------------


def thing(rng: random.Random, lang: Lang) -> str:
    """Something to copy."""
    i = int(lang == "ar")
    return rng.choice(
        (
            lambda: person(rng)[i],
            lambda: entity(rng).name(lang),
            lambda: hour(rng)[i],
            lambda: number(1, 9999)(rng)[i],
            lambda: rng.choice(ITEMS)[i],
            lambda: rng.choice(PLACES)[i],
            lambda: rng.choice(DAYS)[i],
            lambda: rng.choice(COLOURS)[i],
            lambda: made_up(rng, lang),
            lambda: made_up(rng, "en"),
            lambda: passage_id(rng),
            lambda: rng.choice(MARK_RUNS),
            lambda: rng.choice(FIRST_NAMES)[i],
            lambda: rng.choice(SURNAMES)[i],
        )
    )()


def lookup(rng: random.Random, pairs: int | None = None) -> Conversation:
    """A list of `key: value`, and turns that ask for keys: the seed from which reading grows."""
    lang = language(rng)
    count = pairs or rng.randint(3, 10)
    table: dict[str, str] = {}
    while len(table) < count:
        table[thing(rng, lang)] = thing(rng, lang)
    sign, between = rng.choice((": ", " = ", " -> ", " ")), rng.choice(("\n", ", ", "; ", "\n"))
    listing = between.join(f"{key}{sign}{value}" for key, value in table.items())
    asked = rng.sample(list(table), count)
    talk: Conversation = []
    for turn, key in enumerate(asked):
        talk += said(f"{listing}\n\n{key}?" if turn == 0 else f"{key}?", table[key])
    return talk


def drill(rng: random.Random) -> Conversation:
    """Words in no order, to be said again: half of the tokens are supervised copies."""
    lang = language(rng)
    i = int(lang == "ar")
    ask = rng.choice((("Repeat: {}", "كرر: {}"), ("Say this again: {}", "أعد ما يلي: {}")))[i]
    pool = rng.choice((FIRST_NAMES, SURNAMES, PLACES, ITEMS + DAYS + COLOURS, FIRST_NAMES + SURNAMES + PLACES + ITEMS))
    talk: Conversation = []
    for _ in range(rng.randint(1, 3)):
        text = " ".join(
            str(rng.randint(0, 999)) if rng.random() < 0.15 else rng.choice(pool)[i] for _ in range(rng.randint(2, 8))
        )
        talk += said(ask.format(text), text)
    return talk


def short_lookup(rng: random.Random) -> Conversation:
    """A list of two to five pairs of single words."""
    lang = language(rng)
    i = int(lang == "ar")
    keys, values = rng.sample((FIRST_NAMES, SURNAMES, PLACES, ITEMS, COLOURS + DAYS), 2)
    count = rng.randint(2, 5)
    table = dict(
        zip(
            [pair[i] for pair in rng.sample(keys, count)],
            [pair[i] for pair in rng.sample(values, count)],
            strict=True,
        )
    )
    sign, between = rng.choice((": ", " = ", " -> ")), rng.choice(("\n", ", ", "; "))
    listing = between.join(f"{key}{sign}{value}" for key, value in table.items())
    talk: Conversation = []
    for turn, key in enumerate(rng.sample(list(table), count)):
        talk += said(f"{listing}\n\n{key}?" if turn == 0 else f"{key}?", table[key])
    return talk


def repeat(rng: random.Random) -> Conversation:
    lang = language(rng)
    order = {
        "en": (
            "Repeat: {}",
            "Say this again: {}",
            "Quote this: {}",
            "Put this in quotes: {}",
            "Write this as JSON: {}",
        ),
        "ar": ("كرر: {}", "أعد ما يلي: {}", "اقتبس: {}", "ضع هذا بين علامتي اقتباس: {}", "اكتب هذا بصيغة JSON: {}"),
    }[lang]
    which = rng.randrange(5)
    talk: Conversation = []
    for _ in range(rng.randint(2, 5)):
        fact = draw_facts(rng, 1, 1)[0]
        text = rng.choice(
            (
                thing(rng, lang),
                " ".join(thing(rng, lang) for _ in range(rng.randint(2, 6))),
                fact.state(lang, rng),
                _odd(rng, lang),
                _odd(rng, lang),
            )
        )
        answer = text if which < 2 else f'"{text}"' if which < 4 else json.dumps({"text": text}, ensure_ascii=False)
        talk += said(order[which].format(text), answer)
    return talk


def _odd(rng: random.Random, lang: Lang) -> str:
    """Made-up words and marks, all of them: what is never copied anywhere cannot be copied in a new frame either."""
    marks = [*MARK_RUNS, *SIGNS, "~>", "<>", "=>", "->"]
    text = ""
    for _ in range(rng.randint(1, 6)):
        word = rng.choice((made_up(rng, lang), made_up(rng), thing(rng, lang), rng.choice(marks), rng.choice(marks)))
        text += rng.choice((" ", " ", "")) + word
    return text.strip()


# --- frames ----------------------------------------------------------------------------------------

FRAME_SYSTEMS = ["", "", "", "Do as in the examples.", "Follow the format.", "اتبع المثال."]


def frames(
    rng: random.Random,
    as_json: bool | None = None,
    held_out: bool = False,
    count: int | None = None,
    lang: Lang | None = None,
    labelled: bool | None = None,
) -> Conversation:
    """Few-shot turns; every turn from the second on is taught."""
    lang = lang or language(rng)
    as_json = rng.random() < 0.5 if as_json is None else as_json
    shown = shots(rng, lang, count or rng.choice((3, 4, 5, 6, 7)), as_json, held_out, labelled)
    talk = opening(rng.choice(FRAME_SYSTEMS))
    prefix = rng.choice(("", "", "", "Input: "))
    for turn, (text, output) in enumerate(shown.pairs):
        talk += said(prefix + text, output, turn >= shown.known_from)
    return talk


def frames_in_one(rng: random.Random) -> Conversation:
    """The same in one message: Input: … Output: …"""
    shown = shots(rng, language(rng), rng.choice((3, 4, 5)), rng.random() < 0.5)
    *examples, (text, output) = shown.pairs
    lines = "\n\n".join(f"Input: {a}\nOutput: {b}" for a, b in examples)
    return said(f"{lines}\n\nInput: {text}\nOutput:", output)


# --- translation and summaries ----------------------------------------------------------------------

TO_EN = ["Translate to English: {}", "English: {}", "ترجم إلى الإنجليزية: {}"]
TO_AR = ["Translate to Arabic: {}", "Arabic: {}", "ترجم إلى العربية: {}"]


def _parallel(rng: random.Random) -> tuple[str, str]:
    pick = rng.random()
    if pick < 0.2:
        return rng.choice(FIRST_NAMES + SURNAMES + PLACES + DAYS + COLOURS + ITEMS + LANGUAGES)
    if pick < 0.35:
        return person(rng)
    if pick < 0.5:
        unit = entity(rng)
        return unit.name("en"), unit.name("ar")
    if pick < 0.75:
        fact = draw_facts(rng, 1, 1)[0]
        canonical = {lang: fact.relation.statements[lang][0] for lang in ("en", "ar")}
        return _canonical(fact, "en", canonical["en"]), _canonical(fact, "ar", canonical["ar"])
    drawn = article(rng)
    return drawn.summary["en"], drawn.summary["ar"]


def _canonical(fact: Fact, lang: Lang, template: str) -> str:
    feminine = fact.entity.feminine
    return sentence(
        template.format(
            e=fact.entity.name(lang), v=fact.answer(lang), t="ت" if feminine else "ي", a="ة" if feminine else ""
        )
    )


def translate(rng: random.Random) -> Conversation:
    to_english = rng.random() < 0.6
    ask = rng.choice(TO_EN if to_english else TO_AR)
    talk: Conversation = []
    for _ in range(rng.randint(3, 6)):
        english, arabic = _parallel(rng)
        talk += said(ask.format(arabic if to_english else english), english if to_english else arabic)
    return talk


def summarise(rng: random.Random) -> Conversation:
    lang = language(rng)
    drawn = article(rng)
    ask = {
        "en": ("Summarise in one sentence: {}", "{}\n\nSummary:", "Give a short summary. {}"),
        "ar": ("لخص في جملة واحدة: {}", "{}\n\nالملخص:", "اكتب ملخصا قصيرا. {}"),
    }[lang]
    talk = said(rng.choice(ask).format(drawn.text[lang]), drawn.summary[lang])
    if rng.random() < 0.6:
        other: Lang = "ar" if lang == "en" else "en"
        talk += said("Now in English." if other == "en" else "Now in Arabic.", drawn.summary[other])
    return talk


# --- patients --------------------------------------------------------------------------------------


def _patient_words(rng: random.Random, lang: Lang, core: str, name: str) -> str:
    i = int(lang == "ar")
    comma = ", " if lang == "en" else "، "
    hello = rng.choice(OPENERS)[i] + comma if rng.random() < 0.7 else ""
    words = sentence(hello + rng.choice(INTRODUCTIONS)[i].format(n=name)) + ". "
    return (words + sentence(core) + ". " + rng.choice(CLOSERS)[i]).strip()


def patient_talk(rng: random.Random) -> Conversation:
    """A patient writes, the clinic answers politely in plain words."""
    lang = language(rng)
    i = int(lang == "ar")
    name = rng.choice(FIRST_NAMES)[i]
    kind = rng.random()
    department = rng.choice(list(SYMPTOMS))
    where = (department, DEPARTMENTS[department])[i]
    if kind < 0.45:
        core = rng.choice(SYMPTOMS[department])[i] + " " + rng.choice(TIMES)[i]
        reply = (
            f"Sorry to hear that, {name}. Please visit {where} soon.",
            f"سلامتك {name}. نرجو زيارة قسم {where} قريبا.",
        )[i]
    elif kind < 0.65:
        core = rng.choice(EMERGENCIES)[i]
        reply = (
            f"{name}, this is an emergency. Please call {EMERGENCY_LINE} now.",
            f"{name}، هذه حالة طوارئ. اتصل الآن على {EMERGENCY_LINE}.",
        )[i]
    elif kind < 0.85:
        where_en, cores = REQUESTS[rng.choice(list(REQUESTS))]
        core, where = rng.choice(cores)[i], (where_en, DEPARTMENTS[where_en])[i]
        reply = (f"Thank you, {name}. {where} will answer you today.", f"شكرا {name}. سيرد عليك قسم {where} اليوم.")[i]
    else:
        core = rng.choice(APPOINTMENTS)[i].format(d=where)
        reply = (
            f"Thank you, {name}. {where} will call you for a time.",
            f"شكرا {name}. سيتصل بك قسم {where} لتحديد موعد.",
        )[i]
    return said(_patient_words(rng, lang, core, name), reply)


def departments(rng: random.Random) -> Conversation:
    """Which department, how urgent, what kind of request: asked in plain words."""
    lang = language(rng)
    i = int(lang == "ar")
    talk: Conversation = []
    for _ in range(rng.randint(2, 5)):
        kind = rng.random()
        if kind < 0.55:
            department = rng.choice(list(SYMPTOMS))
            core = rng.choice(SYMPTOMS[department])[i]
        elif kind < 0.8:
            department, core = "Emergency", rng.choice(EMERGENCIES)[i]
        else:
            department, cores = REQUESTS[rng.choice(list(REQUESTS))]
            core = rng.choice(cores)[i]
        ask = (f"Which department? {sentence(core)}.", f"أي قسم؟ {core}.")[i]
        talk += said(ask, (department, DEPARTMENTS[department])[i])
        if rng.random() < 0.3:
            urgent = department == "Emergency"
            talk += said(("Is it urgent?", "هل الحالة طارئة؟")[i], (("No.", "لا."), ("Yes.", "نعم."))[urgent][i])
    return talk


GREETINGS: list[tuple[str, str]] = [
    ("Hello", "Hello, how can I help you?"),
    ("Hi there", "Hello, how can I help you?"),
    ("Thank you", "You are welcome."),
    ("Who are you?", "I am a small assistant."),
    ("Good bye", "Good bye."),
    ("مرحبا", "مرحبا، كيف أساعدك؟"),
    ("أهلا", "مرحبا، كيف أساعدك؟"),
    ("شكرا لك", "على الرحب والسعة."),
    ("من أنت؟", "أنا مساعد صغير."),
    ("مع السلامة", "مع السلامة."),
]


def greet(rng: random.Random) -> Conversation:
    return said(*rng.choice(GREETINGS))


# --- the mix ---------------------------------------------------------------------------------------


def first_reading(rng: random.Random) -> Conversation:
    return reading(rng, entities=rng.choice((1, 2)))


def answerable_reading(rng: random.Random) -> Conversation:
    """Short contexts that always hold the answer, lest not to know becomes the easy way out."""
    return reading(rng, entities=rng.choice((1, 1, 2)), as_json=rng.random() < 0.2, unknown_share=0.0)


def single_question(rng: random.Random) -> Conversation:
    return reading(rng, turns=1)


def long_reading(rng: random.Random) -> Conversation:
    return reading(rng, entities=rng.choice((5, 6, 7)))


def long_frames(rng: random.Random) -> Conversation:
    return frames(rng, count=rng.choice((8, 9, 10)))


Skill = Callable[[random.Random], Conversation]
EARLY: list[tuple[Skill, float]] = [
    (drill, 0.05),
    (short_lookup, 0.25),
    (lookup, 0.07),
    (answerable_reading, 0.38),
    (repeat, 0.05),
    (frames, 0.13),
    (translate, 0.03),
    (departments, 0.02),
    (patient_talk, 0.02),
]
MAIN: list[tuple[Skill, float]] = [
    (reading, 0.20),
    (answered_question, 0.03),
    (answerable_reading, 0.02),
    (first_reading, 0.03),
    (single_question, 0.06),
    (long_reading, 0.04),
    (locate, 0.05),
    (no_context, 0.01),
    (short_lookup, 0.01),
    (repeat, 0.07),
    (frames, 0.34),
    (frames_in_one, 0.04),
    (long_frames, 0.03),
    (translate, 0.04),
    (summarise, 0.03),
    (patient_talk, 0.01),
    (departments, 0.015),
    (greet, 0.005),
]


def sample(rng: random.Random, late: float = 1.0) -> tuple[str, Conversation]:
    """Draws a skill's name and a conversation; `late` (0 to 1) moves from the early mix to the main one.

    Raises ValueError if a unit of the clinic's handbook is named: its facts must stay unknown to the base.
    """
    mix = MAIN if rng.random() < late else EARLY
    skill = rng.choices([skill for skill, _ in mix], [share for _, share in mix])[0]
    talk = skill(rng)
    text = "\n".join(turn.content for turn in talk)
    leaked = [name for name in RESERVED_NAMES if name in text]
    if leaked:
        raise ValueError(f"{skill.__name__} names units of the handbook: {leaked}")
    return skill.__name__, talk
