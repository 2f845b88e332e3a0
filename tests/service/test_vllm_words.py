"""What vLLM says reaches a caller without vLLM's flags, its environment, or anything of Python or Jinja."""

from __future__ import annotations

import pytest

from service.engine.vllm.words import in_our_words


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("temperature must be in [0, 2], got 3.", "temperature must be in [0, 2], got 3."),
        (
            "n must be at most 16384, got 20000. To raise it, set the VLLM_MAX_N_SEQUENCES environment variable.",
            "n must be at most 16384, got 20000.",
        ),
        (
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            '"auto" tool choice requires --tool-parser to be set',
        ),
        (
            'tool_choice="required" requires --tool-call-parser to be set',
            'tool_choice="required" requires --tool-parser to be set',
        ),
        ("Raise --max-model-len. Set --max-logprobs to 5.", "Raise --max-model-len."),
        ("'dict object' has no attribute 'x' in jinja2.exceptions.UndefinedError", ""),
        ("Input should be a valid string [type=string_type, input_value=5]", ""),
        ("You must set `--enable-prompt-embeds` to input `prompt_embeds`", ""),
        ("The prompt is too long (input_tokens=5). Use fewer.", "The prompt is too long (input_tokens=5). Use fewer."),
    ],
)
def test_a_sentence_is_kept_put_into_our_words_or_left_out(theirs: str, ours: str) -> None:
    assert in_our_words(theirs) == ours


def test_every_flag_of_vllms_that_is_named_to_a_caller_is_one_of_ours() -> None:
    from typer.main import get_command

    from dabt import app
    from service.engine.vllm.words import _OURS

    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    flags = {flag for option in serve.params for flag in option.opts}
    assert set(_OURS.values()) <= flags
