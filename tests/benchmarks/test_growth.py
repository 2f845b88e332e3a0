"""How the growth of a cost is named. `python -m benchmarks.serving --only growth` measures it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bases import TINY
from benchmarks.plan import Plan
from benchmarks.scenarios.growth import VERSIONS, Costs, _sizes, growth, plot, unheard


@pytest.mark.parametrize(
    ("costs", "named"),
    [
        ({10: 1.0, 100: 1.1, 1_000: 0.9, 10_000: 1.2}, "flat"),
        ({1: 8.0, 8: 2.0, 64: 1.0}, "falls"),
        ({64: 1.0, 128: 2.0, 256: 4.0}, "linear, size^1.00"),
        ({1: 1.0, 4: 2.0, 16: 4.0}, "less than linear, size^0.50"),
        ({1: 1.0, 2: 4.0, 4: 16.0}, "more than linear, size^2.00"),
    ],
)
def test_growth_is_named_by_the_power_of_the_size_that_the_cost_follows(costs: dict[int, float], named: str) -> None:
    assert growth(costs) == named


def test_the_picture_has_a_line_for_each_kind_and_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    found = {"versions": [Costs(1, [1.0, 2.0]), Costs(10, [1.0, 1.0])], "keys": [Costs(1, [3.0]), Costs(9, [4.0])]}
    drawn = []
    for name in ("one.svg", "two.svg"):
        plot(found, tmp_path / name)
        drawn.append((tmp_path / name).read_text(encoding="utf-8"))
    assert drawn[0] == drawn[1]
    assert {f"<!-- {kind} -->" for kind in found} <= {line.strip() for line in drawn[0].splitlines()}


def test_a_quick_run_keeps_both_ends_and_what_is_between(tmp_path: Path) -> None:
    quick = Plan(TINY, "tiny", tmp_path, 1, "float32", quick=True)
    assert _sizes(quick, VERSIONS) == [10, 1_000, 10_000]
    assert _sizes(quick, [64, 1_024]) == [64, 1_024, 1_024]
    assert _sizes(Plan(TINY, "tiny", tmp_path, 1, "float32"), VERSIONS) == VERSIONS


def test_each_size_asks_its_own_prompts_and_none_is_asked_twice() -> None:
    prompts = [unheard(said) for said in ("short", "long " * 50)]
    texts = [next(of).text for of in prompts * 2]
    assert [text.partition(" ")[2] for text in texts] == ["short", "long " * 50] * 2
    assert len({text.partition(" ")[0] for text in texts}) == 4
