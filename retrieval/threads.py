"""torch with one thread, for what is computed on the processor beside an engine.

Threads that wait for each other took 15 times as long beside a busy engine. One thread also makes the sums, and so the
bytes of an index, the same on machines with other numbers of cores.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _OneThread:
    """The number is the process's: the last of several threads that are inside puts it back."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._inside = 0
        self._before = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        import torch

        with self._counting:
            if self._inside == 0:
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self._counting:
                self._inside -= 1
                if self._inside == 0:
                    torch.set_num_threads(self._before)


one_thread = _OneThread()
"""A block in which torch computes with one thread."""
