"""Starts a Llama with the circuits that reading needs, instead of waiting for them to be found.

A transformer that reads answers out of its context relies on induction heads: a head in one layer writes "which token
came before", and a head in the next looks for the place where the present token came before and copies what followed
(Olsson et al. 2022, https://arxiv.org/abs/2209.11895). To answer "When does the Mint shop open?" it takes more: the
place where *these words* came shortly before. A model this small spends its whole budget on finding the two, or finds
shortcuts that fail in long contexts. Here layer 0 gets heads for the token before, for the words shortly before (what
a statement is about, when its value comes) and for the words a little longer ago (what was asked, when the answer
begins); layers 1 to 3 get heads that compare one with the other and copy. Everything is free to change in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

CARRYING = (2, 4)
"""Layer and head that carry passages' ids: one that a trained model does without (by ablation)."""
EMBEDDING_STD = 0.5
CONSTANT = 1.0  # the first coordinate of every embedding: what attention by distance alone is made of
STEADY_FROM = 6  # rotary pairs from here on hardly turn within a prompt, so they can compare contents


@dataclass(frozen=True)
class Window:
    """Heads of layer 0 that attend by distance: where they look, how sharply, and how strongly they write."""

    back: float  # tokens
    pairs: tuple[int, ...]  # the rotary pairs whose turning tells the distance: slower ones look more widely
    sharpness: float
    strength: float
    each: int  # coordinates of a token that each of its two heads passes on


PREVIOUS = Window(back=1, pairs=(0, 1, 2, 3), sharpness=2.85, strength=0.5, each=23)
SHORTLY_BEFORE = Window(back=3, pairs=(1, 2, 3), sharpness=1.9, strength=2.0, each=20)
LONGER_AGO = Window(back=9, pairs=(2, 3, 4), sharpness=1.7, strength=2.0, each=20)

INDUCTION = {1: 1.5, 2: 0.3, 3: 0.3}  # by layer: how strongly its induction heads write
MATCHING = {2: 1.0, 3: 0.5}  # and those that compare what was asked with what stands shortly before


def start_with_induction(model: LlamaForCausalLM, theta: float, generator: torch.Generator) -> None:
    """Sets the weights in place. The residual stream keeps each token's identity in plain view."""
    with torch.no_grad():
        _Start(model, theta, generator).set_weights()


class _Start:
    """The shapes of one model, and the directions of its residual stream that the circuits share."""

    def __init__(self, model: LlamaForCausalLM, theta: float, generator: torch.Generator) -> None:
        config = model.config
        self.model, self.generator = model, generator
        self.width = config.hidden_size
        self.size = self.width // config.num_attention_heads
        self.half = self.size // 2
        self.turning = theta ** (-torch.arange(self.half) / self.half)
        basis = torch.linalg.qr(torch.randn(self.width - 1, self.width - 1, generator=generator))[0]
        # Orthonormal rows that leave the constant alone: 64 that are read, the others for what is written.
        self.basis = torch.cat([torch.zeros(self.width - 1, 1), basis], dim=1)
        self.steady = [pair + side for pair in range(STEADY_FROM, self.half) for side in (0, self.half)]

    def set_weights(self) -> None:
        self._random()
        before = self._window(0, PREVIOUS, writes_from=144)
        shortly = self._window(2, SHORTLY_BEFORE, writes_from=64)
        longer = self._window(4, LONGER_AGO, writes_from=104)
        for layer, strength in INDUCTION.items():
            first = 2 if layer in MATCHING else 0
            self._copying(layer, first, self.basis[: 2 * PREVIOUS.each], before, 1.75, strength)
        for layer, strength in MATCHING.items():
            self._copying(layer, 0, longer, shortly, 2.0, strength)

    def _random(self) -> None:
        embedding = self.model.model.embed_tokens.weight
        embedding.normal_(0, EMBEDDING_STD, generator=self.generator)
        embedding[:, 0] = CONSTANT
        # Large embeddings are also the output layer: keep the first logits small.
        self.model.model.norm.weight.fill_(0.15)
        for layer in self.model.model.layers:
            attention = layer.self_attn
            for matrix, std in (
                (attention.q_proj, 0.04),
                (attention.k_proj, 0.04),
                (attention.v_proj, 0.07),
                (layer.mlp.gate_proj, 0.07),
                (layer.mlp.up_proj, 0.07),
            ):
                matrix.weight.normal_(0, std, generator=self.generator)
            attention.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()

    def _window(self, first: int, window: Window, writes_from: int) -> torch.Tensor:
        """Two heads of layer 0 that pass on coordinates of the tokens they see; returns the directions written."""
        attention = self.model.model.layers[0].self_attn
        written = self.basis[writes_from : writes_from + 2 * window.each]
        for head in range(2):
            rows = slice((first + head) * self.size, (first + head + 1) * self.size)
            query, key, value = (torch.zeros(self.size, self.width) for _ in range(3))
            for pair in window.pairs:
                angle = window.back * self.turning[pair]
                key[pair, 0] = window.sharpness
                query[pair, 0] = window.sharpness * torch.cos(angle)
                query[pair + self.half, 0] = -window.sharpness * torch.sin(angle)
            chosen = slice(head * window.each, (head + 1) * window.each)
            value[: window.each] = self.basis[chosen]
            attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
            attention.v_proj.weight[rows] = value
            out = torch.zeros(self.width, self.size)
            out[:, : window.each] = window.strength * written[chosen].T
            attention.o_proj.weight[:, rows] = out
        return written

    def _copying(
        self, layer: int, first: int, asked: torch.Tensor, seen: torch.Tensor, sharpness: float, strength: float
    ) -> None:
        """Two heads that attend where `seen` holds what `asked` holds here, and copy the token that is there."""
        attention = self.model.model.layers[layer].self_attn
        for head in range(2):
            rows = slice((first + head) * self.size, (first + head + 1) * self.size)
            chosen = slice(head * len(self.steady), (head + 1) * len(self.steady))
            query, key = torch.zeros(self.size, self.width), torch.zeros(self.size, self.width)
            query[self.steady], key[self.steady] = sharpness * asked[chosen], sharpness * seen[chosen]
            attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
            copied = self.basis[(first + head) * self.size : (first + head + 1) * self.size]
            attention.v_proj.weight[rows] = copied
            attention.o_proj.weight[:, rows] = strength * copied.T


def carry_passage_ids(model: LlamaForCausalLM, ids: torch.Tensor, are_names: torch.Tensor) -> None:
    """Gives a trained model a head that tells every token which passage it stands in: the last id before it.

    To cite a passage takes two steps, from the answer to the passage and from the passage to its id, and neither is of
    use without the other, so training alone does not find them. `ids` [rows, width] are some conversations,
    `are_names` marks the tokens in them that are passages' ids: they show what to look for in this layer.
    """
    layer, head = CARRYING
    attention = model.model.layers[layer].self_attn
    size = model.config.hidden_size // model.config.num_attention_heads
    half = size // 2
    with torch.no_grad():
        states = model.model(input_ids=ids, output_hidden_states=True).hidden_states
        seen = model.model.layers[layer].input_layernorm(states[layer]).flatten(0, 1)
        named = are_names.flatten().float()
        always, name = torch.linalg.lstsq(seen, torch.stack([torch.ones_like(named), named], dim=1)).solution.T
        query, key = torch.zeros(size, seen.shape[1]), torch.zeros(size, seen.shape[1])

        def add(pair: int, asked: torch.Tensor, angle: float, worth: float) -> None:
            scale = (worth * size**0.5) ** 0.5
            query[pair], query[pair + half] = scale * math.cos(angle) * always, -scale * math.sin(angle) * always
            key[pair] = scale * asked

        add(half - 1, name, 0.0, 40.0)  # a pair that hardly turns: what is an id, wherever it stands
        for pair, worth in ((4, 8.0), (5, 16.0), (6, 10.0)):
            add(pair, always, -math.pi / 2, worth)  # a quarter turn ahead: the nearer, the more
        rows = slice(head * size, (head + 1) * size)
        attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
        names = seen[named.bool()]
        told = torch.linalg.svd(names - names.mean(0), full_matrices=False).Vh[:size]
        attention.v_proj.weight[rows] = told / (names @ told.T).std()
        # Written where the residual stream holds least, so that later layers read it undisturbed.
        rest = states[layer + 1].flatten(0, 1)
        quiet = torch.linalg.eigh(rest.T @ rest).eigenvectors[:, :size]
        attention.o_proj.weight[:, rows] = 3.0 * quiet
