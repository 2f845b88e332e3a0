"""What a real vLLM puts on the page of metrics is what deploy/ asks it for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from service.observability import router_series
from tests.deploy.test_observability import vllm_series
from tests.service.asking import chat

pytestmark = pytest.mark.engine


def test_every_series_of_vllm_that_is_asked_for_is_on_the_page(real: Any) -> None:
    with real.client() as client:
        assert client.post("/v1/chat/completions", json=chat("red", "The clinic")).status_code == 200
        page = client.get("/metrics").text
    names = set(re.findall(r"^([a-zA-Z_:][\w:]*)[{ ]", page, re.MULTILINE))
    assert vllm_series() - names == set()
    assert 'dabt_time_to_first_token_seconds_count{version="red:1"}' in page


def test_no_series_is_made_of_which_adapters_meet_in_a_batch(real: Any) -> None:
    with real.client() as client:
        assert client.post("/v1/chat/completions", json=chat("red", "The clinic")).status_code == 200
        page = client.get("/metrics").text
    assert "vllm:num_requests_running" in page
    assert "lora_requests_info" not in page
    told = router_series.with_those_at_the_gate(page.encode(), {"": 3}).decode()
    added = [line for line, before in zip(told.splitlines(), page.splitlines(), strict=True) if line != before]
    assert [line.partition("{")[0] for line in added] == ["vllm:num_requests_waiting"]
    assert re.search(r"^vllm:kv_cache_usage_perc\{", page, re.MULTILINE), "what routers read of its memory"
