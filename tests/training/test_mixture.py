"""Sets of rows in shares: what an epoch sees of each."""

from __future__ import annotations

import pytest

from lifecycle.errors import InvalidConfig
from training.mixture import Mixture, counts


@pytest.mark.parametrize(
    ("sizes", "weights", "expected"),
    [
        ((100, 1000), (9, 1), [100, 11]),  # the first is through: 111 rows, of which a tenth is from the second
        ((100, 1000), (1, 1), [100, 100]),
        ((1000, 100), (1, 1), [100, 100]),
        ((100, 1000), (0.5, 0.5), [100, 100]),
        ((30, 30, 30), (1, 1, 1), [30, 30, 30]),
        ((10, 20, 70), (1, 2, 7), [10, 20, 70]),  # the shares that they have anyway: all rows, once
        ((7,), (3,), [7]),
        ((10, 10), (2, 1), [10, 5]),
        ((3, 1000, 1000), (3, 3, 4), [3, 3, 4]),
    ],
)
def test_an_epoch_ends_with_the_first_set_that_is_seen_through(
    sizes: tuple[int, ...], weights: tuple[float, ...], expected: list[int]
) -> None:
    assert counts(sizes, weights) == expected


def test_a_share_that_would_be_no_row_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"data\.train\[1\]\.weight: so small a share of 10 rows is none"):
        counts((10, 500), (1, 0.01))


def test_how_often_an_epoch_sees_each_example_is_told_of_all_of_them() -> None:
    often = mixture().often
    assert often == [1.0] * 6 + [0.3] * 10
    assert sum(often) == pytest.approx(len(mixture()))


def mixture(seed: int = 5) -> Mixture:
    return Mixture([[f"a{n}" for n in range(6)], [f"b{n}" for n in range(10)]], [2, 1], seed)


def test_no_row_comes_again_before_the_others_of_its_set_were_seen() -> None:
    mixed = mixture()
    assert (len(mixed), mixed.counts) == (9, [6, 3])
    epochs = [[mixed.every[place] for place in mixed.epoch(number)] for number in range(20)]
    for epoch in epochs:
        assert sorted(row for row in epoch if row[0] == "a") == [f"a{n}" for n in range(6)]
    stream = [row for epoch in epochs for row in epoch if row[0] == "b"]
    for start in range(0, 60, 10):
        assert sorted(stream[start : start + 10]) == [f"b{n}" for n in range(10)]
    assert stream[:10] != stream[10:20]


def test_it_is_a_sequence_of_its_first_epoch() -> None:
    mixed = mixture()
    assert list(mixed) == mixed[:] == [mixed.every[place] for place in mixed.epoch(0)]
    assert mixed[-1].startswith("b")


def test_the_seed_decides_which_rows_are_seen() -> None:
    assert list(mixture()) == list(mixture())
    assert list(mixture(seed=6)) != list(mixture())
