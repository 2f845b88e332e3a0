"""The base model's folder: its fingerprint, its linear layers, and where it is found."""

from __future__ import annotations

import json
import os
import struct
from collections import Counter
from pathlib import Path

import numpy
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from lifecycle.errors import Corrupt, InvalidInput, NotFound, Unavailable
from lifecycle.models import base as base_module
from lifecycle.models.base import chat_template_of, fingerprint, linear_shapes, name_of, resolve_base
from lifecycle.models.tensors import read, read_header
from tests.lifecycle.conftest import write_safetensors


def test_a_copy_has_the_same_fingerprint_under_any_name(base, make_base):
    copy = make_base("copy")
    assert fingerprint(copy).digest == fingerprint(base).digest
    assert (fingerprint(copy).name, fingerprint(base).name) == ("copy", "base")


@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("config.json", '{"hidden_size": 16, "rope_theta": 5}', "weights"),
        ("tokenizer.json", "{}", "tokenizer"),
        ("tokenizer_config.json", '{"eos_token": "<|im_end|>"}', "tokenizer"),
        ("chat_template.jinja", "other", "chat_template"),
    ],
)
def test_a_change_shows_in_its_own_part_alone(base, file, text, part):
    before = fingerprint(base).model_dump()
    (base / file).write_text(text)
    after = fingerprint(base).model_dump()
    assert {key for key in before if before[key] != after[key]} == {part}


def test_keys_that_only_name_the_saving_tool_do_not_count(base):
    before = fingerprint(base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"transformers_version": "9", "_name_or_path": "/x"}))
    assert fingerprint(base) == before


def test_a_chat_template_counts_wherever_the_folder_keeps_it(base):
    text = (base / "chat_template.jinja").read_text()
    before = fingerprint(base).chat_template
    (base / "chat_template.jinja").unlink()
    assert fingerprint(base).chat_template != before
    (base / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "chat_template": text}))
    assert fingerprint(base).chat_template == before
    (base / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (base / "chat_template.json").write_text(json.dumps({"chat_template": text}))
    assert fingerprint(base).chat_template == before


def test_unchanged_files_are_hashed_once_and_changed_ones_again(base, tmp_path, monkeypatch):
    hashed = []
    real = base_module.sha256_of
    monkeypatch.setattr(base_module, "sha256_of", lambda file: hashed.append(file.name) or real(file))
    cache = tmp_path / "cache" / "hashes.json"
    first = fingerprint(base, cache=cache)
    assert sorted(hashed) == ["model.safetensors", "tokenizer.json"]
    assert fingerprint(base, cache=cache) == first
    assert len(hashed) == 2
    weights = base / "model.safetensors"
    stamp = weights.stat()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert fingerprint(base, cache=cache) != first
    assert hashed[2:] == ["model.safetensors"]


def test_the_cache_is_read_once_by_a_process_and_forgets_the_oldest(base, tmp_path, monkeypatch):
    cache = tmp_path / "hashes.json"
    cache.write_text(json.dumps({f"file-{at}:1:1": "0" * 64 for at in range(5)}))
    monkeypatch.setattr(base_module, "_MOST_KEPT", 3)
    first = fingerprint(base, cache=cache)
    kept = list(json.loads(cache.read_text()))
    assert kept[0] == "file-4:1:1"
    assert [Path(key.split(":")[0]).name for key in kept[1:]] == ["model.safetensors", "tokenizer.json"]
    cache.write_text(json.dumps(dict.fromkeys(kept, "1" * 64)))
    assert fingerprint(base, cache=cache) == first


@pytest.mark.parametrize("content", ["nonsense", "[]", None])
def test_a_broken_or_unwritable_cache_costs_time_and_nothing_else(base, tmp_path, content):
    cache = tmp_path / "hashes.json"
    if content is None:
        cache.mkdir()
    else:
        cache.write_text(content)
    assert fingerprint(base, cache=cache) == fingerprint(base, cache=tmp_path / "other.json")


def test_a_folder_that_is_no_whole_model_is_told_all_that_it_lacks(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput) as caught:
        fingerprint(tmp_path, cache=tmp_path / "cache.json")
    assert len(caught.value.problems) == 2


def test_a_shard_that_the_index_names_and_the_folder_lacks_is_told(base):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    (base / "model.safetensors").rename(base / "model-00001-of-00002.safetensors")
    with pytest.raises(InvalidInput, match="00002-of-00002"):
        fingerprint(base)
    with pytest.raises(Corrupt, match="00002-of-00002"):
        linear_shapes(base)


def test_linear_shapes_are_out_by_in_without_embeddings_and_norms(base):
    shapes = linear_shapes(base)
    assert shapes["model.layers.0.mlp.down_proj"] == (16, 32)
    assert shapes["model.layers.1.self_attn.k_proj"] == (8, 16)
    assert shapes["lm_head"] == (50, 16)
    assert len(shapes) == 2 * 7 + 1


def test_shapes_are_those_of_the_files_that_are_there_now_and_belong_to_who_asked(base):
    before = linear_shapes(base)
    linear_shapes(base).clear()
    assert linear_shapes(base) == before
    write_safetensors(base / "model.safetensors", {"model.layers.0.mlp.down_proj.weight": numpy.zeros((3, 4), "f4")})
    assert linear_shapes(base) == {"model.layers.0.mlp.down_proj": (3, 4)}


def test_a_base_whose_weights_are_pickled_has_no_shapes(base):
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    fingerprint(base)
    with pytest.raises(InvalidInput, match="no safetensors"):
        linear_shapes(base)


def test_a_local_folder_resolves_to_itself(base, monkeypatch):
    assert resolve_base(str(base)) == base
    monkeypatch.chdir(base.parent)
    assert resolve_base("base") == resolve_base("./base") == base


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "a/b/c", "~/missing-model", "", "https://x/y"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(name):
    with pytest.raises(NotFound):
        resolve_base(name)


def test_a_folder_without_a_configuration_is_no_model(tmp_path):
    with pytest.raises(NotFound, match=r"config\.json"):
        resolve_base(str(tmp_path))


def test_a_hub_id_without_a_hub_is_unavailable_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Unavailable, match="hub cannot be reached"):
        resolve_base("dabt-tests/no-such-model")


def test_a_hub_snapshot_is_named_by_its_repository(base, tmp_path):
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    base.rename(snapshot)
    assert fingerprint(snapshot).name == "org/tiny"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (
            "models--Qwen--Qwen2.5-0.5B-Instruct/snapshots/7ae557604adf67be50417f59c2c2f167def9a775",
            "Qwen/Qwen2.5-0.5B-Instruct",
        ),
        ("models--gpt2/snapshots/607a30d", "gpt2"),
        ("models--backup/llama", "llama"),
        ("models--backup/of/llama", "llama"),
        ("snapshots/llama", "llama"),
        ("models--org--tiny", "models--org--tiny"),
        ("models--org--tiny/snapshots/abc/inside", "inside"),
    ],
)
def test_only_a_snapshot_of_the_hubs_cache_is_named_by_its_repository(folder, name):
    assert name_of(Path("/cache") / folder) == name


# -- the reader under it ----------------------------------------------------------------------------------------------


def safetensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        struct.pack("<Q", 2**62) + b"{}",
        safetensors(b"{"),
        safetensors([]),
        safetensors({"a": 1}),
        safetensors({"a": {"dtype": "F32"}}),
        safetensors({"a": entry()}),  # no body
        safetensors({"a": entry()}, b"\0" * 5),  # more body than tensors
        safetensors({"a": entry(shape=(2,))}, b"\0" * 4),  # shape larger than its bytes
        safetensors({"a": entry(shape=(-1,), offsets=(4, 0))}, b"\0" * 4),
        safetensors({"a": entry(offsets=(-4, 0))}, b"\0" * 4),
        safetensors({"a": entry(), "b": entry()}, b"\0" * 4),  # two tensors in one place
        safetensors({"a": entry(), "b": entry(offsets=(8, 12))}, b"\0" * 12),  # a hole
    ],
)
def test_a_file_that_breaks_the_format_is_corrupt_and_nothing_else(tmp_path, content):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(Corrupt):
        read_header(file)


def test_no_bytes_at_all_make_the_reader_fail_in_another_way(tmp_path_factory):
    reached = Counter()

    @seed(1)
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.data())
    def holds(data):
        good = safetensors({"a": entry(), "b": entry("BF16", (1, 2), (4, 8))}, bytes(8))
        # Of the header, most changes are refused; of the tensors' own bytes none is.
        at = data.draw(st.one_of(st.integers(0, len(good) - 1), st.integers(len(good) - 8, len(good) - 1)))
        content = data.draw(
            st.one_of(
                st.binary(max_size=200),
                st.just(good[:at]),
                st.binary(min_size=1, max_size=3).map(lambda noise: good[:at] + noise + good[at + len(noise) :]),
            )
        )
        file = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
        file.write_bytes(content)
        try:
            tensors = read_header(file)
        except Corrupt:
            reached["refused"] += 1
            return
        reached["read"] += 1
        assert all(0 <= info.start <= info.end <= len(content) for info in tensors.values())

    holds()
    assert len(reached) == 2
    assert min(reached.values()) >= 5, reached


def test_bfloat16_widens_to_the_float_that_it_is(tmp_path):
    values = numpy.array([[1.0, -2.5, 0.0], [numpy.inf, 3.0e38, 1e-40]], dtype="<f4")
    upper = values.view("<u4") >> 16
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors({"a": entry("BF16", (2, 3), (0, 12))}, upper.astype("<u2").tobytes()))
    found = read(file, read_header(file)["a"])
    numpy.testing.assert_array_equal(found, (upper << 16).view("<f4"))
    assert found[0].tolist() == [1.0, -2.5, 0.0]


@pytest.mark.parametrize(("dtype", "stored"), [("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8")])
def test_every_float_is_read_as_float32(tmp_path, dtype, stored):
    values = numpy.array([1.5, -0.25], dtype=stored)
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors({"a": entry(dtype, (2,), (0, values.nbytes))}, values.tobytes()))
    found = read(file, read_header(file)["a"])
    assert (found.dtype, found.tolist()) == (numpy.float32, [1.5, -0.25])


@pytest.mark.parametrize("key", ["bos_token", "eos_token", "pad_token", "unk_token", "add_bos_token", "add_eos_token"])
def test_each_key_that_decides_how_a_text_begins_and_ends_counts(base, key):
    before = fingerprint(base).tokenizer
    said = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(said | {key: "<other>"}))
    assert fingerprint(base).tokenizer != before


@pytest.mark.parametrize("key", ["_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"])
def test_each_key_of_the_saving_tool_does_not_count(base, key):
    before = fingerprint(base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {key: "other"}))
    assert fingerprint(base) == before


HUB_SAYS = {
    "GatedRepoError": (NotFound, "is gated on the hub: accept its licence there and set HF_TOKEN"),
    "RepositoryNotFoundError": (NotFound, "there is no folder and no hub repository org/name"),
    "RevisionNotFoundError": (NotFound, "there is no folder and no hub repository org/name"),
    "LocalEntryNotFoundError": (Unavailable, "the hub cannot be reached; give a folder's path"),
}


@pytest.mark.parametrize("said", HUB_SAYS)
def test_what_the_hub_says_is_told_with_the_cure(monkeypatch, said):
    import httpx
    from huggingface_hub import errors

    answer = httpx.Response(403, request=httpx.Request("GET", "https://hub/org/name"))
    kind = getattr(errors, said)
    error = kind("no") if said == "LocalEntryNotFoundError" else kind("no", response=answer)

    def download(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    expected, words = HUB_SAYS[said]
    with pytest.raises(expected, match=words):
        resolve_base("org/name")


@pytest.mark.parametrize("name", ["embed_tokens", "wte", "wpe", "word_embeddings", "embed_in", "position_embeddings"])
def test_what_is_looked_up_is_no_linear_layer(base, name):
    tensors = {f"model.{name}.weight": numpy.zeros((5, 4)), "model.dense.weight": numpy.zeros((3, 4))}
    write_safetensors(base / "model.safetensors", tensors)
    assert linear_shapes(base) == {"model.dense": (3, 4)}


def test_a_base_without_a_template_has_an_empty_one(base):
    (base / "chat_template.jinja").unlink()
    assert chat_template_of(base) == ""


def test_from_the_hub_comes_what_an_engine_reads_and_nothing_else(monkeypatch, base):
    asked = {}

    def download(name, **how):
        asked.update(how, name=name)
        return str(base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert resolve_base("org/name") == base
    patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
    assert asked == {"name": "org/name", "allow_patterns": patterns}
