"""The report as one HTML file with nothing to fetch: figures, intervals drawn, verdicts, every item side by side.

It runs one script of its own, named by its digest in the page's policy, and no other. `words.py` has its sentences,
`plot.py` its drawings, `packed.py` its items.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.archive.items import Item
from evals.report import costs
from evals.report.evaluation import Evaluation, columns_of, size_of
from evals.report.failures import WORDS, failure_rows
from evals.report.notes import notes
from evals.report.packed import pack, readable
from evals.report.page_words import PageWords
from evals.report.people import OF_PEOPLE, PEOPLE_HEAD, people_notes, people_rows
from evals.report.plot import Line, Plot
from evals.report.repeats import repeats_shown
from evals.report.words import Words, catalogue, nouns, seen
from evals.statistics.thin import THIN
from lifecycle.pages import house_style
from lifecycle.report import ArmResult, Example
from lifecycle.text.letters import ARABIC_LETTERS

if TYPE_CHECKING:
    from jinja2 import Template

_OF_SCRIPT = (
    "page", "cluster", "differ", "error", "previous", "next", "link", "close", "missing", "loading", "cannot", "item",
    "question", "sort", "passages", "explanation",
)  # fmt: skip
_DIGITS = {chr(zero + digit): str(digit) for zero in (0x0660, 0x06F0) for digit in range(10)}


class Inline(NamedTuple):
    """A text that stands in the page, and by which digest the page's policy lets it in."""

    text: str
    digest: str

    @classmethod
    def of(cls, *parts: str) -> Inline:
        text = "\n".join(parts)
        return cls(text, f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}")


def render_html(evaluation: Evaluation, items: Iterable[Item] = (), words: Words = Words()) -> str:  # noqa: B008
    """The page. Texts of models and patients are escaped, and each takes its own direction (`dir="auto"`)."""
    packed = pack(items, [arm.arm for arm in evaluation.report.arms], evaluation.item_metrics, words)
    return _template("report.html").render(
        _shown(evaluation, words),
        style=Inline.of(house_style(), _part("page.css")),
        script=Inline.of("(() => {", _part("page.js"), *([_part("items.js")] if packed else []), "})();"),
        packed=packed,
        page_words=_of_script(evaluation, words) if packed else {},
        sort=_bare("items.sort", words),
    )


def render_sections(
    evaluation: Evaluation, words: Words, link_of: Callable[[ArmResult], str], *, examples: bool = False
) -> str:
    """All of the page but its frame and its items, to stand in another page that has the style. `link_of` says where an
    arm's version is shown, or ""."""
    shown = _shown(evaluation, words) | {"link_of": link_of, "examples": examples}
    return _template("sections_alone.html").render(shown, packed=None)


def _shown(evaluation: Evaluation, words: Words) -> dict[str, Any]:
    """What the sections of the report are made of."""
    report = evaluation.report
    figures = [Line.of_figure(arm.arm, arm.metrics[report.metric]) for arm in report.arms]
    differences = [Line.of_difference(comparison) for comparison in report.comparisons]
    return {
        "e": evaluation,
        "t": PageWords(words, evaluation),
        "report": report,
        "figures": Plot(figures, 0.0, 1.0).turned(words.direction),
        "differences": Plot(differences, -1.0, 1.0).turned(words.direction).fitted(),
        "readable": readable,
        "seen": seen,
        "best": _best,
        "columns_of": columns_of,
        "size_of": size_of,
        "thin": THIN,
        "failures": failure_rows(evaluation),
        "failure_words": WORDS,
        "several": repeats_shown(evaluation),
        "notes": notes(evaluation),
        "cost_rows": costs.rows(report),
        "cost_legend": costs.LEGEND,
        "cost_plot": costs.CostPlot.of(report),
        "cost_sentences": costs.sentences(report),
        "people": (PEOPLE_HEAD, people_rows(evaluation), people_notes(evaluation), OF_PEOPLE),
        "link_of": lambda arm: "",
        "examples": True,
    }


def _of_script(evaluation: Evaluation, words: Words) -> dict[str, Any]:
    """What `items.js` has to know."""
    told: dict[str, Any] = {name: _bare(f"items.{name}", words) for name in _OF_SCRIPT}
    return told | {
        "items": nouns()["items"][words.language],
        "target": _bare("page.target", words),
        "figures": evaluation.item_metrics,
        "arms": [arm.arm for arm in evaluation.report.arms],
        "letters": ARABIC_LETTERS | _DIGITS,
    }


def _bare(key: str, words: Words) -> str:
    """With its places, for the script to fill."""
    return catalogue()[key][words.language]


def _best(example: Example) -> float:
    return max(example.scores.values())


@cache
def _part(name: str) -> str:
    return files("evals.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("evals.report", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
