"""The kernel of few rows against the same layer in plain torch: any rows, any adapters, on any number of threads."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

torch: Any = None
numpy: Any = None
decode: Any = None
rounded: Any = None
read_in_blocks: Any = None

HIDDEN, INNER, HEADS, KV_HEADS, HEAD = 96, 160, 3, 1, 32
EPSILON, POSITIONS, SLOTS = 1e-5, 64, 3
TOLERANCE = 3e-2
"""Of the largest number: a few units in the last place of bfloat16."""
SLICES = {"qkv": (HEADS * HEAD, HEAD, HEAD), "o": (HIDDEN,), "gate_up": (INNER, INNER), "down": (HIDDEN,)}
WIDTHS = {"qkv": HIDDEN, "o": HEADS * HEAD, "gate_up": HIDDEN, "down": INNER}


@pytest.fixture(scope="module", autouse=True)
def heavy_imports() -> None:
    """Not at the top, so that collecting these tests to leave them out costs nothing."""
    global torch, numpy, decode, rounded, read_in_blocks
    import numpy as real_numpy
    import torch as real_torch

    import service.engine.cpu.decode as real_decode
    from service.engine.cpu import int8, weights

    torch, numpy, decode = real_torch, real_numpy, real_decode
    rounded, read_in_blocks = int8.rounded, weights.read_in_blocks


class Model:
    """One decoder layer with its adapters, as the kernel is told of it and as plain torch computes it."""

    def __init__(self, rank: int, *, in_bytes: bool = False) -> None:
        self.random = torch.Generator().manual_seed(rank)
        self.rank = rank
        self.weight = {name: self.numbers(sum(parts), WIDTHS[name]) for name, parts in SLICES.items()}
        self.a = {name: self.numbers(len(parts), SLOTS, rank, WIDTHS[name]) for name, parts in SLICES.items()}
        self.b = {name: [self.numbers(SLOTS, rank, part) for part in parts] for name, parts in SLICES.items()}
        self.norms = [self.numbers(HIDDEN) for _ in range(3)]
        angles = torch.arange(POSITIONS)[:, None] * 1e4 ** -(torch.arange(HEAD // 2) / (HEAD // 2))[None]
        self.turns = torch.cat([angles.cos(), angles.sin()], 1).bfloat16()
        self.record = numpy.zeros(1, decode.LAYER)
        self.record["first_norm"], self.record["second_norm"] = (norm.data_ptr() for norm in self.norms[:2])
        for name, parts in SLICES.items():
            to = self.record[0][name]
            to["weight"], to["out"], to["into"] = self.weight[name].data_ptr(), sum(parts), WIDTHS[name]
            to["a"], to["slices"], to["slots"], to["rank"] = self.a[name].data_ptr(), len(parts), SLOTS, rank
            for at, b in enumerate(self.b[name]):
                to[f"b{at}"] = b.data_ptr()
            to["end0"], to["end1"] = parts[0], sum(parts[:2])
        if in_bytes:
            self.round_to_bytes()

    def round_to_bytes(self) -> None:
        self.kept = {}
        for name, weight in self.weight.items():
            numbers, scale = rounded(weight)
            self.weight[name] = numbers * scale
            self.kept[name] = read_in_blocks(numbers), scale.flatten()
            to = self.record[0][name]
            to["weight"], to["scale"] = (tensor.data_ptr() for tensor in self.kept[name])

    def numbers(self, *shape: int) -> Any:
        return (torch.randn(*shape, generator=self.random) / shape[-1] ** 0.5).bfloat16()

    def run(
        self, state: Any, attended: Any, positions: list[int], slots: list[int], threads: int = 2
    ) -> tuple[Any, Any]:
        """Queries, keys and values that go to the attention; and the state after the layer, normed."""
        rows = len(state)
        room = {
            "state": state.clone(),
            **{name: torch.zeros(rows, HIDDEN).bfloat16() for name in ("residual", "other")},
            "qkv": torch.zeros(rows, sum(SLICES["qkv"])).bfloat16(),
            "attended": attended,
            "gated": torch.zeros(rows, 2 * INNER).bfloat16(),
            "active": torch.zeros(rows, INNER),
            "positions": torch.tensor(positions),
            "slot_of_row": torch.tensor(slots),
        }
        room |= {
            "wide": torch.zeros(rows, max(HIDDEN, HEADS * HEAD)),
            "shrunk": torch.zeros(3, rows, self.rank),
            "scratch": torch.zeros(threads, decode.SCRATCH),
        }
        step, taken = numpy.zeros(1, decode.STEP), numpy.zeros(decode.PRODUCTS, numpy.int64)
        given = {"rows": rows, "hidden": HIDDEN, "inner": INNER, "heads": HEADS, "kv_heads": KV_HEADS, "head": HEAD}
        given |= {"adapted": any(slot >= 0 for slot in slots), "epsilon": EPSILON, "cos_sin": self.turns.data_ptr()}
        given |= {"taken": taken.ctypes.data, "last_norm": self.norms[2].data_ptr()}
        for name, value in {**given, **{name: tensor.data_ptr() for name, tensor in room.items()}}.items():
            step[name] = value
        step["after"] = self.record.ctypes.data
        decode.run(step.ctypes.data, threads)
        taken[:] = 0
        step["before"], step["after"] = self.record.ctypes.data, 0
        decode.run(step.ctypes.data, threads)
        return room["qkv"], room["state"]

    def wanted(self, state: Any, attended: Any, positions: list[int], slots: list[int]) -> tuple[Any, Any]:
        def project(name: str, x: Any) -> Any:
            y = x.double() @ self.weight[name].double().T
            for row, slot in enumerate(slots):
                if slot >= 0:
                    a, b = self.a[name][:, slot].double(), self.b[name]
                    parts = [x[row].double() @ one.T @ two[slot].double() for one, two in zip(a, b, strict=True)]
                    y[row] += torch.cat(parts)
            return y

        def norm(x: Any, weight: Any) -> Any:
            return x / (x.square().mean(1, keepdim=True) + EPSILON).sqrt() * weight.double()

        def rotated(x: Any) -> Any:
            turns = self.turns[positions].double()[:, None]
            cos, sin = turns[..., : HEAD // 2], turns[..., HEAD // 2 :]
            left, right = x.view(len(x), -1, HEAD).split(HEAD // 2, 2)
            return torch.cat([left * cos - right * sin, right * cos + left * sin], 2).flatten(1)

        qkv = project("qkv", norm(state.double(), self.norms[0]))
        turning = (HEADS + KV_HEADS) * HEAD
        middle = state.double() + project("o", attended)
        gate, up = project("gate_up", norm(middle, self.norms[1])).split(INNER, 1)
        after = middle + project("down", torch.nn.functional.silu(gate) * up)
        return torch.cat([rotated(qkv[:, :turning]), qkv[:, turning:]], 1), norm(after, self.norms[2])


def near(got: Any, wanted: Any) -> bool:
    return bool((got.double() - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


MIXES = [[-1], [2], [-1, -1], [0, -1, 2], [0, 1, 2, 0], [-1, 1, -1, 1], [row % 4 - 1 for row in range(23)]]


@pytest.mark.parametrize("slots", MIXES)
@pytest.mark.parametrize("rank", [1, 8, 10])
def test_a_layer_is_what_torch_makes_of_it(slots: list[int], rank: int) -> None:
    model = Model(rank)
    state, attended = model.numbers(len(slots), HIDDEN), model.numbers(len(slots), HEADS * HEAD)
    positions = [(5 * row + 58) % POSITIONS for row in range(len(slots))]
    got, wanted = (how(state, attended, positions, slots) for how in (model.run, model.wanted))
    assert near(got[0], wanted[0])
    assert near(got[1], wanted[1])


def test_a_row_alone_gets_the_bits_that_it_gets_among_others_on_any_number_of_threads() -> None:
    model, slots, positions = Model(8), [0, -1, 2, 1] * 5, [3, 9, 1, 0, 17] * 4
    state, attended = model.numbers(20, HIDDEN), model.numbers(20, HEADS * HEAD)
    together = model.run(state, attended, positions, slots)
    for row in range(20):
        one = slice(row, row + 1)
        for threads in (1, 3):
            alone = model.run(state[one], attended[one], positions[one], slots[one], threads)
            assert all(torch.equal(mine[0], ours[row]) for mine, ours in zip(alone, together, strict=True))


@pytest.mark.parametrize("slots", MIXES)
def test_weights_in_8_bits_are_computed_as_the_numbers_that_they_stand_for(slots: list[int]) -> None:
    model, rows = Model(8, in_bytes=True), len(slots)
    state, attended = model.numbers(rows, HIDDEN), model.numbers(rows, HEADS * HEAD)
    positions = [(5 * row + 1) % POSITIONS for row in range(rows)]
    got = model.run(state, attended, positions, slots)
    wanted = model.wanted(state, attended, positions, slots)
    assert all(near(mine, right) for mine, right in zip(got, wanted, strict=True))


def test_an_overflow_in_one_adapter_stays_in_its_rows() -> None:
    model, slots, positions = Model(8), [0, -1, 2], [3, 9, 1]
    state, attended = model.numbers(3, HIDDEN), model.numbers(3, HEADS * HEAD)
    before = model.run(state, attended, positions, slots)
    for name in SLICES:
        model.a[name][:, 2] = float("inf")
    after = model.run(state, attended, positions, slots)
    assert all(torch.equal(old[:2], new[:2]) for old, new in zip(before, after, strict=True))
    assert not torch.isfinite(after[1][2]).any()


def test_a_row_gets_the_bits_of_its_adapter_that_it_gets_in_a_large_step() -> None:
    from service.engine.cpu.grouped import Grouped

    model, slots = Model(8), [2, 0, -1, 2]
    model.weight["qkv"].zero_()  # so that an output is its adapter's part
    # Of numbers that are 1 or −1 the norm is the weight itself, with that sign.
    state = torch.randn(4, HIDDEN, generator=model.random).sign().bfloat16()
    few, _ = model.run(state, model.numbers(4, HEADS * HEAD), [0] * 4, slots)
    kernel, many = Grouped(), torch.zeros_like(few)
    place = kernel.place(model.a["qkv"], model.b["qkv"])
    assert place is not None
    kernel.set_rows(slots)
    kernel.add(many, state * model.norms[0], place)
    values = slice(-HEAD, None)  # queries and keys are turned by their positions
    assert torch.equal(many[:, values], few[:, values])
    assert many[0, values].abs().max() > 0
