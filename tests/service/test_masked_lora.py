"""LoRA on a CPU against a plain loop over rows: any mix of adapters, ranks, slices and padding, grouped and masked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

torch: Any = None
masked_lora: Any = None


@pytest.fixture(scope="module", autouse=True)
def heavy_imports() -> None:
    """Not at the top, so that collecting these tests to leave them out costs nothing."""
    global torch, masked_lora
    import torch as real_torch

    import service.engine.masked_lora as real_kernel

    torch, masked_lora = real_torch, real_kernel


@pytest.fixture(scope="module", params=["grouped", "masked"])
def new_kernel(request: pytest.FixtureRequest) -> Any:
    """With the kernel of grouped rows, which leaves lengths that are no multiples of 32, and without it."""
    return lambda: masked_lora.MaskedLora(masked_lora.grouped_kernel() if request.param == "grouped" else None)


FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


class Layer:
    """A layer's slots as vLLM holds them, and its delta computed row by row in float64."""

    def __init__(
        self, seed: int, slots: int, rank: int, width: int, slices: tuple[int, ...], dtype: str = "float32"
    ) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.slices, self.width, self.dtype = slices, width, dtype
        kind = getattr(torch, dtype)
        self.a = tuple(torch.zeros(slots, 1, rank, width, dtype=kind) for _ in slices)
        self.b = tuple(torch.zeros(slots, 1, size, rank, dtype=kind) for size in slices)

    def fill(self, slot: int, rank: int, *, only: set[int] | None = None) -> None:
        """Put a random adapter of this rank into the slot, as vLLM does: zero it, then copy into a view."""
        for at in range(len(self.slices)):
            self.a[at][slot] = 0
            self.b[at][slot] = 0
            if only is None or at in only:
                self.a[at][slot, 0, :rank].copy_(self.numbers(rank, self.width))
                self.b[at][slot, 0, :, :rank].copy_(self.numbers(self.slices[at], rank))

    def numbers(self, *shape: int) -> Any:
        return torch.randn(*shape, generator=self.random).to(getattr(torch, self.dtype))

    def delta(self, x: Any, slots: list[int]) -> Any:
        result = torch.zeros(len(x), sum(self.slices), dtype=torch.float64)
        for row, slot in enumerate(slots):
            if slot >= 0:
                parts = [
                    self.b[at][slot, 0].double() @ (self.a[at][slot, 0].double() @ x[row].double())
                    for at in range(len(self.slices))
                ]
                result[row] = torch.cat(parts)
        return result


TOLERANCE = {"float32": 2e-5, "bfloat16": 4e-2}
"""Relative to the largest value: a few units in the last place of each format."""


def check(kernel: Any, layer: Layer, slots: list[int], padding: int = 0) -> None:
    kernel.set_rows(slots)
    rows = len(slots) + padding
    x, y = layer.numbers(rows, layer.width), layer.numbers(rows, sum(layer.slices))
    got = y.clone()
    kernel.add(got, x, layer.a, layer.b, layer.slices)
    wanted = y.double() + layer.delta(x, slots + [-1] * padding)
    scale = max(1.0, wanted.abs().max().item())
    assert (got.double() - wanted).abs().max().item() <= TOLERANCE[layer.dtype] * scale
    untouched = [row for row, slot in enumerate(slots + [-1] * padding) if slot < 0]
    assert torch.equal(got[untouched], y[untouched]), "a row without an adapter changed"


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    slots = draw(st.integers(1, 6))
    rank = draw(st.sampled_from([1, 7, 8, 16]))
    unit = draw(st.sampled_from([1, 32]))
    return {
        "seed": draw(st.integers(0, 2**20)),
        "slots": slots,
        "rank": rank,
        "width": unit * draw(st.integers(1, 5)),
        "slices": tuple(draw(st.lists(st.integers(1, 9).map(lambda size: unit * size), min_size=1, max_size=3))),
        "dtype": draw(st.sampled_from(["float32", "bfloat16"])),
        "ranks": draw(st.lists(st.integers(1, rank), min_size=slots, max_size=slots)),
        "rows": draw(st.lists(st.integers(-1, slots - 1), min_size=1, max_size=40)),
        "padding": draw(st.integers(0, 5)),
    }


@given(cases())
@FEW
def test_any_mix_of_rows_gets_what_each_row_alone_would_get(new_kernel: Any, case: dict[str, Any]) -> None:
    layer = Layer(case["seed"], case["slots"], case["rank"], case["width"], case["slices"], case["dtype"])
    for slot, rank in enumerate(case["ranks"]):
        layer.fill(slot, rank)
    check(new_kernel(), layer, case["rows"], case["padding"])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8)), min_size=1, max_size=12), st.integers(0, 2**20))
@FEW
def test_no_order_of_swaps_leaves_an_old_adapter_in_use(
    new_kernel: Any, swaps: list[tuple[int, int]], seed: int
) -> None:
    kernel = new_kernel()
    layer = Layer(seed, 4, 8, 32, (64, 32))
    for slot, rank in swaps:
        layer.fill(slot, rank)
        check(kernel, layer, [slot, -1, (slot + 1) % 4])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 16)), min_size=1, max_size=12), st.integers(0, 2**20))
@FEW
def test_slots_have_the_largest_rank_so_far_and_keep_what_they_hold(
    new_kernel: Any, swaps: list[tuple[int, int]], seed: int
) -> None:
    kernel = new_kernel()
    layers = [Layer(seed, 4, 16, 32, (64, 32)), Layer(seed + 1, 4, 16, 12, (6,))]
    check(kernel, layers[0], [0])  # the first is laid out before anyone asks for room, the second after
    largest = 0
    for slot, rank in swaps:
        kernel.make_room(rank)
        largest = max(largest, rank)
        for layer in layers:
            layer.fill(slot, rank)
            check(kernel, layer, [slot, -1, (slot + 1) % 4, 3, 2, 1, 0])
            assert layer.a[0].shape == (4, 1, largest, layer.width)
            assert layer.b[-1].shape == (4, 1, layer.slices[-1], largest)


def test_an_adapter_for_which_there_is_no_room_is_an_error_and_never_cut_off(new_kernel: Any) -> None:
    kernel = new_kernel()
    layer = Layer(1, 2, 16, 32, (32,))
    kernel.make_room(4)
    check(kernel, layer, [0])
    with pytest.raises(RuntimeError, match="size"):
        layer.fill(0, 8)


def test_every_way_of_writing_into_a_slot_reaches_the_products(new_kernel: Any) -> None:
    kernel = new_kernel()
    layer = Layer(1, 2, 8, 32, (32,))
    layer.fill(0, 8)
    check(kernel, layer, [0])
    writes = (
        lambda weight: weight[0].mul_(2),
        lambda weight: weight[0, 0, :4].copy_(torch.ones_like(weight[0, 0, :4])),
        lambda weight: weight.__setitem__(0, 3.0),
        lambda weight: weight.select(0, 0).fill_(5.0),
        lambda weight: weight[0, 0].view(torch.int32).zero_(),
    )
    for write in writes:
        for weight in (layer.a[0], layer.b[0]):
            write(weight)
            check(kernel, layer, [0, -1])


@pytest.mark.parametrize("slices", [(896,), (896, 128, 128)])
def test_a_row_alone_gets_in_bfloat16_what_it_gets_in_a_batch(new_kernel: Any, slices: tuple[int, ...]) -> None:
    """Few rows are multiplied another way than many. Unless both round alike, every fifth number differs."""
    layer = Layer(8, 2, 8, 896, slices, "bfloat16")
    layer.fill(1, 8)
    x, y = layer.numbers(64, 896), layer.numbers(64, sum(slices))
    found = []
    for rows in (1, 64):
        kernel = new_kernel()
        kernel.set_rows([1] * rows)
        got = y[:rows].clone()
        kernel.add(got, x[:rows], layer.a, layer.b, slices)
        found.append(got[0])
    assert (found[0] == found[1]).float().mean() > 0.99


def test_a_slice_that_the_adapter_leaves_out_gets_nothing(new_kernel: Any) -> None:
    layer = Layer(2, 2, 8, 32, (32, 32, 32))
    layer.fill(0, 8, only={1})
    layer.fill(1, 8)
    check(new_kernel(), layer, [0, 1, -1, 0])


def test_layers_do_not_share_their_weights(new_kernel: Any) -> None:
    kernel = new_kernel()
    for seed in range(50):  # each layer dies before the next is made, and may be given its memory
        layer = Layer(seed, 2, 8, 32, (32,))
        layer.fill(0, 8)
        check(kernel, layer, [0, -1])


def test_slots_keep_their_contents_when_their_memory_is_laid_out(new_kernel: Any) -> None:
    layer = Layer(3, 4, 8, 32, (64, 32))
    for slot in range(4):
        layer.fill(slot, 5)
    before = [weight.clone() for weight in (*layer.a, *layer.b)]
    check(new_kernel(), layer, [1])
    for weight, old in zip((*layer.a, *layer.b), before, strict=True):
        assert weight.shape == old.shape
        assert torch.equal(weight, old)


@pytest.mark.parametrize("mode", [False, True])
def test_the_first_call_may_come_in_inference_mode(new_kernel: Any, mode: bool) -> None:
    with torch.inference_mode(mode):
        layer = Layer(3, 3, 8, 32, (64, 32))
        layer.fill(1, 8)
    kernel = new_kernel()
    with torch.inference_mode():
        check(kernel, layer, [1])
        layer.fill(2, 8)
        check(kernel, layer, [1, 2])


def test_an_overflow_of_one_adapter_stays_on_its_own_rows(new_kernel: Any) -> None:
    layer = Layer(4, 2, 8, 32, (64,), "bfloat16")
    layer.fill(0, 8)
    layer.fill(1, 8)
    layer.a[0][1] = 3e38  # x @ A overflows to infinity on every row; only slot 1's may show it
    kernel = new_kernel()
    kernel.set_rows([0, 1, -1])
    x, y = torch.ones(3, 32, dtype=torch.bfloat16), torch.ones(3, 64, dtype=torch.bfloat16)
    kernel.add(y, x, layer.a, layer.b, layer.slices)
    assert torch.isfinite(y[0]).all()
    assert torch.equal(y[2], torch.ones(64, dtype=torch.bfloat16))
    assert not torch.isfinite(y[1]).all()


def test_a_step_of_base_rows_costs_nothing_and_changes_nothing(new_kernel: Any) -> None:
    kernel = new_kernel()
    kernel.set_rows([-1, -1])
    assert kernel.idle
    y = torch.ones(2, 10)
    kernel.add(y, torch.ones(2, 12), (None,), (None,), (10,))  # weights are not even looked at
    assert torch.equal(y, torch.ones(2, 10))


def test_fewer_rows_than_the_step_has_are_refused(new_kernel: Any) -> None:
    layer = Layer(5, 2, 8, 32, (32,))
    layer.fill(0, 8)
    layer.fill(1, 8)
    kernel = new_kernel()
    kernel.set_rows([0, 1, 0])
    with pytest.raises(ValueError, match="2 rows reached a LoRA layer in a step of 3"):
        kernel.add(torch.zeros(2, 32), torch.zeros(2, 32), layer.a, layer.b, (32,))


class Mapping:
    def __init__(self, *ids: int) -> None:
        self.index_mapping = ids


def test_the_wrapper_follows_vllms_slots_and_ids() -> None:
    wrapper = masked_lora.MaskedPunicaWrapper(16, 4, "cpu")
    layer = Layer(6, 3, 8, 32, (64, 32))
    for slot in range(3):
        layer.fill(slot, 8)
    # Id 900 sits in slot 2 and id 7 in slot 0; id 0 is a request without an adapter.
    wrapper.update_metadata(Mapping(900, 0, 7, 900), [7, None, 900], 4, 100)
    x, y = layer.numbers(4, layer.width), layer.numbers(4, sum(layer.slices))
    got = y.clone()
    wrapper.add_lora_linear(got, x, layer.a, layer.b, 1.0, layer.slices)
    assert torch.allclose(got.double(), y.double() + layer.delta(x, [2, -1, 0, 2]), atol=1e-4)


def test_the_wrapper_refuses_what_it_cannot_do_right() -> None:
    wrapper = masked_lora.MaskedPunicaWrapper(16, 4, "cpu")
    wrapper.update_metadata(Mapping(7), [7], 2, 100)
    for name in ("add_shrink", "add_expand", "add_lora_embedding", "add_lora_logits", "apply_lora_full_linear"):
        with pytest.raises(NotImplementedError, match="linear layers only"):
            getattr(wrapper, name)()


def test_the_stock_kernel_corrupts_base_rows_which_is_why_this_one_exists() -> None:
    """Fails once vLLM repairs it: then the plugin is a matter of speed alone, and its start-up check can go."""
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    layer = Layer(7, 2, 8, 12, (10,))
    layer.fill(0, 8)
    layer.fill(1, 8)
    stock = PunicaWrapperCPU(16, 4, "cpu")
    stock.update_metadata(LoRAMapping((7, 0), (7, 0), is_prefill=True), [7, 9], 3, 100)
    y = torch.zeros(2, 10)
    stock.add_lora_linear(y, layer.numbers(2, 12), layer.a, layer.b, 1.0, (10,))
    assert not torch.equal(y[1], torch.zeros(10))


def test_registering_replaces_the_kernel_of_the_cpu_platform_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import platforms
    from vllm.platforms.cpu import CpuPlatform

    class Gpu:
        def is_cpu(self) -> bool:
            return False

    stock = classmethod(lambda cls: "stock")
    monkeypatch.setattr(CpuPlatform, "get_punica_wrapper", stock)
    with monkeypatch.context() as patch:
        patch.setattr(platforms, "current_platform", Gpu(), raising=False)
        masked_lora.register()
        assert CpuPlatform.get_punica_wrapper() == "stock"
    masked_lora.register()
    assert CpuPlatform.get_punica_wrapper() == masked_lora.QUALNAME
