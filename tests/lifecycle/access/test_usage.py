"""The account of use: counts add up, over services too, and are told by day, key and version."""

from __future__ import annotations

from datetime import date

import pytest

from lifecycle.access.usage import Usage, as_csv
from lifecycle.registry import Registry

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


def use(day=MONDAY, key="key-a", version="triage:1", requests=1, prompt=10, completion=5):
    return Usage(
        day=day, key=key, version=version, requests=requests, prompt_tokens=prompt, completion_tokens=completion
    )


def test_counts_of_one_row_add_up_and_others_stand_beside(registry):
    registry.usage.add([use(), use(version="tiny"), use(key="key-b")], MONDAY)
    registry.usage.add([use(requests=2, prompt=1, completion=1), use(day=TUESDAY)], MONDAY)
    assert registry.usage.between() == [
        use(version="tiny"),
        use(requests=3, prompt=11, completion=6),
        use(key="key-b"),
        use(day=TUESDAY),
    ]


def test_tokens_of_a_day_are_those_of_every_key_over_all_versions(registry):
    told = registry.usage.add([use(), use(version="tiny"), use(key="key-b"), use(day=TUESDAY)], MONDAY)
    assert told == registry.usage.tokens_of(MONDAY) == {"key-a": 30, "key-b": 15}
    assert registry.usage.tokens_of(date(2026, 1, 1)) == {}
    assert registry.usage.tokens_of(MONDAY, {"key-b", "nobody"}) == {"key-b": 15}
    assert registry.usage.tokens_of(MONDAY, {*map(str, range(1200)), "key-a"}) == {"key-a": 30}
    assert registry.usage.add([], MONDAY, []) == {}


def test_days_a_key_and_a_version_narrow_what_is_told(registry):
    registry.usage.add([use(), use(key="key-b"), use(day=TUESDAY)], MONDAY)
    assert registry.usage.between(since=TUESDAY) == [use(day=TUESDAY)]
    assert registry.usage.between(until=MONDAY, key="key-b") == [use(key="key-b")]
    registry.usage.add([use(version="triage:2")], MONDAY)
    assert registry.usage.between(version="triage:2") == [use(version="triage:2")]


def test_more_than_thirty_two_bits_are_counted(registry):
    registry.usage.add([use(prompt=2**40)], MONDAY)
    assert registry.usage.tokens_of(MONDAY) == {"key-a": 2**40 + 5}


def test_use_is_no_change_of_the_registry(registry):
    before = registry.revision()
    registry.usage.add([use()], MONDAY)
    assert registry.revision() == before
    assert registry.audit() == []


def test_processes_that_count_at_once_lose_nothing(registry_url, at_once):
    script = """
from datetime import date
from lifecycle.registry import Registry
from lifecycle.access.usage import Usage
with Registry.open(sys.argv[1]) as registry:
    go()
    for _ in range(20):
        registry.usage.add([Usage(day=date(2026, 11, 23), key="key-a", version="t:1", requests=1)], date.min)
"""
    at_once(script, [[registry_url]] * 3)
    with Registry.open(registry_url) as registry:
        assert [one.requests for one in registry.usage.between()] == [60]


def test_csv_has_a_header_and_the_keys_names():
    text = as_csv([use(version='with,"comma"')], {"key-a": "clinic-app"})
    assert text.splitlines() == [
        "day,key,name,version,requests,prompt_tokens,completion_tokens",
        '2026-11-23,key-a,clinic-app,"with,""comma""",1,10,5',
    ]


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "@SUM(1)", "+1", "-1"])
def test_no_cell_of_the_csv_can_begin_a_formula(text):
    """Names of keys and versions begin with a letter or digit; a base's folder may be named anything."""
    (cell,) = (line.split(",")[3] for line in as_csv([use(version=text)], {}).splitlines()[1:])
    assert cell == f"'{text}"
