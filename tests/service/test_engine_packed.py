"""Adapters over a base of packed weights on the real engine: what PEFT computes over it is what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import httpx
import pytest

from lifecycle.home import Home
from lifecycle.publishing import Shelf
from lifecycle.version import Prompt
from tests.service.dabt_serve import served, wait_until_ready
from tests.service.packed_base import pack
from tests.service.random_llama import Recipe, make_adapter, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.mark.parametrize("bits", [4, 8])
def test_an_adapter_over_a_packed_base_is_verified_and_answers(bits: Literal[4, 8], tmp_path: Path) -> None:
    from training.importing import take_in

    plain, base, adapter, log = (tmp_path / name for name in ("plain", "packed", "adapter", "log"))
    make_base(plain)
    pack(plain, base, bits)
    make_adapter(plain, adapter, Recipe(8), seed=1)
    home = Home.at(tmp_path / "home")
    shelf = Shelf.at(home, actor="test")
    taken = take_in(adapter, name="red", base=base, prompt=Prompt(), note="", shelf=shelf, tell=lambda said: None)
    shelf.registry.close()
    assert taken.unproved == ""  # so it is served only if the engine computes what PEFT does
    headers = {"x-dabt-purpose": "evaluation"}
    with (
        served(str(base), home.root, log, "--dtype", "auto") as (process, url),
        httpx.Client(base_url=url, timeout=120, headers=headers) as client,
    ):
        wait_until_ready(process, url, log)
        asked = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "temperature": 0}
        texts = []
        for model in ("red:1", "packed"):
            reply = client.post("/v1/chat/completions", json={"model": model, **asked})
            assert reply.status_code == 200, reply.text
            texts.append(reply.json()["choices"][0]["message"]["content"])
        assert texts[0] != texts[1]
