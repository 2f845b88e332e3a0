"""The CPU's kernels on a processor without AVX-512 and its bfloat16: made for one here, they give the same bits.

numba and LLVM compile for the processor that they are told of, so an older one needs no machine of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

OLDER = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt"}
"""AVX2, no AVX-512: what cloud machines and desktops of a decade have."""


def computed() -> dict[str, str]:
    """A digest of what each kernel makes of the same numbers, and how many rows share a block."""
    import hashlib

    import torch

    from service.engine.cpu import grouped
    from service.engine.cpu.products import Product, Workspace
    from service.engine.cpu.weights import in_panels
    from tests.service.attention_cases import Step, attended

    random = torch.Generator().manual_seed(3)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).bfloat16()

    def digest(tensor: torch.Tensor) -> str:
        return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()

    few, weight = numbers(3, 96), numbers(160, 96)
    x, y, a, b = numbers(20, 96), numbers(20, 160), numbers(1, 4, 8, 96), numbers(4, 8, 160)
    kernel = grouped.Grouped()
    place = kernel.place(a, [b])
    assert place is not None
    kernel.set_rows([row % 5 - 1 for row in range(20)])
    kernel.add(y, x, place)
    attention = [attended(Step([40, 1, 97], dtype=dtype, heads=12))[0] for dtype in ("float32", "bfloat16")]
    return {
        "rows of a block": str(grouped.ROWS),
        "few": digest(Product(weight, Workspace(1))(few)),
        "many": digest(Product(weight, Workspace(1))(x)),
        "few, panels": digest(Product(in_panels(weight), Workspace(1))(few)),
        "many, panels": digest(Product(in_panels(weight), Workspace(1))(x)),
        "grouped": digest(y),
        "attention": " ".join(map(digest, attention)),
    }


def as_on(processor: dict[str, str]) -> dict[str, str]:
    told = f"""
import json
import llvmlite.binding as llvm
llvm.get_host_cpu_features = lambda: {{"avx512f": {not processor}}}
from tests.service.test_cpu_without_avx512 import computed
print(json.dumps(computed()))
"""
    ran = subprocess.run(
        [sys.executable, "-c", told], env={**os.environ, **processor}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def test_a_processor_without_avx512_computes_the_same_bits_in_smaller_blocks() -> None:
    older, own = as_on(OLDER), computed()
    assert older.pop("rows of a block") == "3"
    own.pop("rows of a block")
    assert older == own
