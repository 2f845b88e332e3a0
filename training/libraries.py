"""The libraries that every run needs, imported together and then left alone by the garbage collector."""

from __future__ import annotations

from lifecycle.imports import to_stay


def load() -> None:
    """Import them; nothing where that was done before. Each trainer asks for a whole collection more than once."""
    with to_stay("trl.trainer.sft_trainer"):
        import peft  # noqa: F401
        from transformers import AutoModelForCausalLM, Trainer  # noqa: F401
        from trl import SFTTrainer  # noqa: F401
