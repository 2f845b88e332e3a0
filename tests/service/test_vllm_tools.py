"""Tools that would be lost on the way are refused, and say what would help."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.engine.vllm.tools import check_template_fields, check_tools, template_names

TOOLS = [{"type": "function", "function": {"name": "book"}}]


@pytest.mark.parametrize(
    ("parser", "takes_tools", "cure"),
    [("hermes", False, "template takes them"), ("", True, "--tool-parser"), ("", False, "template takes them")],
)
@pytest.mark.parametrize("choice", [None, "auto", "required", {"type": "function", "function": {"name": "book"}}])
def test_tools_that_would_be_lost_are_refused(parser: str, takes_tools: bool, cure: str, choice: Any) -> None:
    names = frozenset({"messages", "tools"} if takes_tools else {"messages"})
    with pytest.raises(InvalidInput, match=cure) as caught:
        check_tools({"tools": TOOLS, "tool_choice": choice}, parser, names)
    assert [problem.place for problem in caught.value.problems] == ["tools"]


@pytest.mark.parametrize("body", [{}, {"tools": None}, {"tools": []}, {"tools": TOOLS, "tool_choice": "none"}])
def test_without_tools_to_lose_nothing_is_refused(body: dict[str, Any]) -> None:
    check_tools(body, "", frozenset())


def test_a_base_that_takes_tools_and_a_parser_refuse_nothing() -> None:
    for names in (frozenset({"tools"}), None):
        check_tools({"tools": TOOLS}, "hermes", names)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"documents": [{"text": "x"}]}, "documents"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs.enable_thinking"),
        ({"chat_template_kwargs": {"date": "today", "thinking": False}}, "chat_template_kwargs.date"),
    ],
)
def test_what_the_template_would_not_read_is_refused_at_its_place(body: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput, match="no place for it") as caught:
        check_template_fields(body, frozenset({"messages", "tools"}))
    assert [problem.place for problem in caught.value.problems] == [place]
    check_template_fields(body, None)
    check_template_fields(body, frozenset({"reasoning_effort", "documents", "enable_thinking", "date"}))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reasoning_effort": "medium", "documents": [], "chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "none", "documents": None, "chat_template_kwargs": None},
    ],
)
def test_what_asks_the_template_for_nothing_is_refused_by_none(body: dict[str, Any]) -> None:
    check_template_fields(body, frozenset())


def test_an_effort_reaches_a_template_that_thinks_or_not() -> None:
    check_template_fields({"reasoning_effort": "high"}, frozenset({"enable_thinking"}))


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
        names = template_names(SimpleNamespace(tokenizer=tokenizer), config)
        assert names is not None
        assert ("tools" in names) is takes, template
