"""One classifier in memory: a folder's encoder, head, tokenizer and labels, as `transformers` reads them.

It computes in float32 on the processor, since the accelerator is the engine's, in whatever thread calls it. torch is
imported when the first one is loaded. Read `batches.py` for how rows of many requests come together.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifecycle.errors import AdapterUnloadable
from lifecycle.imports import to_stay
from lifecycle.models.bars import no_bars
from retrieval.threads import one_thread

TRUNCATES = "dabt_truncates"
"""The key of config.json that says: longer texts were cut when it was trained, and so they are here."""
WEIGHTS = "*.safetensors"


class Classifier:
    """Threads may share it. `labels` stand in the order of its logits; `limit` is the most tokens that it reads."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """`model` is a sequence classification model of transformers, `tokenizer` its own."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._tokenising = threading.Lock()  # cutting is a setting of the tokenizer that calls share
        config = model.config
        self.labels = tuple(str(config.id2label[index]) for index in range(config.num_labels))
        self.limit = limit_of(config, tokenizer)
        self.truncates = bool(getattr(config, TRUNCATES, False))
        self.exclusive = len(self.labels) > 1 and config.problem_type != "multi_label_classification"
        """Whether a text has one of the labels, and not each of them by itself."""
        self._pad = next((id_ for id_ in (config.pad_token_id, tokenizer.pad_token_id) if id_ is not None), 0)

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Raises `AdapterUnloadable` for a folder that is no whole classifier: a head that is missing is not drawn."""
        with to_stay("transformers.models.auto.modeling_auto"):
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            with no_bars(), one_thread():
                model, told = AutoModelForSequenceClassification.from_pretrained(
                    str(folder),
                    dtype=torch.float32,
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                )
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the library raises whatever the files make it raise
            raise AdapterUnloadable(f"the classifier cannot be loaded: {type(error).__name__}: {error}") from error
        if lacking := sorted(told["missing_keys"]):
            raise AdapterUnloadable(
                f"the classifier is not whole: it has no {', '.join(lacking[:4])}, which would be drawn by chance. "
                "Train it again"
            )
        return cls(model, tokenizer)

    def tokens(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]:
        """Token ids of each text, special tokens included: all of them, or the first `most`."""
        cut: dict[str, Any] = {"truncation": False} if most is None else {"truncation": True, "max_length": most}
        with self._tokenising:
            rows: list[list[int]] = self._tokenizer(list(texts), **cut, padding=False, verbose=False)["input_ids"]
        return rows

    def logits(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """One list for each row of token ids, in the order of `labels`. Rows of unlike length are padded."""
        import torch

        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[self._pad] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with one_thread(), torch.inference_mode():
            logits: list[list[float]] = self._model(input_ids=ids, attention_mask=mask).logits.float().tolist()
        return logits


def limit_of(config: Any, tokenizer: Any) -> int:
    """The most tokens of a text: what the tokenizer says, as far as the model has positions."""
    positions = getattr(config, "max_position_embeddings", None)
    limits = [limit for limit in (tokenizer.model_max_length, positions) if isinstance(limit, int) and limit > 0]
    return min(limits)


def probabilities(logits: Sequence[float], exclusive: bool) -> list[float]:
    """Of each label: they sum to 1 where a text has one label, and stand alone where it may have several."""
    if not exclusive:
        return [1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value)) for value in logits]
    powers = [math.exp(value - max(logits)) for value in logits]
    total = math.fsum(powers)
    return [power / total for power in powers]
