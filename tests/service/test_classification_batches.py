"""Micro-batches: bounded in rows and tokens, shared by requests, fair between them, and without work for nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from lifecycle.errors import Overloaded
from service.classification.batches import Batches, BatchLimits
from service.concurrency import Bulkhead

pytestmark = pytest.mark.timeout(300)


class Computer:
    """Gives each row its sum and its length; can be held, and can fail."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.begun = threading.Event()

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        self.batches.append([list(row) for row in rows])
        self.begun.set()
        self.go.wait()
        if self.error is not None:
            raise self.error
        return [[float(sum(row)), float(len(row))] for row in rows]

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


@pytest.fixture
def computer() -> Computer:
    return Computer()


def batches(computer: Any, turn: asyncio.Lock | None = None, **limits: float) -> Batches:
    bulkhead = Bulkhead("test", at_once=1, waiting=64, seconds=None)
    made = BatchLimits(**{"company": 0.0, **limits})  # type: ignore[arg-type]
    return Batches(computer, bulkhead, turn or asyncio.Lock(), made)


async def test_a_request_gets_its_rows_results_in_their_order(computer: Computer) -> None:
    rows = [[number] * (1 + number % 3) for number in range(50)]
    assert await batches(computer, rows=7).rows(rows) == [[float(sum(row)), float(len(row))] for row in rows]


async def test_rows_of_requests_that_come_together_are_computed_together(computer: Computer) -> None:
    lane = batches(computer, company=5.0, rows=4)
    results = await asyncio.gather(*(lane.rows([[number]]) for number in range(4)))
    assert (computer.sizes, results) == ([4], [[[float(number), 1.0]] for number in range(4)])


async def test_a_single_row_waits_no_longer_for_company_than_it_may(computer: Computer) -> None:
    assert await batches(computer, company=0.001, rows=4).rows([[5]]) == [[5.0, 1.0]]


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [
        ([1] * 9, [4, 4, 1]),  # rows
        ([6, 6, 6], [2, 1]),  # 2 × 6 tokens fit into 12, 3 × 6 do not
        ([12, 1], [1, 1]),  # the padding of the short one counts
        ([1, 12], [1, 1]),
        ([13, 13], [1, 1]),  # longer than any batch: alone
    ],
)
async def test_a_batch_is_bounded_in_rows_and_in_tokens_with_their_padding(
    computer: Computer, lengths: list[int], sizes: list[int]
) -> None:
    await batches(computer, rows=4, tokens=12).rows([[1] * length for length in lengths])
    assert computer.sizes == sizes


async def test_a_long_list_holds_up_a_single_text_for_one_batch_alone(computer: Computer) -> None:
    computer.go.clear()
    lane = batches(computer, rows=2)
    long = asyncio.create_task(lane.rows([[0]] * 100))
    await asyncio.to_thread(computer.begun.wait)
    short = asyncio.create_task(lane.rows([[7]]))
    await asyncio.sleep(0)
    computer.go.set()
    assert await short == [[7.0, 1.0]]
    assert [7] in computer.batches[1], "it is in the very next batch"
    assert len(await long) == 100


async def test_two_classifiers_compute_by_turns_and_never_at_once() -> None:
    inside, most = [0], [0]

    def compute(rows: Sequence[Sequence[int]]) -> list[list[float]]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        inside[0] -= 1
        return [[0.0]] * len(rows)

    turn = asyncio.Lock()
    await asyncio.gather(*(batches(compute, turn, rows=1).rows([[1]] * 20) for _ in range(3)))
    assert most == [1]


async def test_beyond_what_may_wait_a_request_is_refused_at_once(computer: Computer) -> None:
    computer.go.clear()
    lane = batches(computer, waiting=3, rows=1)
    first = asyncio.create_task(lane.rows([[1]] * 3))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="3 texts are waiting"):
        await lane.rows([[2]])
    computer.go.set()
    assert len(await first) == 3
    assert await lane.rows([[2]] * 3) == [[2.0, 1.0]] * 3


async def test_a_request_that_takes_too_long_is_told_and_computed_no_further(computer: Computer) -> None:
    computer.go.clear()
    lane = batches(computer, rows=1, seconds=0.01)
    with pytest.raises(Overloaded, match=r"not classified within 0\.01 s"):
        await lane.rows([[1]] * 50)
    assert lane.waiting == 0
    computer.go.set()


async def test_for_a_caller_that_left_nothing_more_is_computed(computer: Computer) -> None:
    computer.go.clear()
    lane = batches(computer, rows=1)
    leaving = asyncio.create_task(lane.rows([[1]] * 50))
    await asyncio.to_thread(computer.begun.wait)
    leaving.cancel()
    staying = asyncio.create_task(lane.rows([[2]]))
    with pytest.raises(asyncio.CancelledError):
        await leaving
    computer.go.set()
    assert await staying == [[2.0, 1.0]]
    assert len(computer.batches) == 2


async def test_what_computing_raises_is_told_to_those_in_the_batch_and_the_next_go_on(computer: Computer) -> None:
    computer.error = RuntimeError("broken")
    lane = batches(computer, company=5.0, rows=2)
    results = await asyncio.gather(lane.rows([[1]] * 3), lane.rows([[2]]), return_exceptions=True)
    assert [str(one) for one in results] == ["broken", "broken"]
    computer.error = None
    assert (await lane.rows([[3]] * 2), lane.waiting) == ([[3.0, 1.0]] * 2, 0)
