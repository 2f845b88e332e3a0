"""QLoRA, DPO and plain text, for real, on a base of random weights; what they go on from, mix and are served over."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import AdapterRefused, InvalidConfig, InvalidData
from tests.training.conftest import COLOURS
from tests.training.test_train import HOW, Place, make_place
from training.recipes.text import starts
from training.run import TrainResult

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains

SHORT = {**HOW, "epochs": 2}
SHAPE = {"r": 8, "alpha": 16}


@pytest.fixture
def place(tmp_path: Path, bases: Callable[..., Path], colours: Callable[..., Any]) -> Place:
    made = make_place(tmp_path / "home", bases(), colours)
    write(made, "pairs", [pair(at) for at in range(24)])
    write(made, "texts", [{"text": f"thing {at} is {COLOURS[at % 8]}. " * (1 + at % 5)} for at in range(40)])
    return made


def write(place: Place, name: str, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (place.folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def pair(at: int) -> dict[str, Any]:
    other = COLOURS[(at + 3) % 8] + " " + "x" * (at % 5)
    return {"prompt": f"what colour is thing {at}? {COLOURS[at % 8]}", "chosen": COLOURS[at % 8], "rejected": other}


PAIRS = {"train": "pairs.jsonl", "holdout": 0.3}
TEXTS = {"train": "texts.jsonl", "holdout": 0.2}


def dpo(place: Place, **settings: Any) -> TrainResult:
    return place.train(method={"type": "dpo", **SHAPE, **settings}, data=PAIRS, optimisation=SHORT)


def losses(result: TrainResult, kind: str) -> list[float]:
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in log if entry["kind"] == kind]


def test_dpo_starts_at_ln_2_and_prefers_the_chosen_answers(place: Place) -> None:
    result = dpo(place)
    metrics = result.record.metrics
    assert metrics["base_eval_loss"] == pytest.approx(math.log(2), abs=1e-7)
    assert losses(result, "train")[0] == pytest.approx(math.log(2), abs=1e-7)
    assert metrics["eval_loss"] < 0.6
    assert metrics["reward_accuracy"] > 0.8
    assert metrics["reward_margin"] > 0.1
    chosen = result.record.golden[0]
    assert sum(chosen.adapter_logprobs) != pytest.approx(sum(chosen.base_logprobs), abs=0.01)


def test_dpo_has_the_same_figures_whatever_lies_in_a_batch(place: Place) -> None:
    """The validation pairs are one batch of at most 8, or one of 4 and a short one."""
    curves = []
    for batch_size, accumulation in ((4, 1), (2, 2)):
        # Slowly: what sums in another order differ by grows with every large step.
        how = {**SHORT, "lr": SHORT["lr"] / 4, "batch_size": batch_size, "accumulation": accumulation}
        result = place.train(method={"type": "dpo", **SHAPE}, data=PAIRS, optimisation=how)
        told = [json.loads(line) for line in (result.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        right = [each["mean_token_accuracy"] for each in told if each["kind"] == "validation"]
        curves.append((losses(result, "train"), losses(result, "validation"), right))
    assert 4 < result.record.metrics["validation_rows"] < 8
    assert curves[0][1] == pytest.approx(curves[1][1], rel=1e-4)
    assert curves[0][0] == pytest.approx(curves[1][0], rel=1e-4)
    assert curves[0][2] == pytest.approx(curves[1][2], rel=1e-4)  # of tokens, and not of batches


def test_the_reference_of_dpo_is_the_adapter_that_it_goes_on_from(place: Place) -> None:
    first = place.train(optimisation={**HOW, "epochs": 1})
    result = place.train(method={"type": "dpo", "adapter": "colours:1"}, data=PAIRS, optimisation=SHORT)
    assert losses(result, "validation")[0] == pytest.approx(math.log(2), abs=1e-7)
    assert result.version.lineage.started_from == first.version.spec.adapter
    method = result.record.config["method"]
    assert (method["r"], method["alpha"], method["adapter"]) == (8, 16.0, first.version.spec.adapter)
    assert sorted(path.name for path in (result.folder / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "dabt_manifest.json",
    ]


def test_the_weight_of_the_chosen_answers_own_loss_is_added(place: Place) -> None:
    metrics = dpo(place, sft=0.5).record.metrics
    assert metrics["base_eval_loss"] > math.log(2) + 1


def test_pairs_are_refused_rather_than_cut_and_told_by_their_answer(place: Place) -> None:
    write(place, "pairs", [*(pair(at) for at in range(24)), {**pair(30), "rejected": "x " * 120}])
    with pytest.raises(InvalidData, match=r"pairs.jsonl:25 \(rejected\): is \d+ tokens long, more than 128"):
        dpo(place)


def test_a_pair_of_several_turns_is_refused(place: Place) -> None:
    turns = [{"role": role, "content": "x"} for role in ("assistant", "user", "assistant")]
    rows = [{"prompt": [{"role": "user", "content": "q"}], "chosen": turns, "rejected": turns[:1]}]
    write(place, "pairs", [*(pair(at) for at in range(24)), *rows])
    with pytest.raises(InvalidData, match="chosen is 3 turns, and pairs are of one answer each"):
        dpo(place)


def test_pairs_are_not_packed_and_that_is_said(place: Place) -> None:
    with pytest.raises(InvalidConfig, match=r"optimisation\.packing: pairs are not packed"):
        place.train(method={"type": "dpo"}, data=PAIRS, optimisation={**SHORT, "packing": True})


def test_an_adapter_keeps_its_shape_when_training_goes_on_and_no_hub_is_asked_for_its_base(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda base, _: asked.append(base))
    place.train(optimisation={**HOW, "epochs": 1})
    with pytest.raises(InvalidConfig, match=r"method\.r: is 8 in colours:1, which training goes on from"):
        place.train(method={"type": "lora", "r": 16, "adapter": "colours:1"})
    going = place.train(method={"type": "lora", "adapter": "colours:1"}, optimisation=SHORT)
    assert asked == []
    assert going.record.config["method"]["r"] == 8
    anew = place.train(optimisation=SHORT)
    assert going.record.metrics["base_eval_loss"] < 0.9 * anew.record.metrics["base_eval_loss"]


def test_what_is_gone_on_from_decides_the_name_of_a_run_and_not_where_it_lies(place: Place) -> None:
    first = place.train(optimisation={**HOW, "epochs": 1})
    by_ref = place.train(method={"type": "lora", "adapter": "colours:1"}, optimisation=SHORT)
    for wanted in (str(first.folder / "adapter"), first.version.spec.adapter):
        again = place.train(method={"type": "lora", "adapter": wanted}, optimisation=SHORT)
        assert again.reused
        assert again.version == by_ref.version


def test_an_adapter_of_another_base_is_refused_before_training(place: Place, bases: Callable[..., Path]) -> None:
    place.train(optimisation={**HOW, "epochs": 1})
    with pytest.raises(AdapterRefused, match="these differ: chat_template"):
        place.train(method={"type": "lora", "adapter": "colours:1"}, base=str(bases("untagged")))


@pytest.mark.parametrize("wanted", ["colours:9", "./nowhere", "sha256:" + "0" * 64, "no such"])
def test_an_adapter_that_is_not_there_is_told_with_its_key(place: Place, wanted: str) -> None:
    with pytest.raises(InvalidConfig, match=r"method\.adapter: "):
        place.train(method={"type": "lora", "adapter": wanted})


def test_qlora_learns_over_four_bits_and_says_what_they_cost_over_the_base_that_is_served(place: Place) -> None:
    result = place.train(method={"type": "qlora", **SHAPE}, optimisation=SHORT)
    metrics, plain = result.record.metrics, place.train(optimisation=SHORT).record.metrics
    assert metrics["eval_loss"] < 0.8 * metrics["base_eval_loss"]
    assert metrics["base_eval_loss"] != plain["base_eval_loss"]  # the packed base is another model
    assert 0 < abs(metrics["quantisation_cost"]) < 0.5
    cost = f"{metrics['quantisation_cost']:+.3f} nats a token"
    assert result.record.notes == (
        f"trained over a base in 4 bits, served over the base as it is: {cost}",
        "size: 48 examples; a fine-tune is promising from about 1,000",
    )
    from safetensors.torch import load_file

    weights = load_file(result.folder / "adapter" / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.float32"}


@pytest.mark.parametrize("base", ["tagged", "bare"])
def test_plain_texts_are_learnt_to_their_ends_and_perplexity_falls(
    place: Place, base: str, bases: Callable[..., Path]
) -> None:
    changes = {"base": str(bases(base)), "prompt": {}, "data": TEXTS, "optimisation": {**SHORT, "batch_size": 2}}
    metrics = place.train(method={"type": "text", **SHAPE}, **changes).record.metrics
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["eval_loss"]))
    assert metrics["perplexity"] < 0.5 * metrics["base_perplexity"]


def test_a_long_text_is_cut_so_that_every_token_but_the_first_is_learnt_once() -> None:
    for tokens in (2, 9, 10, 11, 19, 20, 28, 100):
        learnt = [at for start in starts(tokens, 10) for at in range(start + 1, min(start + 10, tokens))]
        assert learnt == list(range(1, tokens))


def test_a_system_text_is_no_part_of_plain_texts(place: Place) -> None:
    with pytest.raises(InvalidConfig, match=r"prompt\.system: texts are learnt as they stand"):
        place.train(method={"type": "text"}, data=TEXTS)


def test_packing_changes_no_loss_and_no_step(place: Place) -> None:
    plain = place.train(optimisation={**SHORT, "packing": False})
    packed = place.train(optimisation=SHORT)
    assert packed.record.metrics["steps"] == plain.record.metrics["steps"]
    for kind in ("train", "validation"):
        assert losses(packed, kind) == pytest.approx(losses(plain, kind), rel=1e-4)


def test_a_base_without_a_template_learns_to_go_on_from_a_prompt(place: Place, bases: Callable[..., Path]) -> None:
    result = place.train(base=str(bases("bare")), prompt={}, optimisation=SHORT)
    assert result.record.metrics["eval_loss"] < 0.8 * result.record.metrics["base_eval_loss"]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bases("bare"))
    golden = result.record.golden[0]
    assert list(golden.prompt_ids) == tokenizer("what colour is thing 100? white")["input_ids"]
    assert golden.completion_ids[-1] == tokenizer.eos_token_id


def test_a_base_without_a_template_has_no_place_for_a_system_text(place: Place, bases: Callable[..., Path]) -> None:
    with pytest.raises(InvalidConfig, match=r"prompt\.system: the base has no chat template"):
        place.train(base=str(bases("bare")), optimisation=SHORT)


@pytest.mark.parametrize("name", ["chatml", "zephyr"])
def test_a_base_is_given_a_template_and_is_another_base_by_it(
    place: Place, bases: Callable[..., Path], name: str
) -> None:
    from lifecycle.models.base import fingerprint
    from lifecycle.models.templates import with_template

    result = place.train(base=str(bases("bare")), template=name, optimisation=SHORT)
    served = with_template(bases("bare"), name, place.home.cache / "bases")
    assert result.version.spec.base == fingerprint(served).digest != fingerprint(bases("bare")).digest
    assert result.version.spec.prompt.system


def test_files_are_mixed_by_weight_and_the_counts_are_told(place: Place) -> None:
    write(place, "more", [{"prompt": f"is thing {at} red?", "completion": "no"} for at in range(40)])
    both = [{"path": "train.jsonl", "weight": 3}, {"path": "more.jsonl", "weight": 1}]
    data = {"train": both, "validation": "validation.jsonl"}
    result = place.train(data=data, optimisation={**SHORT, "epochs": 1})
    assert result.record.metrics["train_rows"] == 64
    assert result.record.notes[0] == "an epoch sees 48 of 48 of train.jsonl, 16 of 40 of more.jsonl"
    plain = place.train(data={**data, "train": ["train.jsonl", "more.jsonl"]}, optimisation={**SHORT, "epochs": 1})
    assert plain.record.metrics["train_rows"] == 88
    digests = {result.record.data_digest, plain.record.data_digest, place.train(optimisation=SHORT).record.data_digest}
    assert len(digests) == 3


@pytest.mark.parametrize(("method", "data"), [("dpo", PAIRS), ("text", TEXTS)])
def test_every_method_ends_after_so_many_steps_or_minutes(place: Place, method: str, data: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"method": {"type": method, **SHAPE}, "data": data, "prompt": {}}
    steps = place.train(optimisation={**SHORT, "batch_size": 2, "max_steps": 2}, **asked).record.metrics
    minutes = place.train(optimisation={**SHORT, "batch_size": 2, "max_minutes": 1e-9}, **asked).record.metrics
    assert (steps["steps"], minutes["steps"]) == (2, 1)


def test_dpo_keeps_the_first_best_by_its_own_figure_and_stops_early_by_it(place: Place) -> None:
    how = {**SHORT, "epochs": 9, "best_by": "reward_accuracy", "early_stopping": 1}
    result = place.train(method={"type": "dpo", **SHAPE}, data=PAIRS, optimisation=how)
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    figures = [entry["rewards/accuracies"] for entry in log if entry["kind"] == "validation"][1:]
    best = figures.index(max(figures))
    assert result.record.metrics["reward_accuracy"] == figures[best]
    assert result.record.metrics["eval_loss"] == losses(result, "validation")[1 + best]
    assert len(figures) == best + 2 < 9  # one epoch without a better one
