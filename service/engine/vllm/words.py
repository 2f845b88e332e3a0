"""vLLM's words for what is wrong with a request, as a caller of this service can use them.

A caller knows neither vLLM's flags, nor the variables of its environment, nor its classes: a sentence about one of
those is left out, or names this service's own flag.
"""

from __future__ import annotations

import re

_OURS = {
    "--max-model-len": "--max-model-len",
    "--max-num-queued-reqs": "--max-queue",
    "--tool-call-parser": "--tool-parser",
    "--enable-auto-tool-choice and --tool-call-parser": "--tool-parser",
    "--enable-auto-tool-choice": "--tool-parser",
    "--max-lora-rank": "--max-lora-rank",
    "--served-model-name": "--base-name",
}
"""vLLM's flag → `dabt serve`'s for the same."""
_FLAG = re.compile(r"--[a-z][a-z0-9-]+( and --[a-z][a-z0-9-]+)?")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"\[(])")
_INSIDE = re.compile(
    r"VLLM_[A-Z_]+|environment variable|\bvllm\.|\bjinja2\b|\bpydantic\b|\btransformers\b|Traceback|<class |\bHTTP\b"
    r"|[A-Za-z_]+\(.*\btype=|\[type="
)
"""What only one who looks into the service would understand."""
NOTHING_LEFT = "is not taken by the engine"


def in_our_words(message: str) -> str:
    """Empty when nothing of it is for a caller."""
    kept = []
    for sentence in _SENTENCE_ENDS.split(message.strip()):
        flags = [match.group(0) for match in _FLAG.finditer(sentence)]
        if _INSIDE.search(sentence) or any(flag not in _OURS for flag in flags):
            continue
        kept.append(_FLAG.sub(lambda match: _OURS[match.group(0)], sentence))
    return " ".join(kept)
