"""What of one machine several engines get: together never more than there is, and a refusal with figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lifecycle.errors import InvalidConfig
from service.config import ServeConfig
from service.engine.memory import GIB, Memory
from service.engine.sharing import Share, on_a_cpu, on_gpus
from service.engine.vllm.flags import flags
from service.engine.vllm.forkserver import _threads

LLAMA = {
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096},
    "max_position_embeddings": 131072,
}
"""A request of full length takes 16 GiB of cache in bfloat16."""
HEAD = b'{"model.layers.0.self_attn.q_proj.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}'
LINEAR = len(HEAD).to_bytes(8, "little") + HEAD + bytes(4)
"""A file of weights with one linear layer."""


def base(folder: Path, gib: float) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(int(gib * GIB))
    return folder


def configs(root: Path, *gib: float, **options: object) -> list[ServeConfig]:
    shared = {"embedding_model": "none", "classifier_gib": 2.0, **options}
    return [
        ServeConfig.model_validate({**shared, "base": base(root / name, size)})
        for name, size in zip("abcd", gib, strict=False)
    ]


def test_on_a_cpu_the_caches_have_half_of_what_all_weights_leave(tmp_path: Path) -> None:
    given = configs(tmp_path, 16, 8)
    shares = on_a_cpu(given, ["bfloat16", "bfloat16"], Memory(128 * GIB, 126 * GIB))
    assert [share.cache for share in shares] == [25 * GIB, 25 * GIB]
    assert {share.engines for share in shares} == {2}


def test_on_a_cpu_a_cache_that_was_asked_for_is_left_out_of_what_is_shared(tmp_path: Path) -> None:
    one, other = configs(tmp_path, 16, 8)
    one = one.model_copy(update={"kv_cache_gib": 40.0})
    shares = on_a_cpu([one, other], ["bfloat16", "bfloat16"], Memory(128 * GIB, 126 * GIB))
    assert [share.cache for share in shares] == [40 * GIB, 30 * GIB]


def test_on_a_cpu_no_cache_is_larger_than_wanted(tmp_path: Path) -> None:
    given = configs(tmp_path, 1, 1, max_model_len=1024)
    shares = on_a_cpu(given, ["bfloat16", "bfloat16"], Memory(128 * GIB, 126 * GIB))
    assert [share.cache for share in shares] == [GIB, GIB]


@pytest.mark.parametrize("options", [{}, {"kv_cache_gib": 4.0}])
def test_bases_that_do_not_fit_into_the_memory_are_refused_with_figures(
    tmp_path: Path, options: dict[str, object]
) -> None:
    given = configs(tmp_path, 16, 8, **options)
    free = 26 if not options else 30
    with pytest.raises(InvalidConfig) as error:
        on_a_cpu(given, ["float32", "float32"], Memory(32 * GIB, free * GIB))
    told = str(error.value)
    assert "a: needs 16.0 GiB for its weights" in told
    assert "b: needs 8.0 GiB for its weights" in told
    assert f"{free}.0 GiB are free, 2.0 of them for classifiers and embeddings" in told
    assert ("and 4.0 for its key-value cache" in told) is bool(options)


def test_where_there_are_gpus_enough_each_engine_has_its_own(tmp_path: Path) -> None:
    one, other = configs(tmp_path, 16, 8)
    one = one.model_copy(update={"tensor_parallel": 2})
    shared = on_gpus([one, other], [80 * GIB] * 3)
    assert [share.gpus for _, share in shared] == [(0, 1), (2,)]
    assert [config.gpu_memory for config, _ in shared] == [None, None]


def test_on_one_gpu_each_has_its_weights_and_a_part_of_the_rest(tmp_path: Path) -> None:
    shared = on_gpus(configs(tmp_path, 16, 8), [80 * GIB])
    shares = [config.gpu_memory for config, _ in shared]
    assert shares == [0.51, 0.41]
    assert [share.gpus for _, share in shared] == [(), ()]


def test_a_share_of_a_gpu_that_was_asked_for_is_kept_and_the_other_has_the_rest(tmp_path: Path) -> None:
    one, other = configs(tmp_path, 16, 8)
    shared = on_gpus([one.model_copy(update={"gpu_memory": 0.6}), other], [80 * GIB])
    assert [config.gpu_memory for config, _ in shared] == [0.6, 0.32]


def test_an_engine_that_was_told_its_gpu_keeps_it(tmp_path: Path) -> None:
    one, other = configs(tmp_path, 16, 8)
    one = one.model_copy(update={"engine_options": ("--device-ids", "1")})
    shared = on_gpus([one, other], [80 * GIB, 80 * GIB])
    assert [(config.gpu_memory, share.gpus) for config, share in shared] == [(None, ()), (0.92, ())]


def test_where_nobody_tells_the_size_of_a_gpu_it_is_shared_alike(tmp_path: Path) -> None:
    assert [config.gpu_memory for config, _ in on_gpus(configs(tmp_path, 16, 8), [])] == [0.46, 0.46]


@pytest.mark.parametrize(("gib", "asked"), [(24.0, None), (80.0, 0.6)])
def test_bases_that_do_not_fit_onto_a_gpu_are_refused_with_figures(
    tmp_path: Path, gib: float, asked: float | None
) -> None:
    with pytest.raises(InvalidConfig) as error:
        on_gpus(configs(tmp_path, 16, 8, gpu_memory=asked), [int(gib * GIB)])
    told = str(error.value)
    assert f"has {gib:.1f} GiB" in told
    assert ("a: needs 16.0 GiB for its weights on each" if asked is None else "a: was given 0.6 of the memory") in told


def test_the_processors_are_shared_and_each_engine_has_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))
    assert [_threads(engines) for engines in (1, 2, 4, 99)] == [15, 7, 3, 1]


def test_a_share_is_told_to_vllm(tmp_path: Path) -> None:
    (config,) = configs(tmp_path, 0, dtype="float32")
    (config.base / "model.safetensors").write_bytes(LINEAR)
    words = flags(config, on_cpu=True, share=Share(2, 3 * GIB))
    assert words[words.index("--kv-cache-memory-bytes") + 1] == str(3 * GIB)
    words = flags(config, on_cpu=False, share=Share(2, gpus=(2, 3)))
    assert words[words.index("--device-ids") + 1] == "2,3"
    assert "--kv-cache-memory-bytes" not in words
