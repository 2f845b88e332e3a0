"""The best checkpoint by the figure that the task is about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.text import scores
from tests.training.test_train import HOW, Place, make_place
from training import methods
from training.best_by import ANSWERED, Answers, best_of, score
from training.optimisation import OptimisationSettings
from training.progress import Point
from training.tokens import ChatTokenizer, Example

RIGHT = '{"colour": "red", "size": 2}'


@pytest.mark.parametrize(
    ("metric", "answer", "target", "figure"),
    [
        ("exact_match", "Red.", "red", scores.exact_match("Red.", "red")),
        ("token_f1", "a red thing", "red thing", scores.token_f1("a red thing", "red thing")),
        ("chrf", "reds", "red", scores.chrf("reds", "red")),
        ("fields", '{"size": 2.0, "colour": "red"}', RIGHT, 1.0),
        ("fields", '{"colour": "red"}', RIGHT, 0.0),
        ("valid_json", '{"colour": "blue", "size": 3}', RIGHT, 1.0),
        ("valid_json", '{"colour": "blue"}', RIGHT, 0.0),
        ("valid_json", "blue", RIGHT, 0.0),
    ],
)
def test_an_answer_has_the_score_that_an_evaluation_gives_it(
    metric: str, answer: str, target: str, figure: float
) -> None:
    assert score(metric, [answer], [target]) == figure


def test_every_different_right_answer_is_a_label() -> None:
    targets, answers = ["good", "Good", "bad", "bad"], ["good", "bad", "bad", "I do not know"]
    assert score("accuracy", answers, targets) == 0.5
    assert score("macro_f1", answers, targets) == pytest.approx((2 / 3 + 0.5) / 2)


def test_a_figure_is_the_mean_over_the_rows() -> None:
    assert score("exact_match", ["a", "b", "c", "d"], ["a", "b", "c", "x"]) == 0.75


def test_a_target_that_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidData, match="not a JSON object"):
        score("fields", ["red"], ["red"])


CURVE = [
    Point(0, 0.0, 3.0, {"exact_match": 0.9}),  # the base, which is no checkpoint
    Point(6, 1.0, 2.0, {"exact_match": 0.5}),
    Point(12, 2.0, 1.0, {"exact_match": 0.75}),
    Point(18, 3.0, 1.5, {"exact_match": 0.75}),
]


@pytest.mark.parametrize(("metric", "step"), [("loss", 12), ("exact_match", 12)])
def test_the_first_best_is_kept_and_the_base_is_not_among_them(metric: str, step: int) -> None:
    assert best_of(CURVE, metric).step == step


def test_a_method_says_by_what_its_best_can_be_chosen() -> None:
    measures = {name: methods.method_class(name).measures for name in methods._OURS}
    chat = ("loss", *ANSWERED)
    assert measures == {
        **dict.fromkeys(("lora", "qlora", "full", "last_layers", "merged_lora"), chat),
        "classification": ("macro_f1", "accuracy", "loss"),
        "dpo": ("loss", "reward_accuracy", "reward_margin", *ANSWERED),
        "text": ("loss",),
    }


@pytest.fixture
def place(tmp_path: Path, bases: Callable[..., Path], colours: Callable[..., Any]) -> Place:
    return make_place(tmp_path / "home", bases(), colours)


@pytest.mark.e2e
def test_what_the_method_does_not_measure_is_refused_before_training(place: Place) -> None:
    with pytest.raises(InvalidConfig, match=r"optimisation\.best_by") as refused:
        place.train(optimisation={**HOW, "best_by": "bleu"})
    assert "one of loss, exact_match" in str(refused.value)


@pytest.mark.e2e
def test_rows_that_the_metric_cannot_measure_are_named(place: Place) -> None:
    lines = (place.folder / "validation.jsonl").read_text(encoding="utf-8")
    (place.folder / "validation.jsonl").write_text(lines.replace('{\\"colour\\"', '[{\\"colour\\"'), encoding="utf-8")
    with pytest.raises(InvalidData, match="cannot be measured") as refused:
        place.train(optimisation={**HOW, "best_by": "fields"})
    assert len(refused.value.problems) == 8
    assert refused.value.problems[0].place.endswith("validation.jsonl:1")


def entries(place: Place) -> list[dict[str, Any]]:
    (log,) = place.home.runs.glob("*/log.jsonl")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == "validation"]


@pytest.mark.e2e
def test_the_checkpoint_with_the_best_answers_is_kept_and_early_stopping_goes_by_them(place: Place) -> None:
    # Nothing like the right answers is learnt: the loss still moves, and the metric says when it is no use.
    how = {**HOW, "best_by": "chrf", "best_by_rows": 4, "epochs": 8, "early_stopping": 2, "lr": 5e-2}
    metrics = place.train(optimisation=how).record.metrics
    base, *trained = entries(place)
    best = max(trained, key=lambda entry: entry["chrf"])
    assert metrics["chrf"] == best["chrf"]
    assert metrics["eval_loss"] == best["loss"]
    assert metrics["base_chrf"] == base["chrf"]
    since = [entry["chrf"] for entry in trained[trained.index(best) :]]
    assert len(trained) == 8 or len(since) == 3
    assert (place.home.runs / next(place.home.runs.glob("[!.]*")).name / "metrics.png").is_file()


@pytest.mark.e2e
def test_rows_of_unlike_length_are_answered_together_as_each_alone(
    bases: Callable[..., Path], colours: Callable[..., Any]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from lifecycle.rows.forms import conversation

    rows = colours(5)
    for at, row in enumerate(rows):
        row["messages"][0]["content"] += " please" * 3 * at
    chat = ChatTokenizer.load(bases())
    examples = chat.examples([conversation(row, str(at)) for at, row in enumerate(rows)], "", 256)
    model = AutoModelForCausalLM.from_pretrained(bases(), dtype=torch.float32)
    how = OptimisationSettings(best_by_max_tokens=12, batch_size=2)
    together = Answers(how, "exact_match", examples, chat).generated(model)
    assert [ids[: len(alone)] for ids, alone in zip(together, map(alone_of(model, chat), examples), strict=True)] == [
        *map(alone_of(model, chat), examples)
    ]
    assert model.training is False


def alone_of(model: Any, chat: ChatTokenizer) -> Callable[[Example], list[int]]:
    """The likeliest token after the other, up to a stop."""
    import torch

    def answer(example: Example) -> list[int]:
        ids = list(example.input_ids[: example.answer_start])
        start = len(ids)
        while (len(ids) < start + 12 and ids[-1] not in chat.stops) or len(ids) == start:
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        return ids[start:]

    return answer
