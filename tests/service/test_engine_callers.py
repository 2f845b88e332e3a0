"""What callers can and cannot get out of the real engine: addresses, caches, streams of responses."""

from __future__ import annotations

import re
import socket
from typing import Any

import openai
import pytest

from service.openai.prefix_cache import PrefixCache
from tests.service.asking import PROMPTS, chat
from tests.service.test_text_alone import ROLES

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def test_no_address_in_a_request_is_ever_fetched(real: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, real.client() as client:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        parts = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "audio_url", "audio_url": {"url": url}},
            {"type": "video_url", "video_url": {"url": url}},
            {"type": "input_image", "image_url": url},
            {"type": "text", "text": "x", "uuid": "u", "image_url": url},
        ]
        for part in parts:
            for role in ROLES:
                messages = [{"role": role, "content": [part]}, {"role": "user", "content": "x"}]
                for path in ("/v1/chat/completions", "/tokenize"):
                    reply = client.post(path, json={"model": "red", "messages": messages, "max_tokens": 2})
                    assert reply.status_code == (200 if part["type"] == "text" else 400), (path, role, reply.text)
            client.post("/v1/responses", json={"model": "red", "input": [{"role": "user", "content": [part]}]})
        with pytest.raises(BlockingIOError):
            listener.accept()


def hits(client: Any) -> float:
    return sum(map(float, re.findall(r"^vllm:prefix_cache_hits_total\{.*\} (\S+)$", client.get("/metrics").text, re.M)))


def test_a_prompt_is_found_under_its_own_salt_and_under_no_other(real: Any) -> None:
    """What a key finds again is what it would find without a salt."""

    class Key:
        def __init__(self, name: str) -> None:
            self.id = name

    text = " ".join(PROMPTS)  # some blocks of the cache; part of one is not kept
    with real.client() as client:

        def found(body: dict[str, Any]) -> float:
            before = hits(client)
            assert client.post("/v1/chat/completions", json=body).status_code == 200
            return hits(client) - before

        plain = chat("red", "plain " + text, max_tokens=1)
        assert found(plain) == 0
        without = found(plain)
        cache = PrefixCache(shared=False)
        asked = chat("red", "salted" + text, max_tokens=1)
        mine, other = (cache.salted(asked, Key(name), None) for name in ("amal", "badr"))  # type: ignore[arg-type]
        assert [found(body) for body in (mine, other, asked)] == [0, 0, 0]
        assert found(mine) == found(other) == found(asked) == without > 0


def test_the_official_client_streams_responses_with_text_and_with_calls(real: Any) -> None:
    client = openai.OpenAI(base_url=f"{real.url}/v1", api_key="none", max_retries=0, timeout=120)
    options: Any = {"model": "red", "input": PROMPTS[0], "max_output_tokens": 24, "temperature": 0}
    whole = client.responses.create(**options)
    with client.responses.stream(**options) as stream:
        events = list(stream)
    kinds, final = [event.type for event in events], events[-1].response
    assert final.output_text == whole.output_text
    assert (kinds[:3], kinds[-1]) == (
        ["response.created", "response.in_progress", "response.output_item.added"],
        f"response.{final.status}",
    )
    assert [item.id.partition("_")[0] for item in final.output] == ["msg"]
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="nobody", input="x")
    assert caught.value.code == "model_not_found"
