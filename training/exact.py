"""A trainer of transformers' that counts exactly: losses by learnt tokens, and epochs by the rows that they are to see.

transformers averages a validation loss over batches and weighs each by its lines, so that it depends on which rows lie
together, and on packing. Here it is the mean over all learnt tokens, whatever lies where.

Where several processes share the work (`processes.py`), blank rows, of which nothing is learnt, fill the last batch up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from training import processes, sharding
from training.best_by import Answers
from training.mixture import Mixture
from training.tokens import IGNORED

_OF_TOKENS = {"mean_token_accuracy", "entropy"}
"""Figures that TRL takes over the learnt tokens of a batch."""


def exact(trainer: type[Any], *, shifted: bool = True) -> type[Any]:
    """`trainer`, a class of transformers' for rows with `labels`. `order` says which rows each epoch sees, and
    `answers` which are answered when it validates.

    `shifted` labels are those of the tokens before them, of which the first has none.
    """
    import torch

    class Exact(trainer):  # type: ignore[misc]
        order: EpochOrder | None = None
        judging = False
        answers: Answers | None = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._tokens: list[Any] = []
            """Learnt in each batch of this process since the last log, as tensors: nothing waits for the device."""
            super().__init__(*args, **kwargs)

        def create_accelerator_and_postprocess(self) -> None:
            super().create_accelerator_and_postprocess()
            sharding.on_processors_too(self)

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return self.order or super()._get_train_sampler(*args, **kwargs)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self._tokens.append(self._learnt_in(inputs))
            return super().compute_loss(model, inputs, *args, **kwargs)

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            # TRL takes the mean of what its batches had, whatever lay in them.
            told = getattr(self, "_metrics", {}).get("train" if self.model.training else "eval", {})
            counted = [name for name in sorted(_OF_TOKENS & told.keys()) if len(told[name]) == len(self._tokens)]
            if counted and self._tokens:
                tokens = self.accelerator.reduce(torch.stack(self._tokens), "sum").tolist()
                told.update({name: [mean(told[name], tokens)] for name in counted})
            self._tokens = []
            super().log(logs, *args, **kwargs)

        def _learnt_in(self, inputs: Any) -> Any:
            labels = inputs["labels"][..., 1:] if shifted else inputs["labels"]
            return (labels != IGNORED).sum()

        def _issue_warnings_after_load(self, load_result: Any) -> None:
            load_result.missing_keys[:] = not_tied(self.model, load_result.missing_keys)
            super()._issue_warnings_after_load(load_result)

        def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
            self._sums = torch.zeros(2, dtype=torch.float64)
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
            loss, learnt = self.accelerator.reduce(self._sums.to(self.args.device), "sum").tolist()
            output.metrics[f"{metric_key_prefix}_loss"] = loss / max(learnt, 1.0)
            if self.answers is not None:
                output.metrics.update(self.answers.figures(self, metric_key_prefix))
            return output

        def _get_num_items_in_batch(self, *args: Any, **kwargs: Any) -> Any:
            return None if self.judging else super()._get_num_items_in_batch(*args, **kwargs)

        def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.judging = True  # the mean over this process's own rows, which are weighed below
            outputs = super().prediction_step(model, inputs, *args, **kwargs)
            self.judging = False
            learnt = int(self._learnt_in(inputs))
            self._sums += torch.tensor([float(outputs[0]) * learnt, learnt], dtype=torch.float64)
            return outputs

    return Exact


def not_tied(model: Any, missing: Sequence[str]) -> list[str]:
    """Those of `missing` in a checkpoint that were not loaded. A tied weight stands there once, under its other name:
    transformers calls it missing, which reads like a fault.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(parameter) for name, parameter in parameters.items() if name not in missing}
    return [name for name in missing if id(parameters.get(name)) not in loaded]


def mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Of what batches have, each of which counts for its weight."""
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / max(sum(weights), 1)


class EpochOrder:
    """A sampler: the rows of each epoch, shuffled by the seed and the epoch's number alone.

    The trainer's own draws from the process's generator, whose state a run that goes on no longer has.

    With `group`, rows of like length come together, in groups of so many, so that little is padding: transformers' own
    order for `group_by_length`, with the longest row first, so that a run that has no room for it ends at once.
    """

    def __init__(
        self, rows: Sequence[Any], lengths: Sequence[int], seed: int, *, group: int | None, batch_size: int
    ) -> None:
        """`lengths` are those of all rows, of a `Mixture`'s `every`. The blank row is the one behind them."""
        self._rows, self._lengths, self._seed, self._group = rows, lengths, seed, group
        self._blanks = processes.missing(len(rows), batch_size)
        self._epoch = 0

    @property
    def _places(self) -> Callable[[int], Sequence[int]]:
        return self._rows.epoch if isinstance(self._rows, Mixture) else lambda number: range(len(self._rows))

    def set_epoch(self, number: int) -> None:
        self._epoch = number

    def __len__(self) -> int:
        return len(self._rows) + self._blanks

    def __iter__(self) -> Iterator[int]:
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        places = self._places(self._epoch)
        chance = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        if self._group is None:
            order = torch.randperm(len(places), generator=chance).tolist()
        else:
            lengths = [self._lengths[place] for place in places]
            order = get_length_grouped_indices(lengths, self._group, generator=chance)
        return iter([*(places[at] for at in order), *[len(self._lengths)] * self._blanks])
