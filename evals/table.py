"""The comparison as it is printed: one row per arm with its interval, then the advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.evaluation import Evaluation
from lifecycle.report import ArmResult

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The table, then every sentence of the advice."""
    console.print(comparison_table(evaluation))
    for sentence in evaluation.report.advice:
        console.print(f"  • {sentence}", markup=False, highlight=False)


def comparison_table(evaluation: Evaluation) -> Table:
    """Arms by rows: the deciding metric and its difference to the baseline with 95 % intervals, the other figures."""
    from rich.table import Table

    report = evaluation.report
    others = [name for name in evaluation.metrics if name not in (report.metric, report.safety_metric)]
    title = f"{report.task}: {report.n_items} items, {report.base}"
    table = Table(title=title, title_justify="left", caption=_caption(evaluation), caption_justify="left")
    table.add_column("arm", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column(f"{report.metric} [95 %]", no_wrap=True)
    table.add_column(f"against {evaluation.baseline.arm} [95 %]", no_wrap=True)
    if report.safety_metric:
        table.add_column(report.safety_metric, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    for name in ("p50 s", "p95 s", "prompt", "gate"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm in report.arms:
        table.add_row(*_cells(evaluation, arm, others))
    return table


def _cells(evaluation: Evaluation, arm: ArmResult, others: list[str]) -> list[str]:
    report, verdict = evaluation.report, evaluation.verdict(arm)
    figure, gap = arm.metrics[report.metric], evaluation.against_baseline(arm)
    cells = [arm.arm, arm.ref, f"{figure.value:.3f} \\[{figure.low:.2f}, {figure.high:.2f}]"]
    cells.append(f"{gap.delta:+.3f} \\[{gap.low:+.2f}, {gap.high:+.2f}]" if gap else "")
    if report.safety_metric:
        safety = arm.metrics.get(report.safety_metric)
        cells.append(f"{safety.value:.3f} \\[{safety.low:.2f}, {safety.high:.2f}]" if safety else "–")
    cells += [f"{arm.metrics[name].value:.3f}" if name in arm.metrics else "–" for name in others]
    cells += [f"{arm.latency_p50:.2f}", f"{arm.latency_p95:.2f}", f"{arm.prompt_tokens:.0f}"]
    cells.append("" if verdict is None else "[green]passed[/green]" if verdict.passed else "[red]rejected[/red]")
    return cells


def _caption(evaluation: Evaluation) -> str:
    report = evaluation.report
    return f"noise floor {report.noise_floor:.1%} · seed {report.seed} · prompt: mean tokens · {report.digest[:19]}…"
