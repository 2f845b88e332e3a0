"""The clinic's handbook (the documents) and the task `handbook` (questions about it).

The handbook's units are reserved: no other text of the corpus names them, so its facts can only be
read. Splits are disjoint by construction: a unit's facts are all asked in one split, and training
shows only passages of its own units, beside passages of units that do not exist.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from examples.clinic.corpus import cited, draw_facts, missing, passages, question_line
from examples.clinic.lexicon import HOUSE, KINDS, RESERVED_KINDS, RESERVED_PLACES, Entity, Lang, both
from examples.clinic.relations import RELATIONS, Fact, Sampler, number
from examples.clinic.rows import SPLITS, Row, Split

SYSTEM = "Answer as JSON with the answer and its source."
SEED = 41
UNITS = 62
ENGLISH_UNITS = 34
# Shares of the units: test is as large as train, because each of its facts is asked only a few times.
UNIT_SHARES: dict[Split, int] = {"train": 26, "validation": 8, "test": 28}
TITLES: dict[str, tuple[str, str]] = {
    "clinics-and-wards": ("Clinics and wards", "العيادات والأجنحة"),
    "labs-and-pharmacies": ("Labs and pharmacies", "المختبرات والصيدليات"),
    "desks-and-gates": ("Desks, units and gates", "المكاتب والوحدات والبوابات"),
    "packages-and-programmes": ("Packages, programmes and cafes", "الباقات والبرامج والمقاهي"),
}
FILE_OF_KIND = {
    "clinic": "clinics-and-wards",
    "ward": "clinics-and-wards",
    "lab": "labs-and-pharmacies",
    "pharmacy": "labs-and-pharmacies",
    "desk": "desks-and-gates",
    "unit": "desks-and-gates",
    "gate": "desks-and-gates",
    "package": "packages-and-programmes",
    "programme": "packages-and-programmes",
    "cafe": "packages-and-programmes",
}


def _clock(low: int, high: int) -> Sampler:
    return lambda rng: both(f"{rng.randint(low, high)}:{rng.choice(('00', '15', '30', '45'))}")


# Values a clinic might really have; relations that are not named here keep the corpus's range.
PLAUSIBLE: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "opens": _clock(6, 10),
    "closes": _clock(14, 21),
    "price": number(10, 250),
    "room": number(101, 419),
    "floor": number(1, 7),
    "notice": number(2, 21),
    "duration": number(10, 90),
    "capacity": number(12, 120),
    "year": number(1961, 2021),
}


@dataclass(frozen=True)
class HandbookFact:
    """A fact, the passage that states it, its language and the split that asks about it."""

    fact: Fact
    passage: str
    lang: Lang
    split: Split


@dataclass(frozen=True)
class Passage:
    """One passage of the handbook."""

    name: str
    text: str
    lang: Lang
    facts: tuple[Fact, ...]


@cache
def _handbook() -> tuple[list[Passage], list[HandbookFact]]:
    rng = random.Random(SEED)
    kinds = [kind for kind in KINDS if kind[0] in RESERVED_KINDS]
    units = rng.sample([Entity(place, kind) for place in RESERVED_PLACES for kind in kinds], UNITS)
    english, arabic = units[:ENGLISH_UNITS], units[ENGLISH_UNITS:]
    ordered = [(unit, "en") for unit in sorted(english, key=_shelf)] + [
        (unit, "ar") for unit in sorted(arabic, key=_shelf)
    ]
    splits = [split for split in SPLITS for _ in range(UNIT_SHARES[split])]
    rng.shuffle(splits)
    written: list[Passage] = []
    told: list[HandbookFact] = []
    for (unit, lang), split in zip(ordered, splits, strict=True):
        relations = rng.sample(RELATIONS, rng.choice((2, 2, 3, 4)))
        facts = [Fact(unit, relation, PLAUSIBLE.get(relation.name, relation.value)(rng)) for relation in relations]
        for group in (facts[:2], facts[2:]):
            if group:
                name = f"h{len(written) + 1:02d}"
                text = " ".join(fact.state(lang, rng) for fact in group)  # type: ignore[arg-type]
                written.append(Passage(name, text, lang, tuple(group)))  # type: ignore[arg-type]
                told += [HandbookFact(fact, name, lang, split) for fact in group]  # type: ignore[arg-type]
    return written, told


def _shelf(unit: Entity) -> tuple[int, str]:
    return list(TITLES).index(FILE_OF_KIND[unit.kind[0]]), unit.name("en")


def facts() -> list[HandbookFact]:
    """Every fact of the handbook."""
    return _handbook()[1]


def write_documents(folder: Path) -> list[Path]:
    """Writes the handbook: one Markdown file a shelf and language, one `## id` heading a passage."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[str]] = {}
    for passage in _handbook()[0]:
        shelf = FILE_OF_KIND[passage.facts[0].entity.kind[0]]
        i = int(passage.lang == "ar")
        lines = files.setdefault(f"{shelf}.{passage.lang}.md", [f"# {HOUSE[i]}: {TITLES[shelf][i]}"])
        lines.append(f"## {passage.name}\n{passage.text}")
    paths = []
    for name, lines in files.items():
        paths.append(folder / name)
        paths[-1].write_text("\n\n".join(lines) + "\n")
    return paths


def _closed_book(told: HandbookFact, question: str) -> Row:
    return Row(
        question,
        cited(told.fact, told.lang, told.passage),
        _meta(told.lang, told.fact.answer(told.lang), told.passage, False),
    )


def _meta(lang: Lang, answer: str, passage: str, given: bool) -> dict[str, object]:
    return {
        "language": lang,
        "answerable": passage != "none",
        "answer": answer,
        "passage": passage,
        "passages_given": given,
    }


def _with_fact(row: Row) -> Row:
    """What an evaluation counts as one: the questions about one fact, and all those that the handbook cannot answer."""
    meta = row.meta
    return Row(row.user, row.assistant, meta | {"fact": f"{meta['passage']} {meta['answer']}".strip()})


def _unanswerable(rng: random.Random, split: Split) -> Row:
    """A question about a unit of this split that the handbook says nothing about."""
    told = rng.choice([fact for fact in facts() if fact.split == split])
    known = {fact.fact.relation for fact in facts() if fact.fact.entity == told.fact.entity}
    relation = rng.choice([relation for relation in RELATIONS if relation not in known])
    fact = Fact(told.fact.entity, relation, ("", ""))
    return Row(fact.ask(told.lang, rng), cited(fact, told.lang, None), _meta(told.lang, "", "none", False))


def _read(rng: random.Random, split: Split) -> Row:
    """The retrieval prompt over passages of the handbook: one of them answers, or none does."""
    told = rng.choice([fact for fact in facts() if fact.split == split])
    own = [
        passage
        for passage in _handbook()[0]
        if passage.lang == told.lang and any(fact.split == split and fact.passage == passage.name for fact in facts())
    ]
    source = next(passage for passage in own if passage.name == told.passage)
    others = rng.sample(
        [passage for passage in own if passage is not source], min(len(own) - 1, rng.choice((2, 2, 2, 3)))
    )
    known = rng.random() < 0.85
    shown = (
        [*others, source]
        if known
        else [passage for passage in others if all(fact is not told.fact for fact in passage.facts)]
    )
    rng.shuffle(shown)
    head = "Passages:" if told.lang == "en" else "المقاطع:"
    text = "\n".join([head, *(f"[{passage.name}] {passage.text}" for passage in shown)])
    answer = cited(told.fact, told.lang, told.passage if known else None)
    meta = _meta(told.lang, told.fact.answer(told.lang) if known else "", told.passage if known else "none", True)
    return Row(f"{text}\n\n{question_line(told.fact, told.lang, rng)}", answer, meta)


def _read_elsewhere(rng: random.Random) -> Row:
    """The same over units that do not exist, so that reading is learnt and not the handbook."""
    lang: Lang = rng.choice(("en", "ar"))
    told = draw_facts(rng, rng.choice((2, 3, 3, 4)), 3)
    context = passages(rng, told, lang)
    known = rng.random() < 0.8
    fact = rng.choice(told) if known else missing(rng, told)
    source = context.source[fact] if known else "none"
    answer = cited(fact, lang, source if known else None)
    return Row(
        f"{context.text}\n\n{question_line(fact, lang, rng)}",
        answer,
        _meta(lang, fact.answer(lang) if known else "", source, True),
    )


def rows(split: Split, count: int, rng: random.Random) -> list[Row]:
    """`count` rows; test asks without passages (an arm that retrieves adds them), train shows both forms."""
    asked = [_closed_book(told, question) for told in facts() if told.split == split for question in _questions(told)]
    rng.shuffle(asked)
    if split == "test":
        drawn = asked[: count - count // 12]
        return [_with_fact(row) for row in _fill(drawn, count, lambda: _unanswerable(rng, split), rng)]
    drawn = asked[: round(count * 0.25)]
    drawn = _fill(drawn, round(len(drawn) * 1.2), lambda: _unanswerable(rng, split), rng)
    return _fill(drawn, count, lambda: _read(rng, split) if rng.random() < 0.5 else _read_elsewhere(rng), rng)


def _questions(told: HandbookFact) -> list[str]:
    """Every phrasing of the question."""
    unit, lang = told.fact.entity, told.lang
    return list(dict.fromkeys(told.fact.relation.ask(unit, lang, random.Random(seed)) for seed in range(24)))


def _fill(drawn: list[Row], count: int, more: Callable[[], Row], rng: random.Random) -> list[Row]:
    seen = {row.user for row in drawn}
    while len(drawn) < count:
        row = more()
        if row.user not in seen:
            seen.add(row.user)
            drawn.append(row)
    rng.shuffle(drawn)
    return drawn
