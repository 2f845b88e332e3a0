"""Tool calls: the right tool with the right arguments, and none where none is of use."""

from __future__ import annotations

from typing import Any

import pytest

from evals.sample import Sample
from evals.scorers.tool_calls import ToolCalls
from tests.evals.scorers.conftest import call
from tests.evals.scorers.test_texts import HOSTILE

BOOK = {"tool_calls": [{"name": "book", "arguments": {"day": "sunday", "hour": 9}}]}
TWO = {"tool_calls": [{"name": "book", "arguments": {"day": "a"}}, {"name": "book", "arguments": {"day": "b"}}]}
POSSIBLE = {"tool_calls": [{"name": "book", "possible": {"day": ["sunday", "sun"], "hour": [9, ""]}}]}


def test_it_knows_what_a_target_must_be() -> None:
    for target in ({"tool_calls": []}, {"calls": 1}, 5, None, {"tool_calls": [{"name": "x"}]}):
        assert ToolCalls().problems(Sample(key="k", id="i", messages=(), target=target))
    for good in ("words", BOOK, POSSIBLE):
        assert not ToolCalls().problems(Sample(key="k", id="i", messages=(), target=good))


@pytest.mark.parametrize(
    ("calls", "whole", "names", "arguments"),
    [
        ([call("book", '{"hour": 9, "day": "sunday"}')], 1, 1, 1),
        ([call("book", {"hour": 9.0, "day": "sunday"})], 1, 1, 1),
        ([call("book", '{"hour": "9", "day": "sunday"}')], 0, 1, 1 / 2),
        ([call("book", '{"day": "sunday"}')], 0, 1, 1 / 2),
        ([call("book", '{"hour": 9, "day": "sunday", "x": 1}')], 0, 1, 2 / 3),
        ([call("cancel", '{"hour": 9, "day": "sunday"}')], 0, 0, 0),
        ([call("book", "{day: sunday}")], 0, 1, 0),
        ([], 0, 0, 0),
        ([call("book", '{"hour": 9, "day": "sunday"}')] * 2, 0, 0, 1),
        ([{"id": "c", "function": None}], 0, 0, 0),
        ([{"function": {"name": 5, "arguments": 7}}], 0, 0, 0),
    ],
)
async def test_one_call(scored: Any, calls: list[Any], whole: float, names: float, arguments: float) -> None:
    score = await scored("tool_calls", "", BOOK, calls=tuple(calls))
    assert score.figures == {"tool_calls": whole, "tool_names": names, "tool_arguments": pytest.approx(arguments)}


async def test_several_calls_may_stand_in_any_order_unless_it_counts(scored: Any) -> None:
    swapped = (call("book", '{"day": "b"}'), call("book", '{"day": "a"}'))
    assert (await scored("tool_calls", "", TWO, calls=swapped)).figures["tool_calls"] == 1.0
    in_order = await scored("tool_calls", "", TWO, calls=swapped, in_order=True)
    assert in_order.figures == {"tool_calls": 0.0, "tool_names": 1.0, "tool_arguments": 0.0}
    same = (call("book", '{"day": "a"}'),) * 2
    assert (await scored("tool_calls", "", TWO, calls=same)).figures["tool_calls"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ('{"day": "sun", "hour": 9}', 1), ('{"day": "sunday"}', 1), ('{"hour": 9}', 0), ('{"day": "monday"}', 0),
        ('{"day": "sun", "hour": 10}', 0), ('{"day": "sun", "year": 1}', 0),
    ],
)  # fmt: skip
async def test_an_argument_may_have_several_right_values_or_be_left_out(
    scored: Any, arguments: str, right: int
) -> None:
    assert (await scored("tool_calls", "", POSSIBLE, calls=(call("book", arguments),))).figures["tool_calls"] == right


async def test_where_no_tool_is_of_use_nothing_is_to_be_called(scored: Any) -> None:
    assert (await scored("tool_calls", "I cannot.", "words")).figures == {"tool_calls": 1.0, "no_call": 1.0}
    made = (call("book", "{}"),)
    assert (await scored("tool_calls", "", "words", calls=made)).figures == {"tool_calls": 0.0, "no_call": 0.0}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_no_arguments_break_it(scored: Any, text: str) -> None:
    score = await scored("tool_calls", "", BOOK, calls=(call("book", text),))
    assert score.figures["tool_calls"] == 0.0
    assert score.unscored == {}
