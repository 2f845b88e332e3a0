"""Two versions side by side: texts by lines, fields of recipe and artifact, figures; what differs is marked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.language import N_
from console.rendering import show
from console.screens.versions.page import reading_of, version_at
from console.screens.versions.reading import Reading
from console.viewer import viewer_of
from lifecycle.access.keys import Role
from lifecycle.errors import InvalidInput
from lifecycle.interval import Interval
from lifecycle.report import Comparison
from lifecycle.version import Ref, Version

_MOST_LINES = 2000
"""Of one text that are compared; what comes after them is left out, and the page says so."""

router = APIRouter(prefix="/ui/versions")

SYSTEM, SHOTS = N_("System text"), N_("Shots")
TEMPLATE, ARABIC_TEMPLATE = N_("Template of passages"), N_("Template of passages in Arabic")


@dataclass(frozen=True, slots=True)
class Line:
    mark: str
    """`-` of the first alone, `+` of the second alone, a space for both."""
    text: str


@dataclass(frozen=True, slots=True)
class TextDifference:
    title: str
    lines: tuple[Line, ...]
    is_same: bool
    is_cut: bool


@dataclass(frozen=True, slots=True)
class FieldDifference:
    place: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        return self.a != self.b


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one evaluation with both, or of two."""

    task_a: str
    task_b: str
    digest_a: str
    digest_b: str
    rows: tuple[tuple[str, Interval | None, Interval | None, Comparison | None], ...]
    """Metric, the figure of each, and the second against the first where that was compared."""

    @property
    def together(self) -> bool:
        return self.digest_a == self.digest_b


def line_difference(title: str, a: str, b: str) -> TextDifference | None:
    """None where there is no such text in either."""
    if not a and not b:
        return None
    left, right = a.splitlines(), b.splitlines()
    is_cut = max(len(left), len(right)) > _MOST_LINES
    left, right = left[:_MOST_LINES], right[:_MOST_LINES]
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    lines: list[Line] = []
    for change, from_a, to_a, from_b, to_b in matcher.get_opcodes():
        if change == "equal":
            lines += [Line(" ", text) for text in left[from_a:to_a]]
            continue
        lines += [Line("-", text) for text in left[from_a:to_a]]
        lines += [Line("+", text) for text in right[from_b:to_b]]
    return TextDifference(title, tuple(lines), a == b, is_cut)


def field_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[FieldDifference]:
    """Of every place in either, by its path; the empty text where there is none."""
    left, right = dict(_places(a)), dict(_places(b))
    places = [*left, *(place for place in right if place not in left)]
    return [FieldDifference(place, left.get(place, ""), right.get(place, "")) for place in places]


def _places(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _places(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (Mapping, list)) for inner in value):
        for place, inner in enumerate(value):
            yield from _places(inner, f"{at}[{place}]")
    elif isinstance(value, list):
        yield at, ", ".join(map(str, value))
    elif value not in (None, ""):
        yield at, str(value)


def texts_of(version: Version) -> dict[str, str]:
    prompt, knowledge = version.spec.prompt, version.spec.knowledge
    shots = "\n\n".join(f"user: {shot.user}\nassistant: {shot.assistant}" for shot in prompt.shots)
    return {
        SYSTEM: prompt.system,
        SHOTS: shots,
        TEMPLATE: knowledge.template if knowledge is not None else "",
        ARABIC_TEMPLATE: (knowledge.arabic_template or "") if knowledge is not None else "",
    }


def _recipe(version: Version) -> dict[str, Any]:
    """All of it but the texts."""
    spec = version.spec.model_dump(mode="json")
    spec["prompt"].pop("system")
    spec["prompt"].pop("shots")
    for name in ("template", "arabic_template"):
        (spec["knowledge"] or {}).pop(name, None)
    return {"kind": version.spec.kind, "state": version.state.value, "digest": version.digest, **spec}


def _artifact(told: Reading) -> dict[str, Any]:
    if told.manifest is None:
        return {}
    manifest = told.manifest
    return {
        "kind": manifest.kind,
        **manifest.model_dump(mode="json", exclude={"golden"}),
        "golden answers": len(manifest.golden),
    }


def figures_of(a: tuple[Version, Reading], b: tuple[Version, Reading]) -> Figures | None:
    """Of the newest evaluation that has both as arms; else of the newest of each. None where one has none."""
    of_a, of_b = a[1].figures(a[0]), b[1].figures(b[0])
    if not of_a or not of_b:
        return None
    there = {row.report.digest: (row, arm) for row, arm in of_b}
    both = next(((row, arm) for row, arm in of_a if row.report.digest in there), None)
    (row_a, arm_a), (row_b, arm_b) = (both, there[both[0].report.digest]) if both else (of_a[0], of_b[0])
    metrics = list(dict.fromkeys([row_a.report.metric, *arm_a.metrics, *arm_b.metrics]))
    compared: dict[str, Comparison] = {}
    if both is not None:
        for told in row_a.report.comparisons:
            if {told.arm, told.against} == {arm_a.arm, arm_b.arm} and arm_a.arm != arm_b.arm:
                compared[told.metric] = told if told.arm == arm_b.arm else told.turned
    rows = tuple(
        (metric, arm_a.metrics.get(metric), arm_b.metrics.get(metric), compared.get(metric)) for metric in metrics
    )
    report_a, report_b = row_a.report, row_b.report
    return Figures(report_a.task, report_b.task, report_a.digest, report_b.digest, rows)


@router.get("/compare")
async def compare(request: Request) -> Response:
    asked = [request.query_params.get(side, "").strip() for side in ("a", "b")]
    if not all(asked):
        return show(request, "versions/compare.html", asked=asked, pair=None)
    a, b = (_named(request, ref) for ref in asked)
    told_a, told_b = await reading_of(request, a), await reading_of(request, b)
    inside = viewer_of(request).may(Role.EVALUATOR)
    texts_a, texts_b = texts_of(a), texts_of(b)
    made = [line_difference(title, texts_a[title], texts_b[title]) for title in texts_a] if inside else []
    recipe = field_differences(_recipe(a), _recipe(b)) if inside else []
    origin = field_differences(a.lineage.model_dump(mode="json"), b.lineage.model_dump(mode="json"))
    tables = (
        (N_("Recipe"), recipe),
        (N_("Artifact"), field_differences(_artifact(told_a), _artifact(told_b)) if inside else []),
        (N_("Where it comes from"), origin),
    )
    return show(
        request,
        "versions/compare.html",
        asked=[a.ref, b.ref],
        pair=(a, b),
        texts_differ=[text for text in made if text is not None],
        tables=[(title, fields) for title, fields in tables if fields],
        figures=figures_of((a, told_a), (b, told_b)),
        problem=told_a.problem or told_b.problem,
    )


def _named(request: Request, text: str) -> Version:
    """Of `triage:3`, or of an alias with one target. Raises `InvalidInput` for a split one, and `NotFound`."""
    ref = Ref.parse(text)
    if ref.number is not None:
        return version_at(request, ref.name, str(ref.number))
    alias = request.app.state.parts.catalogue.snapshot.aliases.get(ref.name, {}).get(str(ref.alias))
    targets: Sequence[int] = [target.number for target in alias.targets] if alias is not None else []
    if len(targets) > 1:
        raise InvalidInput(f"{ref} is split over {', '.join(f'{ref.name}:{number}' for number in targets)}; name one")
    return version_at(request, ref.name, str(targets[0] if targets else 0))
