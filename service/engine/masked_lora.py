"""The CPU kernel for LoRA in mixed batches, as a vLLM general plugin: exact for base rows, faster than the stock one.

vLLM 0.32 gathers each token's adapter weights by slot index on the CPU, and "no adapter" is index -1, which picks the
last slot: a request to the base model that shares a batch with adapter requests gets an adapter's delta. Here instead
all slots in use are computed as one matrix product, and a mask, built once per step, keeps each row's own slot:

    h = x @ A_allᵀ          [rows, slots·slices·rank]     one product for all slots and slices
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
    """Entry point of the plugin: vLLM calls it in each of its processes. It does nothing on a GPU."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        from vllm.platforms.cpu import CpuPlatform

        CpuPlatform.get_punica_wrapper = classmethod(lambda cls: QUALNAME)


@dataclass(frozen=True, slots=True)
class _Packed:
    """One layer's weights, laid out for one product over a range of slots."""

    source: tuple[torch.Tensor, ...]
    """vLLM's own tensors: held, so that their identity cannot pass to another layer's while this entry lives."""
    versions: tuple[int, ...]
    a: torch.Tensor
    """[slots, slices·rank, in]"""
    b: tuple[torch.Tensor, ...]
    """Per slice [slots, rank, out_slice]"""


class MaskedLora:
    """LoRA deltas for a batch whose rows use different adapters, or none."""

    def __init__(self) -> None:
        self._rows = 0
        self._low = self._high = 0
        self._masks: dict[int, torch.Tensor | None] = {}
        self._slot_of_row: torch.Tensor = torch.empty(0, dtype=torch.long)
        self._packed: dict[int, _Packed] = {}

    @property
    def idle(self) -> bool:
        """Whether no row of this step uses an adapter."""
        return self._high == self._low

    def set_rows(self, slots: Sequence[int]) -> None:
        """Begin a step: `slots[t]` is the slot of row t's adapter, or `NO_ADAPTER`."""
        self._masks.clear()
        self._rows = len(slots)
        used = [slot for slot in set(slots) if slot != NO_ADAPTER]
        # Slots are given out first-free, so those in use lie close together: a range of them is a view, not a copy.
        self._low, self._high = (min(used), max(used) + 1) if used else (0, 0)
        if used:
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
        rank, count = packed.b[0].shape[1], len(slices)
        used = self._high - self._low
        h = x @ packed.a[self._low : self._high].flatten(0, 1).t()
        if scale != 1.0:
            h *= scale
        h = h.view(x.shape[0], used, count, rank)
        mask = self._mask(x.shape[0])
        if mask is not None:
            # Filling, not multiplying: another adapter's overflow on this row must not become 0 · inf = NaN.
            h = h.masked_fill_(mask, 0.0)
        start = 0
        for at, size in enumerate(slices):
            own = h[:, :, at, :].reshape(x.shape[0], used * rank)
            y[:, start : start + size].addmm_(own, packed.b[at][self._low : self._high].flatten(0, 1))
            start += size

    def _mask(self, rows: int) -> torch.Tensor | None:
        """True where h must be zero, [rows, slots in use, 1, 1]; None when every row uses the one slot in use."""
        if rows < self._rows:
            raise ValueError(f"{rows} rows reached a LoRA layer in a step of {self._rows}")
        if rows not in self._masks:
            slots = torch.arange(self._low, self._high)
            mask = torch.ones(rows, self._high - self._low, dtype=torch.bool)
            torch.ne(self._slot_of_row[:, None], slots[None, :], out=mask[: self._rows])
            self._masks[rows] = mask[:, :, None, None] if bool(mask.any()) else None
        return self._masks[rows]

    def _pack(self, a_stacked: tuple[torch.Tensor, ...], b_stacked: tuple[torch.Tensor, ...]) -> _Packed:
        """The layer's packed weights, made anew whenever torch has counted a write to any of them.

        Every in-place write, through whatever view, raises the `_version` of the tensor it lands in, so an adapter
        swapped into a slot cannot meet an old copy. Tensors without such a counter are never cached.
        """
        source = a_stacked + b_stacked
        if any(weight.is_inference() for weight in source):
            return _pack(source, (), a_stacked, b_stacked)
        versions = tuple([weight._version for weight in source])
        known = self._packed.get(id(a_stacked[0]))
        if (
            known is not None
            and known.versions == versions
            and all(old is new for old, new in zip(known.source, source, strict=True))
        ):
            return known
        packed = _pack(source, versions, a_stacked, b_stacked)
        self._packed[id(a_stacked[0])] = packed
        return packed


def _pack(
    source: tuple[torch.Tensor, ...],
    versions: tuple[int, ...],
    a_stacked: tuple[torch.Tensor, ...],
    b_stacked: tuple[torch.Tensor, ...],
) -> _Packed:
    # Slots outermost in both, so that a range of slots is one contiguous block.
    a = torch.cat([weight[:, 0] for weight in a_stacked], dim=1).contiguous()
    b = tuple(weight[:, 0].transpose(1, 2).contiguous() for weight in b_stacked)
    return _Packed(source, versions, a, b)


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
