"""Chat templates by name: what a base without one is given, by whoever trains over it and whoever serves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lifecycle.errors import InvalidInput, NotFound
from lifecycle.models.named_templates import NAMES, template_text
from lifecycle.models.templates import with_template

TALK = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


def make_base(folder: Path, *added: str, **settings: Any) -> Path:
    folder.mkdir()
    described = {"added_tokens": [{"content": token} for token in added], "post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(described))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", **settings}))
    (folder / "config.json").write_text("{}")
    return folder


def rendered(text: str, messages: list[dict[str, str]], *, prompt: bool) -> str:
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(text)
    return template.render(messages=messages, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"),
        ("zephyr", "<|system|>\nS</s>\n<|user|>\nQ</s>\n<|assistant|>\n"),
        ("alpaca", "S\n\n### Instruction:\nQ\n\n### Response:\n"),
    ],
)
def test_a_prompt_ends_where_the_answer_begins(name: str, expected: str, tmp_path: Path) -> None:
    base = make_base(tmp_path / "b", "<|im_start|>", "<|im_end|>")
    text = template_text(name, base)
    assert rendered(text, TALK[:2], prompt=True) == expected
    end = "<|im_end|>" if name == "chatml" else "</s>"
    assert rendered(text, TALK, prompt=False).startswith(f"{expected}A{end}\n")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("adds", "begins"), [(True, True), (False, False)])
def test_a_text_begins_as_the_tokenizer_begins_it(name: str, adds: bool, begins: bool, tmp_path: Path) -> None:
    base = make_base(tmp_path / "b", "<|im_start|>", "<|im_end|>", bos_token="<s>", add_bos_token=adds)
    assert rendered(template_text(name, base), TALK, prompt=False).startswith("<s>") is begins


def test_a_tokenizer_that_says_nothing_is_asked_by_its_post_processor(tmp_path: Path) -> None:
    base = make_base(tmp_path / "b", bos_token={"content": "<s>"})
    assert not template_text("zephyr", base).startswith("{{ bos_token }}")
    (base / "tokenizer.json").write_text(json.dumps({"post_processor": {"single": [{"SpecialToken": {"id": "<s>"}}]}}))
    assert template_text("zephyr", base).startswith("{{ bos_token }}")


def test_a_base_without_the_tokens_of_chatml_is_told_what_it_can_take(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no <\|im_end\|>, so no answer could end") as caught:
        template_text("chatml", make_base(tmp_path / "b", "<|im_start|>"))
    assert caught.value.problems[0].cure == "take zephyr or alpaca, or a file"


def test_a_name_that_is_none_is_told_the_names(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--chat-template takes a file in Jinja's language or one of chatml"):
        template_text("vicuna", make_base(tmp_path / "b"))


def test_the_same_name_makes_the_same_base_wherever_it_is_given(tmp_path: Path) -> None:
    base = make_base(tmp_path / "b")
    first, second = with_template(base, "zephyr", tmp_path / "x"), with_template(base, Path("zephyr"), tmp_path / "x")
    assert first == second
    assert first.name == "b"
    assert (first / "chat_template.jinja").read_text() == template_text("zephyr", base)
    assert with_template(base, "alpaca", tmp_path / "x") != first
