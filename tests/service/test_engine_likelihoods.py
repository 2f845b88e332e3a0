"""Likelihoods by the real engine are those of transformers and PEFT over the same rendered text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lifecycle.conversation import with_prompt
from lifecycle.version import Prompt, Shot
from retrieval.config import IndexConfig
from retrieval.index import build_index

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TOLERANCE = 5e-5
"""Nats over a whole continuation."""
PROMPT = Prompt(
    system="Answer shortly. أجب باختصار.",
    shots=(Shot(user="The clinic opens at", assistant="eight."), Shot(user="العيادة", assistant="مفتوحة")),
)
QUESTIONS = ("When does the clinic open?", "متى تفتح العيادة؟", '{"intent": "')
CHOICES = (" eight in the morning.", "الثامنة صباحاً", "a", '{"urgency": "low"}', "\n\n the")


@pytest.fixture(scope="module")
def index(real: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("handbook")
    (root / "documents").mkdir()
    text = "# H\n\n## h01\nThe clinic opens at eight.\n\n## h02\nتفتح العيادة في الثامنة.\n"
    (root / "documents" / "handbook.md").write_text(text, encoding="utf-8")
    build_index(root / "documents", root / "index", IndexConfig(dense="none"))
    digest: str = real.house.index(root / "index")
    return digest


def wanted(real: Any, adapter: str | None, messages: list[dict[str, Any]], choice: str) -> tuple[float, bool, int]:
    """Of the whole text, tokenised at once, what comes behind the prompt that a chat gets."""
    tokenizer = real.reference.tokenizer
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return scored(real, adapter, rendered, rendered + choice)


def scored(real: Any, adapter: str | None, before: str, whole: str) -> tuple[float, bool, int]:
    prompt, ids = (real.reference.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, whole))
    assert ids[: len(prompt)] == prompt, "no token lies across the border in these"
    rows = real.reference.logprobs(adapter, ids)[len(prompt) - 1 : -1]
    answer = ids[len(prompt) :]
    greedy = rows.argmax(-1).tolist() == answer
    return sum(float(row[token]) for row, token in zip(rows, answer, strict=True)), greedy, len(answer)


def asked(real: Any, model: str, body: dict[str, Any]) -> dict[str, Any]:
    with real.client() as client:
        while (reply := client.post("/v1/dabt/likelihoods", json={"model": model, **body})).status_code == 404:
            pass
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def same(rows: list[dict[str, Any]], expected: list[tuple[float, bool, int]]) -> None:
    assert [row["logprob"] for row in rows] == pytest.approx([value for value, _, _ in expected], abs=TOLERANCE)
    assert [(row["greedy"], row["tokens"]) for row in rows] == [(greedy, tokens) for _, greedy, tokens in expected]


@pytest.mark.parametrize("adapter", [None, "red", "blue"])
def test_behind_system_text_and_shots_they_are_pefts(real: Any, adapter: str | None) -> None:
    name = f"shots-{adapter or 'base'}"
    real.house.prod(name, adapter=adapter, prompt=PROMPT.model_dump())
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        messages = [[{"role": "user", "content": question}] for question in QUESTIONS]
        bodies = [{"messages": turns, "continuations": [*CHOICES]} for turns in messages]
        answers = list(pool.map(lambda body: asked(real, name, body), bodies))
    for turns, answer in zip(messages, answers, strict=True):
        rendered = with_prompt(PROMPT, turns)
        same(answer["data"], [wanted(real, adapter, rendered, choice) for choice in CHOICES])
        assert answer["usage"]["completion_tokens"] == 0


def test_behind_passages_they_are_those_of_the_text_with_the_passages(real: Any, index: str) -> None:
    template = "{passages}\nQ: {question}"
    real.house.prod("cited", adapter="green", knowledge={"index": index, "top_k": 1, "template": template})
    body = {"messages": [{"role": "user", "content": QUESTIONS[0]}], "continuations": [*CHOICES]}
    answer = asked(real, "cited", body)
    (passage,) = answer["dabt"]["passages"]
    assert passage["id"] == "h01"
    rendered = [{"role": "user", "content": f"[h01] {passage['text']}\nQ: {QUESTIONS[0]}"}]
    same(answer["data"], [wanted(real, "green", rendered, choice) for choice in CHOICES])


def test_what_greedy_decoding_says_is_greedy(real: Any) -> None:
    real.house.prod("greedy", adapter="red", prompt=PROMPT.model_dump())
    tokenizer, said = real.reference.tokenizer, []
    for turns in ([{"role": "user", "content": f"Question {number}"}] for number in range(40)):
        rendered = with_prompt(PROMPT, turns)
        prompt = tokenizer.apply_chat_template(rendered, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        first = list(real.reference.greedy("red", ids, 1).tokens)
        text = tokenizer.decode(first)
        if text and tokenizer(prompt + text, add_special_tokens=False)["input_ids"] == ids + first:
            said.append((turns, [wanted(real, "red", rendered, choice) for choice in (text, "zzz")], text))
    assert said, "in some of them the likeliest token is a text by itself"
    for turns, expected, text in said[:3]:
        assert [greedy for _, greedy, _ in expected] == [True, False]
        same(asked(real, "greedy", {"messages": turns, "continuations": [text, "zzz"]})["data"], expected)


def test_behind_a_plain_prompt_they_are_transformers_and_the_beginning_of_a_text_is_its_opening_token(
    real: Any,
) -> None:
    for model, adapter in (("random-llama", None), ("grey", "grey")):
        answer = asked(real, model, {"prompt": "The clinic opens at", "continuations": [*CHOICES]})
        before = "The clinic opens at"
        same(answer["data"], [scored(real, adapter, before, before + choice) for choice in CHOICES])
        answer = asked(real, model, {"prompt": "", "continuations": ["The clinic"]})
        same(answer["data"], [scored(real, adapter, "<|end|>", "<|end|>The clinic")])


def test_from_the_last_word_on_the_white_space_of_a_prompts_end_counts_as_lm_eval_has_it(real: Any) -> None:
    before, texts = "The clinic opens", ["at eight.", "العيادة"]
    body = {"prompt": f"{before} \n\n", "continuations": texts, "from_last_word": True}
    same(asked(real, "random-llama", body)["data"], [
        scored(real, None, before, f"{before} \n\n{text}") for text in texts
    ])  # fmt: skip


def test_a_continuation_that_leaves_no_room_is_refused_at_its_place_and_others_go_on(real: Any) -> None:
    with real.client() as client:
        body = {"model": "random-llama", "prompt": "a", "continuations": ["b", "x y " * 400]}
        reply = client.post("/v1/dabt/likelihoods", json=body)
        long = {
            "model": "random-llama",
            "messages": [{"role": "user", "content": "x y " * 400}],
            "continuations": ["b"],
        }
        prompt = client.post("/v1/dabt/likelihoods", json=long)
    for refused, place in ((reply, "continuations.1"), (prompt, "messages")):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", place)
    assert asked(real, "random-llama", {"prompt": "a", "continuations": ["b"]})["data"]
