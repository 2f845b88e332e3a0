"""One item of an evaluation: what is sent, what would be right, and which items it belongs with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lifecycle.conversation import texts_in

Turn = dict[str, Any]
"""A message as the OpenAI API writes it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Every arm gets the same ones. `key` pairs an item across arms: it is of the item's content too."""

    key: str
    id: str
    """As people call it."""
    messages: tuple[Turn, ...]
    """What is sent, behind the version's own prompt: system texts, earlier turns, the question."""
    target: Any = None
    """What would be right: a JSON value of any shape, as the suite's scorers understand it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None
    """What it belongs to (one article, one patient): items of a cluster count as one."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """In which part of the suite it lies, by each way of parting it: {"language": "ar"}."""
    tools: tuple[dict[str, Any], ...] = ()
    """What the version may call, as the OpenAI API writes it."""
    parallel_tool_calls: bool | None = None

    @property
    def question(self) -> str:
        """The last text of the user."""
        return next((texts_in(turn.get("content")) for turn in reversed(self.messages) if turn["role"] == "user"), "")

    @property
    def shown_target(self) -> str:
        """The target as a reader sees it."""
        return self.target if isinstance(self.target, str) else json.dumps(self.target, ensure_ascii=False)

    def told(self) -> dict[str, Any]:
        """As the report's rows have it."""
        row = {
            "key": self.key,
            "name": self.id,
            "question": self.question,
            "target": self.shown_target,
            "cluster": self.cluster,
        }
        more: dict[str, Any] = {"slices": dict(self.slices)} if self.slices else {}
        if self.tools:
            more["tools"] = list(self.tools)
        if len(self.messages) > 1 or self.tools:  # what the question alone does not tell
            more["messages"] = list(self.messages)
        return row | more
