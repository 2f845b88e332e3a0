"""Two thousand requests that are nearly right: none is our fault, each fault has a place, and none fills a page."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from tests.service.fuzz import is_a_place_in, requests

pytestmark = pytest.mark.timeout(300)

INSIDE = (
    "Traceback",
    "jinja2",
    "pydantic",
    "vllm",
    "VLLM",
    "Input should be",
    "[type=",
    "object has no",
    "MessageParam",
)
"""What a caller would only know from our code."""


@pytest.mark.parametrize("seed", range(4))
async def test_no_request_whatever_it_says_is_a_fault_of_ours(house: Any, start: Any, seed: int) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one", prompt={"system": "Sort.", "shots": [{"user": "a", "assistant": "b"}]})
    seen: Counter[int] = Counter()
    async with start(house) as running:
        for route, body in requests(seed, 500, ("tiny", "triage")):
            reply = await running.client.post(route, json=body)
            seen[reply.status_code] += 1
            told = (route, body, reply.text[:2000])
            if route == "/v1/embeddings":
                assert reply.status_code in (400, 404), told  # it was started without a model
                continue
            assert reply.status_code == 200 or 400 <= reply.status_code < 500, told
            if reply.status_code == 200:
                assert not re.search(r'"error": ?{', reply.text), told
                continue
            error = reply.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert len(reply.content) < 20_000, told
            assert error["code"] == "not_found" or is_a_place_in(body, error["param"]), told
            message = error["message"].replace("vllm_xargs", "")  # a field
            assert not [word for word in INSIDE if word in message], told
        assert (await running.chat("tiny")).status_code == 200
        assert running.app.state.parts.residency.leases() == 0
    assert min(seen[200], seen[400]) > 50, "both kinds are met often"
