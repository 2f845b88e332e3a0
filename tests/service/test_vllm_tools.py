"""Tools that would be lost on the way are refused, and say what would help."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.engine.vllm_tools import check_tools, template_takes_tools

TOOLS = [{"type": "function", "function": {"name": "book"}}]


@pytest.mark.parametrize(
    ("parser", "takes_tools", "cure"),
    [("hermes", False, "template takes them"), ("", True, "--tool-parser"), ("", False, "template takes them")],
)
@pytest.mark.parametrize("choice", [None, "auto", "required", {"type": "function", "function": {"name": "book"}}])
def test_tools_that_would_be_lost_are_refused(parser: str, takes_tools: bool, cure: str, choice: Any) -> None:
    with pytest.raises(InvalidInput, match=cure) as caught:
        check_tools({"tools": TOOLS, "tool_choice": choice}, parser, takes_tools)
    assert [problem.place for problem in caught.value.problems] == ["tools"]


@pytest.mark.parametrize("body", [{}, {"tools": None}, {"tools": []}, {"tools": TOOLS, "tool_choice": "none"}])
def test_without_tools_to_lose_nothing_is_refused(body: dict[str, Any]) -> None:
    check_tools(body, "", takes_tools=False)


def test_a_base_that_takes_tools_and_a_parser_refuse_nothing() -> None:
    check_tools({"tools": TOOLS}, "hermes", takes_tools=True)


@pytest.mark.engine
def test_whether_a_template_takes_tools_is_read_from_it(tmp_path: Path) -> None:
    from tests.service.random_llama import make_base

    make_base(tmp_path)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    templates = {
        tokenizer.chat_template: True,
        "{% for message in messages %}{{ message.content }}{% endfor %}": False,
        "{# no tools #}{{ messages[0].content }} tools": False,
        "{% generation %}{{ messages }}{% endgeneration %}{% if tools is defined %}{{ tools }}{% endif %}": True,
    }
    config = SimpleNamespace(
        tokenizer_revision=None, code_revision=None, trust_remote_code=False, tokenizer="x", model="x"
    )
    for template, takes in templates.items():
        tokenizer.chat_template = template
        assert template_takes_tools(SimpleNamespace(tokenizer=tokenizer), config) is takes, template
