"""The CPU kernel for LoRA in mixed batches, as a vLLM general plugin: exact for base rows, faster than the stock one.

vLLM 0.32 gathers each token's adapter weights by slot index on the CPU, and "no adapter" is index -1, which picks the
last slot: a request to the base model that shares a batch with adapter requests gets an adapter's delta. Here instead
all slots in use are computed as one matrix product, and a mask, built once per step, keeps each row's own slot:

    h = x @ A_allᵀ          [rows, slices·slots·rank]     one product for all slots and slices
    h[row, slot ≠ own] = 0                                rows without an adapter keep nothing
    y_slice += h_slice @ B_all                            one product per slice

`MaskedLora` is the arithmetic, on plain tensors. `MaskedPunicaWrapper` puts it where vLLM looks for its kernels.
Read `vllm_engine.py` for how the service makes sure at start that this is the kernel in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

NO_ADAPTER = -1
QUALNAME = "service.engine.masked_lora.MaskedPunicaWrapper"


def register() -> None:
    """Entry point of the plugin, for this kernel and the norms': vLLM calls it in each of its processes.

    It does nothing on a GPU.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        from vllm.platforms.cpu import CpuPlatform

        from service.engine import cpu_norms

        cpu_norms.register()
        CpuPlatform.get_punica_wrapper = classmethod(lambda cls: QUALNAME)


@dataclass(frozen=True, slots=True)
class _Packed:
    """One layer's weights, laid out for one product over a range of slots."""

    source: tuple[torch.Tensor, ...]
    """vLLM's own tensors: held, so that their identity cannot pass to another layer's while this entry lives."""
    versions: tuple[int, ...]
    slots: range
    a: torch.Tensor
    """[in, slices·slots·rank]: the slots of a slice side by side"""
    b: tuple[torch.Tensor, ...]
    """Per slice [slots·rank, out_slice]"""


class MaskedLora:
    """LoRA deltas for a batch whose rows use different adapters, or none.

    A small model spends its time on calling operations more than in them, so there are as few as can be: for a layer
    one product and one mask, and for each of its slices one product, with nothing copied in between.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._slots = range(0)
        self._masks: dict[tuple[int, int, int], torch.Tensor | None] = {}
        self._slot_of_row: torch.Tensor = torch.empty(0, dtype=torch.long)
        self._packed: dict[int, _Packed] = {}
        self.idle = True
        """Whether no row of this step uses an adapter."""

    def set_rows(self, slots: Sequence[int]) -> None:
        """Begin a step: `slots[t]` is the slot of row t's adapter, or `NO_ADAPTER`."""
        self._masks.clear()
        self._rows = len(slots)
        used = {slot for slot in slots if slot != NO_ADAPTER}
        self.idle = not used
        if used:
            self._slots = _range_for(used, self._slots)
            self._slot_of_row = torch.tensor(slots, dtype=torch.long)

    def add(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        a_stacked: Sequence[torch.Tensor],
        b_stacked: Sequence[torch.Tensor],
        slices: Sequence[int],
        scale: float = 1.0,
    ) -> None:
        """Add each row's delta to `y` in place.

        y: [rows, sum(slices)]; x: [rows, in]; a_stacked per slice: [slots, 1, rank, in]; b_stacked per slice:
        [slots, 1, out_slice, rank]. Rows past those of `set_rows` are padding and stay as they are.
        Raises `ValueError` when there are fewer rows than the step has: their adapters would be a guess.
        """
        if self.idle:
            return
        packed = self._pack(tuple(a_stacked), tuple(b_stacked))
        width = len(packed.b[0])
        h = x @ packed.a
        mask = self._mask(len(h), len(slices), width // len(packed.slots))
        if mask is not None:
            # Filling, not multiplying: another adapter's overflow on this row must not become 0 · inf = NaN.
            h.masked_fill_(mask, 0.0)
        if len(slices) == 1:
            y.addmm_(h, packed.b[0], alpha=scale)
            return
        start = 0
        for at, size in enumerate(slices):
            own = h.narrow(1, at * width, width)
            y.narrow(1, start, size).addmm_(own, packed.b[at], alpha=scale)
            start += size

    def _mask(self, rows: int, slices: int, rank: int) -> torch.Tensor | None:
        """True where h, [rows, slices·slots·rank], must be zero; None when every row uses the one slot in use."""
        if rows < self._rows:
            raise ValueError(f"{rows} rows reached a LoRA layer in a step of {self._rows}")
        shape = rows, slices, rank
        if shape not in self._masks:
            slots = torch.tensor(self._slots)
            mask = torch.ones(rows, len(slots), dtype=torch.bool)
            torch.ne(self._slot_of_row[:, None], slots[None, :], out=mask[: self._rows])
            spread = mask.repeat_interleave(rank, dim=1).repeat(1, slices)
            self._masks[shape] = spread if bool(mask.any()) else None
        return self._masks[shape]

    def _pack(self, a_stacked: tuple[torch.Tensor, ...], b_stacked: tuple[torch.Tensor, ...]) -> _Packed:
        """The layer's packed weights, made anew whenever torch has counted a write to any of them.

        Every in-place write, through whatever view, raises the `_version` of the tensor it lands in, so an adapter
        swapped into a slot cannot meet an old copy. Tensors without such a counter are never cached.
        """
        source = a_stacked + b_stacked
        known = self._packed.get(id(a_stacked[0]))
        counted = not any(weight.is_inference() for weight in source)
        versions = tuple([weight._version for weight in source]) if counted else ()
        if (
            counted
            and known is not None
            and known.versions == versions
            and known.slots == self._slots
            and all(old is new for old, new in zip(known.source, source, strict=True))
        ):
            return known
        first, end = self._slots.start, self._slots.stop
        a = torch.cat([weight[first:end, 0].flatten(0, 1) for weight in a_stacked]).t()
        b = tuple(weight[first:end, 0].transpose(1, 2).flatten(0, 1) for weight in b_stacked)
        packed = _Packed(source, versions, self._slots, a, b)
        self._packed[id(a_stacked[0])] = packed
        return packed


def _range_for(used: set[int], before: range) -> range:
    """Slots to compute, from the first used to the last: they are given out first-free, so they lie close together.

    The range of the steps before stays while it is not much too wide: another one is another copy of the weights.
    """
    needed = range(min(used), max(used) + 1)
    fits = before.start <= needed.start and needed.stop <= before.stop
    return before if fits and len(before) <= 2 * len(needed) else needed


class MaskedPunicaWrapper(PunicaWrapperCPU):  # type: ignore[misc]
    """vLLM's kernel interface over `MaskedLora`, for linear layers; whatever else would be wrong here is refused."""

    def __init__(self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any):
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        self.masked = MaskedLora()

    def update_metadata(
        self,
        mapping: Any,
        lora_index_to_id: list[int | None],
        max_loras: int,
        vocab_size: int,
        **kwargs: Any,
    ) -> None:
        """Called by vLLM once per step whose rows or slots differ from the last. Id 0 means no adapter."""
        slot_of = {lora_id: slot for slot, lora_id in enumerate(lora_index_to_id) if lora_id is not None}
        slot_of[0] = NO_ADAPTER
        self.masked.set_rows([slot_of[lora_id] for lora_id in mapping.index_mapping])

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        if not self.masked.idle:
            if y.ndim != 2:
                y, x = y.view(-1, y.shape[-1]), x.reshape(-1, x.shape[-1])
            self.masked.add(y, x, lora_a_stacked, lora_b_stacked, output_slices, scale)

    def _refuse(self, *args: Any, **kwargs: Any) -> None:
        if not self.masked.idle:
            raise NotImplementedError(
                "the CPU kernel serves LoRA on linear layers only: leave embeddings and lm_head out of "
                "--lora-target-modules, and do not shard the adapters"
            )

    add_shrink = add_expand = add_lora_embedding = add_lora_logits = apply_lora_full_linear = _refuse


class WorkerReport:
    """Mixed into vLLM's worker (`--worker-extension-cls`), so that the service can ask what runs there."""

    model_runner: Any

    def dabt_lora_kernel(self) -> str:
        """The class that computes LoRA in this worker, as `module.Class`."""
        wrapper = next(iter(self.model_runner.lora_manager._adapter_manager.punica_wrapper_mapping.values()))
        return f"{type(wrapper).__module__}.{type(wrapper).__qualname__}"
