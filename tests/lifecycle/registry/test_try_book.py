"""Tries on items are counted once each, over all names, whoever asks and however many at once; on both databases."""

from __future__ import annotations

import pytest

from lifecycle.report import Tries
from lifecycle.version import digest_of

ITEMS, FRESH = digest_of("items"), digest_of("fresh items")
A, B, C = (digest_of(letter) for letter in "abc")


def tried(registry, *candidates, data=ITEMS, deployment=A, name="triage", provisional=False):
    return registry.count_try(
        data, candidates=candidates, deployment=deployment, name=name, provisional=provisional, actor="evals"
    )


def test_new_candidates_on_the_same_items_are_a_new_try_and_the_same_again_are_none(registry):
    assert [tried(registry, one).number for one in (A, B, A, C, B)] == [1, 2, 1, 3, 2]
    assert tried(registry, A) == Tries(number=1, looks=0)


def test_candidates_are_a_set_whatever_their_order(registry):
    assert tried(registry, A, B).number == tried(registry, B, A).number == tried(registry, B, A, B).number == 1
    assert tried(registry, A).number == 2


def test_another_deployment_or_an_unknown_one_is_another_try(registry):
    assert [tried(registry, A, deployment=one).number for one in (A, B, None, None, B)] == [1, 2, 3, 3, 2]


def test_another_name_shares_the_items_tries_and_fresh_items_begin_anew(registry):
    assert tried(registry, A, name="triage").number == 1
    assert tried(registry, B, name="copy-of-triage").number == 2
    assert tried(registry, A, name="copy-of-triage").number == 1
    assert tried(registry, B, data=FRESH).number == 1


def test_a_look_takes_no_number_and_is_counted_among_the_looks(registry):
    assert tried(registry, A, provisional=True) == Tries(number=1, looks=1)
    assert tried(registry, A, provisional=True) == Tries(number=1, looks=1)
    assert tried(registry, B, provisional=True) == Tries(number=1, looks=2)
    assert tried(registry, C) == Tries(number=1, looks=2)
    assert tried(registry, B, provisional=True) == Tries(number=2, looks=2)
    assert tried(registry, C, provisional=True) == Tries(number=1, looks=3)
    assert tried(registry, B) == Tries(number=2, looks=3)
    assert tried(registry, B, data=FRESH, provisional=True) == Tries(number=1, looks=1)


@pytest.mark.e2e
def test_processes_that_try_at_once_get_every_number_once(registry, registry_url, at_once):
    script = """
from lifecycle.registry import Registry
from lifecycle.version import digest_of
url, who = sys.argv[1:]
registry = Registry.open(url)
registry.names()
go()
def tried(candidate):
    given = {"candidates": [digest_of(candidate)], "deployment": None, "name": "triage", "provisional": False}
    return registry.count_try(digest_of("items"), actor=who, **given).number
print(*(tried(f"{who} {turn}") for turn in range(15)))
print(*(tried(f"shared {turn}") for turn in range(15)))
"""
    outputs = [output.splitlines() for output in at_once(script, [[registry_url, who] for who in ("a", "b", "c")])]
    own = [int(number) for lines in outputs for number in lines[0].split()]
    shared = [lines[1] for lines in outputs]
    assert len(set(shared)) == 1, "all got the same numbers for the same candidates"
    assert sorted([*own, *map(int, shared[0].split())]) == list(range(1, 3 * 15 + 15 + 1)), "no gap, none twice"
