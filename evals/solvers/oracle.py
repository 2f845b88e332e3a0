"""The ceiling of retrieval: the passages that are right, in place of what a retriever finds.

A version without knowledge gets them in its prompt, as the service would put them there; one with knowledge retrieves
as it does. So a base beside its RAG, or an adapter beside its hybrid, shows what a perfect retriever would give.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from evals.asking.asker import Asker
from evals.retrieval.gold import FIELD, gold_of, gold_problems
from evals.sample import Sample
from evals.solvers.chat import Chat
from evals.solvers.solver import Attempt
from lifecycle.errors import NotAllowed, Problem
from lifecycle.version import Knowledge, Template, digest_of
from retrieval.chunks import chunk_documents
from retrieval.config import IndexConfig
from retrieval.documents import read_documents
from retrieval.passage import Passage
from retrieval.prompting import apply


class Oracle(Chat):
    """One turn with the right passages. Where none is right, the version is told `(none)`."""

    type: Literal["oracle"] = "oracle"  # type: ignore[assignment]
    look: ClassVar[str] = "the right passages were given, which no caller's request has"
    documents: Path
    """What the index was made of: its folder of documents, or one file."""
    max_words: int = Field(default=IndexConfig().max_words, ge=1)
    """As the index has it, for passages without an id of their own."""
    gold: str = FIELD
    template: Template = Knowledge.model_fields["template"].default
    arabic_template: Template | None = None

    @cached_property
    def _texts(self) -> dict[str, Passage]:
        chunks = chunk_documents(read_documents(self.documents), IndexConfig(max_words=self.max_words)).chunks
        return {chunk.id: Passage(score=1.0, **chunk.model_dump()) for chunk in chunks}

    def described(self) -> Any:
        """The documents count by what they say, wherever they lie."""
        texts = digest_of({name: passage.text for name, passage in self._texts.items()})
        return {**super().described(), "documents": texts}

    def problems(self, sample: Sample) -> list[Problem]:
        faults = gold_problems(sample.metadata, self.gold)
        if faults:
            return faults
        strange = [name for name in gold_of(sample.metadata, self.gold) if name not in self._texts]
        cure = f"mend the label, or the documents {self.documents}"
        return [Problem(f"metadata.{self.gold}", f"there is no passage {name}", cure) for name in strange]

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        if asker.classifies:
            raise NotAllowed(f"{asker.version.ref} is a classifier, which reads no passages")
        if asker.version.spec.knowledge is not None:
            return await super().solve(sample, asker)
        passages = [self._texts[name] for name in gold_of(sample.metadata, self.gold)]
        knowledge = Knowledge(
            index=digest_of("the oracle"), template=self.template, arabic_template=self.arabic_template
        )
        messages = apply(knowledge, sample.messages, passages)
        attempt = Attempt.of(await self.ask(sample, asker, messages, 1))
        return replace(attempt, given={passage.id: passage.text for passage in passages})
