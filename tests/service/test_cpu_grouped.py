"""The kernel of grouped rows: what a row gets depends on its own numbers and adapter, and on nothing beside them."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

torch: Any = None
grouped: Any = None

INTO, OUTS, SLOTS = 96, (160, 32, 64), 4


@pytest.fixture(scope="module", autouse=True)
def heavy_imports() -> None:
    """Not at the top, so that collecting these tests to leave them out costs nothing."""
    global torch, grouped
    import torch as real_torch

    import service.engine.cpu.grouped as real_grouped

    torch, grouped = real_torch, real_grouped


class Layer:
    def __init__(self, rank: int, dtype: str) -> None:
        self.random, self.dtype = torch.Generator().manual_seed(rank), getattr(torch, dtype)
        self.a = self.numbers(len(OUTS), SLOTS, rank, INTO)
        self.b = [self.numbers(SLOTS, rank, out) for out in OUTS]

    def numbers(self, *shape: int) -> Any:
        return torch.randn(*shape, generator=self.random).to(self.dtype)

    def added(self, x: Any, y: Any, slots: list[int]) -> Any:
        kernel, got = grouped.Grouped(), y.clone()
        place = kernel.place(self.a, self.b)
        kernel.set_rows(slots)
        kernel.add(got, x, place)
        return got


@pytest.fixture
def threads() -> Any:
    """Sets how many torch uses, for the length of a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("rank", [1, 8, 11])
def test_a_row_gets_the_same_bits_whatever_is_in_the_batch_on_any_number_of_threads(
    rank: int, dtype: str, threads: Any
) -> None:
    layer = Layer(rank, dtype)
    rows = 40
    x, y = layer.numbers(rows, INTO), layer.numbers(rows, sum(OUTS))
    threads(1)
    alone = {
        (row, slot): layer.added(x[row : row + 1], y[row : row + 1], [slot])[0]
        for row in range(rows)
        for slot in range(-1, SLOTS)
    }
    chance = torch.Generator().manual_seed(7)
    sizes = set()
    for trial in range(60):
        threads(1 + trial % 3)
        many = 1 + trial % rows
        used = 1 + trial % SLOTS
        slots = (torch.randint(-1, used, (many,), generator=chance)).tolist()
        sizes |= {slots.count(slot) for slot in range(used)}
        got = layer.added(x[:many], y[:many], slots)
        for row, slot in enumerate(slots):
            assert torch.equal(got[row], alone[row, slot]), (row, slots)
    assert sizes >= set(range(grouped.ROWS + 2)), "a group of some size was never there"


def test_rows_are_cut_into_blocks_of_one_adapter_that_differ_by_one_row_at_most() -> None:
    slots = [3, -1, *[0] * 13, 3, -1, 1]
    order, blocks = grouped.blocks_of(slots)
    assert sorted(order.tolist()) == [row for row, slot in enumerate(slots) if slot >= 0]
    assert [first for first, _, _ in blocks.tolist()] == [sum(blocks[:at, 1]) for at in range(len(blocks))]
    assert sum(blocks[:, 1]) == len(order)
    for first, rows, slot in blocks.tolist():
        assert {slots[row] for row in order[first : first + rows]} == {slot}
        assert 1 <= rows <= grouped.ROWS
    thirteen = [rows for _, rows, slot in blocks.tolist() if slot == 0]
    assert max(thirteen) - min(thirteen) <= 1


def test_a_step_without_adapters_changes_nothing() -> None:
    layer = Layer(8, "bfloat16")
    y = layer.numbers(3, sum(OUTS))
    assert torch.equal(layer.added(layer.numbers(3, INTO), y, [-1, -1, -1]), y)


@pytest.mark.parametrize(("into", "out", "dtype"), [(40, 64, "bfloat16"), (64, 40, "bfloat16"), (64, 64, "float16")])
def test_lengths_and_formats_that_it_was_not_written_for_are_left_to_the_masked_product(
    into: int, out: int, dtype: str
) -> None:
    kind = getattr(torch, dtype)
    kernel = grouped.Grouped()
    assert kernel.place(torch.zeros(1, 2, 8, into, dtype=kind), [torch.zeros(2, 8, out, dtype=kind)]) is None


def test_infinities_and_what_is_no_number_stay_what_they_are() -> None:
    layer = Layer(8, "bfloat16")
    x, y = layer.numbers(2, INTO), layer.numbers(2, sum(OUTS))
    y[0, :3] = torch.tensor([float("inf"), float("-inf"), float("nan")])
    y[0, 3] = 3.3e38
    got = layer.added(x, y, [1, 2])
    assert got[0, 0] == float("inf")
    assert got[0, 1] == float("-inf")
    assert got[0, 2].isnan()
    assert not got[0, 3].isnan()
    assert torch.isfinite(got[1]).all()
