"""Which replica answers: each reason by itself. `tests/benchmarks/test_fleet.py` sees what they come to together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from service.cluster.routing import Replica, Router

NAMES = [f"replica-{number}" for number in range(20)]
ADAPTERS = [f"sha256:{number:064x}" for number in range(400)]


def replicas(**changes: object) -> list[Replica]:
    """Twenty that are empty and alike."""
    return [replace(Replica(name, room=10), **changes) for name in NAMES]


def first(router: Router, digest: str, among: list[Replica]) -> str:
    return router.ranked(digest, among)[0].id


def test_gateways_agree_without_a_word_in_whatever_order_they_know_the_replicas() -> None:
    here, there = Router(), Router()
    for digest in ADAPTERS[:50]:
        ids = [each.id for each in here.ranked(digest, replicas())]
        assert ids == [each.id for each in there.ranked(digest, replicas()[::-1])]
        assert sorted(ids) == sorted(NAMES)


def test_adapters_are_spread_evenly() -> None:
    firsts = Counter(first(Router(), digest, replicas()) for digest in ADAPTERS)
    assert len(firsts) == len(NAMES)
    assert max(firsts.values()) <= 2 * len(ADAPTERS) / len(NAMES)


def test_a_replica_that_goes_moves_its_own_adapters_alone_and_one_that_comes_takes_its_part() -> None:
    router = Router()
    before = {digest: first(router, digest, replicas()) for digest in ADAPTERS}
    without = replicas()[:-1]
    after = {digest: first(router, digest, without) for digest in ADAPTERS}
    moved = {digest for digest in ADAPTERS if before[digest] != after[digest]}
    assert moved == {digest for digest in ADAPTERS if before[digest] == NAMES[-1]}
    assert {digest: first(router, digest, replicas()) for digest in ADAPTERS} == before


def test_an_adapter_goes_where_it_is_and_the_store_is_asked_last() -> None:
    router, digest = Router(), ADAPTERS[0]
    order = [each.id for each in router.ranked(digest, replicas())]
    known = {each.id: each for each in replicas()}
    known[order[7]].nearby = {digest}
    known[order[9]].resident = {digest}
    known[order[0]].idle_slots = 0
    ranked = [each.id for each in router.ranked(digest, list(known.values()))]
    assert ranked == [order[9], order[7], *(name for name in order[1:] if name not in (order[9], order[7])), order[0]]


def test_a_popular_adapter_takes_the_next_replica_when_its_own_has_more_than_its_part() -> None:
    router, digest = Router(slack=1.5), ADAPTERS[1]
    known = {each.id: each for each in replicas(room=100)}
    sent = Counter[str]()
    for _ in range(200):
        chosen = router.ranked(digest, list(known.values()))[0]
        chosen.busy += 1
        chosen.resident = {digest}
        sent[chosen.id] += 1
    assert max(sent.values()) <= 1.5 * (200 / len(NAMES)) + 1
    # As few replicas as the bound allows have it: 200 requests of at most 15 or so each.
    assert len(sent) == 14
    order = [each.id for each in Router().ranked(digest, replicas())]
    assert set(sent) == set(order[:14])


def test_over_its_part_a_replica_comes_before_none_at_all() -> None:
    """All over the bound cannot be; but those with room left are tried, the others not."""
    router, digest = Router(), ADAPTERS[2]
    known = replicas(busy=10)
    assert router.ranked(digest, known) == []
    known[4].busy = 9
    assert [each.id for each in router.ranked(digest, known)] == [NAMES[4]]


def test_the_base_goes_where_least_is_to_do() -> None:
    known = replicas(busy=5)
    known[3].busy = 1
    known[8].busy = 10
    ranked = [each.id for each in Router().ranked(None, known)]
    assert ranked[0] == NAMES[3]
    assert NAMES[8] not in ranked


def test_orders_that_nobody_asks_for_are_forgotten() -> None:
    router = Router(remembered=10)
    for digest in ADAPTERS[:30]:
        router.ranked(digest, replicas())
    assert list(router._orders) == ADAPTERS[20:30]
    router.ranked(ADAPTERS[20], replicas())
    router.ranked(ADAPTERS[0], replicas())
    assert ADAPTERS[20] in router._orders
    assert ADAPTERS[21] not in router._orders


@given(
    st.lists(
        st.builds(
            Replica,
            id=st.sampled_from(NAMES),
            room=st.integers(0, 4),
            busy=st.integers(0, 6),
            resident=st.sets(st.sampled_from(ADAPTERS[:3])),
            nearby=st.sets(st.sampled_from(ADAPTERS[:3])),
            idle_slots=st.integers(0, 2),
        ),
        unique_by=lambda each: each.id,
    ),
    st.sampled_from([None, *ADAPTERS[:3]]),
)
def test_each_replica_with_room_is_tried_once_and_no_other(known: list[Replica], digest: str | None) -> None:
    ranked = Router().ranked(digest, known)
    assert sorted(each.id for each in ranked) == sorted(each.id for each in known if each.busy < each.room)
