"""How likely texts are behind a prompt, by vLLM: each is put behind it as a prompt of its own, and that is scored.

The prompt is the one that a chat or a completion gets. `openai/likelihoods.py` has the request and the answer's shape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifecycle.errors import InvalidInput, Problem, PromptTooLong
from service.engine.interface import Call, EngineAnswer, Tally
from service.engine.vllm import requests, submission
from service.engine.vllm.errors import TOO_LONG
from service.openai.likelihoods import Likelihood, answer_body, border

if TYPE_CHECKING:
    from vllm.renderers.base import BaseRenderer

_INVALID = "The request is not valid:"


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of which those from `begin` on are scored."""

    ids: list[int]
    begin: int


@dataclass(frozen=True, slots=True)
class ScoredToken:
    logprob: float
    """Natural logarithm of its probability behind the tokens before it."""
    likeliest: bool


async def answer(llm: Any, state: Any, call: Call, lora: Any) -> EngineAnswer:
    """All continuations of `call` at once. Raises `InvalidInput`, `PromptTooLong` and what vLLM raises."""
    texts = await _texts(llm, state, call)
    for at, text in enumerate(texts):
        if len(text.ids) >= llm.model_config.max_model_len:  # vLLM makes a token behind every prompt
            raise _too_long(at, llm)
    names, salt = submission.request_names(call), call.body.get("cache_salt")
    pairs = zip(texts, names, strict=True)
    rows = await asyncio.gather(*(scored(llm, text, name, lora, salt, call.trace) for text, name in pairs))
    read = sum(len(text.ids) for text in texts)
    return EngineAnswer(
        answer_body(call, list(map(_likelihood, rows)), read), Tally(prompt_tokens=read, completion_tokens=0)
    )


async def scored(
    llm: Any, text: Text, name: str, lora: Any, salt: str | None = None, trace: Mapping[str, str] | None = None
) -> list[ScoredToken]:
    """Every token of `text` from its `begin` on; `name` is the request's in the engine."""
    from vllm import SamplingParams
    from vllm.inputs import tokens_input

    params = SamplingParams(
        max_tokens=1,
        temperature=0.0,
        prompt_logprobs=1,
        detokenize=False,
        flat_logprobs=True,
        extra_args={requests.SCORED_FROM: text.begin},
    )
    prompt, final = tokens_input(text.ids, cache_salt=salt), None
    async for output in llm.generate(prompt, params, name, lora_request=lora, trace_headers=trace or None):
        final = output
    assert final is not None
    given = final.prompt_logprobs
    before = len(text.ids) - len(given)  # tokens of which the worker gives nothing, as it was asked
    return [_token(given[at - before], text.ids[at]) for at in range(text.begin, len(text.ids))]


def _token(given: Mapping[int, Any], token: int) -> ScoredToken:
    """`given` has the token and the likeliest one."""
    logprob = given[token].logprob
    return ScoredToken(logprob, logprob >= max(other.logprob for other in given.values()))


def _likelihood(tokens: Sequence[ScoredToken]) -> Likelihood:
    return Likelihood(
        logprob=sum(token.logprob for token in tokens),
        tokens=len(tokens),
        greedy=all(token.likeliest for token in tokens),
    )


async def _texts(llm: Any, state: Any, call: Call) -> list[Text]:
    """The prompt with each continuation behind it."""
    renderer: BaseRenderer[Any] = llm.renderer
    body, continuations = call.body, call.body["continuations"]
    if "messages" in body:
        prompt, prompt_ids = await _rendered(state, body)
        params = renderer.default_chat_tok_params
    else:
        prompt, params = body["prompt"], renderer.default_cmpl_tok_params
        prompt_ids = await _ids(renderer, prompt, params) if prompt else [_opening(renderer)]
    if prompt and body.get("from_last_word"):
        prompt_ids = await _ids(renderer, prompt.rstrip(), params) if prompt.strip() else []
    if prompt:
        wholes = await asyncio.gather(
            *(_whole(llm, prompt + text, params, at) for at, text in enumerate(continuations))
        )
        spans = [Text(whole, border(prompt_ids, whole)) for whole in wholes]
        texts = [span if span.begin else Text([_opening(renderer), *span.ids], 1) for span in spans]
    else:  # the beginning of a text, or a template that gives tokens alone: nothing to put a text behind
        bare = params.with_kwargs(add_special_tokens=False)
        own = await asyncio.gather(*(_ids(renderer, text, bare) for text in continuations))
        texts = [Text([*prompt_ids, *ids], len(prompt_ids)) for ids in own]
    for at, text in enumerate(texts):
        if text.begin >= len(text.ids):
            raise InvalidInput(_INVALID, [Problem(f"continuations.{at}", "the base's tokenizer makes no token of it")])
    return texts


async def _rendered(state: Any, body: Mapping[str, Any]) -> tuple[str, list[int]]:
    """The text that the base's chat template makes of the messages, and its tokens, as a chat gets them."""
    asked = {key: value for key, value in body.items() if key in ("messages", "chat_template_kwargs")}
    rendered = await state.openai_serving_chat.online_renderer.render_chat(requests.chat_request(asked))
    if (error := getattr(rendered, "error", None)) is not None:
        raise InvalidInput(_INVALID, [Problem("messages", str(error.message))])
    (prompt,) = rendered[1]
    return str(prompt.get("prompt") or ""), list(prompt["prompt_token_ids"])


async def _whole(llm: Any, text: str, params: Any, at: int) -> list[int]:
    """Tokens of a prompt that is not too long with continuation `at` behind it."""
    from vllm.exceptions import VLLMValidationError

    try:
        return await _ids(llm.renderer, text, params)
    except VLLMValidationError as error:
        raise (_too_long(at, llm) if error.parameter in TOO_LONG else error) from error


def _too_long(at: int, llm: Any) -> PromptTooLong:
    fault = f"is with its prompt longer than the {llm.model_config.max_model_len - 1} tokens that can be scored"
    return PromptTooLong(_INVALID, [Problem(f"continuations.{at}", fault, "send less of it")])


async def _ids(renderer: Any, text: str, params: Any) -> list[int]:
    return list((await renderer.tokenize_prompt_async({"prompt": text}, params))["prompt_token_ids"])


def _opening(renderer: Any) -> int:
    """What a text begins behind: the token that opens texts, else the one that ends them, as lm-eval has it."""
    opening = renderer.get_bos_token_id()
    ending = renderer.get_eos_token_id() if opening is None else opening
    if ending is None:
        fault = "have nothing before them, and the base's tokenizer has no token that opens or ends a text"
        raise InvalidInput(_INVALID, [Problem("continuations", fault, "send a prompt")])
    return int(ending)
