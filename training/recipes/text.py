"""Continued pre-training on plain texts, for a domain's words and ways of writing: every token is learnt.

Texts are packed into blocks of `max_length` tokens, without one seeing another (`packing.py`). A text that is longer
is cut into pieces, of which each begins with the last token of the one before: so every token of a text but its first
is learnt once, and its end is learnt too. `batch_size` counts blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from lifecycle.rows.faults import bad_rows
from lifecycle.rows.kinds import PlainText
from training import adapter_folder, completions, supervised
from training.adapter_method import AdapterMethod
from training.completions import CompletionTokenizer
from training.method import Task, Trained
from training.packing import bins, joined
from training.tokens import Example


class Text(AdapterMethod):
    """An adapter that continues the base's pre-training."""

    type: Literal["text"] = "text"

    rows: ClassVar = (PlainText,)
    shares: ClassVar = (*AdapterMethod.shares, supervised, *supervised.SHARES, completions)
    unused: ClassVar = {
        "prompt.system": "texts are learnt as they stand, with no system text before them",
        "data.answer_schema": "plain texts have no answers",
        "optimisation.group_by_length": "texts are packed into blocks of one length",
    }

    def examples(self, task: Task, rows: Sequence[PlainText]) -> Sequence[Example]:
        """Blocks. Raises `InvalidData` with all rows that hold a special token's text."""
        plain = CompletionTokenizer.load(task.base)
        if problems := [problem for row in rows for problem in plain.special(row.place, row.text)]:
            raise bad_rows(problems, ", ".join(sorted({row.place.rpartition(":")[0] for row in rows})))
        end, longest = plain.tokenizer.eos_token_id, task.optimisation.max_length
        pieces = []
        for row in rows:
            ids = list(plain.tokenizer(row.text)["input_ids"])
            ids += [end] * (ids[-1] != end)
            pieces += [_example(row.place, [ids[start : start + longest]]) for start in starts(len(ids), longest)]
        groups = bins([len(piece.input_ids) for piece in pieces], longest)
        return [_example(pieces[group[0]].place, [pieces[at].input_ids for at in group]) for group in groups]

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        packed = replace(task, optimisation=task.optimisation.model_copy(update={"packing": True}))
        model, peft = self.over(task, self.base(task))
        model, metrics = supervised.train(packed, model, training, validation, peft_config=peft, answers=False)
        folder = task.folder / self.artifact
        adapter_folder.save(model, folder, task.known, self.dtype)
        metrics["perplexity"] = math.exp(metrics["eval_loss"])
        metrics["base_perplexity"] = math.exp(metrics["base_eval_loss"])
        return Trained(folder, metrics)

    def proofs(self, examples: Sequence[Any]) -> Sequence[Example]:
        """The first text of each block: its second half, after its first."""
        return [_example(block.place, [block.input_ids[: block.seq_lengths[0]]]) for block in examples]


def starts(tokens: int, longest: int) -> range:
    """Where the pieces of so many tokens begin: each with the last token of the one before."""
    return range(0, max(tokens - 1, 1), longest - 1)


def _example(place: str, texts: Sequence[list[int]]) -> Example:
    line = joined([{"input_ids": ids, "labels": ids} for ids in texts])
    middle = len(line["input_ids"]) // 2
    return Example(place, line["input_ids"], line["labels"], max(middle, 1), tuple(line["seq_lengths"]))
