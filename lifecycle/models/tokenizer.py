"""The tokenizer of a model folder, as transformers' `AutoTokenizer` gives it, sooner.

To find the class, that one imports what models are made of, torch among it, which takes far longer than reading the
tokenizer. Where the folder names the class of all tokenizers that lie in a `tokenizer.json`, nothing is to be found.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidInput
from lifecycle.imports import to_stay
from lifecycle.models.base import read_object, tokenizer_config_of

_NAMED_AS_IT_IS = ("llama",)
"""Types of models for which transformers has no class of its own that it would take in the named one's place."""
_OF_A_FILE = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""The class's name, and the one that it had in transformers before 5."""


def load_tokenizer(folder: Path) -> Any:
    """What `AutoTokenizer.from_pretrained` returns for the folder; raises what it raises."""
    if names_its_class(folder):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder)
    with to_stay("transformers.models.auto.tokenization_auto"):
        from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def names_its_class(folder: Path) -> bool:
    """Whether the folder says by itself that its tokenizer is what its `tokenizer.json` says and no more."""
    if not (folder / "tokenizer.json").is_file():
        return False
    with suppress(InvalidInput):  # transformers says what is wrong
        config, of_tokenizer = read_object(folder / "config.json"), tokenizer_config_of(folder)
        return (
            config.get("model_type") in _NAMED_AS_IT_IS
            and of_tokenizer.get("tokenizer_class") in _OF_A_FILE
            and "auto_map" not in of_tokenizer
            and "auto_map" not in config
        )
    return False
