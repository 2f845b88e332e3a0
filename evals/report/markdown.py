"""The report as Markdown: for a pull request, or a terminal without a browser."""

from __future__ import annotations

from evals.report import costs
from evals.report.evaluation import MARKS, OF_SLICES, RULINGS, Evaluation, columns_of, size_of
from evals.report.failures import markdown_of_failures
from evals.report.people import OF_PEOPLE, PEOPLE_HEAD, people_notes, people_rows
from evals.report.repeats import repeats_shown
from lifecycle.deployment import Deployment
from lifecycle.report import ArmResult, Comparison, Interval, Report


def render_markdown(evaluation: Evaluation) -> str:
    """Advice, figures, comparisons, verdicts; the example rows are in the HTML."""
    report = evaluation.report
    parts = [
        f"# {report.task}: {len(report.arms)} arms over {report.base}",
        f"{report.n_items} items, metric **{report.metric}**"
        + (f", safety figure **{report.safety_metric}**" if report.safety_metric else "")
        + f", noise floor {report.noise_floor:.1%}, {report.created_at:%Y-%m-%d %H:%M} UTC, {evaluation.history}, "
        f"`{report.digest}`",
        *([f"**Provisional: {'; '.join(report.provisional)}.** Nothing is decided."] if report.provisional else []),
        *(f"{now}." for now in report.served.values()),
        "## Advice",
        "\n".join(f"- {sentence}{f' *{ground.rule}*' if ground else ''}" for sentence, ground in report.grounded),
        "## Figures",
        _figures(evaluation),
        "Values with 95 % intervals; latency in seconds; tokens are means per item; cut answers reached their limit of "
        "tokens.",
        _deployment(report.deployment),
        *(f"{arm.arm} is another service's: {_deployment(arm.deployment)}" for arm in report.arms if arm.deployment),
        *_costs(report),
        *_unscored(report),
        *_tables(report),
        *markdown_of_failures(evaluation),
        *_repeats(evaluation),
        *_slices(evaluation),
        *_people(report),
        "## Comparisons",
        _comparisons(evaluation),
        "## Verdicts",
        *(_verdict(evaluation, arm) for arm in report.arms if evaluation.verdict(arm)),
    ]
    return "\n\n".join(parts) + "\n"


def _deployment(deployment: Deployment | None) -> str:
    if deployment is None:
        return "The endpoint did not say what answered: latencies can be compared with nothing else."
    return (
        f"Answered by {deployment.engine} in {deployment.dtype}, deployment `{deployment.digest}`. Latencies hold for "
        "it, and for nothing else."
    )


def _figures(evaluation: Evaluation) -> str:
    head = ["arm", "version", *evaluation.metrics, "p50", "p95", "prompt", "answer", "errors", "cut"]
    rows = [
        [
            arm.arm,
            arm.ref,
            *(_interval(arm.metrics.get(name)) for name in evaluation.metrics),
            f"{arm.latency_p50:.2f}",
            f"{arm.latency_p95:.2f}",
            f"{arm.prompt_tokens:.0f}",
            f"{arm.completion_tokens:.0f}",
            str(arm.errors),
            str(arm.cut),
        ]
        for arm in evaluation.report.arms
    ]
    return _table(head, rows)


def _costs(report: Report) -> list[str]:
    if report.imported:  # another tool's report has no times of ours
        return []
    table = [[name, *(cell.replace("\n", " ") for cell in cells)] for name, cells in costs.rows(report).items()]
    head = ["", *(arm.arm for arm in report.arms)]
    return [
        "## Times and costs",
        _table(head, table),
        costs.LEGEND,
        "\n".join(f"- {line}" for line in costs.sentences(report)),
    ]


def _unscored(report: Report) -> list[str]:
    """What is in no figure: a smaller n is never silent."""
    lines = [
        f"- {arm.arm}, {name}: {count} x {reason}"
        for arm in report.arms
        for name, reasons in arm.unscored.items()
        for reason, count in reasons.items()
    ]
    return ["Answers without a figure, which are no miss, no hit and no tie:", "\n".join(lines)] if lines else []


def _tables(report: Report) -> list[str]:
    """Rows are what was right, columns what was said."""
    parts = []
    for arm in report.arms:
        for name, table in arm.tables.items():
            columns = columns_of(table)
            rows = [[row, *(str(counts.get(column, 0)) for column in columns)] for row, counts in table.items()]
            head = [f"{arm.arm}: right, then said", *(column or "(none)" for column in columns)]
            parts += [f"{name.capitalize()} of {arm.arm}", _table(head, rows)]
    return parts


def _repeats(evaluation: Evaluation) -> list[str]:
    """Of items that were asked several times."""
    shown = repeats_shown(evaluation)
    return [f"## {shown.title}", _table([*shown.head], [[*row] for row in shown.rows]), shown.note] if shown else []


def _slices(evaluation: Evaluation) -> list[str]:
    """The deciding figure by slice, and each arm's difference to the baseline on the same items."""
    report, baseline = evaluation.report, evaluation.baseline
    if not report.slices:
        return []
    others = [arm for arm in report.arms if arm is not baseline]
    head = ["slice", "items", *(arm.arm for arm in report.arms), *(f"{arm.arm} − {baseline.arm}" for arm in others)]
    rows = [
        [
            str(part),
            size_of(part),
            *(_interval(evaluation.figure_in(part, arm)) for arm in report.arms),
            *(_difference(evaluation.difference_in(part, arm)) for arm in others),
        ]
        for part in report.slices
    ]
    return [f"## {report.metric} by slice", _table(head, rows), OF_SLICES]


def _people(report: Report) -> list[str]:
    if not report.people:
        return []
    notes = "\n".join(f"- {note}" for note in people_notes(report))
    return ["## People", _table([*PEOPLE_HEAD], people_rows(report)), OF_PEOPLE, notes]


def _comparisons(evaluation: Evaluation) -> str:
    head = ["arm", "against", "difference", "95 % interval", "p", "test", "n"]
    rows = [
        [
            comparison.arm,
            comparison.against,
            f"{comparison.delta:+.3f}",
            f"[{comparison.low:+.3f}, {comparison.high:+.3f}]",
            f"{comparison.p_value:.2g}",
            comparison.test,
            str(comparison.n),
        ]
        for comparison in evaluation.report.comparisons
    ]
    return _table(head, rows)


def _verdict(evaluation: Evaluation, arm: ArmResult) -> str:
    verdict = evaluation.verdict(arm)
    assert verdict is not None
    head = f"### {arm.arm} ({arm.ref}): {RULINGS[verdict.ruling]} by {evaluation.policy}"
    opens = [evaluation.opens[arm.arm], ""] if arm.arm in evaluation.opens else []
    lines = [f"- {MARKS[check.ruling]} **{check.rule}**: {check.detail}" for check in verdict.checks]
    return "\n".join([head, "", *opens, *lines])


def _interval(figure: Interval | None) -> str:
    return "–" if figure is None else f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _difference(gap: Comparison | None) -> str:
    return "–" if gap is None else f"{gap.delta:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
