"""Any sequence of promotions and rollbacks against a model of it: a plain stack."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.aliases import shares
from lifecycle.errors import NotAllowed
from lifecycle.registry import Registry, Target

VERSIONS = 4

targets = st.lists(st.integers(1, VERSIONS), min_size=1, max_size=3, unique=True).map(
    lambda numbers: tuple(Target(number=number, weight=1 + index) for index, number in enumerate(numbers))
)


@pytest.fixture
def registry(tmp_path):
    """SQLite alone: the stack is the same rows on both, and this runs hundreds of moves."""
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        yield opened


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(st.one_of(targets, st.none()), max_size=12), data=st.data())
def test_aliases_follow_a_stack_whatever_is_done_to_them(house, steps, data):
    registry = house.registry
    alias = f"a{len(registry.audit(limit=100_000))}"  # a fresh one for each example, in one registry
    for number in range(1, VERSIONS + 1):
        house.evaluated(f"system {number}")
    stack: list[tuple[Target, ...]] = []
    for step in steps:
        revision, before = registry.revision(), list(stack)
        if step is not None:
            registry.set_alias("triage", alias, step, actor="amal", reason="move")
            if not stack or stack[-1] != shares(step):
                stack.append(shares(step))
        elif len(stack) > 1:
            registry.rollback("triage", actor="amal", reason="back", alias=alias)
            stack.pop()
        elif stack:
            with pytest.raises(NotAllowed):
                registry.rollback("triage", actor="amal", reason="back", alias=alias)
        else:
            continue
        assert registry.alias("triage", alias).targets == stack[-1]
        assert (registry.revision() > revision) == (stack != before), "the revision grows with changes alone"
