"""The index: built from documents once, then searched. The whole way of retrieval reads from top to bottom here.

documents → chunks (`chunks.py`) → a ranking by words (`lexical.py`) and one by meaning (`dense.py`) → reciprocal-rank
fusion (`fusion.py`) → passages. `prompting.py` puts them before the model. A version may search by other stages
(`pipeline.py`).

An index is a folder of `index.json`, `passages.jsonl` and, unless dense is off, `embeddings.npy` (float32, one unit
vector per passage, or per window of one that is longer than the model reads: `windows.py`). `index.json` also says by
which analyser and embedding model it is to be searched: its bytes, and
with them the digest of every version over it, change when those do. It holds no time and no machine's path. The first
two files are the same bytes wherever they are made; embeddings are the same from run to run on one machine, but
another processor or build of torch may round a last bit otherwise. `IndexFacts.recipe` names what was asked for, and
the `index` command builds nothing again whose recipe it already has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from lifecycle.errors import Corrupt, NotFound
from lifecycle.validation import in_a_line
from lifecycle.version import Frozen, digest_of
from retrieval import dense
from retrieval.analysis import is_arabic
from retrieval.chunks import chunk_documents
from retrieval.config import IndexConfig, IndexFacts
from retrieval.documents import read_documents
from retrieval.lexical import LexicalRanking, WordRanking, word_ranking
from retrieval.passage import Chunk, Passage
from retrieval.pipeline import Pipeline
from retrieval.stages.rankings import Dense, Fusion, Lexical
from retrieval.stages.stage import Stage, Surroundings
from retrieval.windows import Windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["hybrid", "lexical", "dense"]
_FORMAT = 1
"""Grows when the same documents and config give other passages or other files."""


class _Header(Frozen):
    """What `index.json` says."""

    format: Literal[1]
    config: IndexConfig
    facts: IndexFacts
    word_ranking: WordRanking | None = None
    """None in an index from before this was written: those were all made by version 1 of the analyser."""


class Plan(Frozen):
    """What an index will be made of, known before the costly part. Its `facts.recipe` says whether one is there."""

    config: IndexConfig
    chunks: tuple[Chunk, ...]
    facts: IndexFacts
    """All but `dimensions`."""


def plan_index(documents: Path, config: IndexConfig) -> Plan:
    """Reads and cuts the documents; embeds nothing. Raises what `build_index` raises."""
    texts = read_documents(documents)
    chunking = chunk_documents(texts, config)
    model = None if config.dense == "none" else dense.fingerprint(dense.locate(config.dense))
    # The model counts by its bytes: one model under a hub id and in a folder makes one recipe.
    asked = config.model_dump(mode="json", exclude={"dense"}) | {"dense": model}
    rows = [chunk.model_dump(mode="json") for chunk in chunking.chunks]
    ranking = word_ranking().model_dump(mode="json")
    recipe = {"format": _FORMAT, "config": asked, "passages": rows, "word_ranking": ranking}
    windowed = {} if model is None else _windowed(chunking.chunks, config.dense)
    if windowed:
        recipe["windowed"] = sorted(windowed.items())
    facts = IndexFacts(
        documents=len(texts),
        passages=len(chunking.chunks),
        words=sum(len(chunk.text.split()) for chunk in chunking.chunks),
        marked=chunking.marked,
        dense_model=None if model is None else config.dense,
        dense_model_digest=model,
        windowed=windowed or None,
        recipe=digest_of(recipe),
    )
    return Plan(config=config, chunks=chunking.chunks, facts=facts)


def _windowed(chunks: Sequence[Chunk], model: str) -> dict[int, int]:
    windows = Windows(dense.locate(model))
    counts = ((number, len(windows.of(chunk.text))) for number, chunk in enumerate(chunks))
    return {number: count for number, count in counts if count > 1}


def build_index(documents: Path, out: Path, config: IndexConfig | None = None) -> IndexFacts:
    """Builds an index of `documents` (a folder or one file) in the folder `out`, which is made if it is not there.

    Raises `NotFound`, `InvalidData` with every fault of the documents at once, or `InvalidConfig` for an embedding
    model that is not to be had.
    """
    return write_index(plan_index(documents, config or IndexConfig()), out)


def write_index(plan: Plan, out: Path) -> IndexFacts:
    """The second half of `build_index`: embeds the passages and writes the files."""
    import numpy as np

    facts = plan.facts
    out.mkdir(parents=True, exist_ok=True)
    if facts.dense_model is not None:
        folder = dense.locate(facts.dense_model)
        windows = Windows(folder)
        rows = dense.Encoder(folder).documents([text for chunk in plan.chunks for text in windows.of(chunk.text)])
        facts = facts.model_copy(update={"dimensions": int(rows.shape[1])})
        np.save(out / "embeddings.npy", rows, allow_pickle=False)
    lines = (json.dumps(chunk.model_dump(), ensure_ascii=False, sort_keys=True) + "\n" for chunk in plan.chunks)
    (out / "passages.jsonl").write_text("".join(lines), encoding="utf-8")
    header = _Header(format=_FORMAT, config=plan.config, facts=facts, word_ranking=word_ranking())
    told = header.model_dump(mode="json")
    if facts.windowed is None:  # an index without long passages keeps the bytes that it had before they were windowed
        del told["facts"]["windowed"]
    text = json.dumps(told, ensure_ascii=False, indent=2, sort_keys=True)
    (out / "index.json").write_text(text + "\n", encoding="utf-8")
    return facts


class Index:
    """A loaded index. Threads may share it: nothing changes after loading but what the encoder guards itself."""

    def __init__(self, header: _Header, chunks: Sequence[Chunk], embeddings: NDArray[np.float32] | None) -> None:
        self.config = header.config
        self.facts = header.facts
        self._chunks = tuple(chunks)
        self._lexical = LexicalRanking([chunk.text for chunk in chunks])
        self._dense = None
        if embeddings is not None and header.facts.dense_model is not None:
            counts = [(header.facts.windowed or {}).get(number, 1) for number in range(len(chunks))]
            windows = Windows(dense.locate(header.facts.dense_model))
            self._dense = dense.DenseRanking(embeddings, _encoder_of(header.facts), counts, windows)

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Reads an index without importing torch. Raises `NotFound` or `Corrupt`, naming the file.

        One that was made to be searched by another analyser or embedding model than those here is refused: it would
        find something else than what was evaluated.
        """
        import numpy as np

        if not (folder / "index.json").is_file():
            raise NotFound(f"'{folder}' holds no index: index.json is missing; make one with `dabt index`")
        try:
            header = _Header.model_validate_json((folder / "index.json").read_bytes())
            lines = (folder / "passages.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
            chunks = [Chunk.model_validate_json(line) for line in lines]
            embeddings = None
            if header.facts.dense_model is not None:
                embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
        except (ValidationError, ValueError, OSError) as error:
            said = in_a_line(error) if isinstance(error, ValidationError) else error
            raise Corrupt(f"The index in '{folder}' cannot be read: {said}; build it again") from error
        _check_words(folder, header.word_ranking)
        shape = None if embeddings is None else embeddings.shape
        more = sum(count - 1 for count in (header.facts.windowed or {}).values())
        expected = None if embeddings is None else (header.facts.passages + more, header.facts.dimensions)
        if len(chunks) != header.facts.passages or shape != expected:
            raise Corrupt(
                f"The index in '{folder}' does not hang together: {len(chunks)} passages and embeddings of shape "
                f"{shape} where index.json says {header.facts.passages} and {expected}; build it again"
            )
        return cls(header, chunks, embeddings)

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def passages(self) -> tuple[Chunk, ...]:
        """All of them, in the order of the documents."""
        return self._chunks

    def warm(self) -> None:
        """Loads the embedding model now (seconds), so that the first query does not wait for it."""
        if self._dense is not None:
            self._dense.warm()

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The passages, in the documents' order."""
        return self._chunks

    def search(self, query: str, top_k: int, mode: Mode = "hybrid") -> list[Passage]:
        """The at most `top_k` passages for `query`, best first; none when nothing matches.

        An Arabic query is answered by words alone unless the index says that its model reads Arabic. `mode` asks
        for one of the two rankings; `lexical` needs no embedding model. `pipeline.py` searches by other stages.
        """
        finding: list[Stage] = []
        if mode != "dense":
            finding.append(Lexical())
        if mode != "lexical":
            finding.append(Dense(long_queries="cut"))
        return list(Pipeline.of([*finding, Fusion()], Surroundings(self)).search(query, top_k))

    def by_words(self, query: str, depth: int) -> list[int]:
        """Numbers of the at most `depth` passages that share a term with `query`, best first."""
        return self._lexical.search(query, depth)

    def by_meaning(self, query: str, depth: int, whole: bool) -> list[int]:
        """Numbers of the `depth` passages nearest to `query`; none without a model that reads it. `whole` is whether a
        query that is longer than the model reads counts by the best of its windows, or by its beginning."""
        if self._dense is None or not self._is_embeddable(query):
            return []
        return self._dense.search(query, depth, whole)

    def _is_embeddable(self, query: str) -> bool:
        return bool(query.strip()) and (self.config.dense_reads_arabic or not is_arabic(query))


def _check_words(folder: Path, made: WordRanking | None) -> None:
    here = word_ranking()
    if made == here or (made is None and here.analyser.version == 1):
        return
    theirs = f"{made.analyser.name} {made.analyser.version}" if made else "version 1"
    same = made is not None and made.analyser.version == here.analyser.version
    fault = ", with other tables or another BM25" if same else ""
    raise Corrupt(
        f"The index in '{folder}' is to be searched by another analyser of words ({theirs}) than the one here "
        f"({here.analyser.name} {here.analyser.version}{fault}); build it again with `dabt index`"
    )


def _encoder_of(facts: IndexFacts) -> dense.Encoder:
    """The model that embedded the passages. Raises `Corrupt` when the one found here has other bytes."""
    assert facts.dense_model is not None
    folder = dense.locate(facts.dense_model)
    if dense.fingerprint(folder) != facts.dense_model_digest:
        raise Corrupt(
            f"The index was made with another '{facts.dense_model}' than the one here, so its vectors cannot be "
            "compared with a query's; build the index again"
        )
    return dense.Encoder(folder)
