"""How an evaluation ends a pipeline's step: every ruling, whose it is, and that a look is never green."""

from __future__ import annotations

import pytest

from evals.ci.outcome import Outcome, step_of
from lifecycle.errors import InvalidInput
from lifecycle.verdict import Ruling

P, F, U = Ruling.PASSED, Ruling.FAILED, Ruling.UNDECIDED


@pytest.mark.parametrize(
    ("rulings", "expected"),
    [
        ({"a": P}, 0), ({"a": F}, 2), ({"a": U}, 3),
        ({"a": P, "b": P}, 0), ({"a": P, "b": F}, 2), ({"a": P, "b": U}, 3), ({"a": U, "b": F}, 2),
    ],
)  # fmt: skip
def test_the_worst_ruling_of_those_that_decide_is_the_exit_code(evaluated, rulings, expected: int) -> None:
    assert int(step_of(evaluated(rulings)).outcome) == expected


def test_the_exit_codes_are_those_of_the_guide() -> None:
    assert {outcome.name: int(outcome) for outcome in Outcome} == {"PASSED": 0, "ERROR": 1, "FAILED": 2, "UNDECIDED": 3}


def test_what_is_written_out_has_no_say_unless_there_is_nothing_else_or_it_is_named(evaluated) -> None:
    rulings = {"few-shot": F, "adapter": P}
    step = step_of(evaluated(rulings, rivals=("base", "few-shot")))
    assert (step.outcome, [judged.arm.arm for judged in step.deciding]) == (Outcome.PASSED, ["adapter"])
    assert step.why == "adapter (toy:3) passed"
    named = step_of(evaluated(rulings, rivals=("base", "few-shot")), ["few-shot"])
    assert named.outcome is Outcome.FAILED
    assert named.why == "few-shot (toy:2) failed: beats base: detail of few-shot"
    assert step_of(evaluated({"few-shot": P}, rivals=("base", "few-shot"))).outcome is Outcome.PASSED


@pytest.mark.parametrize(("ruling", "expected"), [(P, Outcome.UNDECIDED), (F, Outcome.FAILED), (U, Outcome.UNDECIDED)])
def test_a_look_is_never_green(evaluated, ruling: Ruling, expected: Outcome) -> None:
    step = step_of(evaluated({"a": ruling}, provisional=("50 of 200 items",)))
    assert step.outcome is expected
    if ruling is P:
        assert step.why == "a (toy:2) would have passed, and a look decides nothing: 50 of 200 items"


def test_an_arm_that_was_not_judged_cannot_decide(evaluated) -> None:
    with pytest.raises(InvalidInput, match="base is no arm that is judged; there is a"):
        step_of(evaluated({"a": P}), ["a", "base"])
    with pytest.raises(InvalidInput, match="no arm was judged"):
        step_of(evaluated({}))
