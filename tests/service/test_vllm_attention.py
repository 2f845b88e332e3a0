"""Where the kernel of single rows meets vLLM: a step is shared out, and gives what vLLM gives alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

torch: Any = None
Step: Any = None
vllm_side: Any = None
Builder: Any = None
Impl: Any = None


@pytest.fixture(scope="module", autouse=True)
def heavy_imports() -> None:
    """Not at the top, so that collecting these tests to leave them out costs nothing."""
    global torch, Step, vllm_side, Builder, Impl
    import torch as real_torch
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackendImpl, CPUAttentionMetadataBuilder

    import service.engine.vllm.attention as real_vllm_side
    from tests.service.attention_cases import Step as RealStep

    current_platform.import_kernels()
    torch, Step, vllm_side = real_torch, RealStep, real_vllm_side
    Builder, Impl = CPUAttentionMetadataBuilder, CPUAttentionBackendImpl


class Worker:
    """One layer of vLLM's attention on a CPU, with its builder, as a worker of vLLM has them."""

    def __init__(
        self, step: Any, monkeypatch: pytest.MonkeyPatch, *, of_builder: Any = None, of_impl: Any = None
    ) -> None:
        self.step, self.metadata = step, None
        self.builder, impl = object.__new__(Builder), object.__new__(Impl)
        self.builder.__dict__ |= {
            "num_kv_heads": step.kv_heads, "num_heads": step.heads, "head_dim": step.head, "dtype": step.dtype,
            "window_size": -1, "block_size": step.block, "kv_cache_dtype": "auto", "isa": "vec",
            "is_cross_attention": False, "is_encoder_only_attention": False, **(of_builder or {}),
        }  # fmt: skip
        impl.__dict__ |= {
            "kv_sharing_target_layer_name": None, "num_heads": step.heads, "head_size": step.head,
            "scale": step.head**-0.5, "logits_soft_cap": 0, "num_kv_heads": step.kv_heads, "alibi_slopes": None,
            "sliding_window": -1, "kv_cache_dtype": "auto", "num_queries_per_kv": step.heads // step.kv_heads,
            "is_fp8_kv_cache": False, "attn_type": "decoder", "sinks": None, "use_zentorch_sdpa": False,
            **(of_impl or {}),
        }  # fmt: skip
        self.layer = SimpleNamespace(
            impl=impl, isa=self.builder.isa, layer_name="one", _k_scale_float=1.0, _v_scale_float=1.0
        )
        self.runner = SimpleNamespace(
            compilation_config=SimpleNamespace(static_forward_context={"one": self.layer}),
            attn_groups=[[SimpleNamespace(layer_names=["one"], metadata_builders=[self.builder])]],
        )
        monkeypatch.setattr(vllm_side, "get_attention_context", lambda name: (self.metadata, None, None, None))

    def attended(self) -> tuple[Any, Any]:
        """The output of the step, and the cache after it, in the calls that vLLM's layer makes."""
        step, cache = self.step, self.step.cache.clone()
        common = SimpleNamespace(
            num_reqs=len(step.new), num_actual_tokens=sum(step.new), max_query_len=max(step.new),
            max_seq_len=max(step.lengths), query_start_loc=step.starts, seq_lens=step.seq_lens,
            block_table_tensor=step.table, slot_mapping=step.slots, causal=True,
        )  # fmt: skip
        self.metadata = self.builder.build(0, common)
        output = torch.full((sum(step.new), step.heads, step.head), 7.0, dtype=step.dtype)
        given = self.layer, step.query, step.key, step.value
        self.layer.impl.do_kv_cache_update(self.layer, step.key, step.value, cache, step.slots)
        self.layer.impl.forward(*given, cache, self.metadata, output=output, output_scale=None)
        return output, cache


STEPS = {
    "single rows alone": ([40, 7, 130], [1, 1, 1]),
    "prompts alone": ([40, 33, 130], [40, 33, 100]),
    "prompts behind": ([40, 7, 50, 130], [1, 1, 50, 100]),
    "prompts before and among": ([50, 40, 33, 64, 7, 12], [50, 1, 33, 20, 1, 12]),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", STEPS)
def test_a_step_gives_what_it_gives_by_vllm_alone(kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(*STEPS[kind], dtype=dtype)
    alone, cache_alone = Worker(step, monkeypatch).attended()
    worker = Worker(step, monkeypatch)
    assert vllm_side.take_over(worker.runner)
    assert vllm_side.take_over(worker.runner)  # a second time changes nothing
    output, cache = worker.attended()
    assert torch.equal(cache, cache_alone)
    assert torch.equal(cache, step.written())
    exact = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 2**-6, "atol": 2**-7}
    torch.testing.assert_close(output, alone, **exact)
    several = [token for token, (request, _) in enumerate(step.places) if step.new[request] > 1]
    assert torch.equal(output[several], alone[several])


def test_a_prompt_reads_a_block_that_a_row_of_its_step_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step([64, 50], [1, 18])
    step.table[1, 0] = step.table[0, 1]
    worker = Worker(step, monkeypatch)
    vllm_side.take_over(worker.runner)
    output, _ = worker.attended()
    torch.testing.assert_close(output.double(), step.wanted(), rtol=1e-5, atol=1e-5)


def test_a_row_reads_a_block_that_a_prompt_of_its_step_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step([33, 40], [1, 40])
    step.table[0, 0] = step.table[1, 0]
    worker = Worker(step, monkeypatch)
    vllm_side.take_over(worker.runner)
    output, _ = worker.attended()
    torch.testing.assert_close(output.double(), step.wanted(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("of_builder", "of_impl"),
    [
        ({"isa": "amx"}, {}),
        ({"is_cross_attention": True}, {}),
        ({"is_encoder_only_attention": True}, {}),
        ({"block_size": 48}, {}),
        ({"head_dim": 80}, {}),
        ({}, {"sliding_window": 100}),
        ({}, {"alibi_slopes": [1.0]}),
        ({}, {"logits_soft_cap": 30.0}),
        ({}, {"sinks": [0.0]}),
        ({}, {"is_fp8_kv_cache": True}),
        ({}, {"kv_sharing_target_layer_name": "another"}),
        ({}, {"attn_type": "encoder_only"}),
    ],
)
def test_what_the_kernel_does_not_compute_is_left_as_it_is(
    of_builder: dict[str, Any], of_impl: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(Step([40]), monkeypatch, of_builder=of_builder, of_impl=of_impl)
    assert not vllm_side.take_over(worker.runner)
    assert "build" not in vars(worker.builder)
    assert "forward" not in vars(worker.layer.impl)


def test_a_step_of_fewer_rows_than_threads_is_vllms(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(Step([40, 7], kv_heads=1), monkeypatch)
    vllm_side.take_over(worker.runner)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    worker.attended()
    assert not hasattr(worker.metadata, "dabt_shared")
