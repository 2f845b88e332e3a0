"""Attention of single rows: the figures of exact arithmetic, and the same bits whatever else is in the step."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

torch: Any = None
Step: Any = None
kernel: Any = None
attended: Any = None


@pytest.fixture(scope="module", autouse=True)
def heavy_imports() -> None:
    """Not at the top, so that collecting these tests to leave them out costs nothing."""
    global torch, Step, kernel, attended
    import torch as real_torch

    import service.engine.cpu.attention as real_kernel
    from tests.service import attention_cases as cases

    torch, Step, kernel, attended = real_torch, cases.Step, real_kernel, cases.attended


@pytest.fixture
def threads() -> Any:
    """Sets how many torch uses, for the length of a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


SHAPES = [(6, 6, 32), (9, 3, 64), (8, 1, 128), (5, 5, 96), (10, 2, 32), (7, 1, 64)]
"""Heads, heads of keys, and numbers of each: every count of queries to a head of keys that is computed at once."""


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("heads", "kv_heads", "head"), SHAPES)
def test_a_row_attends_to_its_own_request_and_its_token_is_kept(
    heads: int, kv_heads: int, head: int, dtype: str
) -> None:
    lengths = [1, 2, 31, 32, 33, 64, 65, 200]
    step = Step(lengths, dtype=dtype, heads=heads, kv_heads=kv_heads, head=head)
    output, cache = attended(step)
    exact = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 2**-8, "atol": 1e-4}
    torch.testing.assert_close(output.double(), step.wanted(), **exact)
    assert torch.equal(cache, step.written())


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_row_gets_the_same_bits_whatever_is_in_the_step_on_any_number_of_threads(dtype: str, threads: Any) -> None:
    step = Step([40, 1, 97, 64, 300, 17, 128], dtype=dtype, heads=9)
    threads(1)
    together, _ = attended(step)
    for request in range(len(step.lengths)):
        assert torch.equal(attended(step.only(request))[0][0], together[request])
    for count in (2, 5):
        threads(count)
        assert torch.equal(attended(step)[0], together)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_block_that_a_row_fills_is_read_by_another_of_the_same_step(dtype: str, count: int, threads: Any) -> None:
    """vLLM lets a new request read a block from the step on in which it becomes full."""
    step = Step([33, 64, 32], dtype=dtype)
    step.table[0, 0] = step.table[2, 0]  # the first row reads what the last one fills
    threads(count)
    output, _ = attended(step)
    exact = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 2**-8, "atol": 1e-4}
    torch.testing.assert_close(output.double(), step.wanted(), **exact)


def test_what_lies_behind_a_requests_tokens_is_never_seen() -> None:
    step = Step([5, 40])
    output, _ = attended(step)
    spoilt = step.cache.clone()
    taken = {
        int(block) for request, length in enumerate(step.lengths) for block in step.table[request, : -(-length // 32)]
    }
    for block in range(len(spoilt)):
        if block not in taken:
            spoilt[block] = float("nan")
    for request, length in enumerate(step.lengths):
        last = spoilt[int(step.table[request, (length - 1) // 32])].view(step.kv_heads, 2, -1)
        last[:, 0].view(step.kv_heads, step.head, 32)[:, :, (length - 1) % 32 + 1 :] = float("nan")
        last[:, 1].view(step.kv_heads, 32, step.head)[:, (length - 1) % 32 + 1 :] = float("nan")
    assert torch.equal(attended(step, spoilt)[0], output)


def test_scores_far_apart_and_scores_alike_are_weighed_exactly() -> None:
    for factor in (0.0, 1e-20, 30.0, 1e4):
        step = Step([100, 3])
        step.query = step.query * factor
        output, _ = attended(step)
        torch.testing.assert_close(output.double(), step.wanted(), rtol=1e-5, atol=2e-5)


def test_what_is_no_number_stays_none() -> None:
    step = Step([50, 20])
    step.query[0, 0, 0] = float("nan")
    output, _ = attended(step)
    assert output[0, 0].isnan().all()
    assert output[1].isfinite().all()


def test_formats_heads_and_blocks_that_the_kernel_does_not_know_are_told() -> None:
    assert kernel.suits(torch.float32, 64, 128)
    assert not kernel.suits(torch.float16, 64, 128)
    assert not kernel.suits(torch.float32, 80, 128)
    assert not kernel.suits(torch.float32, 64, 16)


def test_compiled_code_of_two_formats_or_counts_cannot_be_taken_for_each_other() -> None:
    """Numba names code by its function and the types of its arguments. What a function encloses has no part in that, so
    code of one name, kept on disk by two processes, would be the first's for both where a third one reads it."""
    import numba.core.dispatcher

    functions = [each for each in vars(kernel).values() if isinstance(each, numba.core.dispatcher.Dispatcher)]
    assert len(functions) > 3
    assert [each.py_func.__name__ for each in functions if each.py_func.__closure__] == []
    assert [each.__name__ for kind in kernel._FUNCTIONS.values() for each in kind if each.__closure__] == []
