"""A base that thinks before it answers, on the real engine: what it thinks is told apart from what it says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import pytest

from lifecycle.home import Home
from tests.service.engine_here import served_here
from tests.service.random_llama import make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SAYS = ("<|assistant|>", "<think>", "W", "h", "y", "</think>", "N", "o", "<|end|>")
MESSAGES: Any = [{"role": "user", "content": "Is it open?"}]


def make_thinking_base(folder: Path) -> None:
    """Every token of SAYS is followed by the next one, whatever else was said: its layers add nothing, and the output
    layer has the embedding of each token in its successor's row.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_base(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<think>", "</think>"])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embeddings = torch.nn.init.normal_(model.model.embed_tokens.weight)
        model.lm_head.weight.zero_()
        for token, successor in pairwise(tokenizer.convert_tokens_to_ids(list(SAYS))):
            model.lm_head.weight[successor] = embeddings[token]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    root = tmp_path_factory.mktemp("reasoning")
    make_thinking_base(root / "thinker")
    with (
        served_here(str(root / "thinker"), Home.at(root / "home"), reasoning_parser="deepseek_r1") as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as sdk,
    ):
        yield sdk


def test_a_chat_answer_has_its_reasoning_apart(client: openai.OpenAI) -> None:
    reply: Any = client.chat.completions.create(model="thinker", messages=MESSAGES, max_tokens=20, temperature=0)
    assert reply.choices[0].message.content == "No"
    assert reply.choices[0].message.reasoning == "Why"
    assert reply.choices[0].finish_reason == "stop"


def test_a_stream_has_the_reasoning_first(client: openai.OpenAI) -> None:
    stream: Any = client.chat.completions.create(
        model="thinker", messages=MESSAGES, max_tokens=20, temperature=0, stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    told = [
        *(("thought", text) for delta in deltas if (text := getattr(delta, "reasoning", None))),
        *(("said", delta.content) for delta in deltas if delta.content),
    ]
    assert "".join(text for kind, text in told if kind == "thought") == "Why"
    assert "".join(text for kind, text in told if kind == "said") == "No"
    places = [at for at, delta in enumerate(deltas) if getattr(delta, "reasoning", None)]
    # Tokens that came together go out in one delta, which may end the thought and begin the answer.
    assert max(places) <= min(at for at, delta in enumerate(deltas) if delta.content)


def test_responses_have_it_as_an_item_of_its_own(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="thinker", input="Is it open?", max_output_tokens=20, temperature=0)
    thought, message = reply.output
    assert (thought.type, message.type) == ("reasoning", "message")
    assert [part.text for part in thought.content or []] == ["Why"]
    assert reply.output_text == "No"


def test_a_streamed_response_tells_the_same_events_as_the_whole(client: openai.OpenAI) -> None:
    with client.responses.stream(model="thinker", input="Is it open?", max_output_tokens=20, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    assert (thought, final.output_text) == ("Why", "No")
    assert [item.type for item in final.output] == ["reasoning", "message"]


def test_a_constraint_begins_where_the_answer_does(client: openai.OpenAI) -> None:
    """The base would say No; what it thinks is free of the constraint."""
    reply: Any = client.chat.completions.create(
        model="thinker",
        messages=MESSAGES,
        max_tokens=20,
        temperature=0,
        extra_body={"structured_outputs": {"choice": ["Yes"]}},
    )
    assert reply.choices[0].message.reasoning == "Why"
    assert reply.choices[0].message.content == "Yes"


def test_reasoning_can_be_sent_back(client: openai.OpenAI) -> None:
    first = client.responses.create(model="thinker", input="Is it open?", max_output_tokens=20, temperature=0)
    turns: Any = [
        {"role": "user", "content": "Is it open?"},
        *(item.to_dict() for item in first.output),
        {"role": "user", "content": "And now?"},
    ]
    second = client.responses.create(model="thinker", input=turns, max_output_tokens=20, temperature=0)
    assert second.output_text == "No"
