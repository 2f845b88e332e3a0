"""What the processor of this machine computes by itself, as Linux names it.

Asked of the kernel: this is wanted before anything else is begun, and torch takes seconds to import.
"""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = frozenset({"avx512_bf16", "amx_tile"})
"""With one of these it multiplies bfloat16."""
_WIDE = "avx512f"
_VECTORS = frozenset({"avx2", "fma"})


def has_wide_vectors(cpuinfo: Path = CPUINFO) -> bool:
    """AVX-512, of which every part needs the first."""
    return _WIDE in _told(cpuinfo)


def multiplies_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    return not _told(cpuinfo).isdisjoint(_BFLOAT16)


def needs_our_products(cpuinfo: Path = CPUINFO) -> bool:
    """Whether all products in bfloat16 are those of `cpu/products.py`: oneDNN has none without AVX-512."""
    told = _told(cpuinfo)
    return told >= _VECTORS and _WIDE not in told


def _told(cpuinfo: Path) -> frozenset[str]:
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return frozenset(text.split())
