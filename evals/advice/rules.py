"""The rules of the advice after an evaluation, in the order in which they are read: the recommendation first, then what
a careful reader would add. Each has a name, the source that it is traced to, and the condition on which it fires.

`evals/report/advice.py` and `ways.py` have the sentences. Read `before.py` for the rules before any training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evals.advice import sources, ways
from evals.report.advice import MANY_CUT, REMARKS, SMALL_TRAINING, Findings
from lifecycle.report import Ground, Report


@dataclass(frozen=True)
class Rule:
    """One rule: when it fires, and what it says then."""

    name: str
    source: str
    when: str
    remark: Callable[[Findings], list[str]]


def _rule(name: str, source: str, when: str, remark: Callable[[Findings], list[str]] | None = None) -> Rule:
    return Rule(name, source, when, remark or REMARKS[name])


RULES: tuple[Rule, ...] = (
    _rule("ship", sources.HOUSE, "always: the simplest arm that passes and is not significantly worse than the best"),
    _rule("power", sources.GATE, "a check of the arm to ship says which true difference it sees"),
    _rule("tries", sources.GATE, "a second try on the same items, and again from half of those that the policy allows"),
    _rule("prompt-first", sources.HOUSE, "an arm is trained or retrieves, and none has a prompt alone",
          ways.prompt_first),
    _rule("worth-of-training", sources.LORA_LAND, "there is a trained and an untrained arm"),
    _rule("facts", sources.OVADIA, "retrieval alone against the best plain arm: the interval leaves out 0; in a run of "
          "`solver: oracle`, always", ways.facts),
    _rule("form", sources.LIMA, "a figure of form: the best trained arm's interval is above the best untrained one's",
          ways.form),
    _rule("hybrid-wins", sources.BALAGUER, "a hybrid's interval against each of its parts is above 0", ways.hybrid),
    _rule("hybrid-loses", f"{sources.OVADIA}; {sources.RAFT}", "a hybrid's interval against one part is below 0"),
    _rule("price-of-points", sources.PRICES, "each step along the line of arms that none beats at their price",
          ways.price_of_points),
    _rule("cheapest", sources.PRICES, "an arm that passes and is about as good costs 1.5 times less than the arm named",
          ways.cheapest),
    _rule("break-even", sources.PRICES, "the arm to ship begins dearer than the baseline, and each request costs less",
          ways.break_even),
    _rule("quickest", sources.MEASURED, "arms about as good differ in p95 latency by 1.5 times or more"),
    _rule("safety", sources.RULE_OF_THREE, "the task has a safety figure"),
    _rule("slices-behind", sources.MEASURED, "a slice, not thin: its whole interval is below the figure on all items, "
          "or below 0 against the baseline", ways.behind),
    _rule("items", sources.MILLER, "the first two arms are not told apart, by an interval wider than twice `worth`"),
    _rule("sampling", sources.MILLER, "answers of the first two arms were sampled several times"),
    _rule("noise", sources.MILLER, "an answer changed when the baseline was asked again"),
    _rule("errors", sources.MEASURED, "a request failed"),
    _rule("cut", sources.MEASURED, f"more than {MANY_CUT:.0%} of an arm's answers ended at their limit of tokens"),
    _rule("few-examples", f"{sources.HOUSE}; {sources.LIMA}", f"training saw fewer than {SMALL_TRAINING:,} rows"),
)  # fmt: skip

_OF_PARTS = ("hybrid-wins", "hybrid-loses")


def fired(findings: Findings) -> tuple[tuple[Rule, str], ...]:
    """Every rule that fires, with its sentence; one that fires several times is there as often.

    Where the right passages were given, an adapter had passages as well: it is no part of a hybrid.
    """
    silent = _OF_PARTS if ways.right_passages_given(findings) else ()
    return tuple((rule, sentence) for rule in RULES if rule.name not in silent for sentence in rule.remark(findings))


def advise(findings: Findings) -> tuple[str, ...]:
    """The sentences alone."""
    return tuple(sentence for _, sentence in fired(findings))


def with_advice(report: Report, findings: Findings) -> Report:
    """The report with its advice, and what each sentence stands on."""
    said = fired(findings)
    grounds = tuple(Ground(rule=rule.name, source=rule.source) for rule, _ in said)
    return report.model_copy(update={"advice": tuple(sentence for _, sentence in said), "grounds": grounds})
