"""By what figure of validation a run's best checkpoint is chosen, and the answers that give it.

A loss knows how likely the right words are; a task's own metric, whether the answer is right. For the metric some
validation rows are answered after each epoch as a server would: from the same prompt, greedily, up to the base's own
stop tokens, with its own generation settings. Their scores are those of evaluations (`lifecycle/text/scores.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from lifecycle.errors import InvalidData, Problem
from lifecycle.text import scores
from training import processes, sharding
from training.label_scores import label_scores
from training.optimisation import OptimisationSettings
from training.progress import Point
from training.tokens import Example

SPARE = 16
"""Tokens that an answer may be longer than the longest right one, where the configuration does not say how long."""


def _whole_object(answer: str, target: str) -> float:
    wanted = [key for key, value in scores.target_object(target).items() if scores.spoken(value)]
    return scores.valid_json(answer, wanted)


def _every_field(answer: str, target: str) -> float:
    fields = list(scores.target_object(target))
    return float(all(scores.field_accuracy(answer, target, fields).values()))


_OF_ONE: Mapping[str, Callable[[str, str], float]] = {
    "exact_match": scores.exact_match,
    "token_f1": scores.token_f1,
    "chrf": scores.chrf,
    "valid_json": _whole_object,
    "fields": _every_field,
}
_OF_LABELS = ("accuracy", "macro_f1")
ANSWERED = (*_OF_ONE, *_OF_LABELS)
"""Figures of generated answers. `fields` is that of `json_fields`: all of them right at once."""


def score(metric: str, answers: Sequence[str], targets: Sequence[str]) -> float:
    """One figure of `ANSWERED` over all answers. For the last two, every different target is a label.

    Raises `InvalidData` for a target that it cannot be measured by.
    """
    if metric in _OF_ONE:
        return sum(map(_OF_ONE[metric], answers, targets)) / len(targets)
    labels: list[str] = []
    for target in targets:
        if scores.label_of(target, labels) is None:
            labels.append(target)
    said, right = ([scores.label_of(text, labels) for text in texts] for texts in (answers, targets))
    places = {label: place for place, label in enumerate(labels)}
    given = [places.get(label, -1) if label is not None else -1 for label in said]
    return label_scores(given, [places[str(label)] for label in right], labels)[metric]


def best_of(validation: Sequence[Point], metric: str) -> Point:
    """The point whose weights a trainer keeps: the first best, after training began."""
    trained = [point for point in validation if point.step]
    if metric == "loss":
        return min(trained, key=lambda point: point.loss)
    return max(trained, key=lambda point: point.beside[metric])


class Answers:
    """Some validation rows and how well they are answered."""

    def __init__(self, how: OptimisationSettings, metric: str, examples: Sequence[Example], chat: Any) -> None:
        """`chat` is a `ChatTokenizer` or a `CompletionTokenizer`.

        Raises `InvalidData` with the rows whose right answers `metric` cannot measure by.
        """
        self._metric, self._tokenizer, self._stops = metric, chat.tokenizer, chat.stops
        self._at_once = max(1, 2 * how.batch_size // processes.count())
        places = Random(how.seed).sample(range(len(examples)), min(how.best_by_rows, len(examples)))
        asked = [examples[place] for place in sorted(places)]
        # Rows of like length together, so that little is padding.
        self._asked = sorted(asked, key=lambda example: example.answer_start)
        right = [example.input_ids[example.answer_start : example.answer_end] for example in self._asked]
        self._targets = [self._text(ids) for ids in right]
        self._longest = how.best_by_max_tokens or max(map(len, right)) + SPARE
        problems, order = [], {example.place: at for at, example in enumerate(examples)}
        for example, target in zip(self._asked, self._targets, strict=True):
            try:
                score(metric, [target], [target])
            except InvalidData as error:
                problems += [Problem(example.place, f"its answer: {why.fault}", why.cure) for why in error.problems]
        if problems:
            problems.sort(key=lambda problem: order[problem.place])
            raise InvalidData(f"{metric}, by which the best checkpoint is to be chosen, cannot be measured", problems)

    def figures(self, trainer: Any, prefix: str) -> dict[str, float]:
        """The metric of the trainer's model as it is now, as the trainer names it: `eval_exact_match`."""
        with trainer.compute_loss_context_manager():
            answers = [self._text(ids) for ids in self.generated(trainer.accelerator.unwrap_model(trainer.model))]
        return {f"{prefix}_{self._metric}": score(self._metric, answers, self._targets)}

    def generated(self, model: Any) -> list[list[int]]:
        """The ids of each answer, without its prompt, in the order of the rows as they are asked.

        Each process of a run answers its share. `model` is left in evaluation.
        """
        import torch

        settings = copy.deepcopy(model.generation_config)
        settings.update(do_sample=False, num_beams=1, temperature=1.0, top_p=1.0, top_k=50, max_length=None)
        model.eval()
        answers: list[list[int]] = []
        asked = processes.share(self._asked)
        for start in range(0, len(asked), self._at_once):
            prompts = [row.input_ids[: row.answer_start] for row in asked[start : start + self._at_once]]
            width = max(map(len, prompts))
            with torch.no_grad():
                lines = model.generate(
                    input_ids=torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts], device=model.device),
                    attention_mask=torch.tensor(
                        [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=model.device
                    ),
                    generation_config=settings,
                    max_new_tokens=self._longest,
                    eos_token_id=sorted(self._stops),
                    pad_token_id=min(self._stops),
                    use_cache=True,
                    synced_gpus=sharding.is_shared_out(model),
                )
            answers += lines[:, width:].tolist()
        return processes.of_all(answers)[: len(self._asked)]

    def _text(self, ids: Sequence[int]) -> str:
        end = next((place for place, token in enumerate(ids) if token in self._stops), len(ids))
        return str(self._tokenizer.decode(ids[:end], skip_special_tokens=True)).strip()
