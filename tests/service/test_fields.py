"""Every field that reaches the engine has its kind and its range, told with its place before anything is done."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.engine.interface import Kind
from service.openai.fields import check_fields

WHOLE = [
    ("n", 1, 128),
    ("best_of", 1, 128),
    ("max_tokens", 1, 2**31 - 1),
    ("max_completion_tokens", 1, 2**31 - 1),
    ("min_tokens", 0, 2**31 - 1),
    ("seed", -(2**63), 2**63 - 1),
    ("priority", -(2**63), 2**63 - 1),
    ("top_k", -1, 2**31 - 1),
    ("top_logprobs", -1, 2**31 - 1),
    ("prompt_logprobs", -1, 2**31 - 1),
    ("truncate_prompt_tokens", -1, 2**31 - 1),
    ("thinking_token_budget", -1, 2**31 - 1),
    ("stream_interval", 1, 2**31 - 1),
    ("routed_experts_prompt_start", 0, 2**31 - 1),
]
NUMBERS = [
    ("temperature", 0, 2),
    ("min_p", 0, 1),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("length_penalty", -100, 100),
]


def faults(body: dict[str, Any], kind: Kind = "chat") -> dict[str, str]:
    try:
        check_fields(kind, body)
    except InvalidInput as error:
        return {problem.place: problem.fault for problem in error.problems}
    return {}


@pytest.mark.parametrize(("name", "least", "most"), WHOLE)
def test_a_whole_number_is_taken_up_to_its_bounds_and_no_further(name: str, least: int, most: int) -> None:
    for value in (least, most, least + 1, str(least), float(least), None):
        assert faults({name: value}) == {}, value
    said = {name: f"must be a whole number from {least} to {most}"}
    wrong = (least - 1, most + 1, 2**64, -(2**64), 10**400, 1.5, True, "many", "nan", "inf", "1" * 5000, [1], {"a": 1})
    for value in wrong:
        assert faults({name: value}) == said, value


@pytest.mark.parametrize(("name", "least", "most"), NUMBERS)
def test_a_number_is_taken_up_to_its_bounds_and_no_further(name: str, least: float, most: float) -> None:
    for value in (least, most, (least + most) / 2, str(most), None):
        assert faults({name: value}) == {}, value
    said = {name: f"must be a number from {least} to {most}"}
    for value in (least - 1e-9, most + 1e-9, float("nan"), float("inf"), 10**400, False, "hot", "nan", [], {}):
        assert faults({name: value}) == said, value


@pytest.mark.parametrize(("name", "most"), [("top_p", 1), ("repetition_penalty", 100)])
def test_a_number_above_zero_is_not_zero(name: str, most: int) -> None:
    assert faults({name: 1e-9}) == faults({name: most}) == {}
    for value in (0, -1, most + 1e-6):
        assert faults({name: value}) == {name: f"must be a number above 0 to {most}"}


def test_a_plain_completion_may_make_no_token_and_counts_its_logprobs() -> None:
    assert faults({"max_tokens": 0, "logprobs": 5, "suffix": "x"}, "completion") == {}
    assert set(faults({"max_tokens": -1, "logprobs": True, "suffix": 5}, "completion")) == {
        "max_tokens",
        "logprobs",
        "suffix",
    }
    assert faults({"logprobs": True, "max_tokens": 1}) == {}
    assert set(faults({"logprobs": 5, "max_tokens": 0})) == {"logprobs", "max_tokens"}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("stop", ["x", ["a"] * 16, "y" * 1000, []], [5, [5], "", ["a", ""], ["a"] * 17, "y" * 1001, {"a": 1}]),
        ("stop_token_ids", [[], [0, 2**31 - 1]], [5, "5", [-1], [2**31], [True], ["1"], [1.0], [0] * 100_001]),
        ("allowed_token_ids", [[1]], [[2**64], [None]]),
        ("logprob_token_ids", [[1]], [[-1], 1]),
        ("bad_words", [[], ["a"] * 1000], ["a", [""], [5], ["a"] * 1001]),
        (
            "logit_bias",
            [{}, {"0": 100, "7": -100.0}, {str(at): 1 for at in range(4096)}],
            [
                *([], {"-1": 1}, {"a": 1}, {"1.5": 1}, {"": 1}, {"١": 1}, {"9" * 5000: 1}, {"2147483648": 1}),
                *({"1": 101}, {"1": float("nan")}, {"1": None}, {"1": [1]}, {str(at): 1 for at in range(4097)}),
            ],
        ),
        ("repetition_detection", [{}, {"min_count": 1000}], [5, {"x": 1}, {"min_count": 1001}, {"min_count": -1}]),
        ("stream_options", [{}], [[], True, "x"]),
        ("user", ["ليلى"], [5, []]),
        ("chat_template_kwargs", [{}], [[], 5]),
        ("stream", [True, False], ["yes", 2, [], {}]),
        ("ignore_eos", [True, 1, "false"], ["x", 2, [True]]),
    ],
)  # fmt: skip
def test_a_field_of_another_kind_is_told_its_own(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in (*good, None):
        assert faults({name: value}) == {}, str(value)[:80]
    for value in bad:
        assert list(faults({name: value})) == [name], str(value)[:80]


def test_every_fault_is_told_at_once_and_what_is_unknown_is_somebody_elses() -> None:
    body = {"n": 1000, "top_k": 2**64, "seed": -(2**70), "model": 5, "nonsense": 5, "temperature": 0.5}
    assert list(faults(body)) == ["n", "top_k", "seed"]


def test_the_fewest_tokens_are_not_more_than_the_most() -> None:
    assert faults({"min_tokens": 5, "max_tokens": 5}) == {}
    assert faults({"min_tokens": 6, "max_tokens": 5}) == {"min_tokens": "is more than max_tokens, 5"}
    assert faults({"min_tokens": 6, "max_tokens": 5, "max_completion_tokens": 9}) == {}
    assert faults({"min_tokens": 10, "max_tokens": 50, "max_completion_tokens": 9}) == {
        "min_tokens": "is more than max_completion_tokens, 9"
    }
    assert faults({"min_tokens": "6", "max_tokens": "5"}) == {"min_tokens": "is more than max_tokens, 5"}
    assert faults({"min_tokens": 6, "max_tokens": None}) == {}


async def test_what_is_out_of_range_costs_no_adapter_and_no_engine(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        for stream in (False, True):
            for field in ({"n": 1000}, {"top_k": 2**64}, {"structured_outputs": []}):
                body = {"model": "triage", "stream": stream, "messages": [{"role": "user", "content": "hi"}], **field}
                reply = await running.client.post("/v1/chat/completions", json=body)
                error = reply.json()["error"]
                assert (reply.status_code, error["param"], error["code"]) == (400, next(iter(field)), "invalid_input")
                assert "retry-after" not in reply.headers
        assert running.engine.loads == []
