"""Training in bfloat16 on a CPU: the same results up to rounding, and a model that is as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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


def adapted(base: Path, **shape: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=4, target_modules="all-linear", use_rslora=True, init_lora_weights=False, **shape),
    )
    for name, parameter in model.named_parameters():  # as a base's file holds them
        if "lora_" not in name:
            parameter.data = parameter.data.bfloat16().float()
    return model


def learnt(model: Any) -> tuple[float, dict[str, Any]]:
    """The loss on two rows, and the gradients, in bfloat16."""
    import torch

    ids = torch.arange(40).view(2, 20) % 90 + 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    loss = loss.detach()
    gradients = {name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None}
    model.zero_grad()
    return float(loss), gradients


def test_a_step_has_the_gradients_that_the_libraries_give_in_bfloat16(bases: Callable[..., Path]) -> None:
    import torch

    model = adapted(bases())
    loss, gradients = learnt(model)
    with bfloat16.products(model, "bfloat16"):
        ours, made = learnt(model)
    assert ours == pytest.approx(loss, rel=5e-3)
    assert made.keys() == gradients.keys()
    for name, theirs in gradients.items():
        mine = made[name]
        assert mine.dtype == torch.float32
        assert float(torch.nn.functional.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0)) > 0.99, name


def test_the_model_is_afterwards_as_it_was(bases: Callable[..., Path]) -> None:
    import torch

    model = adapted(bases())
    before = {name: part.clone() for name, part in model.state_dict().items()}
    outputs = model(torch.tensor([[5, 6, 7]])).logits
    with bfloat16.products(model, "bfloat16"):
        assert any(part.dtype == torch.bfloat16 for part in model.parameters())
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, part in before.items():
        assert after[name].dtype == part.dtype, name
        assert torch.equal(after[name], part), name
    assert torch.equal(model(torch.tensor([[5, 6, 7]])).logits, outputs)
    assert model.config._attn_implementation == "sdpa"


def test_weights_that_bfloat16_cannot_hold_stay_in_float32(bases: Callable[..., Path]) -> None:
    import torch

    model = adapted(bases())
    layer = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer
    layer.weight.data[0, 0] = 1.0 + 2**-12
    with bfloat16.products(model, "bfloat16"):
        assert layer.weight.dtype == torch.float32
        learnt(model)


def test_dropout_and_an_adapter_that_is_switched_off_are_the_librarys(bases: Callable[..., Path]) -> None:
    import torch

    model = adapted(bases(), lora_dropout=0.5)
    with bfloat16.products(model, "bfloat16"):
        assert all(part.dtype == torch.float32 for part in model.parameters())
    model = adapted(bases())
    ids = torch.tensor([[5, 6, 7]])
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad(), model.disable_adapter():
        expected = model(ids).logits
        with bfloat16.products(model, "bfloat16"):
            torch.testing.assert_close(model(ids).logits, expected, rtol=0.0, atol=0.05)


def test_float32_and_shards_change_nothing(bases: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(bases())

    def unchanged(precision: str) -> bool:
        with bfloat16.products(model, precision):
            return not any("forward" in vars(layer) for layer in model.modules())

    assert unchanged("float32")
    assert not unchanged("bfloat16")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert unchanged("bfloat16")


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
