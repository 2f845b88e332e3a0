"""What whoever wants to fine-tune is asked: use case, alternatives, data, costs, benefits. Answered from what is known;
what is not known is an open question, with where its answer would go. Pure.
"""

from __future__ import annotations

from evals.advice.before import RULES, Fired, Outlook, fired, outlook
from evals.advice.prospect import Prospect
from evals.advice.ways import interval
from evals.cost.prices import HOUR
from lifecycle.text.counting import counted
from lifecycle.version import Frozen

OUTLOOKS: dict[str, str] = {
    "promising": "A fine-tune is promising.",
    "not yet": "Not yet: something else comes first.",
    "not promising": "A fine-tune is not promising: there is little to gain.",
    "open": "Open: nothing speaks for a fine-tune, and nothing against it.",
}


class Question(Frozen):
    """One of those that are asked."""

    question: str
    answer: str = ""
    """Empty where it is open."""
    open: str = ""
    """How to give what is not known."""


class Advice(Frozen):
    """What `dabt advise` says."""

    outlook: Outlook
    summary: str
    task: str
    rules: tuple[Fired, ...]
    questions: tuple[Question, ...]


def advice_of(known: Prospect) -> Advice:
    """Every rule that fires, what they come to, and the questions with their answers."""
    rules = fired(known)
    whole = outlook(rules)
    task = known.report.task if known.report else ""
    questions = (_use_case(known), _tried(known), _lacking(rules), _rows(known), _judged(known), _cost(known),
                 _benefit(known), _owner(known))  # fmt: skip
    return Advice(outlook=whole, summary=OUTLOOKS[whole], task=task, rules=rules, questions=questions)


def _use_case(known: Prospect) -> Question:
    asked = "What is the model to do, and for whom?"
    return Question(question=asked, answer=known.about.use_case, open="" if known.about.use_case else "--use-case TEXT")


def _tried(known: Prospect) -> Question:
    asked = "What was tried without training, and how good is it?"
    arms = [f"{arm.arm} {interval(known.figure(arm))}" for arm in known.arms()]
    metric = f" on {known.report.metric}" if known.report else ""
    told = [*([f"{', '.join(arms)}{metric}"] if arms else []), *known.about.tried]
    return Question(
        question=asked, answer="; ".join(told), open="" if arms else "an evaluation: dabt eval, then its report"
    )


def _lacking(rules: tuple[Fired, ...]) -> Question:
    asked = "What is lacking: instructions, facts, or form and behaviour?"
    words = {
        "no-prompt": "instructions were not tried", "no-examples": "worked examples were not tried",
        "facts-untried": "facts, by the data", "retrieval-helps": "facts, by the arms", "form-fails": "form",
        "examples-help": "behaviour that examples teach", "nothing-to-gain": "nothing",
    }  # fmt: skip
    said = [words[rule.rule] for rule in rules if rule.rule in words]
    hint = "a figure of form (answer_schema, labels), an arm with examples and one with passages"
    return Question(question=asked, answer="; ".join(said), open="" if said else hint)


def _rows(known: Prospect) -> Question:
    asked = "Are there examples enough, and are they good?"
    if known.data is None:
        return Question(question=asked, open="--data: rows, or what dabt data check --json prints")
    counts = {level: sum(of.level == level for of in known.data.findings) for level in ("error", "warning")}
    rows, errors = counted(known.data.rows, "row"), counted(counts["error"], "error")
    told = f"{rows}, {errors} and {counted(counts['warning'], 'warning')} in the data report"
    return Question(question=asked, answer=told)


def _judged(known: Prospect) -> Question:
    asked = "How will it be judged?"
    best = known.best()
    if known.report is None or best is None:
        return Question(question=asked, open="an evaluation with a figure that decides")
    told = f"{known.report.metric} over {known.figure(best).n} items"
    told += f", safety figure {known.report.safety_metric}" if known.report.safety_metric else ", no safety figure"
    gate = {True: ", and a gate", False: ", and no gate yet", None: ""}[known.gated]
    return Question(question=asked, answer=told + gate, open="dabt gate set" if known.gated is False else "")


def _cost(known: Prospect) -> Question:
    asked = "What will it cost?"
    expected = known.data.expected if known.data else None
    told = [f"training about {expected.seconds / HOUR:.2f} hours ({expected.machine})"] if expected else []
    lacking = [] if expected else ["--data with --base, for the time of a run"]
    prices = known.prices
    if prices is None:
        lacking.append("--prices")
    else:
        told += [f"{prices.training.hour:g} {prices.currency} an hour of it"] if prices.training else []
        lacking += [] if prices.training else ["training.hour in the prices"]
        told += [f"over {prices.requests:,} requests"] if prices.requests else []
    return Question(question=asked, answer="; ".join(told), open=", ".join(lacking))


def _benefit(known: Prospect) -> Question:
    asked = "What does it bring?"
    told = [known.about.benefit] if known.about.benefit else []
    best, room = known.best(), known.room
    if best is not None and room is not None:
        told.append(f"at most {100 * max(room, 0.0):.1f} points above {best.arm}")
        saved = best.prompt_tokens - min(arm.prompt_tokens for arm in known.arms())
        told += [f"prompts up to {saved:.0f} tokens shorter"] if saved >= 1 else []
    return Question(question=asked, answer="; ".join(told), open="" if known.about.benefit else "benefit, in --about")


def _owner(known: Prospect) -> Question:
    asked = "Who keeps it up, and how often do its facts change?"
    about = known.about
    told = [
        *([about.owner] if about.owner else []),
        *([f"facts change {about.facts_change}"] if about.facts_change else []),
    ]
    lacking = [name for name, given in (("owner", about.owner), ("facts_change", about.facts_change)) if not given]
    return Question(question=asked, answer="; ".join(told), open=f"{', '.join(lacking)}, in --about" if lacking else "")


def markdown(advice: Advice) -> str:
    """For a ticket or a pull request."""
    head = f"# {advice.task}: is a fine-tune promising?" if advice.task else "# Is a fine-tune promising?"
    rules = [f"- **{rule.leans}** {rule.sentence} *{rule.rule}; {rule.source}*" for rule in advice.rules]
    asked = [
        f"- {of.question} {of.answer or '**open**'}{f' (to give: {of.open})' if of.open else ''}"
        for of in advice.questions
    ]
    parts = [head, f"**{advice.summary}**", "\n".join(rules), "## What is asked", "\n".join(asked)]
    return "\n\n".join(part for part in parts if part) + "\n"


NAMES = tuple(rule.name for rule in RULES)
"""Of the rules before training, in their order."""
