"""What a training on a CPU computes otherwise than the libraries do: the same up to rounding, in less time.

Rows of a packed line have attention of their own (`row_attention.py`), in bfloat16 by products (`bfloat16.py`), and
LoRA layers are products alone (`lora_product.py`). `tests/training/test_on_cpu.py` holds it against the libraries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training import bfloat16, lora_product, row_attention
from training.device import device

SHARES = (bfloat16, lora_product, row_attention)
"""Modules whose code decides what comes of a training, besides this one."""
_NAME = "dabt_rows"


@contextmanager
def products(model: Any, precision: str) -> Iterator[bool]:
    """Within it, `model` is trained as above, where it runs on a CPU. Afterwards it is as it was.

    Gives whether attention sees to the rows of a line one by one. What is not known to be computed alike is left to the
    libraries: other attention than SDPA, LoRA with dropout or in one of its variants, a base in 4 bits.
    """
    if device() == "cuda" or _sharded():
        yield False
        return
    with _attention(model, precision) as by_rows, lora_product.by_products(model, precision):
        yield by_rows


def _sharded() -> bool:
    """FSDP cuts weights of one number format into shards, before a layer is asked for its result."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


@contextmanager
def _attention(model: Any, precision: str) -> Iterator[bool]:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        yield False
        return
    if precision == "bfloat16":
        attention = row_attention.by_rows(bfloat16.attention, shortest=64)
    else:
        attention = row_attention.by_rows(sdpa_attention_forward)
    AttentionInterface.register(_NAME, attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    bare.set_attn_implementation(_NAME)
    try:
        yield bare.config._attn_implementation == _NAME
    finally:
        bare.set_attn_implementation("sdpa")
