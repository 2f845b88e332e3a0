"""bfloat16 on a CPU: attention by products is attention, and `auto` asks the CPU."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from training import bfloat16

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("heads_of_keys", [6, 2, 1])
@pytest.mark.parametrize("kind", ["packed", "causal", "both ways"])
def test_attention_by_products_is_attention(heads_of_keys: int, kind: str) -> None:
    import torch

    chance = torch.Generator().manual_seed(5)

    def drawn(heads: int) -> torch.Tensor:
        return torch.randn(2, 16, heads, 8, generator=chance, dtype=torch.bfloat16).transpose(1, 2).requires_grad_()

    query, key, value = drawn(6), drawn(heads_of_keys), drawn(heads_of_keys)
    mask = None
    if kind == "packed":
        mask = torch.ones(2, 1, 16, 16, dtype=torch.bool).tril()
        mask[:, :, 9:, :9] = False
        mask[1, :, 12:, :] = torch.eye(16, dtype=torch.bool)[12:]

    class Module:
        is_causal = kind != "both ways"
        num_key_value_groups = 6 // heads_of_keys

    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, _ = bfloat16.attention(Module(), query, key, value, mask)
    inputs = [part.detach().float().requires_grad_() for part in (query, key, value)]
    whole = [inputs[0], *(part.repeat_interleave(6 // heads_of_keys, 1) for part in inputs[1:])]
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *whole, attn_mask=mask, is_causal=kind == "causal"
    ).transpose(1, 2)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.float(), theirs, rtol=0.0, atol=0.03)
    weight = torch.randn(theirs.shape, generator=chance)
    (ours.float() * weight).sum().backward()
    (theirs * weight).sum().backward()
    for mine, exact in zip((query, key, value), inputs, strict=True):
        torch.testing.assert_close(mine.grad.float(), exact.grad, rtol=0.02, atol=0.06)  # type: ignore[union-attr]


def test_what_is_no_plain_attention_is_left_to_the_library() -> None:
    import torch

    parts = [torch.randn(1, 2, 4, 8) for _ in range(3)]
    library = "transformers.integrations.sdpa_attention.sdpa_attention_forward"
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)

    def left(mask: Any = mask, **more: Any) -> bool:
        with patch(library, return_value=("library", None)) as asked:
            bfloat16.attention(object(), *parts, mask, **more)
        return bool(asked.called)

    assert left()  # outside autocast
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not left()
        assert left(dropout=0.1)
        assert left(mask=torch.zeros(1, 1, 4, 4))
        assert left(position_bias=torch.zeros(1, 2, 4, 4))
        with patch.object(bfloat16, "LONGEST", 4):
            assert not left()
        with patch.object(bfloat16, "LONGEST", 3):
            assert left()


@pytest.mark.parametrize(
    ("flags", "became"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_multiplies_it(flags: dict[str, bool], became: str) -> None:
    with patch("torch.cpu.get_capabilities", return_value=flags):
        assert bfloat16.settled("auto") == became
        assert bfloat16.settled("float32") == "float32"
        assert bfloat16.settled("bfloat16") == "bfloat16"


def test_a_gpu_takes_bfloat16_and_the_record_says_so_whatever_is_asked_for() -> None:
    with patch.object(bfloat16, "device", return_value="cuda"), patch("torch.cpu.get_capabilities", return_value={}):
        assert {bfloat16.settled(wanted) for wanted in ("auto", "float32", "bfloat16")} == {"bfloat16"}
