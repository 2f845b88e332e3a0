"""A GGUF file becomes a base that computes what the file does, trains on answers alone, and takes adapters."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from lifecycle.errors import Corrupt, InvalidInput, NotFound, Unavailable
from lifecycle.model_card import licence_of
from lifecycle.models.base import fingerprint, linear_shapes, resolve_base, sha256_of
from lifecycle.models.gguf_base import unpack
from lifecycle.models.preflight import SERVED_MODULES
from lifecycle.rows.forms import conversation
from lifecycle.version import Prompt
from training.config import TrainJob
from training.fit import require_fit
from training.tokens import IGNORED, ChatTokenizer

pytestmark = pytest.mark.e2e  # imports transformers and torch

SMOLLM2_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""SmolLM2's own: no tags around answers, and a system text of its own where a caller has none."""
HIDDEN, HEADS, LAYERS = 32, 4, 2
PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights as llama.cpp writes it: projections in Q8_0, query and key in its own order."""
    import gguf
    import numpy as np
    from tokenizers import pre_tokenizers

    path = tmp_path_factory.mktemp("gguf") / "tiny-smol.Q8_0.gguf"
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), "po", "os", "Ġp"]
    draw = np.random.default_rng(3)
    out = gguf.GGUFWriter(path, "llama")
    out.add_name("Tiny Smol")
    out.add_license("mit")
    out.add_context_length(256)
    out.add_embedding_length(HIDDEN)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(2 * HIDDEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS // 2)
    out.add_rope_dimension_count(HIDDEN // HEADS)
    out.add_rope_freq_base(10_000.0)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(tokens)
    out.add_token_types([3] * len(specials) + [1] * (len(tokens) - len(specials)))
    out.add_token_merges(["p o", "o s", "Ġ p"])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_pad_token_id(2)
    out.add_chat_template(SMOLLM2_TEMPLATE)

    def tensor(name: str, *shape: int, packed: bool = True) -> None:
        values = draw.normal(0, 0.1, shape).astype(np.float32) if len(shape) > 1 else np.ones(shape, np.float32)
        if packed:
            kind = gguf.GGMLQuantizationType.Q8_0
            out.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            out.add_tensor(name, values)

    tensor("token_embd.weight", len(tokens), HIDDEN)
    tensor("output_norm.weight", HIDDEN, packed=False)
    for layer in range(LAYERS):
        sizes = {
            "attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN // 2, HIDDEN), "attn_v": (HIDDEN // 2, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN), "ffn_gate": (2 * HIDDEN, HIDDEN), "ffn_up": (2 * HIDDEN, HIDDEN),
            "ffn_down": (HIDDEN, 2 * HIDDEN),
        }  # fmt: skip
        for name, shape in sizes.items():
            tensor(f"blk.{layer}.{name}.weight", *shape)
        for name in ("attn_norm", "ffn_norm"):
            tensor(f"blk.{layer}.{name}.weight", HIDDEN, packed=False)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


@pytest.fixture(scope="module")
def base(gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(gguf_file, sha256_of(gguf_file), tmp_path_factory.mktemp("bases") / gguf_file.stem)


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_a_whole_base_whose_adapters_pass_preflights_rules(base: Path) -> None:
    known = fingerprint(base)
    assert known.name == "tiny-smol.Q8_0"
    shapes = linear_shapes(base)
    assert set(SERVED_MODULES) > PROJECTIONS
    assert {name.rpartition(".")[2] for name in shapes} == PROJECTIONS
    assert shapes["model.layers.1.self_attn.k_proj"] == (HIDDEN // 2, HIDDEN)
    (base.parent / "rows.jsonl").touch()
    keys = {"name": "t", "base": str(base), "data": {"train": "rows.jsonl"}, "optimisation": {"max_length": 256}}
    require_fit(TrainJob.from_mapping(keys, base.parent).config, base, Prompt(), 64)


def test_the_folder_says_what_it_is_made_of_and_nothing_of_how_it_was_packed(base: Path, gguf_file: Path) -> None:
    described = json.loads((base / "config.json").read_text("utf-8"))
    assert described["dtype"] == "bfloat16"
    assert described["tie_word_embeddings"] is True
    assert not {"quantization_config", "_model_name_or_path"} & described.keys()
    card = (base / "README.md").read_text("utf-8")
    assert gguf_file.name in card
    assert sha256_of(gguf_file) in card


def test_it_computes_what_the_packed_file_does(base: Path, gguf_file: Path) -> None:
    """Against llama.cpp's own order of query and key rows, undone here by hand."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    weights = model.state_dict()
    for tensor in gguf.GGUFReader(gguf_file).tensors:
        if tensor.name != "blk.0.attn_q.weight":
            continue
        packed = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        halves = packed.reshape(HEADS, HIDDEN // HEADS // 2, 2, HIDDEN).swapaxes(1, 2).reshape(HIDDEN, HIDDEN)
        torch.testing.assert_close(weights["model.layers.0.self_attn.q_proj.weight"], halves, atol=2e-3, rtol=1e-2)
        break
    else:
        raise AssertionError("the file has no such tensor")
    assert torch.isfinite(model(torch.arange(20)[None]).logits).all()


@pytest.mark.parametrize("system", ["", "Answer with one word."])
def test_only_the_answer_and_the_end_of_its_turn_are_learnt(base: Path, system: str) -> None:
    chat = ChatTokenizer.load(base, fingerprint(base))
    row = conversation(
        {"messages": [{"role": "user", "content": "Great."}, {"role": "assistant", "content": "positive"}]}, "t:1"
    )
    (example,) = chat.examples([row], system, 256)
    assert chat.tokenizer.decode([label for label in example.labels if label != IGNORED]) == "positive<|im_end|>"
    said = system or "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert chat.tokenizer.decode(example.input_ids[: example.answer_start]) == (
        f"<|im_start|>system\n{said}<|im_end|>\n<|im_start|>user\nGreat.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_file_its_folder_and_a_model_folder_are_all_bases_and_are_unpacked_once(
    base: Path, gguf_file: Path, user_cache: Path
) -> None:
    made = resolve_base(str(gguf_file))
    assert made == user_cache / "dabt" / "bases" / sha256_of(gguf_file)[:16] / "tiny-smol.Q8_0"
    assert fingerprint(made).digest == fingerprint(base).digest
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert resolve_base(str(gguf_file.parent)) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written, "what is unpacked is used again"
    assert resolve_base(str(base)) == base.resolve()
    assert [path.name for path in made.parent.iterdir() if not path.name.endswith(".lock")] == [made.name]


def test_a_run_that_was_killed_while_it_unpacked_is_begun_again(gguf_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bases" / "tiny"
    left = folder.parent / ".tiny.part"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    assert fingerprint(unpack(gguf_file, "0", folder)).name == "tiny"
    assert not left.exists()


def test_the_licence_of_the_file_is_the_bases(base: Path, gguf_file: Path, tmp_path: Path) -> None:
    assert licence_of(base) == "mit"
    assert licence_of(unpack(gguf_file, "0", tmp_path / "tiny", "Apache-2.0")) == "Apache-2.0"


def test_what_is_no_whole_gguf_file_is_one_error_and_leaves_nothing(
    gguf_file: Path, tmp_path: Path, user_cache: Path
) -> None:
    with pytest.raises(NotFound, match=r"there is no file .*nothing\.gguf"):
        resolve_base(str(tmp_path / "nothing.gguf"))
    with pytest.raises(NotFound, match=r"no config\.json"):
        resolve_base(str(tmp_path))
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(InvalidInput, match=r"2 .gguf files \(a.gguf, b.gguf\)"):
        resolve_base(str(tmp_path))
    with pytest.raises(Corrupt, match="does not begin with GGUF"):
        resolve_base(str(tmp_path / "a.gguf"))
    for name, fault in (("cut", "cannot be unpacked"), ("m-00001-of-00002", "is one part of several")):
        (tmp_path / f"{name}.gguf").write_bytes(gguf_file.read_bytes()[:-2000])
        with pytest.raises(InvalidInput, match=fault):
            resolve_base(str(tmp_path / f"{name}.gguf"))
    assert not [path for path in user_cache.rglob("*") if path.is_dir() and path.name.startswith((".", "cut", "m-"))]


def test_an_architecture_that_transformers_does_not_unpack_is_named(tmp_path: Path, user_cache: Path) -> None:
    import gguf
    import numpy as np

    file = tmp_path / "odd.gguf"
    out = gguf.GGUFWriter(file, "no-such-architecture")
    out.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    with pytest.raises(InvalidInput, match="no-such-architecture") as caught:
        resolve_base(str(file))
    assert "an architecture that transformers unpacks" in caught.value.problems[0].cure


def test_a_disk_without_room_is_told_before_and_while_it_is_written(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(Unavailable, match=r"cannot be written to .*: it takes 0.0 GiB, and 0.0 GiB are free"):
            unpack(gguf_file, "0", tmp_path / "one")
    with monkeypatch.context() as patched:
        patched.setattr(transformers.PreTrainedModel, "save_pretrained", Mock(side_effect=full))
        with pytest.raises(Unavailable, match="No space left on device"):
            unpack(gguf_file, "0", tmp_path / "two")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", Mock(side_effect=full))
        with pytest.raises(Unavailable, match="No space left on device"):
            unpack(gguf_file, "0", tmp_path / "three" / "base")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
