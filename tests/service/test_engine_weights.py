"""`dabt serve --base triage:1` on the real engine: whole weights of the store, held against what their trainer saw; two
of them beside each other in one service.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.home import Home
from lifecycle.manifests import GoldenWeights
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.version import Prompt
from tests.service.dabt_serve import ready, served, wait_until_ready
from tests.service.engine_here import served_here
from tests.service.random_llama import TEXTS, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DRAFTS = {"x-dabt-purpose": "evaluation"}


def logprobs(model: Any, ids: list[int], start: int) -> tuple[float, ...]:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, start - 1 : -1].float()
    return tuple(torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[start:])[:, None])[:, 0].tolist())


def golden(tokenizer: Any, tuned: Any, original: Any, off: float = 0.0) -> tuple[GoldenWeights, ...]:
    """What training records of whole weights, `off` by so much."""
    made = []
    for text in TEXTS:
        ids = list(tokenizer(text)["input_ids"])
        start = len(ids) // 2
        made.append(
            GoldenWeights(
                prompt_ids=tuple(ids[:start]),
                completion_ids=tuple(ids[start:]),
                tuned_logprobs=tuple(value - off for value in logprobs(tuned, ids, start)),
                original_logprobs=logprobs(original, ids, start),
            )
        )
    return tuple(made)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned GPT-2 of random weights, without a chat template, beside the one that it was trained from."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    root = tmp_path_factory.mktemp("gpt2")
    make_base(root / "llama")
    tokenizer = AutoTokenizer.from_pretrained(root / "llama")
    tokenizer.chat_template = None
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 128}
    special = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    for seed, name in enumerate(("base", "tuned")):
        torch.manual_seed(seed)
        config = GPT2Config(vocab_size=len(tokenizer), initializer_range=0.2, **sizes, **special)
        GPT2LMHeadModel(config).save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root / "tuned"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, gpt2: Path) -> Home:
    """`triage:1` is a tuned base, `liar:1` the same with figures of another, and `plain:1` the GPT-2."""
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

    place = Home.at(root / "home")
    shelf = Shelf.at(place, actor="test")
    before, after = (AutoModelForCausalLM.from_pretrained(gpt2.parent / name) for name in ("base", "tuned"))
    provenance = Provenance(source="training", golden=golden(tokenizer, after, before))
    over = gpt2.parent / "base"
    publish(gpt2, name="plain", base=over, prompt=Prompt(), provenance=provenance, shelf=shelf, kind="weights")
    for name, off in (("triage", 0.0), ("liar", 2.0)):
        recorded = golden(tokenizer, changed, original, off)
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


@pytest.fixture(scope="module")
def client(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a service whose bases are two versions."""
    log = tmp_path_factory.mktemp("log") / "log"
    with (
        served("triage:1", home.root, log, "--base", "bare=plain:1") as (process, url),
        httpx.Client(base_url=url, timeout=60, headers=DRAFTS) as client,
    ):
        wait_until_ready(process, url, log)
        yield client


def test_whole_weights_answer_as_they_were_trained(client: httpx.Client) -> None:
    listed = {model["id"] for model in client.get("/v1/models").json()["data"]}
    assert {"base@triage-1", "bare"} <= listed
    asked = {"model": "triage:1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    reply = client.post("/v1/chat/completions", json=asked)
    assert reply.status_code == 200, reply.text
    plain = {**asked, "model": "base@triage-1"}
    bare = client.post("/v1/chat/completions", json=plain)
    assert bare.status_code == 200, bare.text
    # The version's own prompt stands before what the caller says.
    assert reply.json()["usage"]["prompt_tokens"] > bare.json()["usage"]["prompt_tokens"]
    other = client.post("/v1/chat/completions", json={**asked, "model": "liar:1"})
    assert other.status_code == 403, other.text
    assert "dabt serve --base liar:1" in other.text


def test_a_pure_language_model_of_transposed_layers_goes_on_with_texts_and_refuses_chats(
    client: httpx.Client, gpt2: Path
) -> None:
    """As `merged_lora` leaves it: whole weights of a GPT-2 without a chat template, over which vLLM puts no adapter."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(gpt2), AutoTokenizer.from_pretrained(gpt2)
    ids = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = tokenizer.decode(model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :])
    for name in ("plain:1", "bare"):
        asked = {"model": name, "prompt": TEXTS[0], "max_tokens": 6, "temperature": 0}
        reply = client.post("/v1/completions", json=asked)
        assert reply.status_code == 200, reply.text
        # A character that is not complete yet is held back.
        assert reply.json()["choices"][0]["text"].rstrip("�") == expected.rstrip("�")
    chat = {"model": "plain:1", "messages": [{"role": "user", "content": "hello"}]}
    refused = client.post("/v1/chat/completions", json=chat)
    assert refused.status_code == 400, refused.text
    assert "--chat-template" in refused.json()["error"]["message"]


def test_a_base_without_a_template_is_given_one_by_its_name(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    base = tmp_path / "base"
    make_base(base)
    (base / "chat_template.jinja").unlink()
    with (
        served_here(str(base), Home.at(tmp_path / "home"), chat_template="zephyr") as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        chat = {"model": "base", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
        reply = client.post("/v1/chat/completions", json=chat)
        assert reply.status_code == 200, reply.text
        rendered = AutoTokenizer.from_pretrained(base)("<|user|>\nhello<|end|>\n<|assistant|>\n")["input_ids"]
        assert reply.json()["usage"]["prompt_tokens"] == len(rendered)
        plain = client.post("/v1/completions", json={"model": "base", "prompt": TEXTS[0], "max_tokens": 2})
        assert plain.status_code == 200, plain.text


def test_weights_that_compute_something_else_answer_nobody(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served("liar:1", home.root, log) as (process, url):
        while process.poll() is None:
            assert not ready(url)
            time.sleep(0.2)
        assert process.returncode not in (0, None)
    assert "Traceback" not in log.read_text(errors="replace")
