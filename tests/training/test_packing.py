"""Packing: the same rows, the same loss and the same gradients, in fewer tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig
from training import supervised
from training.optimisation import OptimisationSettings
from training.packing import PackingCollator, bins, even, joined
from training.tokens import IGNORED


def test_groups_hold_every_row_once_and_none_is_too_long() -> None:
    lengths = [random.Random(4).randint(1, 60) for _ in range(200)]
    groups = bins(lengths, 64)
    assert sorted(place for group in groups for place in group) == list(range(200))
    assert all(sum(lengths[place] for place in group) <= 64 for group in groups)
    assert len(groups) <= 1.1 * sum(lengths) / 64


def test_a_row_goes_where_the_least_room_is_left() -> None:
    assert bins([6, 5, 3, 5, 4], 10) == [[0, 4], [1, 3], [2]]


def test_rows_that_fill_a_group_to_the_last_token_fit() -> None:
    assert bins([4, 4, 4], 8) == [[0, 1], [2]]
    assert bins([9], 8) == [[0]]


def test_groups_of_even_length_hold_every_row_once() -> None:
    assert even([6, 5, 3, 5, 4], 2) == [[0, 4, 2], [1, 3]]
    assert even([7], 2) == [[0]]
    lengths = [random.Random(4).randint(1, 60) for _ in range(200)]
    groups = even(lengths, 7)
    assert sorted(place for group in groups for place in group) == list(range(200))
    sums = [sum(lengths[place] for place in group) for group in groups]
    assert max(sums) - min(sums) <= 60


def test_a_line_knows_its_rows_and_their_first_tokens_are_not_learnt() -> None:
    line = joined([{"input_ids": [5, 6], "labels": [5, 6]}, {"input_ids": [7, 8, 9], "labels": [7, 8, IGNORED]}])
    assert line["input_ids"] == [5, 6, 7, 8, 9]
    assert line["seq_lengths"] == [2, 3]
    assert line["labels"] == [IGNORED, 6, IGNORED, 8, IGNORED]


def test_what_is_packed_already_keeps_its_places() -> None:
    packed = joined([{"input_ids": [5, 6], "labels": [5, 6]}, {"input_ids": [7], "labels": [7]}])
    assert joined([packed]) == packed


def test_positions_start_again_with_each_row_and_with_the_padding() -> None:
    rows = [{"input_ids": [5] * length, "labels": [5] * length} for length in (6, 3, 2)]
    batch = PackingCollator(pad=9)(rows)
    assert batch["input_ids"].tolist() == [[5] * 6, [5] * 5 + [9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORED] + [5] * 5, [IGNORED, 5, 5, IGNORED, 5, IGNORED]]


def rows_of_mixed_length(count: int) -> list[dict[str, list[int]]]:
    chance = random.Random(11)
    rows = []
    for _ in range(count):
        ids = [chance.randint(3, 300) for _ in range(chance.randint(4, 60))]
        start = chance.randint(1, len(ids) - 1)
        rows.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
    return rows


def test_a_batch_has_fewer_tokens_than_padding_would_give() -> None:
    rows = rows_of_mixed_length(16)
    batch = PackingCollator(pad=0)(rows)
    lines, width = batch["input_ids"].shape
    tokens = sum(len(row["input_ids"]) for row in rows)
    assert width == max(len(row["input_ids"]) for row in rows)
    assert tokens <= lines * width < 1.2 * tokens < 0.8 * 16 * width
    learnt = sum(label != IGNORED for row in rows for label in row["labels"])
    assert int((batch["labels"] != IGNORED).sum()) == learnt


def test_lines_with_room_for_a_batch_need_no_padding() -> None:
    rows = rows_of_mixed_length(16)
    tokens = sum(len(row["input_ids"]) for row in rows)
    assert PackingCollator(pad=0, room=tokens)(rows)["input_ids"].shape == (1, tokens)
    batch = PackingCollator(pad=0, room=tokens - 1)(rows)
    lines, width = batch["input_ids"].shape
    assert lines == 2
    assert lines * width < 1.05 * tokens
    assert int((batch["position_ids"] == 0).sum()) >= 16


def test_by_default_rows_lie_apart_over_a_base_that_cannot_pack_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(exact: bool, packing: bool | str) -> bool:
        def tried(*_: Any) -> None:
            if not exact:
                raise InvalidConfig("the base cannot be trained on packed rows")

        monkeypatch.setattr(supervised, "require_exact", tried)
        trainer = SimpleNamespace(model=None, train_dataset=[], data_collator="padding")
        supervised._pack(trainer, PackingCollator(pad=0), required=packing is True)
        return trainer.data_collator != "padding"

    assert OptimisationSettings().packing == "auto"
    assert packed(exact=True, packing="auto")
    assert packed(exact=True, packing=True)
    assert not packed(exact=False, packing="auto")
    with pytest.raises(InvalidConfig, match="cannot be trained on packed rows"):
        packed(exact=False, packing=True)


@pytest.mark.e2e
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packed_rows_have_the_loss_and_the_gradients_of_rows_alone(bases: Callable[..., Path], dtype: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(bases(), dtype=getattr(torch, dtype))
    assert model.config._attn_implementation == "sdpa"
    rows = rows_of_mixed_length(12)
    packed = PackingCollator(pad=0)(rows)
    assert len(packed["input_ids"]) < 12

    def gradients() -> torch.Tensor:
        found = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        model.zero_grad()
        return found

    def loss(batch: dict[str, Any]) -> torch.Tensor:
        logits = model(**batch, use_cache=False).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        total = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="sum")
        total.backward()
        return total.detach()

    alone = sum(loss({key: torch.tensor([values]) for key, values in row.items()}) for row in rows)
    expected = gradients()
    together = loss(packed)
    close = {"float32": 1e-5, "float64": 1e-12}[dtype]
    torch.testing.assert_close(together, alone, rtol=close, atol=0.0)
    torch.testing.assert_close(gradients(), expected, rtol=0.0, atol=close * float(expected.abs().max()))
