"""Slots of the real engine: two of them, four adapters, and nobody is kept out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.service.asking import PROMPTS, complete, ids, same_as_peft

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def test_two_adapters_that_never_let_go_do_not_keep_the_others_out(real: Any) -> None:
    """Each is asked by three callers at once, again and again: vLLM's own scheduler would never pass its slot on."""
    enough = threading.Event()
    prompt = ids(real, PROMPTS[0])

    def again_and_again(model: str) -> int:
        answered = 0
        with real.client() as client:
            while not enough.is_set():
                complete(client, model, prompt, 30)
                answered += 1
        return answered

    with ThreadPoolExecutor(6) as pool, real.client() as client:
        stubborn = [pool.submit(again_and_again, model) for model in ("red", "green") for _ in range(3)]
        try:
            for model in ("blue", "grey", "blue", "grey"):
                same_as_peft(real, model, prompt, complete(client, model, prompt))
        finally:
            enough.set()
        assert all(one.result() for one in stubborn), "the others were kept out instead"


def test_a_pinned_adapter_is_shown_and_stays(real: Any) -> None:
    with real.client() as client:
        assert client.post("/admin/pin", json={"ref": "red"}).json()["pinned"]
        try:
            rows = client.get("/admin/residency").json()["adapters"]
            assert [row["digest"] for row in rows if row["pinned"]] == [real.house.adapters["red"]]
        finally:
            assert client.post("/admin/unpin", json={"ref": "red"}).status_code == 200
