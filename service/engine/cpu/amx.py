"""Leave to use AMX, the matrix unit of newer Xeons.

Linux has each process ask for it before its first such instruction (`arch_prctl`, ARCH_REQ_XCOMP_PERM). vLLM 0.32's
kernels for packed weights and for attention in bfloat16 use AMX and do not ask. oneDNN asks with its first product in
bfloat16, which packed weights and the kernel of few rows do without: the engine ended with an illegal instruction.
"""

from __future__ import annotations


def register() -> None:
    """Ask for this process and those that it forks. Does nothing where the processor has no AMX."""
    import torch

    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()
