"""Freshness, measured: a document is edited and indexed again, and the same questions are asked before and after.

A version with knowledge reads the new passage as soon as the index is there: its recipe with the new index is another
version, and nothing is trained. A version without knowledge cannot have learned of the edit, and answers as before.
`benchmarks/freshness.py` does so with the clinic.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evals.arms import Arm
from evals.asking.answers import AnswerStore, Conditions
from evals.asking.asker import Asker
from evals.asking.endpoint import Endpoint
from evals.asking.services import Services, asked
from lifecycle.errors import InvalidInput, Unavailable
from lifecycle.home import Home
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.text.normaliser import DEFAULT
from lifecycle.version import Frozen, Version, digest_of

if TYPE_CHECKING:
    import httpx

    from lifecycle.registry import Registry


class Freshness(Frozen):
    """What became of one version's answers when a document was edited."""

    arm: str
    before: str
    """The version that answered before, and the one after; the same where nothing is retrieved."""
    after: str
    answers_before: tuple[str, ...]
    answers_after: tuple[str, ...]
    says_new: tuple[bool, ...]
    """Of each answer after the edit: it has the words that only the new document has."""
    seconds: float
    """From the edit to the last answer after it, indexing and the embedding model's loading included."""

    @property
    def changed(self) -> int:
        """Answers that are other than before."""
        return sum(old != new for old, new in zip(self.answers_before, self.answers_after, strict=True))


def measure_freshness(
    refs: Sequence[str],
    questions: Sequence[str],
    edited: Path,
    new: str,
    *,
    registry: Registry,
    home: Home,
    endpoint: Endpoint,
    transport: httpx.AsyncBaseTransport | None = None,
) -> tuple[Freshness, ...]:
    """Asks every version of `refs` the questions, indexes the folder `edited`, and asks again. `new` is what an answer
    from the edited document says.

    The new index is the newest of its name, and the versions over it are drafts: moving an alias is another step.
    Raises `InvalidInput` when no version has knowledge or nothing was edited, and `Unavailable` when a request fails.
    """
    versions = {ref: registry.version(ref) for ref in refs}
    if not questions or not any(version.spec.retrieves for version in versions.values()):
        raise InvalidInput("freshness needs a question, and a version with knowledge")
    with asked(endpoint, [Arm(label=ref, version=version) for ref, version in versions.items()], transport) as services:
        before = {ref: _answers(version, questions, services) for ref, version in versions.items()}
        made = []
        for ref, version in versions.items():
            began = time.perf_counter()
            newest = _over_edited(version, edited, registry, home) if version.spec.retrieves else version
            after = _answers(newest, questions, services)
            made.append(
                Freshness(
                    arm=ref,
                    before=version.ref,
                    after=newest.ref,
                    answers_before=before[ref],
                    answers_after=after,
                    says_new=tuple(f" {DEFAULT.normal(new)} " in f" {DEFAULT.normal(answer)} " for answer in after),
                    seconds=time.perf_counter() - began,
                )
            )
    return tuple(made)


def _over_edited(version: Version, edited: Path, registry: Registry, home: Home) -> Version:
    """The same recipe over the edited documents."""
    from retrieval.index import Index
    from retrieval.publish import publish_index

    knowledge = version.spec.knowledge
    assert knowledge is not None
    record, store = registry.index(knowledge.index), ArtifactStore(home.artifacts_url, home.cache)
    config = Index.load(store.get(knowledge.index)).config
    digest, _ = publish_index(edited, record.name, config, store=store, registry=registry)
    if digest == knowledge.index:
        raise InvalidInput(f"'{edited}' says what the index {record.name} says: nothing was edited")
    spec = version.spec.model_copy(update={"knowledge": knowledge.model_copy(update={"index": digest})})
    return registry.create_version(version.name, spec, actor="freshness", lineage=version.lineage)


def _answers(version: Version, questions: Sequence[str], services: Services) -> tuple[str, ...]:
    """Greedy, each asked anew: nothing is read from what was kept."""
    session = services.own
    with tempfile.TemporaryDirectory(prefix="dabt-freshness-") as folder:
        conditions = Conditions(
            version=version.digest,
            task=digest_of(["freshness", list(questions)]),
            endpoint=session.endpoint.place,
            deployment=session.deployment.digest if session.deployment else None,
            concurrency=1,
            seed=17,
        )
        asker = Asker(session, version, conditions, AnswerStore.of_version(Path(folder), version.digest))
        work = [
            partial(asker.chat, question, [{"role": "user", "content": question}], decoding={"temperature": 0.0})
            for question in questions
        ]
        answers = session.gather(work, concurrency=1, done=lambda _: None)
    failed = [answer.error for answer in answers if answer.error]
    if failed:
        raise Unavailable(f"{version.ref} did not answer: {failed[0]}")
    return tuple(answer.text for answer in answers)
