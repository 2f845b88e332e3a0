"""The report as Markdown: for a pull request, or a terminal without a browser. `words.py` has its sentences."""

from __future__ import annotations

from collections.abc import Iterable

from evals.report import costs
from evals.report.evaluation import MARKS, Evaluation, columns_of, size_of
from evals.report.failures import markdown_of_failures
from evals.report.notes import notes
from evals.report.page_words import head, provisional
from evals.report.people import OF_PEOPLE, PEOPLE_HEAD, people_notes, people_rows
from evals.report.repeats import repeats_shown
from evals.report.sentences import said
from evals.report.tables import cell_of, corner_of, told_of
from evals.report.words import Words
from evals.statistics.thin import THIN
from lifecycle.deployment import Deployment
from lifecycle.report import ArmResult, Comparison, Ground, Interval, Report


def render_markdown(evaluation: Evaluation, words: Words = Words()) -> str:  # noqa: B008
    """Advice, figures, comparisons, verdicts; the items are in the HTML."""
    report = evaluation.report
    parts = [
        "# " + _title(report, words),
        head(evaluation, words, "markdown"),
        *_provisional(evaluation, words),
        *(f"{said(str(now), 'served', words)}." for now in report.served.values()),
        *(["## " + words("page.advice")] if report.advice else []),
        "\n".join(f"- {said(sentence, 'advice', words)}{_rule(ground, words)}" for sentence, ground in report.grounded),
        "## " + words("page.figures"),
        _figures(evaluation, words),
        words("markdown.legend" if evaluation.own else "markdown.legend_imported"),
        _deployment(report.deployment, words) if evaluation.own else "",
        *(
            words("markdown.elsewhere", arm=arm.arm, deployment=_deployment(arm.deployment, words))
            for arm in report.arms
            if arm.deployment
        ),
        "\n".join(f"- {said(note, 'note', words)}" for note in notes(evaluation)),
        *(_costs(report, words) if evaluation.own else []),
        *_unscored(report, words),
        *_tables(report, words),
        *markdown_of_failures(evaluation, words),
        *_repeats(evaluation, words),
        *_slices(evaluation, words),
        *_people(evaluation, words),
        *_comparisons(evaluation, words),
        *(["## " + words("markdown.verdicts")] if evaluation.verdicts else []),
        *(_verdict(evaluation, arm, words) for arm in report.arms if evaluation.verdict(arm)),
    ]
    text = "\n\n".join(filter(None, parts))
    return f'<div dir="rtl">\n\n{text}\n\n</div>\n' if words.direction == "rtl" else f"{text}\n"


def _title(report: Report, words: Words) -> str:
    if report.imported:
        arm, tool = report.arms[0].arm, report.imported.tool
        return words("markdown.title_imported", task=report.task, arm=arm, tool=tool)
    return words("markdown.title", task=report.task, arms=len(report.arms), base=report.base)


def _provisional(evaluation: Evaluation, words: Words) -> list[str]:
    if not evaluation.report.provisional:
        return []
    why = words("page.provisional", reasons=provisional(evaluation, words))
    return [f"**{why}** {words('page.nothing_decided')}"]


def _rule(ground: Ground | None, words: Words) -> str:
    return f" *{said(ground.rule, 'ground', words)}*" if ground else ""


def _deployment(deployment: Deployment | None, words: Words) -> str:
    if deployment is None:
        return words("markdown.no_deployment")
    return words("markdown.deployment", engine=deployment.engine, dtype=deployment.dtype, digest=deployment.digest)


def _figures(evaluation: Evaluation, words: Words) -> str:
    first, last = ("arm", "version"), ("p50", "p95", "prompt", "answer", "errors", "cut") if evaluation.own else ()
    titles = [[words(f"page.{name}") for name in names] for names in (first, last)]
    rows = [
        [
            words.isolated(arm.arm),
            words.isolated(arm.ref),
            *(_interval(arm.metrics.get(name), words) for name in evaluation.metrics),
            *(_taken(arm) if evaluation.own else ()),
        ]
        for arm in evaluation.report.arms
    ]
    return _table([*titles[0], *map(words.isolated, evaluation.metrics), *titles[1]], rows)


def _taken(arm: ArmResult) -> list[str]:
    seconds, tokens = (arm.latency_p50, arm.latency_p95), (arm.prompt_tokens, arm.completion_tokens)
    return [*(f"{n:.2f}" for n in seconds), *(f"{n:.0f}" for n in tokens), str(arm.errors), str(arm.cut)]


def _costs(report: Report, words: Words) -> list[str]:
    table = [
        [said(name, "costs", words), *(words.isolated(cell.replace("\n", " ")) for cell in cells)]
        for name, cells in costs.rows(report).items()
    ]
    head = ["", *(words.isolated(arm.arm) for arm in report.arms)]
    return [
        "## " + words("costs.title"),
        _table(head, table),
        said(costs.LEGEND, "costs", words),
        "\n".join(f"- {said(line, 'costs', words)}" for line in costs.sentences(report)),
    ]


def _unscored(report: Report, words: Words) -> list[str]:
    """What is in no figure: a smaller n is never silent."""
    lines = [
        "- "
        + words("markdown.unscored_of", arm=arm.arm, metric=name, count=count, reason=said(reason, "unscored", words))
        for arm in report.arms
        for name, reasons in arm.unscored.items()
        for reason, count in reasons.items()
    ]
    return [words("markdown.unscored"), "\n".join(lines)] if lines else []


def _tables(report: Report, words: Words) -> list[str]:
    """Rows are what was right, columns what was said."""
    parts = []
    for arm in report.arms:
        for name, table in arm.tables.items():
            columns = columns_of(table)
            rows = [
                [cell_of(name, row, words), *(str(counts.get(column, 0)) for column in columns)]
                for row, counts in table.items()
            ]
            named = [cell_of(name, column, words) for column in columns]
            parts += [told_of(name, arm.arm, words), _table([corner_of(name, words), *named], rows)]
    return parts


def _repeats(evaluation: Evaluation, words: Words) -> list[str]:
    """Of items that were asked several times."""
    shown = repeats_shown(evaluation)
    if shown is None:
        return []
    head = [said(name, "repeats", words) if name else words("page.arm") for name in shown.head]
    rows = [[words.isolated(cell) for cell in row] for row in shown.rows]
    return ["## " + said(shown.title, "repeats", words), _table(head, rows), said(shown.note, "repeats", words)]


def _slices(evaluation: Evaluation, words: Words) -> list[str]:
    """The deciding figure by slice, and each arm's difference to the baseline on the same items."""
    report, baseline = evaluation.report, evaluation.baseline
    if not report.slices:
        return []
    others = [arm for arm in report.arms if arm is not baseline]
    names = {arm.arm: words.isolated(arm.arm) for arm in report.arms}
    head = [words("page.slice"), words("page.items"), *names.values()]
    head += [f"{names[arm.arm]} − {names[baseline.arm]}" for arm in others]
    rows = [
        [
            words.isolated(str(part)),
            said(size_of(part), "slice", words),
            *(_interval(evaluation.figure_in(part, arm), words) for arm in report.arms),
            *(_difference(evaluation.difference_in(part, arm), words) for arm in others),
        ]
        for part in report.slices
    ]
    title = "## " + words("page.by_slice", metric=report.metric)
    return [title, _table(head, rows), words("page.of_slices", least=THIN)]


def _people(evaluation: Evaluation, words: Words) -> list[str]:
    if not evaluation.people:
        return []
    notes = "\n".join(f"- {said(note, 'people', words)}" for note in people_notes(evaluation))
    head = [said(name, "people", words) for name in PEOPLE_HEAD]
    rows = [
        [said(cell, "rated", words) if place == 2 else words.isolated(cell) for place, cell in enumerate(row)]
        for row in people_rows(evaluation)
    ]
    return ["## " + words("people.title"), _table(head, rows), said(OF_PEOPLE, "people", words), notes]


def _comparisons(evaluation: Evaluation, words: Words) -> list[str]:
    if not evaluation.report.comparisons:
        return []
    head = [words(f"page.{name}") for name in ("arm", "against", "difference", "interval", "p", "test", "n")]
    rows = [
        [
            words.isolated(comparison.arm),
            words.isolated(comparison.against),
            _number(f"{comparison.delta:+.3f}", words),
            _number(f"[{comparison.low:+.3f}, {comparison.high:+.3f}]", words),
            _number(f"{comparison.p_value:.2g}", words),
            said(comparison.test, "test", words),
            str(comparison.n),
        ]
        for comparison in evaluation.report.comparisons
    ]
    return ["## " + words("markdown.comparisons"), _table(head, rows)]


def _verdict(evaluation: Evaluation, arm: ArmResult, words: Words) -> str:
    verdict = evaluation.verdict(arm)
    assert verdict is not None
    ruling, policy = words(f"ruling.{verdict.ruling}"), said(evaluation.policy, "policy", words)
    head = "### " + words("markdown.verdict", arm=arm.arm, ref=arm.ref, ruling=ruling, policy=policy)
    opens = [said(evaluation.opens[arm.arm], "opens", words), ""] if arm.arm in evaluation.opens else []
    lines = [
        f"- {MARKS[check.ruling]} **{said(check.rule, 'rule', words)}**: {said(check.detail, 'detail', words)}"
        for check in verdict.checks
    ]
    return "\n".join([head, "", *opens, *lines])


def _number(text: str, words: Words) -> str:
    return words.isolated(text, from_the_left=True)


def _interval(figure: Interval | None, words: Words) -> str:
    return "–" if figure is None else _number(f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]", words)


def _difference(gap: Comparison | None, words: Words) -> str:
    return "–" if gap is None else _number(f"{gap.delta:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]", words)


def _table(head: Iterable[str], rows: list[list[str]]) -> str:
    cells = list(head)
    lines = [cells, ["---"] * len(cells), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
