"""What a base thinks is told apart from what it says, however its tokens come together in a stream's chunks."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from service.engine.vllm.reasoning import drop_opening_marks

TOKENS = ("<think>", "W", "hy", "</think>", "N", "o")
VOCABULARY = {token: number for number, token in enumerate(TOKENS)}
CUTS = [cuts for count in range(len(TOKENS)) for cuts in combinations(range(1, len(TOKENS)), count)]


class Tokenizer:
    def get_vocab(self) -> dict[str, int]:
        return VOCABULARY


@pytest.mark.engine
@pytest.mark.parametrize("opens", [True, False], ids=["it opens its reasoning", "the template does"])
def test_the_chunks_of_a_stream_may_be_cut_anywhere(opens: bool) -> None:
    from vllm.reasoning.deepseek_r1_reasoning_parser import DeepSeekR1ReasoningParser

    drop_opening_marks()
    drop_opening_marks()  # as a second start of the engine does
    tokens = TOKENS if opens else TOKENS[1:]
    told = {cuts: streamed(DeepSeekR1ReasoningParser(Tokenizer()), tokens, cuts) for cuts in CUTS}
    assert {cuts: words for cuts, words in told.items() if words != ("Why", "No")} == {}


def streamed(parser: Any, tokens: tuple[str, ...], cuts: tuple[int, ...]) -> tuple[str, str]:
    """What was thought and what was said."""
    thought, said, read = "", "", 0
    for end in (*(cut for cut in cuts if cut < len(tokens)), len(tokens)):
        before, now, chunk = tokens[:read], tokens[:end], tokens[read:end]
        ids = [[VOCABULARY[token] for token in part] for part in (before, now, chunk)]
        delta = parser.extract_reasoning_streaming("".join(before), "".join(now), "".join(chunk), *ids)
        if delta is not None:
            thought, said = thought + (delta.reasoning or ""), said + (delta.content or "")
        read = end
    return thought, said
