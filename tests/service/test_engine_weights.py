"""`dabt serve --base triage:1` on the real engine: whole weights of the store, held against what their trainer saw."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.home import Home
from lifecycle.manifests import GoldenWeights
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.version import Prompt
from tests.service.dabt_serve import ready, served, wait_until_ready
from tests.service.random_llama import TEXTS, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DRAFTS = {"x-dabt-purpose": "evaluation"}


def logprobs(model: Any, ids: list[int], start: int) -> tuple[float, ...]:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, start - 1 : -1].float()
    return tuple(torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[start:])[:, None])[:, 0].tolist())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """`triage:1` is a tuned base, and `liar:1` the same with figures of another."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    root = tmp_path_factory.mktemp("weights")
    base, tuned = root / "base", root / "tuned"
    make_base(base)
    original = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    changed = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    changed.save_pretrained(tuned)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(tuned)

    golden = []
    for text in TEXTS:
        ids = list(tokenizer(text)["input_ids"])
        start = len(ids) // 2
        golden.append((ids, start, logprobs(changed, ids, start), logprobs(original, ids, start)))
    place = Home.at(root / "home")
    shelf = Shelf.at(place, actor="test")
    for name, off in (("triage", 0.0), ("liar", 2.0)):
        recorded = tuple(
            GoldenWeights(
                prompt_ids=tuple(ids[:start]),
                completion_ids=tuple(ids[start:]),
                tuned_logprobs=tuple(value - off for value in after),
                original_logprobs=before,
            )
            for ids, start, after, before in golden
        )
        folder = tuned
        if name == "liar":  # the same bytes are the same artifact, so it gets others
            folder = root / "liar"
            changed.half().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        provenance = Provenance(source="training", golden=recorded)
        prompt = Prompt(system="Answer in one word.")
        publish(folder, name=name, base=base, prompt=prompt, provenance=provenance, shelf=shelf, kind="weights")
    shelf.registry.close()
    return place


def test_whole_weights_answer_as_they_were_trained(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        served("triage:1", home.root, log) as (process, url),
        httpx.Client(base_url=url, timeout=60, headers=DRAFTS) as client,
    ):
        wait_until_ready(process, url, log)
        listed = {model["id"] for model in client.get("/v1/models").json()["data"]}
        asked = {"model": "triage:1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        reply = client.post("/v1/chat/completions", json=asked)
        assert reply.status_code == 200, reply.text
        plain = {**asked, "model": next(name for name in listed if "@" in name)}
        bare = client.post("/v1/chat/completions", json=plain)
        assert bare.status_code == 200, bare.text
        # The version's own prompt stands before what the caller says.
        assert reply.json()["usage"]["prompt_tokens"] > bare.json()["usage"]["prompt_tokens"]
        other = client.post("/v1/chat/completions", json={**asked, "model": "liar:1"})
        assert other.status_code == 403, other.text
        assert "dabt serve --base liar:1" in other.text


def test_weights_that_compute_something_else_answer_nobody(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served("liar:1", home.root, log) as (process, url):
        while process.poll() is None:
            assert not ready(url)
            time.sleep(0.2)
        assert process.returncode not in (0, None)
    assert "Traceback" not in log.read_text(errors="replace")
