"""Where the kernels of a CPU meet vLLM's models: products of every base, and whole layers of those like Llama.

`take_over` looks at a loaded model and takes what fits. `weights.py` has kept the weights; `products.py` and
`decode.py` are the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from vllm.forward_context import get_forward_context
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.rotary_embedding.base import RotaryEmbedding
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
from vllm.model_executor.models.llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP, LlamaModel
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackendImpl

from service.engine.cpu import decode
from service.engine.cpu.decode import LAYER, MOST_ROWS, PRODUCTS, STEP
from service.engine.cpu.products import AT_ONCE, Product, Workspace, out_and_in
from service.engine.cpu.vectors import BLOCK, bind
from service.engine.cpu.weights import kept_bytes, kept_weight, put_in_panels, rows_of_panels

_PROJECTIONS = ("qkv", "o", "gate_up", "down")
_BINDING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES")
"""Where vLLM writes the cores that it binds its threads to."""
_MOST_THREADS = 16
"""Beyond, threads would wait for each other longer than they read their share of so small a base."""


def take_over(model: Any) -> str:
    """From now on few rows of this loaded model take the kernels, and many where oneDNN has no product for them.

    What of it does, in a word: layers, products or nothing. A second call changes nothing.
    """
    if (before := getattr(model, "dabt_few_rows", None)) is None:
        before = model.dabt_few_rows = _take_over(model)
    return str(before)


def _take_over(model: Any) -> str:
    cores = Cores()
    products = [module for module in model.modules() if kept_weight(module) is not None]
    workspace = Workspace(cores.count)
    most = MOST_ROWS if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    if most is None:
        _put_in_panels(model, products)
    for module in products:
        module.cpu_linear = ours_first(module.cpu_linear, Product(kept_weight(module), workspace), cores, most)
    llama = next((module for module in model.modules() if isinstance(module, LlamaModel)), None)
    decoder = None if llama is None else Decoder.of(llama, cores)
    if llama is not None and decoder is not None:
        llama.forward = _forward(llama, decoder, cores, MOST_ROWS if decoder.in_bytes else most)  # of this object alone
    return "layers" if decoder is not None else "products" if products else "nothing"


def _put_in_panels(model: Any, products: list[Any]) -> None:
    """What only our products read from then on. A table of embeddings that is a head too gives its rows from there."""
    heads_in_bfloat16 = all(
        module.head_dtype in (None, torch.bfloat16) for module in model.modules() if isinstance(module, LogitsProcessor)
    )
    for module in products:
        if isinstance(module, LinearBase):
            put_in_panels(module)
        elif type(module.quant_method) is UnquantizedEmbeddingMethod and heads_in_bfloat16:
            put_in_panels(module)
            if module.weight.numel() == 0:
                module.quant_method.embedding = _embedding  # of this object alone


def _embedding(table: Any, ids: torch.Tensor) -> torch.Tensor:
    """vLLM's, of a table in panels."""
    weight = kept_weight(table)
    assert weight is not None
    return rows_of_panels(weight, ids)


class Cores:
    """Those that our kernels compute on.

    Of two, both: the API has nothing to do while a step of few rows is computed, and little beside one of many. Of
    more, as many as torch has threads, which are the same threads. Each keeps to a core, for they wait for each other
    at barriers: two of them on one core take turns of milliseconds. The thread that calls does so within a step only,
    and where vLLM has bound its threads all stay as they are.
    """

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)
        bound = any(name in os.environ for name in _BINDING)
        several = torch.get_num_threads()
        self.count = several if bound or several > 1 else min(2, len(self._all))
        self.count = min(self.count, _MOST_THREADS)
        self._first = None if bound or self.count > len(self._all) else {min(self._all)}
        self._owned = False
        if self._first is not None:
            bind(sorted(self._all)[: self.count])
            os.sched_setaffinity(0, self._all)

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within it, the thread that calls keeps to its core. It is best for a whole step: a thread that has to move
        waits for the other core to be free."""
        if self._first is None or self._owned:
            yield
            return
        os.sched_setaffinity(0, self._first)
        self._owned = True
        try:
            yield
        finally:
            self._owned = False
            os.sched_setaffinity(0, self._all)


def ours_first(
    vllms: Callable[..., torch.Tensor], product: Product, cores: Cores, most_rows: int | None
) -> Callable[..., torch.Tensor]:
    """A layer's product: ours for up to so many rows, or for any where oneDNN has none in bfloat16."""

    def linear(x: torch.Tensor, plain: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        suits = x.dtype == torch.bfloat16 and (bias is None or bias.dtype == torch.bfloat16)
        rows = x.reshape(-1, x.shape[-1])
        if suits and (most_rows is None or len(rows) <= most_rows):
            with cores.own():
                y = product(rows, bias)
            return y.view(*x.shape[:-1], y.shape[-1])
        return vllms(x, plain, bias)

    return linear


def _forward(llama: Any, decoder: Decoder, cores: Cores, most_rows: int | None) -> Callable[..., Any]:
    vllms = llama.forward

    def forward(
        input_ids: Any, positions: Any, intermediate_tensors: Any, inputs_embeds: Any = None, **more: Any
    ) -> Any:
        too_many = most_rows is not None and len(positions) > most_rows
        if too_many or more or get_forward_context().attn_metadata is None:
            return vllms(input_ids, positions, intermediate_tensors, inputs_embeds, **more)
        state = llama.embed_input_ids(input_ids) if inputs_embeds is None else inputs_embeds.clone()
        with cores.own():
            return decoder(state, positions)

    return forward


class Decoder:
    """A Llama's layers as the kernel wants them. `Decoder.of` says whether a model is built so."""

    @staticmethod
    def of(model: Any, cores: Cores) -> Decoder | None:
        try:
            return Decoder(model, cores.count)
        except _UnlikeLlamaError:
            return None

    def __init__(self, model: Any, cores: int) -> None:
        layers = list(model.layers)
        whole = model.start_layer == 0 and model.end_layer == len(layers) and not model.aux_hidden_state_layers
        if not (whole and isinstance(layers[0], LlamaDecoderLayer) and type(model).forward is LlamaModel.forward):
            raise _UnlikeLlamaError
        first, rotary = layers[0].self_attn, layers[0].self_attn.rotary_emb
        self._layers, self._cores = layers, cores
        self._attentions = [layer.self_attn.attn for layer in layers]
        self._records = numpy.zeros(len(layers), LAYER)
        self._modules = [
            (layer.self_attn.qkv_proj, layer.self_attn.o_proj, layer.mlp.gate_up_proj, layer.mlp.down_proj)
            for layer in layers
        ]
        for record, layer, modules in zip(self._records, layers, self._modules, strict=True):
            _check_layer(layer, first)
            record["first_norm"] = layer.input_layernorm.weight.data_ptr()
            record["second_norm"] = layer.post_attention_layernorm.weight.data_ptr()
            for name, module in zip(("qkv", "o", "gate_up", "down"), modules, strict=True):
                weight, scale = _weight(module)
                record[name]["weight"], record[name]["scale"] = weight.data_ptr(), scale
                record[name]["out"], record[name]["into"] = out_and_in(weight)
                record[name]["panels"] = weight.ndim == 3
        wide = model.norm.weight.shape[0]
        inner = out_and_in(_weight(self._modules[0][3])[0])[1]
        if not (_is_plain_rotation(rotary, first.head_dim) and _is_plain_norm(model.norm)) or inner % BLOCK:
            raise _UnlikeLlamaError
        self.in_bytes = bool(self._records["qkv"]["scale"].any())
        """Whether weights are in 8 bits."""
        self._hidden, self._inner, self._queries = wide, inner, first.q_size
        self._heads, self._kv_heads, self._head = first.num_heads, first.num_kv_heads, first.head_dim
        self._turns = rotary._match_cos_sin_cache_dtype(model.norm.weight)
        self._scratch, self._taken = torch.zeros(cores, decode.SCRATCH), numpy.zeros(PRODUCTS, numpy.int64)
        self._usual = numpy.zeros(1, STEP)
        usual = self._usual[0]
        usual["hidden"], usual["inner"], usual["heads"], usual["kv_heads"] = wide, inner, self._heads, self._kv_heads
        usual["head"], usual["epsilon"] = self._head, model.norm.variance_epsilon
        usual["cos_sin"], usual["last_norm"] = self._turns.data_ptr(), model.norm.weight.data_ptr()
        usual["scratch"], usual["taken"] = self._scratch.data_ptr(), self._taken.ctypes.data
        self._rank, self._widest_rank, self._most = -1, 0, 0
        self._make_room(MOST_ROWS)
        at, size = self._records.ctypes.data, LAYER.itemsize
        self._places = [at + number * size for number in range(len(layers))]

    def __call__(self, state: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """The normed state after all layers. `state`, [rows, hidden], is written over."""
        context = get_forward_context()
        rows = len(state)
        self._make_room(rows)
        adapted = self._take_adapters(rows)
        steps = self._steps(state, positions, adapted)
        queries, keys, values = (
            self._qkv[:rows].view(rows, -1, self._head).split([self._heads, self._kv_heads, self._kv_heads], 1)
        )
        attended = self._attended[:rows].view(rows, self._heads, self._head)
        before = 0
        for place, attention in zip(self._places, self._attentions, strict=True):
            self._between(steps, before, place)
            name = attention.layer_name
            attention.impl.do_kv_cache_update(attention, keys, values, attention.kv_cache, context.slot_mapping[name])
            attention.impl.forward(
                attention, queries, keys, values, attention.kv_cache, context.attn_metadata[name], output=attended
            )
            before = place
        self._between(steps, before, 0)
        return state

    def _between(self, steps: Any, before: int, after: int) -> None:
        steps["before"], steps["after"] = before, after
        for number in range(len(steps)):
            self._taken[:] = 0
            decode.run(steps.ctypes.data + number * STEP.itemsize, self._cores)

    def _steps(self, state: torch.Tensor, positions: torch.Tensor, adapted: bool) -> Any:
        """The calls of all rows, `AT_ONCE` of them in each: a numpy array of `STEP`."""
        rows, count = len(state), -(-len(state) // AT_ONCE)
        steps = self._usual.repeat(count)
        first = AT_ONCE * numpy.arange(count)
        steps["rows"], steps["adapted"] = numpy.minimum(rows - first, AT_ONCE), adapted
        for name, rows_of in {
            "state": state, "positions": positions, "slot_of_row": self._slots, "residual": self._residual,
            "qkv": self._qkv, "attended": self._attended,
        }.items():  # fmt: skip
            steps[name] = rows_of.data_ptr() + first * rows_of.stride(0) * rows_of.element_size()
        return steps

    def _make_room(self, rows: int) -> None:
        """For so many rows of a step, and for those of a call with adapters of the largest rank."""
        if rows > self._most:
            self._most = rows
            self._residual, self._attended = _narrow(rows, self._hidden), _narrow(rows, self._queries)
            self._qkv = _narrow(rows, (self._heads + 2 * self._kv_heads) * self._head)
            self._slots = torch.full((rows,), -1, dtype=torch.int64)
            once, usual = min(rows, AT_ONCE), self._usual[0]
            self._other, self._gated = _narrow(once, self._hidden), _narrow(once, 2 * self._inner)
            self._active = torch.zeros(once, self._inner)
            self._wide = torch.zeros(once, max(self._hidden, self._queries))
            usual["other"], usual["gated"] = self._other.data_ptr(), self._gated.data_ptr()
            usual["active"], usual["wide"] = self._active.data_ptr(), self._wide.data_ptr()
            self._shrunk = torch.zeros(0)
        needed = min(self._most, AT_ONCE) * self._widest_rank
        if len(self._shrunk) < needed:
            self._shrunk = torch.zeros(needed)
            self._usual["shrunk"] = self._shrunk.data_ptr()

    def _take_adapters(self, rows: int) -> bool:
        """The slot of each row, and where the slots are when they have moved. Whether any row uses one."""
        masked = getattr(getattr(self._modules[0][0], "punica_wrapper", None), "masked", None)
        if masked is None or masked.idle:
            return False
        self._slots[:rows] = -1
        self._slots[: len(masked.slot_of_row)] = masked.slot_of_row
        if masked.rank != self._rank:
            self._find_adapters(masked)
        return True

    def _find_adapters(self, masked: Any) -> None:
        for record, modules in zip(self._records, self._modules, strict=True):
            for name, module in zip(_PROJECTIONS, modules, strict=True):
                if not hasattr(module, "lora_a_stacked"):
                    continue
                slots, to = masked.layer(module.lora_a_stacked, module.lora_b_stacked), record[name]
                to["a"], (to["slices"], to["slots"], to["rank"], _) = slots.all_a.data_ptr(), slots.all_a.shape
                for number, b in enumerate(slots.all_b):
                    to[f"b{number}"] = b.data_ptr()
                ends = numpy.cumsum([b.shape[2] for b in slots.all_b])
                to["end0"], to["end1"] = ends[0], ends[min(1, len(ends) - 1)]
        sizes = (self._records[name]["slices"] * self._records[name]["rank"] for name in _PROJECTIONS)
        self._rank, self._widest_rank = masked.rank, max(int(size.max()) for size in sizes)
        self._make_room(0)


def _narrow(rows: int, columns: int) -> torch.Tensor:
    return torch.zeros(rows, columns, dtype=torch.bfloat16)


class _UnlikeLlamaError(Exception):
    """The model has something that the kernel does not compute."""


def _weight(module: Any) -> tuple[torch.Tensor, int]:
    """Of a linear layer, and where its scales are; 0 for a weight in bfloat16, which has none."""
    base = getattr(module, "base_layer", module)
    weight, scale = kept_weight(base), 0
    if (in_bytes := kept_bytes(base)) is not None:
        weight, scale = in_bytes[0], in_bytes[1].data_ptr()
    if weight is None or getattr(base, "bias", None) is not None or getattr(base, "tp_size", 1) != 1:
        raise _UnlikeLlamaError
    return weight, scale


def _check_layer(layer: Any, first: Any) -> None:
    """By what it is, and never by what it is not: a class that vLLM adds is not known to be computed alike."""
    own, attention = layer.self_attn, layer.self_attn.attn
    built = type(layer) is LlamaDecoderLayer and type(own) is LlamaAttention and type(layer.mlp) is LlamaMLP
    norms = all(_is_plain_norm(norm) for norm in (layer.input_layernorm, layer.post_attention_layernorm))
    same = (own.q_size, own.kv_size, own.head_dim) == (first.q_size, first.kv_size, first.head_dim)
    plain = type(attention.impl) is CPUAttentionBackendImpl and attention.query_quant is None
    if not (built and norms and same and plain and attention.kv_sharing_target_layer_name is None):
        raise _UnlikeLlamaError


def _is_plain_norm(norm: Any) -> bool:
    return (
        type(norm) is RMSNorm
        and norm.variance_size_override is None
        and norm.has_weight
        and norm.weight.dtype == torch.bfloat16
    )


def _is_plain_rotation(rotary: Any, head: int) -> bool:
    same = all(
        getattr(type(rotary), name) is getattr(RotaryEmbedding, name)
        for name in ("forward_static", "forward_native", "forward_cpu", "_match_cos_sin_cache_dtype")
    )
    return isinstance(rotary, RotaryEmbedding) and same and rotary.is_neox_style and rotary.rotary_dim == head
