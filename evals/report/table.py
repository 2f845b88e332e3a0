"""The comparison as it is printed: one column per arm, figures with their intervals, then the advice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evals.archive.items import FILE, read
from evals.people.results import pair_line
from evals.report import costs
from evals.report.evaluation import OF_SLICES, RULINGS, Evaluation, size_of
from evals.report.failures import failure_table
from evals.report.notes import lines_of
from evals.report.people import as_of
from lifecycle.commands.terminal import show
from lifecycle.report import ArmResult, Comparison, Interval, Slice
from lifecycle.text.counting import counted
from lifecycle.verdict import Ruling

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_THIN_SHOWN = 3
"""Thin slices of one field that are printed one by one; more of them are one line."""
_REASONS = 5
"""Reasons of failed requests that are printed."""


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The table, what each verdict opens, every sentence of the advice, and what is wrong with what serves."""
    show(comparison_table(evaluation), console)
    if any(arm.failures for arm in evaluation.report.arms):
        show(failure_table(evaluation), console)
    if evaluation.report.slices:
        show(slice_table(evaluation), console)
    for line in (*_failed(evaluation), *_unscored(evaluation)):
        console.print(f"  {line}", style="yellow", markup=False, highlight=False)
    for note in evaluation.notes:
        console.print(f"  {note}", markup=False, highlight=False)
    for told in evaluation.people:
        console.print(f"  people: {pair_line(told)}", markup=False, highlight=False)
    if evaluation.people:
        console.print(f"  people: {as_of(evaluation)}", markup=False, highlight=False)
    _print_advice(evaluation, console)
    if imported := evaluation.report.imported:
        console.print("\n  ".join(lines_of(imported)), style="yellow", markup=False, highlight=False)
    for now in evaluation.report.served.values():
        console.print(f"  {now}", markup=False, highlight=False)
    if reasons := evaluation.report.provisional:
        line = f"provisional: {'; '.join(reasons)}. The run is kept, and decides nothing."
        console.print(line, style="yellow", markup=False, highlight=False)
    for arm in evaluation.report.arms:
        if words := evaluation.opens.get(arm.arm):
            console.print(f"  {arm.arm} ({arm.ref}) {words}", markup=False, highlight=False)
    for alert in evaluation.alerts:
        console.print(f"ALERT: {alert}", style="bold red", markup=False, highlight=False)


def _failed(evaluation: Evaluation) -> Iterator[str]:
    """Why requests failed, the most frequent reason first: it is what has to be mended before anything is compared."""
    if not any(arm.errors for arm in evaluation.report.arms) or not (evaluation.folder / FILE).is_file():
        return
    reasons: dict[str, Counter[str]] = {}
    for item in read(evaluation.folder):
        for arm, answer in item.arms.items():
            for each in answer.repeats or (answer,):
                if each.error:
                    reasons.setdefault(" ".join(each.error.split()), Counter())[arm] += 1
    ordered = sorted(reasons.items(), key=lambda told: -told[1].total())
    for reason, arms in ordered[:_REASONS]:
        yield f"failed: {', '.join(f'{arm} {count}' for arm, count in arms.items())}: {reason}"
    if more := ordered[_REASONS:]:
        yield f"failed: {sum(arms.total() for _, arms in more)} more, for {len(more)} other reasons"


def _unscored(evaluation: Evaluation) -> Iterator[str]:
    """What is in no figure, by arm and reason, the deciding figure's own or not: a smaller n is never silent."""
    for arm in evaluation.report.arms:
        lacking: dict[tuple[str, int], list[str]] = {}
        for figure, reasons in arm.unscored.items():
            for reason, count in reasons.items():
                lacking.setdefault((reason, count), []).append(figure)
        for (reason, count), figures in lacking.items():
            yield f"unscored: {arm.arm}, {counted(count, 'item')} in {', '.join(figures)}: {reason}"


def _print_advice(evaluation: Evaluation, console: Console) -> None:
    """What costs come to, and each sentence of the advice with its rule."""
    for sentence in costs.sentences(evaluation.report) if evaluation.report.prices else ():
        console.print(f"  {sentence}", markup=False, highlight=False, style="dim")
    for sentence, ground in evaluation.report.grounded:
        rule = f" [{ground.rule}]" if ground else ""
        console.print(f"  • {sentence}{rule}", markup=False, highlight=False)


def comparison_table(evaluation: Evaluation) -> Table:
    """Figures by rows, arms by columns, so that five arms fit into 80 characters; intervals on a line of their own."""
    from rich.markup import escape

    report = evaluation.report
    table = _of_arms(evaluation, f"{report.task}: {report.n_items} items, {report.base}, 95 % intervals")
    table.caption = _caption(evaluation)
    for name, cells in _rows(evaluation).items():
        table.add_row(escape(name), *cells)
    return table


def slice_table(evaluation: Evaluation) -> Table:
    """The deciding figure of each slice, and under it the difference to the baseline on the same items.

    Of a field with many values, such as the answers of multiple choice, thin slices would fill the screen and decide
    nothing: they are counted, and stand in the report one by one.
    """
    from rich.markup import escape

    report = evaluation.report
    thin: dict[tuple[str, ...], list[Slice]] = {}
    for part in report.slices:
        if part.thin:
            thin.setdefault(tuple(part.where), []).append(part)
    folded = {fields: parts for fields, parts in thin.items() if len(parts) > _THIN_SHOWN}
    table = _of_arms(evaluation, f"{report.metric} by slice, and against {evaluation.baseline.arm}")
    table.caption = OF_SLICES
    for part in report.slices:
        if part.thin and tuple(part.where) in folded:
            continue
        figures = [_figure(evaluation.figure_in(part, arm)) for arm in report.arms]
        gaps = [_gap(evaluation.difference_in(part, arm)) for arm in report.arms]
        table.add_row(
            f"{escape(str(part))}\n{size_of(part)}",
            *(f"{figure}\n{gap}" if gap else figure for figure, gap in zip(figures, gaps, strict=True)),
        )
    for fields, parts in folded.items():
        sizes = sorted({min(part.n for part in parts), max(part.n for part in parts)})
        items = "1 item" if sizes == [1] else f"{'–'.join(map(str, sizes))} items"
        table.add_row(f"{escape(', '.join(fields))}\n{len(parts)} thin slices\nof {items}")
    return table


def _of_arms(evaluation: Evaluation, title: str) -> Table:
    """A column per arm."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("", overflow="fold")
    for arm in evaluation.report.arms:
        table.add_column(escape(arm.arm), justify="right", no_wrap=True)
    return table


def _figure(figure: Interval | None) -> str:
    return f"{figure.value:.3f}\n{figure.low:.2f}…{figure.high:.2f}" if figure else "–"


def _gap(gap: Comparison | None) -> str:
    return f"{gap.delta:+.3f}\n{gap.low:+.2f}…{gap.high:+.2f}" if gap else ""


def _rows(evaluation: Evaluation) -> dict[str, list[str]]:
    """The cells of every row, in the order of the arms: the figure that decides first."""
    report, arms = evaluation.report, evaluation.report.arms
    gaps = [evaluation.against_baseline(arm) for arm in arms]
    rows = {"version": [arm.ref for arm in arms]}
    first = [report.metric, *([report.safety_metric] if report.safety_metric else [])]
    for name in first:
        rows[name] = [_figure(arm.metrics.get(name)) for arm in arms]
        if name == report.metric and report.comparisons:
            rows[f"against {evaluation.baseline.arm}"] = [_gap(gap) for gap in gaps]
    sees = [evaluation.sees(arm) for arm in arms]
    if any(least is not None for least in sees):
        rows["80 % power from"] = ["" if least is None else f"{least:+.3f}" for least in sees]
    for name in evaluation.metrics:
        if name not in first:
            rows[name] = [f"{arm.metrics[name].value:.3f}" if name in arm.metrics else "–" for arm in arms]
    if evaluation.own:
        rows |= costs.rows(report)
    if any(arm.cut for arm in arms):
        rows["cut answers"] = [str(arm.cut) for arm in arms]
    if any(arm.unscored.get(report.metric) for arm in arms):
        rows["unscored"] = [str(sum(arm.unscored.get(report.metric, {}).values())) for arm in arms]
    if evaluation.own:
        rows["gate"] = [_gate(evaluation, arm) for arm in arms]
    return rows


def _gate(evaluation: Evaluation, arm: ArmResult) -> str:
    verdict = evaluation.verdict(arm)
    if verdict is None:
        return ""
    colour = {Ruling.PASSED: "green", Ruling.FAILED: "red", Ruling.UNDECIDED: "yellow"}[verdict.ruling]
    return f"[{colour}]{RULINGS[verdict.ruling]}[/{colour}]"


def _caption(evaluation: Evaluation) -> str:
    report = evaluation.report
    if report.imported:
        return f"{report.digest[:19]}… · {report.created_at:%Y-%m-%d %H:%M} UTC"
    deployment = f"{report.deployment.digest[:19]}…" if report.deployment else "not said"
    return (
        f"noise floor {report.noise_floor:.1%} · seed {report.seed} · {report.digest[:19]}…\n"
        f"deployment {deployment}, for which alone the seconds hold\n"
        f"{evaluation.history}"
    )
