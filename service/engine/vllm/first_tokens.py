"""First tokens leave before the other tokens of their step.

vLLM goes through the outputs of a step in the order of its batch, where a request that has just come stands last: its
first token would wait until the tokens of all others have been turned into text and written. The caller of that one has
nothing yet, and the others have only one token of many to wait for.
"""

from __future__ import annotations

from typing import Any


def send_first(llm: Any) -> None:
    """From now on for this `AsyncLLM`. Those of several requests keep their order, and so do the others."""
    take = llm.engine_core.get_output_async

    async def get_output_async() -> Any:
        outputs = await take()
        outputs.outputs.sort(key=_is_later)
        return outputs

    llm.engine_core.get_output_async = get_output_async


def _is_later(output: Any) -> bool:
    """The core tells of a prompt once, with the first token that follows it."""
    return output.prefill_stats is None
