"""The gate of a name: what its `prod` demands, by digest, so that nothing else opens it.

A gate names a policy and the suites that must be run under it. `evals/` makes both from a team's files; the registry
keeps the gate (`registry/judging.py`), and `standing.py` says what a version's verdicts come to under it.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lifecycle.version import Digest, Frozen, Name, digest_of


class SuiteFacts(Frozen):
    """What an evaluation measures, apart from which candidate it measures it of."""

    task: str
    task_digest: Digest
    """Of the task file, its items and its metrics' settings."""
    data_digest: Digest
    """Of the items alone: tries are counted by it (`report.Tries`)."""
    metric: str
    """The figure that decides."""
    safety_metric: str | None = None
    cluster: str | None = None
    """The field of an item that says which items belong together."""
    baseline: str = "base"
    """The arm that is not judged."""
    rivals: dict[str, Digest] = Field(default_factory=dict)
    """Label → digest of the recipe without its base, for every arm that is written out and has no adapter, and for
    those that the policy compares with: who weakens a rival has another suite."""
    prices: Digest | None = None
    """Of the prices, where a rule of the policy is on costs."""

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))

    def differences(self, other: SuiteFacts) -> list[str]:
        """In which of its parts the other is another suite, in words."""
        words = {
            "task": "the task",
            "task_digest": "the task file, its items or settings",
            "data_digest": "the items",
            "metric": "the deciding figure",
            "safety_metric": "the safety figure",
            "cluster": "the clusters",
            "baseline": "the baseline",
            "rivals": "the rivals",
            "prices": "the prices",
        }
        return [words[key] for key in type(self).model_fields if getattr(self, key) != getattr(other, key)]


class Gate(Frozen):
    """What `prod` of a name demands: a passing verdict under this policy in each of these suites."""

    name: Name
    policy: Digest
    policy_name: str
    policy_body: dict[str, Any] = Field(default_factory=dict)
    """The policy's rules, to be shown. `policy` is what binds."""
    suites: tuple[SuiteFacts, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"policy_body"}, exclude_defaults=True))

    def __str__(self) -> str:
        """`policy clinic in triage (by fields)`"""
        suites = ", ".join(f"{suite.task} (by {suite.metric})" for suite in self.suites)
        return f"policy {self.policy_name} in {suites}"
