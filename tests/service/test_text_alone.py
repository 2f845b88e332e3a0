"""A request has text alone: images and other parts are refused at their place, in every role and on every route."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.openai.messages import check_messages

URL = "http://127.0.0.1:9/x.png"
PARTS: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": URL}},
    {"type": "input_image", "image_url": URL},
    {"type": "image_pil", "image_pil": "x"},
    {"type": "image_embeds", "image_embeds": "x"},
    {"type": "audio_url", "audio_url": {"url": URL}},
    {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
    {"type": "video_url", "video_url": {"url": URL}},
    {"type": "prompt_embeds", "data": "x"},
    {"type": "file", "file": {"file_id": "x"}},
    {"type": "tool_reference", "name": "x"},
    {"type": "of next year", "url": URL},
]
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
TEXTS = ("text", "input_text", "output_text")


@pytest.mark.parametrize("part", PARTS, ids=[part["type"] for part in PARTS])
@pytest.mark.parametrize("role", ROLES)
async def test_a_part_that_is_no_text_is_refused_at_its_place_in_every_role(
    house: Any, start: Any, role: str, part: dict[str, Any]
) -> None:
    house.prod("triage", prompt={"system": "S"})
    messages = [{"role": role, "content": [{"type": "text", "text": "hi"}, part]}, {"role": "user", "content": "x"}]
    async with start(house) as running:
        for path, model in (
            ("/v1/chat/completions", "tiny"),
            ("/v1/chat/completions", "triage"),
            ("/tokenize", "tiny"),
        ):
            reply = await running.client.post(path, json={"model": model, "messages": messages})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages.0.content.1.type"), path
            assert "send text" in reply.json()["error"]["message"]


async def test_responses_take_text_alone_in_messages_and_in_outputs_of_functions(house: Any, start: Any) -> None:
    async with start(house) as running:
        for part in PARTS:
            for item, place in (
                *(({"role": role, "content": [part]}, "content") for role in ROLES[:4]),
                ({"type": "function_call_output", "call_id": "c", "output": [part]}, "output"),
            ):
                reply = await running.client.post("/v1/responses", json={"model": "tiny", "input": [item]})
                assert (reply.status_code, reply.json()["error"]["param"]) == (400, f"input.0.{place}.0.type")


def test_a_part_without_a_type_is_none_whatever_it_holds() -> None:
    for part in ({"image_url": URL}, {"type": None, "image_url": URL}, {"type": ["text"], "text": "x"}, "x", None):
        with pytest.raises(InvalidInput) as caught:
            check_messages({"messages": [{"role": "user", "content": [part]}]})
        assert [problem.place for problem in caught.value.problems] == ["messages.0.content.0"]


def test_nothing_of_a_text_part_but_its_text_reaches_the_engine() -> None:
    """vLLM takes a part that has a `uuid` for an image, whatever its type says."""
    asked = {"messages": [{"role": "user", "name": "amal", "content": []}]}
    for kind in TEXTS:
        asked["messages"][0]["content"].append(  # type: ignore[attr-defined]
            {"type": kind, "text": kind, "uuid": "u", "image_url": URL, "cache_control": {"type": "ephemeral"}}
        )
    asked["messages"][0]["content"] += [  # type: ignore[operator]
        {"type": "refusal", "refusal": "no", "text": "hidden"},
        {"type": "thinking", "thinking": "so", "closed": True},
    ]
    before = [dict(part) for part in asked["messages"][0]["content"]]
    got = check_messages(asked)
    assert got["messages"] == [
        {
            "role": "user",
            "name": "amal",
            "content": [
                *({"type": kind, "text": kind} for kind in TEXTS),
                {"type": "refusal", "refusal": "no"},
                {"type": "thinking", "thinking": "so"},
            ],
        }
    ]
    assert asked["messages"][0]["content"] == before


def test_messages_of_plain_texts_are_passed_on_as_they_are() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]}
    assert check_messages(body) == body


def test_what_is_taken_for_text_is_what_vllm_takes_for_text() -> None:
    from vllm.renderers.chat_utils import TEXT_PART_TYPES

    from service.openai.messages import _TEXT_PARTS

    assert _TEXT_PARTS.keys() <= TEXT_PART_TYPES
