"""A retrieval report as a table in the terminal, as Markdown, and as files: `retrieval.md` and `retrieval.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evals.retrieval.measured import ALL, RetrievalReport
from lifecycle.report import Comparison, Interval

if TYPE_CHECKING:
    from rich.table import Table


def folder_of(home: Path, report: RetrievalReport) -> Path:
    """One for each set of questions, indexes and cuts: the same measurement is written to the same place."""
    from lifecycle.version import digest_of

    asked = [report.digest, report.unit, report.cuts, [ranking.digest for ranking in report.rankings]]
    return home / "retrieval" / f"{report.title}-{digest_of(asked).removeprefix('sha256:')[:12]}"


def write(report: RetrievalReport, folder: Path) -> None:
    """The figures with every question's ranking as JSON, the table as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "retrieval.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "retrieval.md").write_text(render_markdown(report), encoding="utf-8")


def render_markdown(report: RetrievalReport) -> str:
    """One table: a row for each ranking and language, with 95 % intervals."""
    head, rows = _cells(report)
    lines = [head, ["---"] * 3 + ["--:"] * (len(head) - 3), *rows]
    table = "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines)
    return f"# Retrieval: {report.title}\n\n{_words(report)}\n\n{table}\n"


def terminal_table(report: RetrievalReport) -> Table:
    """Figures by rows and rankings by columns, so that it fits a terminal; every figure is in the files."""
    from rich import box
    from rich.table import Table

    table = Table(title=f"retrieval: {report.title}", caption=_words(report), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("")
    for ranking in report.rankings:
        table.add_column(f"{ranking.index}\n{ranking.ranking}", justify="right", no_wrap=True)
    groups = report.rankings[0].figures
    for group, figures in groups.items():
        table.add_row(f"{group}, n {next(iter(figures.values())).n}" if len(groups) > 1 else "", style="bold")
        for name in figures:
            if not name.startswith("ndcg") or name == f"ndcg@{report.cuts[-1]}":
                table.add_row(name, *(_interval(ranking.figures[group][name]) for ranking in report.rankings))
    if report.nothing_to_find:
        table.add_row("finds nothing", *(_only_of_all(ALL, ranking.answered_nothing) for ranking in report.rankings))
    if len(report.rankings) > 1:
        table.add_row("against the first", *(_gap(ranking.against) for ranking in report.rankings))
    return table


def _words(report: RetrievalReport) -> str:
    asked = f"{report.questions} questions, {report.unit}s, 95 % intervals"
    empty = f"; {report.nothing_to_find} of them have nothing to find, and are in no figure but `finds nothing`"
    return asked + (empty if report.nothing_to_find else "")


def _cells(report: RetrievalReport) -> tuple[list[str], list[list[str]]]:
    names = list(report.rankings[0].figures[ALL])
    empty = ["finds nothing"] if report.nothing_to_find else []
    compared = ["against the first"] if len(report.rankings) > 1 else []
    rows = [
        [
            ranking.label,
            group,
            str(next(iter(figures.values())).n),
            *(_interval(figures[name]) for name in names),
            *(_only_of_all(group, ranking.answered_nothing) for _ in empty),
            *(_gap(ranking.against) if group == ALL else "" for _ in compared),
        ]
        for ranking in report.rankings
        for group, figures in ranking.figures.items()
    ]
    return ["ranking", "language", "n", *names, *empty, *compared], rows


def _only_of_all(group: str, figure: Interval | None) -> str:
    return _interval(figure) if group == ALL and figure else ""


def _interval(figure: Interval) -> str:
    return f"{figure.value:.3f}\n{figure.low:.2f}…{figure.high:.2f}"


def _gap(gap: Comparison | None) -> str:
    return f"{gap.metric} {gap.delta:+.3f}\n{gap.low:+.2f}…{gap.high:+.2f}\np {gap.p_value:.2g}" if gap else ""
