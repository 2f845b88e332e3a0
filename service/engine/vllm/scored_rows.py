"""Log-probabilities of the tokens that are scored, and not of the prompt before them.

vLLM 0.32 gives those of a whole prompt: the output layer, a softmax and a search over the vocabulary for each of its
tokens, request by request. A golden prompt and a likelihood ask for the last few. Here the request says from which
token on, and all requests of a step are computed together. `likelihood.py` asks; on a GPU vLLM goes on as it does,
and the answer is then the longer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from vllm.v1.outputs import LogprobsTensors

from service.engine.vllm.requests import SCORED_FROM

_AT_ONCE = 256
"""Rows of logits, so that a long text takes no more memory than vLLM would give it."""


def take_over(runner: Any) -> None:
    """From now on for this model runner of a CPU. A second call changes nothing."""
    whole = runner._get_prompt_logprobs_dict
    if isinstance(whole, ScoredRows):
        return
    runner._get_prompt_logprobs_dict = ScoredRows(runner, whole)


class _Rows(NamedTuple):
    """Of one request in one step."""

    request: Any
    first: int
    """In the step's hidden states; the row of a token scores the one behind it."""
    begin: int
    """The first token that they score."""
    end: int
    into: int
    """Tokens that were scored before."""
    last: bool
    """Whether the prompt ends in this step."""


class ScoredRows:
    """In the place of the model runner's method: called once a step, after the model."""

    def __init__(self, runner: Any, whole: Callable[..., dict[str, Any]]) -> None:
        self._runner, self._whole = runner, whole

    def __call__(self, hidden_states: torch.Tensor, scheduled: dict[str, int]) -> dict[str, LogprobsTensors | None]:
        """`hidden_states` [rows, width] of the step; `scheduled` says how many of them each request has."""
        asked: dict[str, int] = self._runner.num_prompt_logprobs
        mine = {name: begin for name in asked if (begin := self._begin(name)) is not None}
        if not mine:
            return self._whole(hidden_states, scheduled)
        hidden = {name: asked.pop(name) for name in mine}  # from vLLM, which sees the rest
        given = self._whole(hidden_states, scheduled) if asked else {}
        # One that is not scheduled waits, as when others have taken its memory.
        rows = {name: self._rows(name, begin, scheduled[name]) for name, begin in mine.items() if name in scheduled}
        if parts := [each for each in rows.values() if each.begin < each.end]:
            self._score(hidden_states, parts)
        for name in mine:
            if name in rows and rows[name].last:
                request = rows[name].request
                given[name], request.in_progress_prompt_logprobs_cpu = request.in_progress_prompt_logprobs_cpu, None
            else:
                asked[name] = hidden[name]
        return given

    def _begin(self, name: str) -> int | None:
        request = self._runner.requests[name]
        begin = (getattr(request.sampling_params, "extra_args", None) or {}).get(SCORED_FROM)
        return begin if begin is not None and 0 < begin < len(request.prompt_token_ids or ()) else None

    def _rows(self, name: str, scored_from: int, count: int) -> _Rows:
        request = self._runner.requests[name]
        length, start = len(request.prompt_token_ids), request.num_computed_tokens
        if request.in_progress_prompt_logprobs_cpu is None:
            request.in_progress_prompt_logprobs_cpu = LogprobsTensors.empty_cpu(length - scored_from, 2)
        begin, end = max(start + 1, scored_from), min(start + count + 1, length)
        at = int(self._runner.query_start_loc.np[self._runner.input_batch.req_id_to_index[name]])
        return _Rows(request, at + begin - 1 - start, begin, end, begin - scored_from, start + count >= length)

    def _score(self, hidden_states: torch.Tensor, parts: list[_Rows]) -> None:
        rows = [part.first + at for part in parts for at in range(part.end - part.begin)]
        targets = [token for part in parts for token in part.request.prompt_token_ids[part.begin : part.end]]
        found = [self._of(hidden_states[torch.tensor(some)], their) for some, their in _pieces(rows, targets)]
        whole = [torch.cat(pieces) for pieces in zip(*found, strict=True)]
        ends = list(accumulate(part.end - part.begin for part in parts))
        for part, end in zip(parts, ends, strict=True):
            count = part.end - part.begin
            kept = part.request.in_progress_prompt_logprobs_cpu
            for own, every in zip(kept[:3], whole, strict=True):
                own[part.into : part.into + count] = every[end - count : end]

    def _of(self, hidden_states: torch.Tensor, targets: list[int]) -> tuple[torch.Tensor, ...]:
        sampler = self._runner.sampler
        logprobs = sampler.compute_logprobs(self._runner.model.compute_logits(hidden_states))
        given = sampler.gather_logprobs(logprobs, 1, torch.tensor(targets, dtype=torch.int64))
        return given.logprob_token_ids, given.logprobs, given.selected_token_ranks


def _pieces(rows: list[int], targets: list[int]) -> Iterator[tuple[list[int], list[int]]]:
    return ((rows[at : at + _AT_ONCE], targets[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE))
