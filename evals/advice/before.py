"""The rules before any training: is a fine-tune promising, by the untrained arms and the data alone? Pure.

Each leans one way. `against`: there is nothing to gain by training. `first`: something else comes first. `for`:
training is likely to help. `note`: worth knowing, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evals.advice import sources
from evals.advice.prospect import Prospect
from evals.advice.ways import FORMAT, delta, interval
from evals.cost.prices import HOUR
from evals.cost.tradeoff import money, rounded
from evals.report.advice import MANY_CUT, SMALL_TRAINING
from evals.statistics.intervals import items_for_power
from lifecycle.version import Frozen

Lean = Literal["against", "first", "for", "note"]
Outlook = Literal["promising", "not yet", "not promising", "open"]
FORMED = 0.95
"""A figure of form below which the form itself is a fault to repair."""
DISCORDANT = 0.2
"""Share of items on which two arms are taken to differ, where no pair of arms says it."""


@dataclass(frozen=True)
class Said:
    """A sentence, and the figures in it."""

    sentence: str
    figures: dict[str, float] = field(default_factory=dict)


class Fired(Frozen):
    """A rule that fired."""

    rule: str
    leans: Lean
    sentence: str
    source: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Rule:
    """One rule: when it fires, and what it says then."""

    name: str
    leans: Lean
    source: str
    when: str
    remark: Callable[[Prospect], Said | None]


def _not_evaluated(known: Prospect) -> Said | None:
    if known.report is not None:
        return None
    return Said(
        "Nothing was evaluated: nobody knows what the base does with a good prompt. Run dabt eval with the base, a "
        "system text and worked examples first; that trains nothing."
    )


def _no_prompt(known: Prospect) -> Said | None:
    if known.report is None or known.best(lambda spec: bool(spec.prompt.system or spec.prompt.shots)):
        return None
    return Said("No arm has a system text or worked examples: a prompt comes first, it may be enough.")


def _no_shots(known: Prospect) -> Said | None:
    if known.report is None or _no_prompt(known) or known.best(lambda spec: bool(spec.prompt.shots)):
        return None
    return Said(
        "No arm has worked examples: three to eight of the rows in the prompt show what training on all of them would "
        "teach, at no cost."
    )


def _facts_untried(known: Prospect) -> Said | None:
    facts = known.data.of("facts") if known.data else None
    changing = known.about.facts_change not in ("", "never")
    if known.best(lambda spec: spec.retrieves) or not (facts or changing):
        return None
    why = f"the data report says: {facts.message}" if facts else f"its facts change {known.about.facts_change}"
    return Said(f"This asks for facts ({why}), and no arm retrieves: index the documents and evaluate that first.")


def _facts_change(known: Prospect) -> Said | None:
    if known.about.facts_change not in ("daily", "weekly"):
        return None
    return Said(
        f"What answers must know changes {known.about.facts_change}: an adapter is as old as its last training, an "
        "index is as new as its last document. Train form and behaviour, and retrieve the facts."
    )


def _retrieval_helps(known: Prospect) -> Said | None:
    reads, bare = known.best(lambda spec: spec.retrieves), known.best(lambda spec: not spec.retrieves)
    gap = known.gap(reads, bare)
    if gap is None or gap.low <= 0:
        return None
    return Said(
        f"Retrieval helps: {gap.arm} is {delta(gap)} against {gap.against}. What was missing were facts; a fine-tune "
        "on top is for the form, and is to be held against both of its parts.",
        {"delta": gap.delta, "low": gap.low, "high": gap.high},
    )


def _nothing_to_gain(known: Prospect) -> Said | None:
    best, room = known.best(), known.room
    if best is None or room is None or room >= known.worth:
        return None
    return Said(
        f"{best.arm} has {interval(known.figure(best))} without training, and {known.enough:g} is the most that is "
        f"wanted: less than {100 * known.worth:g} points are left to gain.",
        {"best": known.figure(best).value, "room": room},
    )


def _examples_help(known: Prospect) -> Said | None:
    taught = known.best(lambda spec: bool(spec.prompt.shots) and not spec.retrieves)
    untaught = known.best(lambda spec: not spec.prompt.shots and not spec.retrieves)
    gap = known.gap(taught, untaught)
    if gap is None or gap.low <= 0:
        return None
    return Said(
        f"Examples teach it: {gap.arm} is {delta(gap)} against {gap.against}. Training on many more of them is likely "
        "to go on where the prompt ends.",
        {"delta": gap.delta, "low": gap.low, "high": gap.high},
    )


def _form_fails(known: Prospect) -> Said | None:
    arms = known.arms()
    best = {name: max((arm.metrics[name].value for arm in arms if name in arm.metrics), default=1.0) for name in FORMAT}
    low = {name: value for name, value in best.items() if value < FORMED}
    if not low:
        return None
    told = ", ".join(f"{name} {value:.3f}" for name, value in low.items())
    return Said(
        f"The form of the answers fails in every arm (at best {told}): form and style are what training teaches.", low
    )


def _room_and_rows(known: Prospect) -> Said | None:
    room = known.room
    if known.data is None or room is None or room < known.worth or known.data.rows < SMALL_TRAINING:
        return None
    if known.data.of("facts"):
        return None
    return Said(
        f"{100 * room:.1f} points are left above the best arm without training, and there are {known.data.rows:,} "
        "examples of behaviour to learn from.",
        {"room": room, "rows": known.data.rows},
    )


def _few_examples(known: Prospect) -> Said | None:
    if known.data is None or known.data.rows >= SMALL_TRAINING:
        return None
    size = known.data.of("size")
    few = f"{known.data.rows:,} examples; a fine-tune is promising from about {SMALL_TRAINING:,}"
    return Said(
        f"{size.message if size else few}. Gather more, or let a teacher label them (dabt data distill).",
        {"rows": known.data.rows},
    )


def _data_errors(known: Prospect) -> Said | None:
    if known.data is None or not known.data.errors:
        return None
    errors = known.data.errors
    told = "; ".join(f"{finding.check}: {finding.message}" for finding in errors[:3])
    return Said(f"The training rows have errors ({told}): repair them first.", {"errors": len(errors)})


def _few_items(known: Prospect) -> Said | None:
    best = known.best()
    if best is None or known.report is None:
        return None
    n, needed = known.figure(best).n, items_for_power(known.worth, max(DISCORDANT, known.worth))
    if n >= needed:
        return None
    return Said(
        f"The test set has {n} items: to see a lead of {100 * known.worth:g} points with 80 % power takes about "
        f"{needed:,}, where two arms differ on {DISCORDANT:.0%} of them. Make more items before anything is trained.",
        {"items": n, "needed": needed},
    )


def _cut(known: Prospect) -> Said | None:
    arms = known.arms()
    if known.report is None or not (many := {a.arm: a.cut for a in arms if a.cut > MANY_CUT * known.report.n_items}):
        return None
    told = ", ".join(f"{arm} {count}" for arm, count in many.items())
    return Said(
        f"Answers were cut by their limit of tokens ({told}, of {known.report.n_items}): the arms are worse than they "
        "would be. Raise the limit and evaluate again.",
        {arm: float(count) for arm, count in many.items()},
    )


def _errors(known: Prospect) -> Said | None:
    failed = {arm.arm: float(arm.errors) for arm in known.arms() if arm.errors}
    if not failed:
        return None
    told = ", ".join(f"{arm} {count:.0f}" for arm, count in failed.items())
    return Said(f"Requests failed and were scored zero ({told}): evaluate again before anything is concluded.", failed)


def _behind(known: Prospect) -> Said | None:
    best = known.best()
    if best is None or known.report is None:
        return None
    whole, weak = known.figure(best).value, {}
    for part in known.report.slices:
        figure = known.report.within(part).result(best.arm).metrics.get(known.report.metric)
        if figure and not part.thin and figure.high < whole:
            weak[str(part)] = figure
    if not weak:
        return None
    told = "; ".join(f"{name} {interval(figure)}" for name, figure in weak.items())
    return Said(
        f"{best.arm} falls behind on {told}, with {whole:.3f} over all: training rows should have more of these.",
        {name: figure.value for name, figure in weak.items()},
    )


def _training_cost(known: Prospect) -> Said | None:
    expected = known.data.expected if known.data else None
    if expected is None:
        return None
    hours = expected.seconds / HOUR
    words = f"One run over these rows is expected to take {hours:.2f} hours ({expected.machine})"
    figures = {"hours": hours}
    if known.prices is None or known.prices.training is None:
        return Said(f"{words}; it has no price (training.hour of --prices).", figures)
    price = hours * known.prices.training.hour
    words += f", {money(price, known.prices.currency)} at {known.prices.training.hour:g} an hour"
    figures["price"] = price
    if saved := _saved(known):
        requests = price / saved
        words += (
            f". Without the prompt of the best arm a request costs {money(saved, known.prices.currency)} less: that "
            f"pays for it from about {rounded(int(requests) + 1)} requests on"
        )
        figures |= {"saved": saved, "requests": requests}
    return Said(f"{words}.", figures)


def _saved(known: Prospect) -> float:
    """What a request costs less without the shots and passages of the best untrained arm, by the shortest prompt."""
    arms, best = known.arms(), known.best()
    if best is None or known.prices is None or known.prices.tokens is None:
        return 0.0
    tokens = best.prompt_tokens - min(arm.prompt_tokens for arm in arms)
    return known.prices.tokens.of(tokens, 0, 0)


RULES: tuple[Rule, ...] = (
    Rule("not-evaluated", "first", sources.HOUSE, "there is no evaluation", _not_evaluated),
    Rule("no-prompt", "first", sources.HOUSE, "no untrained arm has a system text or worked examples", _no_prompt),
    Rule("no-examples", "first", sources.HOUSE, "there is a prompt, and no arm has worked examples", _no_shots),
    Rule("facts-untried", "first", sources.OVADIA,
         "the data report finds facts, or they change, and no arm retrieves", _facts_untried),
    Rule("facts-change", "note", sources.OVADIA, "facts change daily or weekly", _facts_change),
    Rule("retrieval-helps", "note", sources.OVADIA,
         "the best retrieving arm against the best other: the interval is above 0", _retrieval_helps),
    Rule("nothing-to-gain", "against", sources.HOUSE,
         "less than `worth` from the best untrained arm to what is good enough", _nothing_to_gain),
    Rule("examples-help", "for", sources.LIMA,
         "worked examples against the best arm without: the interval is above 0", _examples_help),
    Rule("form-fails", "for", sources.LIMA, f"a figure of form is below {FORMED:g} in all untrained arms", _form_fails),
    Rule("room-and-rows", "for", sources.HOUSE,
         f"`worth` or more to gain, {SMALL_TRAINING:,} rows or more, and no facts found in them", _room_and_rows),
    Rule("few-rows", "first", f"{sources.HOUSE}; {sources.LIMA}", f"fewer than {SMALL_TRAINING:,} rows", _few_examples),
    Rule("bad-rows", "first", sources.MEASURED, "the data report has an error", _data_errors),
    Rule("few-items", "first", sources.MILLER, "fewer items than a lead of `worth` takes at 80 % power", _few_items),
    Rule("cut-before", "first", sources.MEASURED,
         f"more than {MANY_CUT:.0%} of an untrained arm's answers ended at their limit of tokens", _cut),
    Rule("errors-before", "first", sources.MEASURED, "a request of an untrained arm failed", _errors),
    Rule("slices-before", "note", sources.MEASURED,
         "a slice, not thin: the best untrained arm's whole interval is below its figure on all items", _behind),
    Rule("training-cost", "note", sources.PRICES, "the data report was told a base", _training_cost),
)  # fmt: skip


def fired(known: Prospect) -> tuple[Fired, ...]:
    """Every rule that fires, in the order of the table."""
    return tuple(
        Fired(rule=rule.name, leans=rule.leans, sentence=said.sentence, source=rule.source, figures=said.figures)
        for rule in RULES
        if (said := rule.remark(known)) is not None
    )


def outlook(rules: Sequence[Fired]) -> Outlook:
    """What the rules come to: nothing to gain, then what comes first, then what speaks for it."""
    leans = {rule.leans for rule in rules}
    if "against" in leans:
        return "not promising"
    if "first" in leans:
        return "not yet"
    return "promising" if "for" in leans else "open"
