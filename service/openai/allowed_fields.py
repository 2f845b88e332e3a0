"""Which fields of a request reach the engine: every field of vLLM's request models has a decision here, by name.

A version's prompt, shots and passages are its owner's. Callers neither read them nor cut them, so what could do either
is for versions without a recipe. The lists say what is let through, so a field of a later vLLM reaches nothing until it
has its decision (a test compares them with vLLM's own models, and with what OpenAI's client can send). What would
change the answer and cannot be done is refused, and so is a field of another endpoint, which would be lost here. A name
that stands nowhere is left out in silence, as OpenAI's servers and vLLM do: clients and gateways send fields of their
own with every request. `fields.py` says what the values may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Version
from service.engine.interface import Kind

_TEXT_ALONE = "this service takes text alone"
_LEAVE_OUT = "leave it out"


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a field whose value is not among `off`. Such a value asks for nothing, and is left out."""

    off: tuple[Any, ...]
    fault: str = ""
    """Empty: the field is for versions without a recipe."""
    cure: str = _LEAVE_OUT


_ANSWER = frozenset(
    [
        # Who answers, and how the answer comes.
        *("model", "user", "session_id", "stream", "stream_options", "stream_interval", "n"),
        # How it is sampled, and when it ends.
        *("temperature", "top_p", "top_k", "min_p", "seed", "watermarking"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "repetition_detection"),
        *("logit_bias", "allowed_token_ids", "bad_words"),
        *("max_tokens", "min_tokens", "stop", "stop_token_ids", "ignore_eos", "thinking_token_budget"),
        # How its text is written, and what its tokens' log-probabilities are.
        *("include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens"),
        *("logprobs", "response_format", "structured_outputs"),
        # `prefix_cache.py` sets it when there are keys.
        "cache_salt",
    ]
)
"""They bear on the answer alone: taken from everybody."""

_CHAT = _ANSWER | {
    *("messages", "tools", "tool_choice", "parallel_tool_calls"),
    *("max_completion_tokens", "top_logprobs", "reasoning_effort", "include_reasoning"),
}
_COMPLETION = _ANSWER | {"prompt"}

_PROMPT = {
    "echo": Rule((None, False)),
    "prompt_logprobs": Rule((None,)),
    "return_token_ids": Rule((None, False)),
    "return_tokens_as_token_ids": Rule((None, False)),
    "return_token_offsets": Rule((None, False)),
    "routed_experts_prompt_start": Rule((None, 0)),
    "truncate_prompt_tokens": Rule((None,)),
    "truncation_side": Rule((None,)),
    "vllm_xargs": Rule((None, {})),
}
"""They show the prompt or change it."""

_CHAT_PROMPT = {
    **_PROMPT,
    "return_prompt_text": Rule((None, False)),
    "add_generation_prompt": Rule((None, True)),
    "continue_final_message": Rule((None, False)),
    "add_special_tokens": Rule((None, False)),
    "documents": Rule((None, [])),
    "chat_template_kwargs": Rule((None, {})),
}
_COMPLETION_PROMPT = {**_PROMPT, "add_special_tokens": Rule((None, True))}

TEMPLATE_SWITCHES = frozenset(["enable_thinking", "thinking"])
"""Of `chat_template_kwargs`, what a version with a recipe takes too, as true or false: the model thinks first."""

_REFUSED = {
    "priority": Rule((None, 0), "requests are answered in the order in which they come"),
    "use_beam_search": Rule(
        (None, False), "a beam is requests of its own, which this service could neither count nor end"
    ),
    "length_penalty": Rule((None, 1, 1.0), "it is for beam search, which is not to be had here"),
    "logprob_token_ids": Rule(
        (None, []),
        "the engine would put these tokens in place of the likeliest ones of everybody's request in the same batch",
        "ask for the likeliest (top_logprobs), or for a text's log-probability (/v1/dabt/likelihoods)",
    ),
    "kv_transfer_params": Rule((None, {}), "it would put another prompt in place of the request's"),
    "ec_transfer_params": Rule((None, {}), _TEXT_ALONE),
    "mm_payload": Rule((None, "tensors", "none"), _TEXT_ALONE),
    "return_mm_kwargs": Rule((None, False), _TEXT_ALONE),
}
"""They are refused to everybody."""

_NO_TOOLS_SO = "it is the older form of tools, which is not taken here"
_CHAT_REFUSED = {
    **_REFUSED,
    "functions": Rule((None, []), _NO_TOOLS_SO, "send tools"),
    "function_call": Rule((None,), _NO_TOOLS_SO, "send tool_choice"),
    "modalities": Rule((None, ["text"]), _TEXT_ALONE),
    "audio": Rule((None,), _TEXT_ALONE),
    "web_search_options": Rule((None,), "this service searches nothing", "call a version that has an index"),
    "verbosity": Rule((None, "medium"), "a model here knows of it by its prompt alone", "ask for it in a message"),
    "moderation": Rule((None,), "nothing is moderated here"),
    "chat_template": Rule((None,), "the base's own chat template is used"),
    "media_io_kwargs": Rule((None, {}), _TEXT_ALONE),
    "mm_processor_kwargs": Rule((None, {}), _TEXT_ALONE),
}
_COMPLETION_REFUSED = {
    **_REFUSED,
    "prompt_embeds": Rule((None,), _TEXT_ALONE, "send the prompt as text or tokens"),
    "suffix": Rule(
        (None, ""), "text is written after a prompt, and not between two", "put what follows into the prompt"
    ),
    "best_of": Rule((None, 1), "answers are not chosen from here", "send n, and choose"),
}

HARMLESS = frozenset(
    [
        *("metadata", "store", "service_tier", "safety_identifier", "prediction"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    ]
)
"""Fields of OpenAI's that change no answer: they are left out."""

OURS = frozenset(["request_id"])
"""What the service sets. A caller's own id goes into the header x-request-id."""

_MESSAGES_TO_TOKENS = frozenset(
    [
        *("messages", "tools", "add_generation_prompt", "continue_final_message", "add_special_tokens"),
        *("chat_template_kwargs", "return_token_strs"),
    ]
)
_TEXT_TO_TOKENS = frozenset(["prompt", "add_special_tokens", "return_token_strs"])


@dataclass(frozen=True, slots=True)
class Table:
    """The decisions for one request model of vLLM."""

    taken: frozenset[str]
    prompt: Mapping[str, Rule]
    """Taken for versions without a recipe."""
    refused: Mapping[str, Rule]
    ours: frozenset[str] = frozenset()
    elsewhere: Mapping[str, Rule] = field(default_factory=dict)
    """Fields of another endpoint alone."""

    @property
    def decided(self) -> frozenset[str]:
        return self.taken | self.prompt.keys() | self.refused.keys() | self.ours


def _elsewhere(endpoint: str, names: Iterable[str]) -> dict[str, Rule]:
    return {name: Rule((None,), f"it is a field of {endpoint}, and would be lost here") for name in names}


_CLASSIFICATION = frozenset(
    ["model", "user", "session_id", "input", "use_activation", "truncate_prompt_tokens", "cache_salt"]
)
_CLASSIFICATION_REFUSED = {
    "priority": _REFUSED["priority"],
    "add_special_tokens": Rule((None, True), "a classifier reads every text between its own special tokens"),
    "truncation_side": Rule((None, "right"), "a text is cut at its end"),
    "padding": Rule((None, "do_not_pad"), "texts are padded to one another alone"),
    "mm_processor_kwargs": Rule((None, {}), _TEXT_ALONE),
    "stream": Rule((None, False), "labels come all at once"),
}

_LIKELIHOOD = frozenset(
    ["model", "user", "session_id", "messages", "prompt", "continuations", "from_last_word", "cache_salt"]
)

TABLES: Mapping[Kind, Table] = {
    "chat": Table(
        _CHAT,
        _CHAT_PROMPT,
        _CHAT_REFUSED,
        OURS,
        _elsewhere("/v1/completions", ["prompt", "suffix", "best_of", "prompt_embeds"])
        | _elsewhere("/v1/responses", ["input", "instructions", "max_output_tokens", "previous_response_id"]),
    ),
    "completion": Table(
        _COMPLETION,
        _COMPLETION_PROMPT,
        _COMPLETION_REFUSED,
        OURS,
        _elsewhere("/v1/chat/completions", (_CHAT | _CHAT_PROMPT.keys()) - _COMPLETION - _COMPLETION_PROMPT.keys())
        | _elsewhere("/v1/responses", ["input", "instructions", "max_output_tokens", "previous_response_id"]),
    ),
    "likelihood": Table(
        _LIKELIHOOD,
        {"chat_template_kwargs": _CHAT_PROMPT["chat_template_kwargs"]},
        {"stream": Rule((None, False), "likelihoods come all at once")},
        OURS,
        _elsewhere(
            "/v1/chat/completions", (_CHAT | _CHAT_PROMPT.keys()) - _LIKELIHOOD - {"chat_template_kwargs", "stream"}
        ),
    ),
    "classification": Table(
        _CLASSIFICATION,
        {},
        _CLASSIFICATION_REFUSED,
        OURS,
        _elsewhere(
            "/v1/chat/completions", (_CHAT | _CHAT_PROMPT.keys()) - _CLASSIFICATION - _CLASSIFICATION_REFUSED.keys()
        )
        | _elsewhere("/v1/completions", ["prompt", "suffix", "best_of", "prompt_embeds"]),
    ),
}
_NAMED = frozenset(["model"])
"""Tokens are the base's, whatever is named."""
TOKENIZE_MESSAGES = Table(
    _MESSAGES_TO_TOKENS,
    {},
    {name: _CHAT_REFUSED[name] for name in ("chat_template", "media_io_kwargs", "mm_processor_kwargs")},
    _NAMED,
)
TOKENIZE_TEXT = Table(_TEXT_TO_TOKENS, {}, {}, _NAMED)
DETOKENIZE = Table(frozenset(["tokens"]), {}, {}, _NAMED)


def has_recipe(version: Version | None) -> bool:
    """Whether the version puts something of its own around a caller's messages."""
    return version is not None and version.spec.has_recipe


def for_version(version: Version | None, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `body` that the engine is given for `version`; None is the base under its own name.

    Raises `InvalidInput` with every field that is refused.
    """
    # A plain completion has no recipe around it: versions that have one refuse it whole (`prompting.py`).
    return _let_through(TABLES[kind], body, version if kind != "completion" and has_recipe(version) else None)


def for_tokenizer(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a request for tokens, of messages or of a text."""
    return _let_through(TOKENIZE_MESSAGES if "messages" in body else TOKENIZE_TEXT, body, None)


def _let_through(table: Table, body: Mapping[str, Any], recipe: Version | None) -> dict[str, Any]:
    """`recipe` is the version whose recipe is to be kept, if it has one."""
    taken: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in body.items():
        if name in table.taken:
            taken[name] = value
            continue
        rule = table.prompt.get(name)
        if rule is None:
            rule = table.refused.get(name) or table.elsewhere.get(name)
            if rule is not None and not _among(value, rule.off):
                problems.append(Problem(name, rule.fault, rule.cure))
        elif not _among(value, rule.off):
            if recipe is not None:
                problems += _kept_whole(name, value, recipe)
            taken[name] = value
    if problems:
        raise InvalidInput("The request is not valid:", problems)
    return taken


def _among(value: Any, off: tuple[Any, ...]) -> bool:
    """By type too: 0 is not False."""
    return any(type(value) is type(nothing) and value == nothing for nothing in off)


def _kept_whole(name: str, value: Any, version: Version) -> Iterator[Problem]:
    if name == "chat_template_kwargs" and isinstance(value, dict):
        for switch, on in value.items():
            place = f"{name}.{switch[:80]}"
            if switch not in TEMPLATE_SWITCHES:
                yield Problem(place, _kept(version), f"only {', '.join(sorted(TEMPLATE_SWITCHES))} may be set for it")
            elif not isinstance(on, bool):
                yield Problem(place, "must be true or false")
        return
    yield Problem(name, _kept(version), "leave it out, or call a model without a prompt")


def _kept(version: Version) -> str:
    return f"it shows or changes a prompt, and that of {version.ref} is its own"
