"""Endless batches of encoded conversations for `pretrain.py`; each holds conversations of like length."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from examples.clinic.corpus import Conversation, sample
from examples.clinic.tokenizer import END

TOKENS_A_STEP, TOKENS_A_STEP_EARLY = 4096, 3072
LONGEST, LONGEST_EARLY = 800, 320
BUFFER = 256


@dataclass
class Example:
    """One encoded conversation: token ids, and which of them the loss falls on."""

    skill: str
    ids: list[int]
    taught: list[bool]


class Encoder:
    """Turns conversations into ids exactly as the chat template does."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def __call__(self, skill: str, talk: Conversation) -> Example:
        pieces: list[str] = []
        for turn in talk:
            pieces += [f"<|im_start|>{turn.role}\n", turn.content + END, "\n"]
        encoded = self.tokenizer(pieces, add_special_tokens=False)["input_ids"]
        ids: list[int] = []
        taught: list[bool] = []
        for index, piece in enumerate(encoded):
            ids += piece
            taught += [index % 3 == 1 and talk[index // 3].taught] * len(piece)
        return Example(skill, ids, taught)


def batches(encoder: Encoder, seed: int, late: list[float], processes: int) -> Iterator[list[Example]]:
    """Endless batches of about equally many tokens; each holds conversations of like length."""
    rng = random.Random(seed)
    waiting: list[list[Example]] = []
    while True:
        if not waiting:
            longest = LONGEST if late[0] >= 0.3 else LONGEST_EARLY
            budget = (TOKENS_A_STEP if late[0] >= 0.3 else TOKENS_A_STEP_EARLY) // processes
            drawn: list[Example] = []
            while len(drawn) < BUFFER:
                example = encoder(*sample(rng, late[0]))
                if len(example.ids) <= longest:
                    drawn.append(example)
            drawn.sort(key=lambda example: len(example.ids))
            batch: list[Example] = []
            for example in drawn:
                if batch and (len(batch) + 1) * len(example.ids) > budget:
                    waiting.append(batch)
                    batch = []
                batch.append(example)
            waiting.append(batch)
            rng.shuffle(waiting)
        yield waiting.pop()


def pack(batch: list[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids, and which of them the loss falls on; both [rows, width]."""
    width = math.ceil(max(len(example.ids) for example in batch) / 16) * 16
    ids = torch.full((len(batch), width), pad)
    taught = torch.zeros((len(batch), width), dtype=torch.bool)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        taught[row, : len(example.ids)] = torch.tensor(example.taught)
    return ids, taught
