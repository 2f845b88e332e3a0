"""The catalogue as the page's templates speak it: sentences as markup, with what is isolated in `<bdi>`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.report.evaluation import Evaluation
from evals.report.sentences import said
from evals.report.tables import cell_of, corner_of, told_of
from evals.report.words import END, FIRST, LEFT, Words

if TYPE_CHECKING:
    from markupsafe import Markup

_TAGS = {LEFT: '<bdi dir="ltr">', FIRST: "<bdi>", END: "</bdi>"}


@dataclass(frozen=True)
class PageWords:
    """`t` in the templates."""

    words: Words
    evaluation: Evaluation

    @property
    def language(self) -> str:
        return self.words.language

    @property
    def direction(self) -> str:
        return self.words.direction

    def __call__(self, key: str, **values: Any) -> Markup:
        return as_markup(self.words(key, **values))

    def plain(self, key: str, **values: Any) -> str:
        """For an attribute, or the title: text without markup."""
        return self.words(key, **values)

    def said(self, sentence: str, group: str) -> Markup:
        return as_markup(said(sentence, group, self.words))

    def attribute(self, sentence: str, group: str) -> str:
        """As `said`, without markup."""
        return said(sentence, group, self.words)

    def table(self, name: str, arm: str) -> Markup:
        return as_markup(told_of(name, arm, self.words))

    def plain_table(self, name: str, arm: str) -> str:
        return told_of(name, arm, self.words)

    def corner(self, name: str) -> Markup:
        return as_markup(corner_of(name, self.words))

    def cell(self, table: str, text: str) -> Markup:
        return as_markup(cell_of(table, text, self.words))

    def isolated(self, text: str) -> str:
        return self.words.isolated(text)

    def number(self, text: object) -> Markup:
        """A figure that is no sentence."""
        return as_markup(self.plain_number(text))

    def plain_number(self, text: object) -> str:
        """As `number`, without markup: for drawings."""
        return self.words.isolated(self.words.figures(str(text)), from_the_left=True)

    def head(self) -> Markup:
        return as_markup(head(self.evaluation, self.words, "page"))

    def provisional(self) -> str:
        return provisional(self.evaluation, self.words)

    def policy(self) -> str:
        return said(self.evaluation.policy, "policy", self.words)

    def deployment(self, group: str) -> Markup:
        deployment = self.evaluation.report.deployment
        if deployment is None:
            return self(f"{group}.no_deployment")
        return self(f"{group}.deployment", engine=deployment.engine, dtype=deployment.dtype, digest=deployment.digest)


def head(evaluation: Evaluation, words: Words, group: str) -> str:
    """What was measured, by what, and when. `group` is `page` or `markdown`."""
    report = evaluation.report
    if report.imported:
        return words(
            f"{group}.head_imported",
            arm=report.arms[0].arm,
            tool=report.imported.tool,
            n=report.n_items,
            metric=report.metric,
            at=f"{report.created_at:%Y-%m-%d %H:%M}",
            digest=report.digest,
        )
    return words(
        f"{group}.head_safety" if report.safety_metric else f"{group}.head",
        arms=len(report.arms),
        base=report.base,
        n=report.n_items,
        metric=report.metric,
        safety=report.safety_metric,
        floor=f"{report.noise_floor:.1%}",
        at=f"{report.created_at:%Y-%m-%d %H:%M}",
        history=said(evaluation.history, "history", words),
        digest=report.digest,
    )


def provisional(evaluation: Evaluation, words: Words) -> str:
    """Why the run decides nothing, reason by reason."""
    return words.joined([said(reason, "provisional", words) for reason in evaluation.report.provisional], ";")


def as_markup(text: str) -> Markup:
    """A sentence of the catalogue, escaped, with its isolates as elements."""
    from markupsafe import Markup, escape

    shown = str(escape(text))
    for sign, tag in _TAGS.items():
        shown = shown.replace(sign, tag)
    return Markup(shown)  # noqa: S704 - escaped above; the tags are ours, and `Words` lets no other isolate in
