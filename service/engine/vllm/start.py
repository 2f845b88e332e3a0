"""What the process of the API does beside the start of its engine: nothing that the engine waits for.

Until its engine's process is there, this one imports vLLM, and whatever else it does makes the start longer. Then it
waits for the model to be loaded, which is time for what it needs afterwards.
"""

from __future__ import annotations

import gc
from contextlib import suppress


def begin() -> None:
    """From now on until `settle` nothing is collected. What is imported and built stays: the collector would look
    through all of it, again and again, and find next to nothing.
    """
    gc.disable()


def meanwhile() -> None:
    """While the engine's process loads the model, in a thread of its own."""
    with suppress(Exception):  # raised again where it is used
        from vllm.entrypoints.launchers.api_server import app_state  # noqa: F401
    gc.freeze()  # unseen: to look through a million objects would hold up the thread that speaks with the engine


def settle() -> None:
    """All that was imported and built stays, so the collector need not look through it while tokens wait."""
    gc.collect()
    gc.freeze()
    gc.enable()


def forget() -> None:
    """An engine that has ended. It sits in cycles and shuts down again when it is collected, which must not be at the
    interpreter's very end.
    """
    gc.unfreeze()
    gc.collect()
