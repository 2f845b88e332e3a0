"""Starts a Llama with the circuit that copying needs, instead of waiting for it to be found.

A transformer that reads answers out of its context relies on induction heads: a head in one layer
writes "which token came before", and a head in the next looks for the place where the present token
came before and copies what followed (Olsson et al. 2022, https://arxiv.org/abs/2209.11895). A model
this small spends most of its budget on finding the two. Here layer 0 gets two previous-token heads
(a rotary phase of one position over a constant component of every embedding) and layers 1 to 3
three induction heads each; everything is free to change in training.
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

EMBEDDING_STD = 0.5
CONSTANT = 1.0  # the first coordinate of every embedding
PREVIOUS_HEADS, INDUCTION_HEADS = 2, 3
INDUCTION_LAYERS = {
    1: 1.5,
    2: 0.3,
    3: 0.3,
}  # and how strongly their heads write; the later ones wait for a question's key
SHARP_PAIRS = 4  # the fastest rotary pairs, which tell one position from the next
STEADY_FROM = 6  # rotary pairs from here on hardly turn within a prompt, so they can compare contents


def start_with_induction(model: LlamaForCausalLM, theta: float, generator: torch.Generator) -> None:
    """Sets the weights in place. The residual stream keeps each token's identity in plain view."""
    with torch.no_grad():
        _set_weights(model, theta, generator)


def _set_weights(model: LlamaForCausalLM, theta: float, generator: torch.Generator) -> None:
    config = model.config
    width, heads = config.hidden_size, config.num_attention_heads
    size = width // heads
    half = size // 2
    embedding = model.model.embed_tokens.weight
    embedding.normal_(0, EMBEDDING_STD, generator=generator)
    embedding[:, 0] = CONSTANT
    model.model.norm.weight.fill_(0.15)  # large embeddings are also the output layer: keep the first logits small
    for layer in model.model.layers:
        attention = layer.self_attn
        for matrix, std in (
            (attention.q_proj, 0.04),
            (attention.k_proj, 0.04),
            (attention.v_proj, 0.07),
            (layer.mlp.gate_proj, 0.07),
            (layer.mlp.up_proj, 0.07),
        ):
            matrix.weight.normal_(0, std, generator=generator)
        attention.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    frequency = theta ** (-torch.arange(half) / half)
    basis = torch.linalg.qr(torch.randn(width - 1, width - 1, generator=generator))[0]
    basis = torch.cat([torch.zeros(width - 1, 1), basis], dim=1)  # orthonormal rows that leave the constant alone
    read, written = basis[: PREVIOUS_HEADS * size], basis[-PREVIOUS_HEADS * size :]
    first = model.model.layers[0].self_attn
    for head in range(PREVIOUS_HEADS):
        rows = slice(head * size, (head + 1) * size)
        query, key = torch.zeros(size, width), torch.zeros(size, width)
        for pair in range(SHARP_PAIRS):
            key[pair, 0] = 2.85
            query[pair, 0] = 2.85 * torch.cos(frequency[pair])
            query[pair + half, 0] = -2.85 * torch.sin(frequency[pair])
        first.q_proj.weight[rows], first.k_proj.weight[rows] = query, key
        first.v_proj.weight[rows] = read[rows]
        first.o_proj.weight[:, rows] = 0.5 * written[rows].T
    steady = [pair + side for pair in range(STEADY_FROM, half) for side in (0, half)]
    for layer, strength in INDUCTION_LAYERS.items():
        attention = model.model.layers[layer].self_attn
        for head in range(INDUCTION_HEADS):
            rows = slice(head * size, (head + 1) * size)
            chosen = slice(head * len(steady), (head + 1) * len(steady))
            query, key = torch.zeros(size, width), torch.zeros(size, width)
            query[steady], key[steady] = 1.75 * read[chosen], 1.75 * written[chosen]
            attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
            copied = basis[head * size : (head + 1) * size]
            attention.v_proj.weight[rows] = copied
            attention.o_proj.weight[:, rows] = strength * copied.T
