"""Training on a CPU: what the libraries compute, up to rounding, and a model that is as it was afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training import row_attention
from training.on_cpu import products
from training.packing import PackingCollator
from training.tokens import IGNORED

pytestmark = pytest.mark.e2e


def mask_of(lengths: list[int], window: int = 10**6) -> Any:
    """(1, 1, all, all): rows of so many tokens, of which each sees itself and at most `window` - 1 before it."""
    import torch

    blocks = [torch.ones(length, length).tril().triu(1 - window) for length in lengths]
    return torch.block_diag(*blocks).bool()[None, None]


def test_a_line_has_the_parts_that_its_mask_keeps_apart() -> None:
    import torch

    assert [(part.length, part.mask) for part in row_attention.parts_of(mask_of([3, 1, 5]))[0]] == [
        (3, None),
        (1, None),
        (5, None),
    ]
    window = row_attention.parts_of(mask_of([2, 4], window=2))[0]
    assert [part.length for part in window] == [2, 4]
    assert window[0].mask is None
    assert torch.equal(window[1].mask, mask_of([4], window=2))


def test_short_rows_share_a_part_which_still_keeps_them_apart() -> None:
    import torch

    parts = row_attention.parts_of(mask_of([3, 1, 5, 2, 1]), shortest=4)[0]
    assert [part.length for part in parts] == [4, 5, 3]
    assert torch.equal(parts[0].mask, mask_of([3, 1]))
    assert parts[1].mask is None
    assert torch.equal(parts[2].mask, mask_of([2, 1]))


def test_a_line_whose_padding_sees_nothing_is_the_kernels() -> None:
    mask = mask_of([3, 3])
    mask[..., 5, :] = False
    assert row_attention.parts_of(mask) == [[]]


@pytest.mark.parametrize("window", [10**6, 3])
@pytest.mark.parametrize("shortest", [1, 8])
def test_attention_by_rows_is_attention(window: int, shortest: int) -> None:
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    class Module:
        is_causal = True
        num_key_value_groups = 2

    chance = torch.Generator().manual_seed(3)
    lines = [[5, 1, 9, 3], [2, 16]]
    mask = torch.cat([mask_of(line, window) for line in lines])

    def drawn(heads: int) -> Any:
        return torch.randn(2, 18, heads, 8, generator=chance, dtype=torch.float64).transpose(1, 2).requires_grad_()

    inputs = drawn(4), drawn(2), drawn(2)
    weight = torch.randn(2, 18, 4, 8, generator=chance, dtype=torch.float64)

    def learnt(attention: Any) -> list[Any]:
        mixed, _ = attention(Module(), *inputs, mask)
        gradients = torch.autograd.grad((mixed * weight).sum(), inputs)
        return [mixed, *gradients]

    calls = []

    def counted(*args: Any, **more: Any) -> Any:
        calls.append(args[1].shape[2])
        return sdpa_attention_forward(*args, **more)

    ours = learnt(row_attention.by_rows(counted, shortest))
    assert calls == ([5, 1, 9, 3, 2, 16] if shortest == 1 else [15, 3, 18])
    for mine, theirs in zip(ours, learnt(sdpa_attention_forward), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0.0, atol=1e-12)


def test_what_has_no_rows_is_asked_for_at_once() -> None:
    import torch

    calls: list[Any] = []

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> Any:
        calls.append(mask)
        return query, None

    query = torch.zeros(1, 2, 6, 4)
    masks = [
        None,
        mask_of([6]),
        torch.zeros(1, 1, 6, 6),  # what is added to the scores
        mask_of([3, 3])[..., :3, :],  # an answer that goes on behind what is cached
    ]
    for mask in masks:
        queries = query if mask is None else query[:, :, : mask.shape[2]]
        row_attention.by_rows(attention)(None, queries, query, query, mask)
    assert all(mine is theirs for mine, theirs in zip(calls, masks, strict=True))


@pytest.mark.parametrize("lengths", [(9, 30, 17, 4, 22), (12,)])
def test_a_batch_in_one_line_has_the_loss_and_the_gradients_of_its_rows_apart(
    bases: Callable[..., Path], lengths: tuple[int, ...]
) -> None:
    import torch

    model = adapted(bases())
    chance = random.Random(2)
    drawn = [[chance.randint(3, 300) for _ in range(length)] for length in lengths]
    rows = [{"input_ids": ids, "labels": [IGNORED, IGNORED, *ids[2:]]} for ids in drawn]
    batch = PackingCollator(pad=0, room=200)(rows)
    assert batch["input_ids"].shape == (1, sum(lengths))

    def learnt(batches: list[dict[str, Any]]) -> tuple[float, Any]:
        loss = 0.0
        for inputs in batches:
            logits = model(**{"use_cache": False, **inputs}).logits[:, :-1]
            labels = inputs["labels"][:, 1:]
            total = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="sum")
            total.backward()
            loss += float(total.detach())
        gradients = torch.cat([part.grad.flatten() for part in model.parameters() if part.grad is not None])
        model.zero_grad()
        return loss, gradients

    apart, expected = learnt([{name: torch.tensor([ids]) for name, ids in row.items()} for row in rows])
    with products(model, "float32") as by_rows:
        together, gradients = learnt([batch])
    assert by_rows
    assert together == pytest.approx(apart, rel=1e-6)
    torch.testing.assert_close(gradients, expected, rtol=0.0, atol=1e-5 * float(expected.abs().max()))


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
    with products(model, "bfloat16"):
        ours, made = learnt(model)
    assert ours == pytest.approx(loss, rel=5e-3)
    assert made.keys() == gradients.keys()
    for name, theirs in gradients.items():
        mine = made[name]
        assert mine.dtype == torch.float32
        assert float(torch.nn.functional.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0)) > 0.99, name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_is_afterwards_as_it_was(bases: Callable[..., Path], precision: Any) -> None:
    import torch

    model = adapted(bases())
    before = {name: part.clone() for name, part in model.state_dict().items()}
    outputs = model(torch.tensor([[5, 6, 7]])).logits
    with products(model, precision):
        assert any(part.dtype == torch.bfloat16 for part in model.parameters()) == (precision == "bfloat16")
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
    with products(model, "bfloat16"):
        assert layer.weight.dtype == torch.float32
        learnt(model)


def test_dropout_and_an_adapter_that_is_switched_off_are_the_librarys(bases: Callable[..., Path]) -> None:
    import torch

    model = adapted(bases(), lora_dropout=0.5)
    with products(model, "bfloat16"):
        assert all(part.dtype == torch.float32 for part in model.parameters())
    model = adapted(bases())
    ids = torch.tensor([[5, 6, 7]])
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad(), model.disable_adapter():
        expected = model(ids).logits
        with products(model, "bfloat16"):
            torch.testing.assert_close(model(ids).logits, expected, rtol=0.0, atol=0.05)


def test_shards_and_a_gpu_and_other_attention_are_left_alone(
    bases: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(bases())

    def changed(precision: Any = "bfloat16") -> tuple[bool, bool]:
        with products(model, precision) as by_rows:
            return by_rows, any("forward" in vars(layer) for layer in model.modules())

    assert changed() == changed("float32") == (True, True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert changed() == (False, False)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    monkeypatch.setattr("training.on_cpu.device", lambda: "cuda")
    assert changed() == (False, False)
    monkeypatch.undo()
    model.get_base_model().set_attn_implementation("eager")
    assert changed() == (False, True)
