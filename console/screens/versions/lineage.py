"""Where a version comes from and what became of it, as a drawing: data → run → artifact → version → evaluations →
verdicts → moves of aliases. It reads from the right where the page does, and downwards where the window is narrow. The
template writes the same in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from console.language import N_, Language
from console.screens.versions.reading import Reading
from lifecycle.registry.audit import AuditEntry
from lifecycle.verdict import Ruling
from lifecycle.version import Version

_WIDE, _HIGH = 136, 62
_BESIDE, _BELOW = 24, 14
_LETTERS = 20
"""Of a line in a box."""
_MOST = 3
"""Boxes of one column: the newest. The page has all."""
_SOURCES = {
    "training": N_("training"),
    "checkpoint": N_("a checkpoint of training"),
    "evaluation": N_("an arm of an evaluation"),
    "import": N_("an import"),
    "manual": N_("made by hand"),
}
RULINGS = {Ruling.PASSED: N_("passed"), Ruling.FAILED: N_("did not pass"), Ruling.UNDECIDED: N_("undecided")}


@dataclass(frozen=True, slots=True)
class Box:
    title: str
    """What it is, in the reader's language."""
    lines: tuple[str, ...]
    """Names and figures, whole."""
    href: str = ""
    tone: str = ""
    """`up` or `down`, as the page's colours have it."""
    key: str = ""
    """What the boxes of the next column name it by."""
    after: str = ""
    """The key of the box that it follows; of every box of the column before unless given."""


@dataclass(frozen=True, slots=True)
class Placed:
    box: Box
    x: int
    y: int
    middle: int

    def line(self, place: int) -> str:
        whole = self.box.lines[place]
        return whole if len(whole) <= _LETTERS else whole[: _LETTERS - 1] + "…"


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    boxes: tuple[Placed, ...]
    paths: tuple[str, ...]
    """As SVG writes them."""
    box_width: int = _WIDE
    box_height: int = _HIGH


def boxes_of(version: Version, told: Reading, said: Language) -> list[list[Box]]:
    """The columns, those without a box left out."""
    return [column for column in (*_before(version, told, said), *_since(version, told, said)) if column]


def _before(version: Version, told: Reading, said: Language) -> list[list[Box]]:
    lineage, spec, manifest = version.lineage, version.spec, told.manifest
    data: list[Box] = []
    run: list[Box] = []
    digest = lineage.data_digest or (manifest.data_digest if manifest is not None else "")
    rows = manifest.metrics.get("train_rows") if manifest is not None else None
    if digest or rows:
        counted = said.texts("%(n)s row", "%(n)s rows", int(rows)) if rows else ""
        data.append(Box(said.text("Data"), tuple(filter(None, (short(digest), counted)))))
    source = said.text(_SOURCES[lineage.source])
    if manifest is not None or lineage.run or lineage.source != "manual":
        run.append(Box(said.text("Run"), (lineage.run, source) if lineage.run else (source,)))
    made = spec.artifact
    if made is None:
        base = [Box(said.text("Base"), (short(spec.base),))]
    else:
        base = [Box(made[0], (short(made[1]), manifest.base_name if manifest is not None else ""))]
    if spec.knowledge is not None:
        called = told.index.name if told.index is not None else ""
        base.append(Box(said.text("Index"), tuple(filter(None, (called, short(spec.knowledge.index))))))
    return [data, run, base]


def _since(version: Version, told: Reading, said: Language) -> list[list[Box]]:
    here = [Box(said.text("Version"), (version.ref, short(version.digest)))]
    evaluations = []
    for row, arm in told.figures(version)[:_MOST]:
        report = row.report
        figure = arm.metrics[report.metric]
        lines = (report.task, f"{report.metric} {said.number(figure.value, 3)}")
        evaluations.append(Box(said.text("Evaluation"), lines, f"/ui/reports/{report.digest}", key=report.digest))
    drawn = {box.key for box in evaluations}
    verdicts = [
        Box(
            said.text("Look") if verdict.provisional else said.text("Verdict"),
            (said.text(RULINGS[verdict.ruling]), said.day(verdict.created_at)),
            "#verdicts",
            {Ruling.PASSED: "up", Ruling.FAILED: "down"}.get(verdict.ruling, ""),
            verdict.digest,
            verdict.evaluation_digest if verdict.evaluation_digest in drawn else "",
        )
        for verdict in told.verdicts[:_MOST]
    ]
    moves = [Box(said.text("Alias"), _moved(entry, version, said), "#trail") for entry in told.moves()[:_MOST]]
    return [here, evaluations, verdicts, moves]


def _moved(entry: AuditEntry, version: Version, said: Language) -> tuple[str, str]:
    share = (entry.detail.get("to") or {}).get(version.ref, 0.0)
    alias = entry.subject.partition(":")[2]
    return f"{alias} {said.percent(share)}", said.day(entry.at)


def drawing(columns: Sequence[Sequence[Box]], *, mirrored: bool) -> Drawing:
    """Each column's boxes in its middle, lines from each box to those that follow it."""
    most = max(map(len, columns))
    width = len(columns) * (_WIDE + _BESIDE) - _BESIDE + 2
    height = most * (_HIGH + _BELOW) - _BELOW + 2
    placed: list[list[Placed]] = []
    for at, column in enumerate(columns):
        left = 1 + at * (_WIDE + _BESIDE)
        x = width - left - _WIDE if mirrored else left
        top = (height - len(column) * (_HIGH + _BELOW) + _BELOW) // 2
        tops = [top + row * (_HIGH + _BELOW) for row in range(len(column))]
        placed.append([Placed(box, x, y, x + _WIDE // 2) for box, y in zip(column, tops, strict=True)])
    paths = [_path(before, after, mirrored) for before, after in _edges(placed)]
    return Drawing(width, height, tuple(box for column in placed for box in column), tuple(paths))


def drawing_down(columns: Sequence[Sequence[Box]]) -> Drawing:
    """The same from above: what is a column across is a row here."""
    most = max(map(len, columns))
    width = most * (_WIDE + _BELOW) - _BELOW + 2
    height = len(columns) * (_HIGH + _BESIDE) - _BESIDE + 2
    placed: list[list[Placed]] = []
    for at, row in enumerate(columns):
        left = (width - len(row) * (_WIDE + _BELOW) + _BELOW) // 2
        lefts = [left + place * (_WIDE + _BELOW) for place in range(len(row))]
        y = 1 + at * (_HIGH + _BESIDE)
        placed.append([Placed(box, x, y, x + _WIDE // 2) for box, x in zip(row, lefts, strict=True)])
    paths = [_path_down(before, after) for before, after in _edges(placed)]
    return Drawing(width, height, tuple(box for row in placed for box in row), tuple(paths))


def _edges(placed: Sequence[Sequence[Placed]]) -> Iterator[tuple[Placed, Placed]]:
    """Each box, and one that follows it."""
    for here, following in pairwise(placed):
        for after in following:
            for before in here:
                if not after.box.after or after.box.after == before.box.key:
                    yield before, after


def _path(before: Placed, after: Placed, mirrored: bool) -> str:
    start, end = (before.x, after.x + _WIDE) if mirrored else (before.x + _WIDE, after.x)
    y, to, half = before.y + _HIGH // 2, after.y + _HIGH // 2, (start + end) // 2
    return f"M{start} {y}C{half} {y} {half} {to} {end} {to}"


def _path_down(before: Placed, after: Placed) -> str:
    start, end = before.y + _HIGH, after.y
    half = (start + end) // 2
    return f"M{before.middle} {start}C{before.middle} {half} {after.middle} {half} {after.middle} {end}"


def short(digest: str) -> str:
    """The first twelve digits, as lists show it."""
    return digest.removeprefix("sha256:")[:12]
