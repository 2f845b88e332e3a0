"""What a step and a validation weigh: every learnt token the same, however rows come to lie in batches."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from training.data.batches import lay
from training.exact import EpochOrder, exact
from training.mixture import Mixture
from training.tokens import IGNORED

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries")]


def rows(count: int) -> list[dict[str, list[int]]]:
    chance = random.Random(2)
    made = []
    for _ in range(count):
        ids = [chance.randint(3, 300) for _ in range(chance.randint(4, 40))]
        made.append({"input_ids": ids, "labels": [IGNORED, IGNORED, *ids[2:]]})
    return made


def trainer(base: Path, folder: Path, batch: int, accumulation: int) -> Any:
    """On 12 rows in their order, by plain gradient descent, so that a weight tells the gradient."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    made = exact(SFTTrainer)(
        model=model,
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=batch,
            per_device_eval_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=1,
            learning_rate=0.1,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            max_length=None,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows(12)),
        eval_dataset=Dataset.from_list(rows(12)),
        processing_class=AutoTokenizer.from_pretrained(base),
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.1), None),
    )
    made.order = list(range(12))
    return made


def test_a_short_last_window_of_accumulation_weighs_its_tokens_as_the_others(
    bases: Callable[..., Path], tmp_path: Path
) -> None:
    import torch

    weights = []
    for batch, accumulation in ((8, 1), (4, 2)):  # the second step has 4 rows: one batch, where the first has two
        made = trainer(bases(), tmp_path, batch, accumulation)
        made.train()
        assert made.state.global_step == 2
        weights.append(torch.cat([parameter.detach().flatten() for parameter in made.model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)


def test_figures_of_a_validation_are_the_means_over_tokens_whatever_lies_together(
    bases: Callable[..., Path], tmp_path: Path
) -> None:
    told = [trainer(bases(), tmp_path, batch, 1).evaluate() for batch in (12, 5, 1)]
    for name in ("eval_loss", "eval_mean_token_accuracy", "eval_entropy"):
        figures = [each[name] for each in told]
        assert figures == pytest.approx([figures[0]] * 3, rel=1e-5), name


def test_a_process_works_on_one_gpu_of_several(bases: Callable[..., Path], tmp_path: Path) -> None:
    from trl import SFTConfig

    from training import supervised

    class ManyGpus(SFTConfig):  # type: ignore[misc]
        def __post_init__(self) -> None:
            super().__post_init__()
            self._n_gpu = 4

    class Task:
        from training.optimisation import OptimisationSettings

        optimisation = OptimisationSettings()
        folder = tmp_path

    assert supervised.arguments(Task(), 100, ManyGpus).n_gpu == 1  # type: ignore[arg-type]


def test_a_tied_weight_is_no_missing_one_and_a_missing_one_is_told(
    bases: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    made = trainer(bases(), tmp_path, 4, 1)
    assert made.model.config.tie_word_embeddings
    said: list[str] = []
    monkeypatch.setattr("transformers.trainer.logger.warning", said.append)
    made.save_model(str(tmp_path / "checkpoint"))
    weights = load_file(file := tmp_path / "checkpoint" / "model.safetensors")
    assert "lm_head.weight" not in weights
    made._load_from_checkpoint(str(tmp_path / "checkpoint"))
    assert said == []

    del weights["model.norm.weight"]
    save_file(weights, file, {"format": "pt"})
    made._load_from_checkpoint(str(tmp_path / "checkpoint"))
    assert said == ["There were missing keys in the checkpoint model loaded: ['model.norm.weight']."]


def test_the_order_of_an_epoch_follows_from_the_seed_and_its_number() -> None:
    lengths = list(range(40))

    def order(epoch: int, seed: int = 1, group: int | None = None) -> list[int]:
        made = EpochOrder(range(40), lengths, seed, group=group, batch_size=4)
        made.set_epoch(epoch)
        return list(made)

    assert sorted(order(0)) == sorted(order(1)) == lengths
    assert order(0) == order(0) != order(1)
    assert order(0, seed=2) != order(0)
    grouped = order(0, group=4)
    assert sorted(grouped) == lengths
    apart, shuffled = (sum(abs(a - b) for a, b in pairwise(places)) for places in (grouped, order(0)))
    assert apart < 0.8 * shuffled


def test_rows_that_are_grouped_by_length_are_laid_in_the_estimate_as_the_trainer_orders_them() -> None:
    lengths = random.Random(5).choices([10, 20, 40, 80], k=400)
    order = list(EpochOrder(lengths, lengths, 0, group=16, batch_size=8))
    computed = sum(8 * max(lengths[place] for place in order[start : start + 8]) for start in range(0, 400, 8))
    laid = lay([Counter(lengths)], [400], 8, group=16)
    assert laid.computed == pytest.approx(computed, rel=0.03)
    assert (laid.tokens, lengths[order[0]]) == (sum(lengths), max(lengths))
    assert laid.computed < 0.75 * lay([Counter(lengths)], [400], 8).computed


def test_the_order_of_a_mixture_goes_on_where_the_last_epoch_stopped() -> None:
    mixed = Mixture([list("ab"), list("wxyz")], [1, 1], 3)
    made = EpochOrder(mixed, [1] * 6, 0, group=None, batch_size=4)
    seen = []
    for epoch in (0, 1):
        made.set_epoch(epoch)
        seen += [mixed.every[place] for place in made]
    assert (len(made), sorted(seen)) == (4, list("aabbwxyz"))
