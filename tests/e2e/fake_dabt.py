"""The `dabt` command with the fake engine in vLLM's place: what a document's `dabt serve` starts in its test.

It answers the digest's test articles as the adapter of the demo does: with their targets, so that an evaluation passes.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import dabt
from service.engine.fake_engine import FakeEngine
from service.engine.interface import Call

ITEMS = Path(__file__).parents[2] / "examples/clinic/data/digest/test.jsonl"


class TrainedEngine(FakeEngine):
    """Versions with an adapter answer the test articles as they should be; all else is the fake's own."""

    is_being_built = False

    def __init__(self, *_: Any) -> None:
        super().__init__()
        rows = [json.loads(line)["messages"] for line in ITEMS.read_text(encoding="utf-8").splitlines()]
        self._targets = {row[-2]["content"]: row[-1]["content"] for row in rows}

    def prepare(self) -> None: ...

    def _words(self, call: Call, index: int) -> tuple[list[str], str]:
        if call.adapter is not None and "messages" in call.body:
            asked = str(call.body["messages"][-1]["content"])
            target = next((target for article, target in self._targets.items() if article in asked), None)
            if target is not None:
                return target.split(" "), "stop"
        return super()._words(call, index)


if __name__ == "__main__":
    stand_in: Any = types.ModuleType("service.engine.vllm.engine")
    stand_in.VllmEngine = TrainedEngine
    sys.modules["service.engine.vllm.engine"] = stand_in
    dabt.main()
