"""A GGUF file becomes a base that computes what the file does, trains on answers alone, and takes adapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.reviews import base as bases
from examples.reviews.base import prepare, unpack
from lifecycle.errors import Corrupt, InvalidInput, NotFound
from lifecycle.models.base import fingerprint, linear_shapes
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
    return unpack(gguf_file, tmp_path_factory.mktemp("bases") / gguf_file.stem, "made in a test")


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
    assert "made in a test" in card


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


def test_a_file_its_folder_and_a_model_folder_are_all_bases(base: Path, gguf_file: Path, tmp_path: Path) -> None:
    made = prepare(str(gguf_file), tmp_path / "bases")
    assert made == tmp_path / "bases" / "tiny-smol.Q8_0"
    assert fingerprint(made).digest == fingerprint(base).digest
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert prepare(str(gguf_file.parent), tmp_path / "bases") == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written, "what is unpacked is used again"
    assert prepare(str(base)) == base.resolve()
    assert [path.name for path in (tmp_path / "bases").iterdir()] == [made.name]


def test_the_packaged_model_is_looked_for_only_where_it_is_not_unpacked_yet(tmp_path: Path) -> None:
    (tmp_path / bases.SMOLLM2).mkdir()
    assert prepare("", tmp_path) == tmp_path / bases.SMOLLM2


def test_a_file_of_the_same_name_and_other_bytes_is_unpacked_anew(gguf_file: Path, tmp_path: Path) -> None:
    stale = tmp_path / "bases" / gguf_file.stem
    stale.mkdir(parents=True)
    (stale / "README.md").write_text("- SHA-256: 0\n")
    (stale / "left over").touch()
    assert fingerprint(prepare(str(gguf_file), tmp_path / "bases")).name == gguf_file.stem
    assert not (stale / "left over").exists()


def test_what_is_no_gguf_file_is_one_error_and_leaves_nothing(gguf_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bases"
    with pytest.raises(NotFound, match=r"give a .gguf file"):
        prepare(str(tmp_path / "nothing.gguf"), folder)
    with pytest.raises(InvalidInput, match=r"holds 0 .gguf files \(none\)"):
        prepare(str(tmp_path), folder)
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(InvalidInput, match=r"2 .gguf files \(a.gguf, b.gguf\)"):
        prepare(str(tmp_path), folder)
    with pytest.raises(Corrupt, match="does not begin with GGUF"):
        prepare(str(tmp_path / "a.gguf"), folder)
    (tmp_path / "cut.gguf").write_bytes(gguf_file.read_bytes()[:-2000])
    with pytest.raises(InvalidInput, match="cannot be unpacked"):
        prepare(str(tmp_path / "cut.gguf"), folder)
    assert list(folder.iterdir()) == []
