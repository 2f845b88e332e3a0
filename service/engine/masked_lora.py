"""LoRA in mixed batches on a CPU, as a vLLM general plugin: exact for base rows, faster than the stock one.

vLLM 0.32 gathers each token's adapter weights by slot index on the CPU, and "no adapter" is index -1, which picks the
last slot: a request to the base model that shares a batch with adapter requests gets an adapter's delta. Here rows are
grouped by their adapter, and each group is multiplied with its own (`cpu/grouped.py`). Where that kernel cannot be, all
slots in use are computed as one matrix product, and a mask, built once per step, keeps each row's own slot:

    h = x @ A_allᵀ          [slices, rows, slots·rank]    one batched product for all slots and slices
    h[row, slot ≠ own] = 0                                rows without an adapter keep nothing
    y_slice += h_slice @ B_all                            one product per slice

`MaskedLora` is the arithmetic, on plain tensors. `MaskedPunicaWrapper` puts it where vLLM looks for its kernels.
Read `vllm/engine.py` for how the service makes sure at start that this is the kernel in use.

This module keeps its place beside the folders: the metadata of a package that is installed names it to vLLM, and under
another name the service would not start before it is installed anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

if TYPE_CHECKING:
    from service.engine.cpu.grouped import Grouped

NO_ADAPTER = -1
QUALNAME = "service.engine.masked_lora.MaskedPunicaWrapper"
_FEW = 4
"""Rows up to which one adapter's narrow numbers are multiplied as float32: for so little work, oneDNN takes longer to
begin than it takes to widen them."""


def register() -> None:
    """Entry point of the plugin, for this kernel and what else a CPU needs: vLLM calls it in each of its processes.

    It does nothing on a GPU.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        from vllm.platforms.cpu import CpuPlatform

        from service.engine.cpu import amx, int8, norms, weights
        from service.engine.vllm import packed_lora

        amx.register()
        int8.register()
        norms.register()
        weights.register()
        packed_lora.register()
        CpuPlatform.get_punica_wrapper = classmethod(lambda cls: QUALNAME)


class LayerSlots:
    """One layer's slots, in memory as the products want them. vLLM's own tensors are views of the same memory."""

    def __init__(
        self, a_stacked: Sequence[torch.Tensor], b_stacked: Sequence[torch.Tensor], rank: int, kernel: Grouped | None
    ) -> None:
        self._kernel = kernel
        # Held, so that the identity of the first cannot pass to another layer's while this lives.
        self._a_stacked, self._b_stacked = tuple(a_stacked), tuple(b_stacked)
        self.lay_out(rank)

    def lay_out(self, rank: int) -> None:
        """Give every slot this many ranks. What it holds in those is kept, more ranks are zeros, fewer are cut off."""
        more = 0, 0, 0, rank - self._a_stacked[0].shape[2]
        # A tensor made in inference mode could not take the place of one that was not.
        with torch.inference_mode(self._a_stacked[0].is_inference()):
            self.all_a = torch.stack([pad(weight[:, 0], more) for weight in self._a_stacked])
            """[slices, slots, rank, in]"""
            self.all_b = [pad(weight[:, 0].transpose(1, 2), more).contiguous() for weight in self._b_stacked]
            """Per slice [slots, rank, out_slice]"""
        for weight, laid_out in zip(self._a_stacked, self.all_a, strict=True):
            weight.data = laid_out.unsqueeze(1)
        for weight, laid_out in zip(self._b_stacked, self.all_b, strict=True):
            weight.data = laid_out.transpose(1, 2).unsqueeze(1)
        self.grouped = None if self._kernel is None else self._kernel.place(self.all_a, self.all_b)
        """None where all slots are multiplied and masked."""
        self.slots = range(0)

    def use(self, slots: range) -> None:
        """Take these slots into the products from now on: views, and never copies that could be out of date."""
        self.slots = slots
        a = self.all_a[:, slots.start : slots.stop].flatten(1, 2).transpose(1, 2)
        self.a = a if len(a) > 1 else a[0]
        """[slices, in, slots·rank], and with one slice [in, slots·rank]"""
        self.b = [b[slots.start : slots.stop].flatten(0, 1) for b in self.all_b]
        """Per slice [slots·rank, out_slice]"""


class MaskedLora:
    """LoRA deltas for a batch whose rows use different adapters, or none.

    A small model spends its time on calling operations more than in them, so there are as few as can be: for a layer
    one product and one mask, and for each of its slices one product. No weight is ever copied: vLLM writes an adapter
    into its slot where the products read it, so that none can meet an old copy.
    """

    def __init__(self, kernel: Grouped | None = None) -> None:
        """`kernel` computes each group of rows by its own adapter; without one all is computed and masked."""
        self._kernel = kernel
        self._rows = 0
        self._slots = range(0)
        self._masks: dict[tuple[int, int], torch.Tensor | None] = {}
        self.slot_of_row: torch.Tensor = torch.empty(0, dtype=torch.long)
        self._layers: dict[int, LayerSlots] = {}
        self.rank = 0
        self._few = False
        self.idle = True
        """Whether no row of this step uses an adapter."""

    def make_room(self, rank: int) -> None:
        """Before an adapter comes into a slot: let slots have its rank, and no more than the largest so far.

        So what a step costs follows the adapters that there are, and not the largest that there might be. Without any
        call slots stay as vLLM made them; the first call must come while they are empty.
        """
        if rank > self.rank:
            self.rank = rank
            for layer in self._layers.values():
                layer.lay_out(rank)

    def set_rows(self, slots: Sequence[int]) -> None:
        """Begin a step: `slots[t]` is the slot of row t's adapter, or `NO_ADAPTER`."""
        self._masks.clear()
        self._rows = len(slots)
        used = {slot for slot in slots if slot != NO_ADAPTER}
        self.idle = not used
        if used:
            # From the first used to the last: they are given out first-free, so they lie close together.
            self._slots = range(min(used), max(used) + 1)
            self.slot_of_row = torch.tensor(slots, dtype=torch.long)
            self._few = len(slots) <= _FEW and len(self._slots) == 1
            if self._kernel is not None:
                self._kernel.set_rows(slots)

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
        [slots, 1, out_slice, rank]. The first call for a layer moves them to memory of another layout, with the ranks
        of `make_room`: they keep their values, and the b are contiguous no more. Rows past those of `set_rows` are
        padding and stay as they are. Raises `ValueError` when there are fewer rows than the step has: their adapters
        would be a guess.
        """
        if self.idle:
            return
        layer = self.layer(a_stacked, b_stacked)
        if x.size(0) < self._rows:
            raise ValueError(f"{len(x)} rows reached a LoRA layer in a step of {self._rows}")
        if layer.grouped is not None and self._kernel is not None and scale == 1.0 and y.is_contiguous():
            self._kernel.add(y, x if x.is_contiguous() else x.contiguous(), layer.grouped)
            return
        if layer.slots != self._slots:
            layer.use(self._slots)
        if self._few and y.dtype != torch.float32:
            self._add_widened(y, x, layer, slices, scale)
            return
        h = self._keep_own(_product(x, layer.a), len(x))
        if len(slices) == 1:
            y.addmm_(h, layer.b[0], alpha=scale)
            return
        for own, b, y_slice in zip(h, layer.b, y.split_with_sizes(slices, 1), strict=True):
            y_slice.addmm_(own, b, alpha=scale)

    def layer(self, a_stacked: Sequence[torch.Tensor], b_stacked: Sequence[torch.Tensor]) -> LayerSlots:
        """The slots of the layer that has these tensors of vLLM's, laid out; `rank` changes when they move."""
        layer = self._layers.get(id(a_stacked[0]))
        if layer is None:
            layer = LayerSlots(a_stacked, b_stacked, self.rank or a_stacked[0].shape[2], self._kernel)
            self._layers[id(a_stacked[0])] = layer
        return layer

    def _add_widened(
        self, y: torch.Tensor, x: torch.Tensor, layer: LayerSlots, slices: Sequence[int], scale: float
    ) -> None:
        # h is rounded where the narrow product rounds it, so that a row alone gets what it gets in a batch.
        h = self._keep_own(_product(x.float(), layer.a.float()).to(y.dtype), len(x)).float()
        for own, b, y_slice in zip(
            h.view(len(slices), len(x), -1), layer.b, y.split_with_sizes(slices, 1), strict=True
        ):
            y_slice.add_(own @ b.float(), alpha=scale)

    def _keep_own(self, h: torch.Tensor, rows: int) -> torch.Tensor:
        mask = self._mask(rows, h.shape[-1] // len(self._slots))
        # Filling, not multiplying: another adapter's overflow on this row must not become 0 · inf = NaN.
        return h if mask is None else h.masked_fill_(mask, 0.0)

    def _mask(self, rows: int, rank: int) -> torch.Tensor | None:
        """True where h, [rows, slots·rank], must be zero; None when every row uses the one slot in use."""
        shape = rows, rank
        if shape not in self._masks:
            slots = torch.tensor(self._slots)
            mask = torch.ones(rows, len(slots), dtype=torch.bool)
            torch.ne(self.slot_of_row[:, None], slots[None, :], out=mask[: self._rows])
            self._masks[shape] = mask.repeat_interleave(rank, dim=1) if bool(mask.any()) else None
        return self._masks[shape]


def _product(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return x @ a if a.ndim == 2 else torch.bmm(x.expand(len(a), -1, -1), a)


def grouped_kernel() -> Grouped | None:
    """None, and a word in the log, without numba, torch's OpenMP or a place for compiled code."""
    try:
        from service.engine.cpu.grouped import Grouped
    except (ImportError, OSError, RuntimeError):
        logging.getLogger(__name__).warning("adapters are computed for all rows and masked", exc_info=True)
        return None
    return Grouped()


class MaskedPunicaWrapper(PunicaWrapperCPU):  # type: ignore[misc]
    """vLLM's kernel interface over `MaskedLora`, for linear layers; whatever else would be wrong here is refused."""

    def __init__(self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any):
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        self.masked = MaskedLora(grouped_kernel())

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
