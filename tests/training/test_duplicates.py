"""Near duplicates are all found and no others, at and around the threshold; each property is shown to be reached."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections import Counter
from functools import partial

import pytest
from hypothesis import event, given, seed, settings
from hypothesis import strategies as st

from training.data import duplicates
from training.data.duplicates import Pair
from training.data.spool import Spool

EDITS = st.lists(
    st.tuples(st.sampled_from(["replace", "insert", "delete", "cut"]), st.integers(0, 40), st.sampled_from("xyz أ")),
    max_size=3,
)


def edited(text: str, edits: list[tuple[str, int, str]]) -> str:
    for what, place, char in edits:
        at = place % (len(text) + 1)
        if what == "cut":
            text = text[: max(at, 1)]
        else:
            text = text[:at] + char * (what != "delete") + text[at + (what != "insert") :]
    return text


def jaccard(left: str, right: str) -> float:
    """By its definition, on character 5-shingles."""
    one, two = ({t[i : i + 5] for i in range(max(1, len(t) - 4))} for t in (left, right))
    return len(one & two) / len(one | two)


def similarities(lefts: list[str], rights: list[str]) -> dict[tuple[int, int], float]:
    """Of every pair of unequal texts, by the texts' first positions."""
    return {(lefts.index(a), rights.index(b)): jaccard(a, b) for a in lefts for b in rights if a != b}


def by_place(pairs: list[Pair]) -> dict[tuple[int, int], float]:
    return {(pair.left, pair.right): pair.similarity for pair in pairs}


def test_near_finds_exactly_the_pairs_that_comparing_all_finds() -> None:
    reached: Counter[str] = Counter()

    @seed(1)
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.text("abcd ", min_size=6, max_size=30), st.lists(EDITS, min_size=2, max_size=6), st.integers(0, 9))
    def holds(base: str, edits: list[list[tuple[str, int, str]]], pick: int) -> None:
        texts = [base, *(edited(base, some) for some in edits)]
        within = {pair: value for pair, value in similarities(texts, texts).items() if pair[0] < pair[1]}
        # A threshold that a pair meets exactly, where there is one: a rounding or a `>` would lose it.
        met = sorted({value for value in within.values() if value > 0})
        threshold = met[pick % len(met)] if met else 0.5
        expected = {pair: value for pair, value in within.items() if value >= threshold}
        found = duplicates.near(texts, threshold)
        assert by_place(found) == expected
        assert [(pair.left, pair.right) for pair in found] == sorted(expected)

        half = len(texts) // 2
        lefts, rights = texts[:half], texts[half:]
        across = {pair: value for pair, value in similarities(lefts, rights).items() if value >= threshold}
        assert by_place(duplicates.near(lefts, threshold, rights)) == across

        for name, is_reached in {
            "a pair exactly at the threshold": bool(met),
            "a pair below it": len(within) > len(expected),
            "a pair across": bool(across),
            "an equal text": len(set(texts)) < len(texts),
            "below 1": threshold < 1.0,
        }.items():
            if is_reached:
                reached[name] += 1
                event(name)

    holds()
    assert len(reached) == 5
    assert min(reached.values()) >= 20, reached


def test_all_edits_of_one_text_are_pairs_and_unrelated_ones_are_not() -> None:
    """Larger sets: the rarest shingles of a text are then others than its first."""
    families = [f"question {name} asks about the clinic in {name}" for name in ("riyadh", "amman", "cairo", "beirut")]
    texts = [text + end for text in families for end in ("", "?", " please", " now")]
    expected = {
        (i, j): jaccard(texts[i], texts[j])
        for i, j in itertools.combinations(range(len(texts)), 2)
        if jaccard(texts[i], texts[j]) >= 0.75
    }
    assert len(expected) >= 12
    assert len(expected) < len(list(itertools.combinations(texts, 2)))
    assert by_place(duplicates.near(texts, 0.75)) == expected


@pytest.mark.parametrize("texts", [["abcdefghijkl", "abcdefgh"], ["abcdefgh", "abcdefghijkl"]])
def test_a_text_whose_every_shingle_is_in_the_other_is_found_at_the_share_that_it_makes(texts: list[str]) -> None:
    """4 of 8: the least that the prefix filter may let through, and the last size that can reach it."""
    assert duplicates.near(texts, 0.5) == [Pair(0, 1, 0.5)]
    assert duplicates.near(texts, 0.5 + 1e-6) == []


def test_texts_of_very_different_length_are_no_pair_although_they_share_their_rarest_shingle() -> None:
    long, short = "abcdefghijklmnopqrstuvwxyz" * 2, "zabcd"
    others = [long[at:] + "!" for at in range(20)]  # they make the long text's other shingles common
    pairs = by_place(duplicates.near([long, short, *others], 0.3))
    assert jaccard(long, short) < 0.3
    assert (0, 1) not in pairs
    assert (0, 2) in pairs


def test_texts_shorter_than_a_shingle_are_compared_whole() -> None:
    assert duplicates.near(["abc", "abd"], 0.1) == []
    assert duplicates.near(["abcde", "abcdef"], 0.5) == [Pair(0, 1, 0.5)]


def test_a_pair_is_named_by_the_first_place_of_each_text() -> None:
    texts = ["abcdefgh", "abcdefgh", "abcdefghi", "abcdefghi"]
    assert [(pair.left, pair.right) for pair in duplicates.near(texts, 0.5)] == [(0, 2)]
    assert [(pair.left, pair.right) for pair in duplicates.near(texts[:2], 0.5, texts[1:])] == [(0, 1)]


def test_pairs_across_two_sets_come_in_order_whatever_their_similarity() -> None:
    pairs = duplicates.near(["abcdefgh", "abcdefghij"], 0.2, ["abcdefghi", "abcdefghijk", "unrelated text"])
    assert [(pair.left, pair.right) for pair in pairs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.0 + 1e-9, 1.5])
def test_a_threshold_that_no_similarity_has_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        duplicates.near(["a"], threshold)


def test_a_threshold_of_1_finds_different_texts_of_the_same_shingles() -> None:
    texts = ["ababababa", "abababababab"]
    assert duplicates.near(texts, 1.0) == [Pair(0, 1, 1.0)]


def test_equal_texts_are_groups_in_order_and_never_near() -> None:
    texts = ["b", "a", "b", "c", "a", "b"]
    assert duplicates.same(texts) == [(0, 2, 5), (1, 4)]
    assert duplicates.same(["a"]) == []
    assert duplicates.same([]) == []
    assert duplicates.near(texts, 0.1) == []


def test_pairs_are_the_same_however_many_texts_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of one batch, of two, and a last batch that is not full."""
    texts = [f"{place} the clinic opens at eight in the morning {'عيادة' * (place % 3)}" for place in range(11)]
    together = by_place(duplicates.near(texts, 0.6))
    across = by_place(duplicates.near(texts[:5], 0.6, texts[5:]))
    assert len(together) > 10
    assert len(across) > 5
    for batch in (1, 3, 5, 11):
        monkeypatch.setattr(duplicates, "_BATCH", batch)
        assert by_place(duplicates.near(texts, 0.6)) == together
        assert by_place(duplicates.near(texts[:5], 0.6, texts[5:])) == across


def test_texts_of_two_kinds_are_no_pair_however_near_they_are() -> None:
    index = duplicates.Near(0.6)
    for kind, text in enumerate(
        ["the clinic opens at eight", "the clinic opens at nine", "the clinic opens at eighty"]
    ):
        index.add(text, kind=kind % 2)
    assert [(pair.left, pair.right) for pair in index.pairs()] == [(0, 2)]


def test_a_cluster_is_named_by_its_first_position_in_whatever_order_it_is_joined() -> None:
    for joins in ([(3, 1), (1, 4)], [(4, 3), (3, 1)], [(1, 4), (4, 3)]):
        clusters = duplicates.Clusters(6)
        for one, two in joins:
            clusters.join(one, two)
        assert [clusters.of(at) for at in range(6)] == [0, 1, 2, 1, 1, 5]


def test_the_names_of_all_clusters_are_those_of_each_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BATCH", 7)
    drawn, clusters = random.Random(5), duplicates.Clusters(60)
    for _ in range(40):
        clusters.join(drawn.randrange(60), drawn.randrange(60))
    by_position = [clusters.of(at) for at in range(60)]
    assert len(set(by_position)) < 40
    assert clusters.names().tolist() == by_position


WORDS = ["doctor", "clinic", "pain", "head", "knee", "since", "monday", "when", "open", "please", "book", "visit"]


def sentences(count: int) -> list[str]:
    drawn = random.Random(3)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(7, 13))) for _ in range(count)]


def test_long_texts_that_set_every_bit_are_found_as_any_others() -> None:
    words = [f"{word}{number}" for number in range(40) for word in WORDS]
    one, other = " ".join(words), " ".join([*words[:-9], "changed"])
    (pair,) = duplicates.near([one, other], 0.9)
    assert pair.similarity == pytest.approx(jaccard(one, other))
    assert duplicates.near([one, other], pair.similarity + 1e-6) == []


def test_texts_of_the_same_few_words_are_told_apart_without_being_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, compared = sentences(1500), list[int]()
    read = duplicates._hashes
    monkeypatch.setattr(duplicates, "_hashes", lambda *told: compared.append(told[2]) or read(*told))
    pairs = duplicates.near([*texts, f"{texts[0]} now"], 0.85)
    assert (0, 1500) in by_place(pairs)
    assert len(compared) < 40  # of a million pairs


def test_a_text_keeps_a_few_bytes_in_memory_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies on disk comes back in 64 parts, of which one is there at a time."""
    monkeypatch.setattr(duplicates, "_BATCH", 256)
    monkeypatch.setattr(duplicates, "_BITS", 12)
    monkeypatch.setattr(duplicates, "Spool", partial(Spool, most=500))
    texts, most = sentences(3000), []
    for count in (1000, 3000):
        tracemalloc.start()
        index = duplicates.Near(0.85)
        for text in texts[:count]:
            index.add(text)
        list(index.pairs())
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] - most[0] < 16 * 2000  # a text of its own would take 60 and more
