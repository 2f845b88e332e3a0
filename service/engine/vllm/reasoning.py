"""Reasoning in streams, where vLLM's parsers leave the mark that opens it.

A chunk has several tokens when the engine is ahead of whoever reads. One that begins with the opening mark, as
"<think>Let me", is told by vLLM 0.32 as reasoning with the mark as its first word; alone, the mark is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

_MENDED = "dabt_drops_the_mark"


def drop_opening_marks() -> None:
    """For every parser that is made of vLLM's base class, in this process."""
    from vllm.reasoning.basic_parsers import BaseThinkingReasoningParser as Parser

    told = Parser.extract_reasoning_streaming
    if not hasattr(told, _MENDED):
        Parser.extract_reasoning_streaming = _without_mark(told)


def _without_mark(told: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(told)
    def parse(
        self: Any,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> Any:
        delta = told(
            self, previous_text, current_text, delta_text, previous_token_ids, current_token_ids, delta_token_ids
        )
        if delta is not None and delta.reasoning and self.start_token_id in delta_token_ids:
            _, mark, behind = delta.reasoning.partition(self.start_token)
            delta.reasoning = behind if mark else delta.reasoning
        return delta

    setattr(parse, _MENDED, True)
    return parse
