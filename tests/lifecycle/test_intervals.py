"""Wilson's interval at its ends, where floating point is off by one bit: 0 is 0 and 1 is 1."""

from __future__ import annotations

import pytest

from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED, score_bounds, wilson


@pytest.mark.parametrize("n", range(1, 200))
def test_none_of_n_reaches_down_to_0_and_all_of_n_up_to_1(n: int) -> None:
    assert score_bounds(0.0, n, Z_TWO_SIDED)[0] == 0.0
    assert score_bounds(1.0, n, Z_TWO_SIDED)[1] == 1.0
    none, every = wilson(0, n), wilson(n, n)
    assert none.low == 0.0 < none.high
    assert every.low < every.high == 1.0
    assert every.low == pytest.approx(1 - none.high)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (1, 0), (-1, 3), (4, 3)])
def test_there_is_no_share_of_nothing_nor_of_more_than_all(successes: int, n: int) -> None:
    with pytest.raises(InvalidInput):
        wilson(successes, n)
