"""Which fields of a request reach the engine, and that a version's recipe can be neither read nor cut by one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from lifecycle.states import State
from lifecycle.version import Version, VersionSpec
from service.openai import allowed_fields, response_request
from service.openai.allowed_fields import TABLES, for_tokenizer, for_version

RECIPES = [
    {"prompt": {"system": "Secret."}},
    {"prompt": {"shots": [{"user": "a", "assistant": "b"}]}},
    {"knowledge": {"index": "sha256:" + "c" * 64}},
]
SHOWS: list[tuple[str, Any]] = [
    ("echo", True),
    ("prompt_logprobs", 0),
    ("prompt_logprobs", 1),
    ("return_token_ids", True),
    ("return_tokens_as_token_ids", True),
    ("return_token_offsets", True),
    ("return_prompt_text", True),
    ("routed_experts_prompt_start", 1),
    ("truncate_prompt_tokens", 0),
    ("truncate_prompt_tokens", -1),
    ("truncation_side", "left"),
    ("vllm_xargs", {"a": 1}),
    ("add_generation_prompt", False),
    ("continue_final_message", True),
    ("add_special_tokens", True),
    ("documents", [{"text": "x"}]),
    ("chat_template_kwargs", {"documents": []}),
    ("chat_template_kwargs", ["enable_thinking"]),
]
"""A field, and a value that would show a prompt or change it."""
REFUSED: list[tuple[str, Any]] = [
    ("chat_template", "{{ messages }}"),
    ("kv_transfer_params", {"prompt_token_ids": [1]}),
    ("ec_transfer_params", {"host": "x"}),
    ("media_io_kwargs", {"image": {}}),
    ("mm_processor_kwargs", {"a": 1}),
    ("mm_payload", "all"),
    ("return_mm_kwargs", True),
    ("priority", -1),
    ("use_beam_search", True),
    ("logprob_token_ids", [5]),
    ("length_penalty", 2.0),
]


def version(**spec: Any) -> Version:
    recipe = VersionSpec.model_validate({"base": "sha256:" + "b" * 64, **spec})
    return Version(
        name="triage", number=3, spec=recipe, state=State.APPROVED, created_at=datetime.now(UTC), created_by="test"
    )


def places(made: Version | None, kind: Any, body: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        for_version(made, kind, body)
    return [problem.place for problem in caught.value.problems]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: next(iter(recipe)))
@pytest.mark.parametrize(("name", "value"), SHOWS, ids=[name for name, _ in SHOWS])
def test_what_shows_or_changes_a_prompt_is_refused_at_its_place_for_a_version_with_a_recipe(
    recipe: dict[str, Any], name: str, value: Any
) -> None:
    (place,) = places(version(**recipe), "chat", {"model": "triage", name: value})
    assert place.partition(".")[0] == name


@pytest.mark.parametrize(
    "made", [None, version(), version(adapter="sha256:" + "a" * 64)], ids=["base", "bare", "adapter"]
)
@pytest.mark.parametrize(("name", "value"), SHOWS, ids=[name for name, _ in SHOWS])
def test_where_there_is_no_recipe_it_is_taken_as_it_was_sent(made: Version | None, name: str, value: Any) -> None:
    assert for_version(made, "chat", {name: value}) == {name: value}


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_would_leave_the_request_is_refused_to_everybody(name: str, value: Any) -> None:
    for made in (None, version(), version(**RECIPES[0])):
        assert places(made, "chat", {name: value}) == [name]


def test_a_value_that_asks_for_nothing_is_left_out_and_refused_to_nobody() -> None:
    for kind, table in TABLES.items():
        nothing = {name: rule.off[-1] for name, rule in {**table.prompt, **table.refused}.items()}
        null = dict.fromkeys(nothing)
        for body in (nothing, null):
            for made in (None, version(**RECIPES[0])):
                assert for_version(made, kind, body) == {}


def test_zero_and_one_are_no_false_and_no_true() -> None:
    assert places(version(**RECIPES[0]), "chat", {"echo": 0, "add_generation_prompt": 1}) == [
        "echo",
        "add_generation_prompt",
    ]


def test_the_switch_for_thinking_is_taken_for_a_recipe_and_nothing_beside_it() -> None:
    made = version(**RECIPES[0])
    switches = {"chat_template_kwargs": {"enable_thinking": False, "thinking": True}}
    assert for_version(made, "chat", switches) == switches
    assert places(made, "chat", {"chat_template_kwargs": {"enable_thinking": "yes", "tools": []}}) == [
        "chat_template_kwargs.enable_thinking",
        "chat_template_kwargs.tools",
    ]


def test_all_refused_fields_are_told_together_with_the_version() -> None:
    body = {"echo": True, "priority": 3, "temperature": 0, "return_prompt_text": True}
    with pytest.raises(InvalidInput, match=r"that of triage:3 is its own") as caught:
        for_version(version(**RECIPES[0]), "chat", body)
    assert [problem.place for problem in caught.value.problems] == ["echo", "priority", "return_prompt_text"]


def test_a_field_that_nobody_knows_and_one_that_is_ours_never_reach_the_engine() -> None:
    body = {"messages": [], "temperature": 0.5, "request_id": "mine", "prompt_tokens_of_next_year": True}
    for made in (None, version(**RECIPES[0])):
        assert for_version(made, "chat", body) == {"messages": [], "temperature": 0.5}


def test_completions_score_a_text_and_take_tokens() -> None:
    body = {"model": "m", "prompt": [1, 2], "echo": True, "logprobs": 1, "max_tokens": 1, "return_token_ids": True}
    assert for_version(version(adapter="sha256:" + "a" * 64), "completion", body) == body
    assert places(None, "completion", {"prompt_embeds": "gAAB"}) == ["prompt_embeds"]


def test_tokens_are_the_bases_and_no_template_but_its_own_writes_them() -> None:
    body = {"model": "triage", "messages": [], "add_generation_prompt": False, "tools": [], "unknown": 1}
    assert for_tokenizer(body) == {"messages": [], "add_generation_prompt": False, "tools": []}
    assert for_tokenizer({"model": "m", "prompt": "x", "add_special_tokens": False}) == {
        "prompt": "x",
        "add_special_tokens": False,
    }
    with pytest.raises(InvalidInput) as caught:
        for_tokenizer({"messages": [], "chat_template": "{{ 1/0 }}", "mm_processor_kwargs": {"a": 1}})
    assert [problem.place for problem in caught.value.problems] == ["chat_template", "mm_processor_kwargs"]


def test_every_field_of_vllms_request_models_has_one_decision() -> None:
    """A later vLLM with a new field fails here, and its field reaches no engine until it has been decided about."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.pooling.classify.protocol import ClassificationCompletionRequest
    from vllm.entrypoints.serve.tokenize.protocol import (
        DetokenizeRequest,
        TokenizeChatRequest,
        TokenizeCompletionRequest,
    )

    for model, table in (
        (ChatCompletionRequest, TABLES["chat"]),
        (CompletionRequest, TABLES["completion"]),
        (ClassificationCompletionRequest, TABLES["classification"]),
        (TokenizeChatRequest, allowed_fields.TOKENIZE_MESSAGES),
        (TokenizeCompletionRequest, allowed_fields.TOKENIZE_TEXT),
        (DetokenizeRequest, allowed_fields.DETOKENIZE),
    ):
        known: set[str] = set(model.model_fields)  # type: ignore[attr-defined]
        assert known - table.decided == set(), model
        parts = (table.taken, table.prompt.keys(), table.refused.keys(), table.ours)
        assert sum(map(len, parts)) == len(table.decided), "a field has two decisions"


def test_a_field_that_asks_for_nothing_has_vllms_own_default_as_its_value() -> None:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.pooling.classify.protocol import ClassificationCompletionRequest

    for model, table in (
        (ChatCompletionRequest, TABLES["chat"]),
        (CompletionRequest, TABLES["completion"]),
        (ClassificationCompletionRequest, TABLES["classification"]),
    ):
        for name, rule in {**table.prompt, **table.refused}.items():
            if name in model.model_fields:  # type: ignore[attr-defined]
                default = model.model_fields[name].get_default(call_default_factory=True)  # type: ignore[attr-defined]
                assert default in rule.off, name


def test_every_field_that_openais_client_can_send_has_a_decision() -> None:
    from openai.types import completion_create_params
    from openai.types.chat import completion_create_params as chat_create_params
    from openai.types.responses import response_create_params

    for params, decided in (
        (chat_create_params.CompletionCreateParamsBase, TABLES["chat"].decided | allowed_fields.HARMLESS),
        (completion_create_params.CompletionCreateParamsBase, TABLES["completion"].decided | allowed_fields.HARMLESS),
        (response_create_params.ResponseCreateParamsBase, response_request.DECIDED),
    ):
        assert set(params.__annotations__) - decided == set(), params


def test_every_field_of_vllms_response_request_has_a_decision() -> None:
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

    assert set(ResponsesRequest.model_fields) - response_request.DECIDED == set()


LOST: list[tuple[Any, str, Any]] = [
    ("chat", "functions", [{"name": "book"}]),
    ("chat", "function_call", "auto"),
    ("chat", "modalities", ["text", "audio"]),
    ("chat", "audio", {"voice": "alloy"}),
    ("chat", "web_search_options", {}),
    ("chat", "verbosity", "low"),
    ("chat", "prompt", "x"),
    ("chat", "max_output_tokens", 5),
    ("completion", "suffix", "x"),
    ("completion", "best_of", 3),
    ("completion", "messages", []),
    ("completion", "tools", [{}]),
    ("completion", "max_completion_tokens", 5),
    ("completion", "top_logprobs", 5),
    ("completion", "reasoning_effort", "high"),
]


@pytest.mark.parametrize(("kind", "name", "value"), LOST, ids=[f"{kind}-{name}" for kind, name, _ in LOST])
def test_what_would_be_lost_although_it_changes_the_answer_is_refused_with_the_reason(
    kind: Any, name: str, value: Any
) -> None:
    assert places(None, kind, {"model": "m", name: value}) == [name]
    assert for_version(None, kind, {name: None}) == {}


@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_hints_that_change_no_answer_are_left_out(kind: Any) -> None:
    assert for_version(None, kind, dict.fromkeys(allowed_fields.HARMLESS, "x")) == {}


def test_an_answer_of_v1_classify_is_what_vllms_own_is() -> None:
    from vllm.entrypoints.pooling.classify.protocol import ClassificationData, ClassificationResponse

    from service.classification.request import ClassificationRequest, answer_of
    from service.engine.interface import Call

    class Answering:
        labels, exclusive = ("bad", "good"), True

    call = Call("classification", {"input": "x"}, "mood", None, "id")
    body = answer_of(call, ClassificationRequest.of(call.body), Answering(), [[0.0, 1.0]], 3, 0.1).body
    theirs = ClassificationResponse.model_validate(body)
    assert (theirs.model, theirs.data[0].label, theirs.usage.prompt_tokens) == ("mood", "good", 3)
    assert body.keys() == ClassificationResponse.model_fields.keys()
    assert body["data"][0].keys() == ClassificationData.model_fields.keys()
