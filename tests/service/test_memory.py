"""Sizes that nobody has given: they follow the base and the machine, by vLLM's own arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.config import Dtype, ServeConfig
from service.engine import processor
from service.engine.memory import (
    GIB,
    Memory,
    beside_the_engine,
    cpu_cache_bytes,
    kept_twice,
    machine_memory,
    token_bytes,
    with_slots,
)
from service.engine.vllm.flags import _cache_bytes, cpu_dtype, dtype_on_a_cpu

BASES: dict[str, tuple[dict[str, Any], float]] = {
    "Llama-3.1-8B": (
        {
            **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096},
            "max_position_embeddings": 131072,
        },
        16.0,
    ),
    "Qwen3-8B": (
        {
            **{"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
            **{"hidden_size": 4096, "max_position_embeddings": 40960},
        },
        5.625,
    ),
    "Qwen2.5-7B": (
        {
            **{"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584},
            "max_position_embeddings": 32768,
        },
        1.75,
    ),
}
"""config.json, and GiB of key-value cache for one request of full length in bfloat16."""


def base_of(folder: Path, config: dict[str, Any], weights: int = 0) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(weights)
    return folder


@pytest.mark.parametrize("name", BASES)
def test_a_request_of_full_length_takes_what_it_is_known_to_take(name: str, tmp_path: Path) -> None:
    config, gib = BASES[name]
    per_token = token_bytes(base_of(tmp_path, config), "bfloat16")
    assert per_token is not None
    assert per_token * config["max_position_embeddings"] == gib * GIB


@pytest.mark.engine  # imports vLLM
@pytest.mark.parametrize("name", BASES)
def test_vllm_counts_the_same(name: str) -> None:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    config, gib = BASES[name]
    length = config["max_position_embeddings"]
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    layer = FullAttentionSpec(
        block_size=16, num_kv_heads=config["num_key_value_heads"], head_size=head, dtype=torch.bfloat16
    )
    parallel = SimpleNamespace(decode_context_parallel_size=1, prefill_context_parallel_size=1)
    shown: Any = SimpleNamespace(model_config=SimpleNamespace(max_model_len=length), parallel_config=parallel)
    assert config["num_hidden_layers"] * layer.max_memory_usage_bytes(shown) == gib * GIB


@pytest.mark.parametrize(
    ("name", "weights", "free", "length", "gib"),
    [
        ("Qwen2.5-7B", 15, 125, None, 14.0),  # eight requests of full length, and there is room
        ("Qwen2.5-7B", 15, 125, 1024, 1.0),  # short ones need less than the least
        ("Llama-3.1-8B", 16, 64, None, 24.0),  # half of what the weights leave
        ("Llama-3.1-8B", 16, 17, None, 0.5),  # little is left: the length follows
        ("Llama-3.1-8B", 16, 8, None, 0.0625),
    ],
)
def test_the_cache_of_a_cpu_follows_the_base_and_what_is_free(
    name: str, weights: int, free: int, length: int | None, gib: float, tmp_path: Path
) -> None:
    base = base_of(tmp_path, BASES[name][0], weights * GIB)
    assert cpu_cache_bytes(base, "bfloat16", length, Memory(free * GIB, free * GIB)) == gib * GIB


def test_what_the_service_keeps_beside_the_engine_is_counted(tmp_path: Path) -> None:
    base = base_of(tmp_path, BASES["Llama-3.1-8B"][0], 16 * GIB)
    memory = Memory(64 * GIB, 64 * GIB)
    assert cpu_cache_bytes(base, "bfloat16", None, memory, 8 * GIB) == 20 * GIB
    (tmp_path / "embedder").mkdir()
    embedder = base_of(tmp_path / "embedder", {}, GIB)
    plain = {"base": base, "classifier_gib": 0.5}
    assert beside_the_engine(ServeConfig(**plain, embedding_model=str(embedder))) == 1.5 * GIB
    assert beside_the_engine(ServeConfig(**plain, embedding_model="none")) == 0.5 * GIB
    assert beside_the_engine(ServeConfig(**plain, embedding_model="org/not-here")) == 0.5 * GIB


def test_weights_that_a_cpu_keeps_twice_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, wide = tmp_path / "older", tmp_path / "wide"
    older.write_text("flags : avx2 fma\n", encoding="utf-8")
    wide.write_text("flags : avx2 fma avx512f avx512_bf16\n", encoding="utf-8")

    def twice(dtype: str, cpuinfo: Path = wide, *, in_8_bits: bool = False) -> int:
        return kept_twice(base, dtype, in_8_bits=in_8_bits, cpuinfo=cpuinfo)

    base = base_of(tmp_path, BASES["Llama-3.1-8B"][0], GIB // 4)
    assert (twice("bfloat16"), twice("float32")) == (GIB // 4, 0)
    assert (twice("bfloat16", older), twice("bfloat16", older, in_8_bits=True)) == (0, GIB // 8)
    base_of(tmp_path, BASES["Llama-3.1-8B"][0], 16 * GIB)
    assert twice("bfloat16") == 0  # of a large one nothing is kept
    base_of(tmp_path, BASES["Llama-3.1-8B"][0], 3 * GIB // 2)
    assert (twice("bfloat16"), twice("bfloat16", in_8_bits=True)) == (0, 3 * GIB // 4)
    words = {"vocab_size": 2**18, "hidden_size": 2**10}  # a GiB of them, which are never kept twice
    base_of(tmp_path, {**BASES["Llama-3.1-8B"][0], **words}, 2 * GIB)
    assert twice("bfloat16") == GIB
    monkeypatch.setattr(processor, "needs_our_products", lambda cpuinfo: False)
    monkeypatch.setattr("service.engine.vllm.flags.machine_memory", lambda: Memory(20 * GIB, 20 * GIB))
    config = ServeConfig(base=base, classifier_gib=1, embedding_model="none")
    assert _cache_bytes(config, "bfloat16") == 8 * GIB  # half of 20 - 2 - 1 - 1


def test_a_base_that_does_not_say_its_sizes_gets_the_least_cache(tmp_path: Path) -> None:
    base = base_of(tmp_path, {"model_type": "mamba"})
    assert token_bytes(base, "bfloat16") is None
    assert cpu_cache_bytes(base, "bfloat16", None, Memory(64 * GIB, 64 * GIB)) == GIB


def test_the_text_part_of_a_multimodal_base_counts(tmp_path: Path) -> None:
    base = base_of(tmp_path, {"text_config": BASES["Qwen3-8B"][0]})
    assert token_bytes(base, "float32") == 2 * 36 * 8 * 128 * 4


def machine(folder: Path, limit: str | None = None, used: int = 0) -> Memory:
    (folder / "meminfo").write_text("MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable:   33554432 kB\n")
    if limit is not None:
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    return machine_memory(folder, folder)


def test_memory_is_the_machines_or_the_containers(tmp_path: Path) -> None:
    assert machine(tmp_path) == Memory(64 * GIB, 32 * GIB)
    assert machine(tmp_path, "max") == Memory(64 * GIB, 32 * GIB)
    assert machine(tmp_path, str(8 * GIB), 3 * GIB) == Memory(8 * GIB, 5 * GIB)
    assert machine(tmp_path, str(8 * GIB), 9 * GIB) == Memory(8 * GIB, 0)
    assert machine(tmp_path, str(48 * GIB), 3 * GIB) == Memory(48 * GIB, 32 * GIB)


@pytest.mark.parametrize(
    ("gib", "dtype", "in_batch", "kept"),
    [
        (1, "float32", 8, 64),
        (16, "float32", 18, 64),
        (16, "bfloat16", 36, 91),
        (64, "float32", 64, 182),
        (1024, "float32", 64, 1024),
    ],
)
def test_slots_and_adapters_in_memory_follow_the_memory_where_nobody_has_said_how_many(
    gib: int, dtype: Dtype, in_batch: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = {f"layers.{at}.mlp.up_proj": (2048, 2048) for at in range(72)} | {"lm_head": (10**6, 2048)}
    monkeypatch.setattr("service.engine.memory.linear_shapes", lambda base: shapes)
    memory = Memory(gib * GIB, gib * GIB)

    def sizes(**said: int) -> tuple[int, int]:
        config = with_slots(ServeConfig(base=tmp_path, **said), memory, dtype)
        return config.max_loras, config.max_cpu_loras

    assert sizes() == (in_batch, kept)
    assert sizes(max_loras=3) == (3, kept)
    assert sizes(max_loras=2000, max_cpu_loras=2000) == (2000, 2000)
    assert sizes(max_cpu_loras=9) == (min(9, in_batch), 9)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags : fpu sse avx512f avx512_bf16 amx_bf16", "bfloat16"),
        ("flags : fpu amx_tile", "bfloat16"),
        ("flags : fpu sse avx512f avx512_bf16_of_tomorrow", "float32"),
        ("Features : fp asimd bf16", "float32"),
        ("flags : fpu avx2 fma", "float32"),
        (None, "float32"),
    ],
)
def test_auto_is_16_bits_where_the_processor_multiplies_them(flags: str | None, dtype: Dtype, tmp_path: Path) -> None:
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nmodel name : Xeon®\n{flags}\n", encoding="utf-8")
    assert cpu_dtype(base_of(tmp_path, {}), 1, tmp_path / "cpuinfo") == dtype


@pytest.mark.parametrize(
    ("config", "workers", "flags", "dtype"),
    [
        ({"dtype": "bfloat16"}, 1, "avx2 fma", "bfloat16"),
        ({"torch_dtype": "torch.bfloat16"}, 1, "avx2 fma", "bfloat16"),
        ({"dtype": "bfloat16"}, 2, "avx2 fma", "float32"),
        ({"dtype": "float16"}, 1, "avx2 fma", "float32"),
        ({"dtype": "bfloat16"}, 1, "avx2", "float32"),
        ({"dtype": "bfloat16"}, 1, "avx2 fma avx512f avx512bw", "float32"),
        ({"dtype": "bfloat16"}, 1, "asimd", "float32"),
        ({"dtype": "bfloat16"}, 2, "avx2 fma avx512_bf16", "bfloat16"),
    ],
)
def test_a_base_in_16_bits_keeps_them_where_our_products_widen_them(
    config: dict[str, str], workers: int, flags: str, dtype: Dtype, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n", encoding="utf-8")
    assert cpu_dtype(base_of(tmp_path, config), workers, tmp_path / "cpuinfo") == dtype


def test_the_kernel_and_torch_say_the_same_of_this_processor(tmp_path: Path) -> None:
    import torch

    narrow = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert cpu_dtype(base_of(tmp_path, {})) == ("bfloat16" if narrow else "float32")
    ours = narrow or (torch.cpu._is_avx2_supported() and not torch.cpu._is_avx512_supported())
    assert cpu_dtype(base_of(tmp_path, {"dtype": "bfloat16"})) == ("bfloat16" if ours else "float32")


@pytest.mark.parametrize(
    ("asked", "quantization", "narrow", "counted"),
    [
        ("auto", "", True, "bfloat16"),
        ("auto", "", False, "float32"),
        ("float32", "", True, "float32"),
        ("auto", "int8", False, "bfloat16"),
    ],
)
def test_adapters_are_counted_in_the_numbers_that_they_are_served_in(
    asked: Dtype, quantization: str, narrow: bool, counted: Dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "service.engine.vllm.flags.cpu_dtype", lambda base, workers: "bfloat16" if narrow else "float32"
    )
    base = base_of(tmp_path, {})
    config = ServeConfig(base=base, dtype=asked, quantization=quantization)
    assert dtype_on_a_cpu(config) == counted
