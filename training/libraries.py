"""The libraries that every run needs, imported together and then left alone by the garbage collector."""

from __future__ import annotations

import gc
import sys


def load() -> None:
    """Import them; nothing where that was done before.

    They are a million objects, all of which stay. A collector that looks through them again and again while they come
    takes a quarter of that time, and each trainer asks for a whole collection more than once.
    """
    if "trl.trainer.sft_trainer" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        import peft  # noqa: F401
        from transformers import AutoModelForCausalLM, Trainer  # noqa: F401
        from trl import SFTTrainer  # noqa: F401
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
