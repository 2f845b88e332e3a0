"""Large libraries, imported in less time: what stays is no work of the garbage collector."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def to_stay(module: str) -> Iterator[None]:
    """Around imports that bring `module`, a part of a library as large as torch; nothing where it is there already.

    They are up to a million objects, all of which stay. A collector that looks through them again and again while they
    come, and later, takes a quarter of the time. So it waits meanwhile, and leaves alone what is there then.
    """
    if module in sys.modules:
        yield
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # When the process ends they are taken apart like all else: Triton tells of what is left of it, for a page.
        atexit.unregister(gc.unfreeze)
        atexit.register(gc.unfreeze)
        if collecting:
            gc.enable()
