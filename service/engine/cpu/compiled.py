"""Where the compiled code of the CPU's kernels is kept: by what all of their files say.

Numba keeps a function's code for as long as the function's own file stays as it is. Ours call functions of each other's
files, whose change would then go unseen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numba

_HERE = Path(__file__).parent
SOURCES = tuple(
    _HERE / f"{name}.py"
    for name in ("vectors", "group_vectors", "decode", "products", "grouped", "attention_vectors", "attention")
)


def keep_by_sources() -> None:
    """From now on, for the functions that this process defines. Called before the first of them is."""
    numba.config.CACHE_DIR = str(place_of(SOURCES, numba.config.CACHE_DIR, os.environ))


def place_of(sources: Sequence[Path], told: str, environment: Mapping[str, str]) -> Path:
    """A folder for the code of these files as they are: in `told` (NUMBA_CACHE_DIR), or beside them, or in the caches
    of the user where nobody may write beside them."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    if told:
        place = Path(told)
    elif os.access(sources[0].parent, os.W_OK):
        place = sources[0].parent / "__pycache__"
    else:
        place = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dabt"
    return place / f"kernels-{digest.hexdigest()[:16]}"
