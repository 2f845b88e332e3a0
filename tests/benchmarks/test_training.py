"""The arithmetic of the comparison of trainers: which bar stands over which figure, and what the tables say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import accelerated, apart, grouping, methods, orders, orders_of_methods
from benchmarks.our_run import Ran
from benchmarks.tables import markdown
from benchmarks.trainers import SIDES
from benchmarks.training import OTHERS, OURS, Measured, absolute, beside, ratios
from benchmarks.training_clock import Clock
from benchmarks.training_tasks import TrainingTask
from training.config import TrainJob
from training.exact import EpochOrder
from training.methods import names


def measured(seconds: float, *, loss: float = 0.5, peak: float = 900.0) -> list[Measured]:
    return [Measured(tokens=1300, seconds=seconds, whole=20.0, peak_mib=peak, loss=loss)]


SIDES_MEASURED = {
    "Dabt": measured(10.0),
    "Dabt bfloat16": measured(5.0, loss=0.511),
    "TRL": measured(13.0, peak=1000.0),
    "PEFT": measured(12.9, loss=0.49),
}


def test_both_of_ours_are_held_against_each_other_side_in_speed_and_loss() -> None:
    made = {figure.what: figure for figure in ratios("clinic", SIDES_MEASURED)}
    assert (made["Dabt / TRL: tokens a second"].middle, made["Dabt / TRL: tokens a second"].passed) == (1.3, True)
    assert made["Dabt / PEFT: tokens a second"].passed is False
    assert made["Dabt bfloat16 / TRL: tokens a second"].middle == 2.6
    assert made["Dabt / TRL: validation loss"].passed is True
    assert made["Dabt / PEFT: validation loss"].passed is False
    assert made["Dabt bfloat16 / TRL: validation loss"].passed is False
    assert (made["Dabt / TRL: peak memory"].middle, made["Dabt / TRL: peak memory"].passed) == (0.9, None)
    assert not any(f"/ {ours}" in what for ours in OURS for what in made)


def test_the_table_has_a_row_for_each_side_and_our_speed_beside_the_others() -> None:
    header, _, *rows = beside(SIDES_MEASURED).splitlines()
    assert header.endswith("| Dabt / it | Dabt bfloat16 / it |")
    assert rows[0] == "| Dabt | 130 | 900 MiB | 0.500 | 20 s |  |  |"
    assert rows[2] == "| TRL | 100 | 1000 MiB | 0.500 | 20 s | 1.30 | 2.60 |"
    assert len(rows) == len(SIDES_MEASURED)


def test_the_spread_of_the_rounds_is_shown_beside_their_median() -> None:
    twice = {side: [*runs, *measured(10.0)] for side, runs in SIDES_MEASURED.items()}
    assert "| 1.15 [1.00, 1.30] |" in beside(twice)
    assert next(figure.rounds for figure in absolute("clinic", twice)) == (130.0, 130.0)


def test_every_side_of_a_comparison_can_be_run() -> None:
    assert {*OURS, *OTHERS, *accelerated.OTHERS, "LLaMA-Factory"} == set(SIDES)


def test_every_side_takes_as_many_steps_as_the_rows_make_batches() -> None:
    task = TrainingTask("clinic", Path(), rows=320, validation=80, lr=1e-3)
    assert (task.steps, task.shorter().steps) == (40, 10)
    assert TrainingTask("clinic", Path(), rows=9, validation=1, lr=1e-3).steps == 2


@pytest.mark.e2e
def test_other_sides_get_the_rows_in_the_order_in_which_ours_takes_them(tmp_path: Path) -> None:
    task = TrainingTask("clinic", Path(), rows=20, validation=1, lr=1e-3)
    ours, theirs = (
        _lines(task.written(tmp_path, side, 0, shuffled=shuffled).parent / "train.jsonl")
        for side, shuffled in (("Dabt", False), ("TRL", True))
    )
    order = EpochOrder(range(20), [], 17, group=None, batch_size=8)
    assert theirs == [ours[at] for at in order] != ours


def test_the_orders_of_rows_are_compared_seed_by_seed() -> None:
    *_, chance, length = orders.table({"by chance": [0.4, 0.5], "by length": [0.45, 0.55]}).splitlines()
    assert chance == "| by chance | 0.450 | 0.071 | 2 of 2 |"
    assert length == "| by length | 0.500 | 0.071 | 0 of 2 |"


def test_what_an_order_by_length_saves_is_told_as_a_ratio_of_speeds() -> None:
    told = grouping.line("`dpo`", [10.0, 12.0, 9.0], [8.0, 8.0, 9.0])
    assert told == ["`dpo`", "10.0 s", "8.0 s", "1.25 [1.00, 1.50]"]


def test_pairs_of_the_comparison_of_orders_have_a_worse_answer_that_is_another_rows() -> None:
    pairs = orders_of_methods._pairs("validation")
    better = {pair["chosen"][0]["content"] for pair in pairs}
    for pair in pairs:
        assert pair["rejected"][0]["content"] in better - {pair["chosen"][0]["content"]}
        assert [turn["role"] for turn in pair["prompt"]] == ["system", "user"]
    assert pairs == orders_of_methods._pairs("validation")


def test_a_table_has_as_many_cells_in_every_row() -> None:
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    with pytest.raises(ValueError, match="has not 2 cells"):
        markdown(["a", "b"], [["1"]])


def test_the_table_of_methods_has_every_method_that_there_is() -> None:
    assert {case.method["type"] for case in methods.CASES} == set(names())
    assert any(case.method.get("rslora") is False for case in methods.CASES)
    assert any(case.method.get("lora") for case in methods.CASES)
    assert any(case.goes_on and case.method["type"] == "lora" for case in methods.CASES)


def test_rows_that_methods_learn_from_and_are_judged_by_are_apart(tmp_path: Path) -> None:
    counts, test = methods._written(tmp_path, quick=False)
    learnt = {line for name in ("train", "more", "validation") for line in _lines(tmp_path / f"{name}-text.jsonl")}
    assert len(learnt) == sum(counts.values())
    assert counts["train"] == 160
    assert counts["more"] == 160
    assert len(test) > 90
    assert not {f'{{"text": "{asked.text}"}}' for asked in test} & learnt


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("case", methods.CASES, ids=lambda case: case.name)
def test_the_configuration_of_every_method_is_one_that_dabt_train_takes(tmp_path: Path, case: methods.Case) -> None:
    methods._written(tmp_path, quick=True)
    raw = methods._configuration(tmp_path, case, case.method, tmp_path)
    assert TrainJob.from_mapping(raw, tmp_path).config.method.type == case.method["type"]


@pytest.mark.parametrize("name", accelerated.RUNS)
def test_the_configuration_of_every_run_on_a_gpu_is_one_that_dabt_train_takes(tmp_path: Path, name: str) -> None:
    for part in ("train", "validation"):
        (tmp_path / f"{part}.jsonl").write_text("{}", encoding="utf-8")
    raw = accelerated._configuration(tmp_path, tmp_path, accelerated.RUNS[name])
    assert TrainJob.from_mapping(raw, tmp_path).config.method.type == accelerated.RUNS[name]["method"]


RAN = Ran(
    artifact=Path(),
    kind="adapter",
    metrics={"reward_accuracy": 0.75, "base_eval_loss": math.log(9), "eval_loss": math.log(4)},
    steps=1,
    seconds=1.0,
    last=1.0,
    whole=1.0,
    peak_mib=1.0,
    card="",
    card_mib=0.0,
)


def test_quality_is_shares_of_right_answers_rewards_for_pairs_and_perplexity_for_texts() -> None:
    cases = {case.name: case for case in methods.CASES}
    counts = {"train": 400, "more": 189}
    assert methods._line(cases["lora"], RAN, 0.0, 0.9, counts)[1:4] == ["400 conversations", "0% right", "90% right"]
    dpo = methods._line(cases["dpo, going on from lora"], RAN, 0.9, 0.92, counts)
    assert dpo[1:4] == ["189 pairs", "90% right", "92% right; better answer ahead in 75% of pairs"]
    assert methods._line(cases["classification"], RAN, math.nan, 0.5, counts)[2:4] == ["", "50% right"]
    text = methods._line(cases["text"], RAN, 0.0, math.nan, counts)
    assert text[2:4] == ["perplexity 9.0", "perplexity 4.0"]


def test_packages_that_a_machine_was_brought_are_there_for_this_python_and_not_for_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brought.py").write_text("", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    apart.run(apart.HERE, "brought", environment={})
    other = tmp_path / "python"
    other.symlink_to(apart.HERE)
    with pytest.raises(RuntimeError, match="No module named brought"):
        apart.run(other, "brought", environment={})


LINE = accelerated.Line(
    name="lora", last=4.0, seconds=9.0, whole=20.0, peak_mib=5000.0, card="H", card_mib=4000.0, expected_mib=3000.0
)


def test_the_speed_on_a_gpu_is_that_of_the_last_epoch_and_only_ours_are_expected_to_take_memory() -> None:
    assert accelerated._cells(LINE, 8000)[:5] == ["`lora`", "2000", "4000 MiB", "3000 MiB", "5000 MiB"]
    other = replace(LINE, name="TRL", card="", expected_mib=0.0)
    assert accelerated._cells(other, 8000)[:4] == ["TRL", "2000", "", ""]
    assert len(accelerated._cells(LINE, 8000)) == len(accelerated.HEADER)


def test_the_seconds_of_the_last_epoch_are_told_apart_from_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerState
    from transformers.trainer_callback import CallbackHandler

    for name in ("on_epoch_begin", "on_epoch_end"):
        monkeypatch.setattr(CallbackHandler, name, lambda *args: None)
    times = iter((0.0, 7.0, 10.0, 12.0))
    monkeypatch.setattr("benchmarks.training_clock.time.perf_counter", lambda: next(times))
    clock = Clock()
    for _ in range(2):
        CallbackHandler.on_epoch_begin(None, None, TrainerState(), None)
        CallbackHandler.on_epoch_end(None, None, TrainerState(global_step=5), None)
    assert (clock.seconds, clock.last, clock.steps, clock.card_mib) == (9.0, 2.0, 5, 0.0)
