"""A text that is longer than a model reads → windows that it reads whole, so that nothing is cut off in silence.

A passage counts as its best window: Dai & Callan, "Deeper text understanding for IR with contextual neural language
modeling" (SIGIR 2019), where it is called MaxP.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OVERLAP = 32
"""Tokens that two neighbouring windows share, so that what one cuts in two is whole in the other."""


class Windows:
    """Cuts texts for one model. It reads the model's tokenizer, and no torch."""

    def __init__(self, folder: Path) -> None:
        """A folder that says of no tokenizer or no limit gives every text whole."""
        self._tokenizer, limit, longest_prompt = _read(folder)
        self.room = self.room_of_pair = 10**9
        """Tokens of a text, or of two, that the model reads, without the marks that it writes itself."""
        if self._tokenizer is not None and limit is not None:
            self.room = max(1, limit - longest_prompt - self._tokenizer.num_special_tokens_to_add(False))
            self.room_of_pair = max(2, limit - self._tokenizer.num_special_tokens_to_add(True))

    def count(self, text: str) -> int:
        """Tokens; 0 where the model says of no tokenizer."""
        return 0 if self._tokenizer is None else len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def of(self, text: str, room: int | None = None) -> list[str]:
        """The text alone where it has at most `room` tokens, else its windows of so many."""
        room = self.room if room is None else room
        if self.count(text) <= room:
            return [text]
        ends = self._tokenizer.encode(text, add_special_tokens=False).offsets
        windows = []
        at = 0
        while True:
            end = min(at + room, len(ends))
            # Cut out of its word, a piece may have more tokens than it had in it.
            while end > at + 1 and self.count(text[ends[at][0] : ends[end - 1][1]]) > room:
                end -= 1
            windows.append(text[ends[at][0] : ends[end - 1][1]])
            if end == len(ends):
                return windows
            at = max(at + 1, end - min(OVERLAP, room // 2))


def _read(folder: Path) -> tuple[Any, int | None, int]:
    """The tokenizer, the tokens that the model reads (None for what its folder does not say), and the tokens of the
    longest prompt that sentence-transformers writes before a text."""
    place = _of_transformer(folder)
    if not (place / "tokenizer.json").is_file():
        return None, None, 0
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    limit = _json(place / "sentence_bert_config.json").get("max_seq_length")
    if limit is None:
        said = (
            _json(place / "config.json").get("max_position_embeddings"),
            _json(place / "tokenizer_config.json").get("model_max_length"),
        )
        limit = min((int(number) for number in said if number is not None), default=None)
    prompts = (_json(folder / "config_sentence_transformers.json").get("prompts") or {}).values()
    longest = max((len(tokenizer.encode(prompt, add_special_tokens=False).ids) for prompt in prompts), default=0)
    return tokenizer, limit, longest


def _of_transformer(folder: Path) -> Path:
    """Of a sentence-transformers folder, where its first module is; of any other, itself."""
    if not (folder / "modules.json").is_file():
        return folder
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    return folder / modules[0].get("path", "") if modules else folder


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
