"""The scored tokens of a step's prompts, computed together: what vLLM gives of them, and nothing before them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

WIDTH, WORDS = 8, 50


class Worker:
    """A model runner's part in it: requests in a batch, and an output layer that counts its rows."""

    def __init__(self) -> None:
        import torch
        from vllm.v1.sample.sampler import Sampler
        from vllm.v1.worker.gpu_model_runner import GPUModelRunner

        from service.engine.vllm import scored_rows

        torch.manual_seed(3)
        head = torch.randn(WIDTH, WORDS)
        self.lines: list[int] = []

        def logits(hidden: Any) -> Any:
            self.lines.append(len(hidden))
            return hidden @ head

        runner = GPUModelRunner.__new__(GPUModelRunner)
        runner.model, runner.sampler = SimpleNamespace(compute_logits=logits), Sampler()
        runner.model_config = SimpleNamespace(logprobs_mode="raw_logprobs")
        runner.num_prompt_logprobs, runner.requests, runner.device = {}, {}, torch.device("cpu")
        runner._sync_device = lambda: None
        self.runner, self.hidden = runner, {}
        self.whole = runner._get_prompt_logprobs_dict
        scored_rows.take_over(runner)

    def ask(self, name: str, length: int, begin: int | None) -> None:
        import torch

        ids = torch.randint(0, WORDS, (length,)).tolist()
        extra = None if begin is None else {"dabt_scored_from": begin}
        self.runner.requests[name] = SimpleNamespace(
            req_id=name,
            prompt_token_ids=ids,
            num_computed_tokens=0,
            in_progress_prompt_logprobs_cpu=None,
            sampling_params=SimpleNamespace(extra_args=extra),
        )
        self.runner.num_prompt_logprobs[name] = 1
        self.hidden[name] = torch.randn(length, WIDTH)

    def step(self, taken: Any = None, **counts: int) -> dict[str, Any]:
        """A step in which each request has so many of its tokens."""
        import numpy
        import torch

        runner = self.runner
        starts = numpy.cumsum([0, *counts.values()])
        runner.input_batch = SimpleNamespace(req_id_to_index={name: at for at, name in enumerate(counts)})
        runner.query_start_loc = SimpleNamespace(np=starts)
        pieces = []
        for name, count in counts.items():
            start = runner.requests[name].num_computed_tokens
            pieces.append(self.hidden[name][start : start + count])
        given = (taken or runner._get_prompt_logprobs_dict)(torch.cat(pieces), counts)
        for name, count in counts.items():
            runner.requests[name].num_computed_tokens += count
        return dict(given)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def by_vllm(worker: Worker, name: str) -> Any:
    """All of one request, by vLLM's own method."""
    request = worker.runner.requests[name]
    length, request.num_computed_tokens = len(request.prompt_token_ids), 0
    worker.runner.num_prompt_logprobs[name] = 1
    return worker.step(worker.whole, **{name: length})[name]


def check_ends(given: Any, whole: Any) -> None:
    import torch

    count = len(given.logprobs)
    assert torch.equal(given.logprob_token_ids, whole.logprob_token_ids[-count:])
    assert torch.equal(given.selected_token_ranks, whole.selected_token_ranks[-count:])
    torch.testing.assert_close(given.logprobs, whole.logprobs[-count:])


def test_only_scored_tokens_are_computed_all_of_a_step_in_one_product(worker: Worker) -> None:
    worker.ask("a", 12, 9)
    worker.ask("b", 7, 1)
    worker.ask("c", 5, 4)
    given = worker.step(a=12, b=7, c=5)
    assert worker.lines == [3 + 6 + 1]
    assert {name: len(each.logprobs) for name, each in given.items()} == {"a": 3, "b": 6, "c": 1}
    assert worker.runner.num_prompt_logprobs == {}
    for name in "abc":
        check_ends(given[name], by_vllm(worker, name))


def test_one_that_says_nothing_gets_its_whole_prompt_from_vllm(worker: Worker) -> None:
    worker.ask("a", 6, 4)
    worker.ask("whole", 8, None)
    given = worker.step(a=6, whole=8)
    assert {name: len(each.logprobs) for name, each in given.items()} == {"a": 2, "whole": 7}
    for name in ("a", "whole"):
        check_ends(given[name], by_vllm(worker, name))


@pytest.mark.parametrize("begin", [1, 4, 5, 6, 11])
def test_a_prompt_in_several_steps_gives_its_scored_tokens_once_it_is_read(worker: Worker, begin: int) -> None:
    worker.ask("long", 12, begin)
    worker.ask("b", 4, 2)
    assert [*worker.step(long=5, b=3)] == []
    assert [*worker.step(b=1)] == ["b"], "the long one waits"
    assert worker.step(long=1) == {}
    given = worker.step(long=6)
    assert len(given["long"].logprobs) == 12 - begin
    check_ends(given["long"], by_vllm(worker, "long"))


def test_more_rows_than_fit_at_once_are_computed_in_pieces(worker: Worker) -> None:
    worker.ask("a", 200, 1)
    worker.ask("b", 150, 1)
    given = worker.step(a=200, b=150)
    assert worker.lines == [256, 199 + 149 - 256]
    for name in "ab":
        check_ends(given[name], by_vllm(worker, name))


@pytest.mark.parametrize("begin", [0, -3, 6, 10**9])
def test_what_is_no_token_of_the_prompt_is_left_to_vllm(worker: Worker, begin: int) -> None:
    worker.ask("a", 6, begin)
    assert len(worker.step(a=6)["a"].logprobs) == 5


def test_a_runner_is_taken_over_once(worker: Worker) -> None:
    from service.engine.vllm import scored_rows

    before = worker.runner._get_prompt_logprobs_dict
    scored_rows.take_over(worker.runner)
    assert worker.runner._get_prompt_logprobs_dict is before


@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_a_caller_cannot_say_where_its_prompt_is_scored_from(kind: str) -> None:
    from service.engine.vllm import requests

    extra = {"dabt_scored_from": 3, "another": 1}
    if kind == "chat":
        request = requests.chat_request({"model": "m", "messages": [], "vllm_xargs": extra})
    else:
        request = requests.completion_request({"model": "m", "prompt": "x", "vllm_xargs": extra})
    assert request.vllm_xargs == {"another": 1}
    assert "dabt_scored_from" in extra, "the caller's body is as it was"
