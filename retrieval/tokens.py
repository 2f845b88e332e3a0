"""Counting tokens by a model folder's tokenizer, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lifecycle.errors import InvalidConfig, Problem


def token_counter(folder: Path) -> Callable[[str], int]:
    """How many tokens a text has, the model's own marks left out. Raises `InvalidConfig` for a folder without a
    tokenizer that can be read."""
    try:
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
            fast.no_truncation()
            fast.no_padding()
            return lambda text: len(fast.encode(text, add_special_tokens=False).ids)
        from transformers import AutoTokenizer

        slow = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return lambda text: len(slow(text, add_special_tokens=False, verbose=False)["input_ids"])
    except Exception as error:  # both libraries raise their own, OS errors and bare ones
        problem = Problem("base", f"the tokenizer in '{folder}' cannot be read: {error}", "name a whole model folder")
        raise InvalidConfig("The base's tokens cannot be counted", [problem]) from error
