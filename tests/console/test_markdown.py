"""What a model writes can do nothing in a page: the allow-list, the links, and the bounds of the Markdown."""

from __future__ import annotations

import itertools
import re

import pytest

from console import markdown
from console.markdown import LONGEST, SECONDS, plain, rendered

ALLOWED = re.compile(
    r"</?(p|br|hr|em|strong|s|blockquote|ul|ol|li|code|pre|a|bdi|h[1-6]|table|thead|tbody|tr|th|td|div)\b"
)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</textarea></div><b id=x>", "<style>*{}</style>",
        "<a href='javascript:alert(1)' onclick=x>y</a>", "<svg onload=alert(1)>",
        "<!-- x --><iframe src=//evil.example>",
        "<p dir=rtl style=color:red>", "a\n<div>\n<b>x</b>\n</div>", "<https://evil.example/<script>>",
    ],
)  # fmt: skip
def test_what_a_model_writes_as_html_is_text(text: str):
    made = rendered(text)
    for tag in re.findall(r"<[^>]*>", made):
        assert ALLOWED.match(tag), tag
        assert not re.search(r"\s(on\w+|style|src|srcset|id|target)=", tag), tag


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "java&#115;cript:x", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
     "/ui/sign-out", "//evil.example", "#x", "mailto:a@b.c", "http:", "https:///x"],
)  # fmt: skip
def test_only_links_to_a_named_host_are_links(url: str):
    for form in (f"[x]({url})", f"[x][r]\n\n[r]: {url}", f"<{url}>", f"![x]({url})"):
        assert "href" not in rendered(form), form


def test_a_link_says_its_host_and_gives_nothing_away():
    made = rendered("[google.com](https://google.com@evil.example/path)")
    assert 'href="https://google.com@evil.example/path"' in made
    assert '<bdi dir="ltr" class="host">(evil.example)</bdi>' in made
    assert 'rel="noopener noreferrer nofollow"' in made
    assert "(xn--80ak6aa92e.com)" in rendered("[apple](https://аррӏе.com)"), "as it is asked for, in ASCII"


def test_an_image_is_never_loaded():
    made = rendered("![x](https://evil.example/x.png) ![y][z]\n\n[z]: https://evil.example/y.png")
    assert "<img" not in made
    assert made.count("(evil.example)") == 2


def test_blocks_have_their_own_direction_and_code_runs_from_left_to_right():
    made = rendered("مرحبا\n\nhello\n\n- نعم\n\n`a` \n\n```py\nx = 1\n```")
    assert made.count('dir="auto"') == 4
    assert '<pre dir="ltr"><code dir="ltr">x = 1\n</code></pre>' in made
    assert "<li>نعم</li>" in made


def test_ordinary_markdown_is_shown():
    made = rendered("# T\n\n**b** *i* ~~s~~\n\n1. x\n\n> q\n\n|a|b|\n|-|-|\n|1|2|")
    for part in ("<h1", "<strong>b</strong>", "<em>i</em>", "<s>s</s>", "<ol", "<blockquote", "<td>1</td>"):
        assert part in made


def test_marks_that_turn_letters_around_are_shown_and_half_a_letter_is_replaced():
    assert "[U+202E]" in rendered("a\u202eb")
    assert "[U+202D]" in rendered("`\u202d`")
    assert "\ufffd" in rendered("a \ud800 b \x00")


BOMBS = {
    "quotes": ">" * 10_000 + "x", "lists": "".join(" " * n + "- a\n" for n in range(300)), "brackets": "[" * 50_000,
    "links": "[a](" * 20_000, "stars": "*a " * 30_000, "ticks": "".join("`" * n + "a" for n in range(400)),
    "table": "|" * 3000 + "\n" + "|-" * 3000 + "|\n" + "|x\n" * 20_000, "images": "![" * 40_000,
    "entities": "&" * 90_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_markdown_ends_in_its_time_as_plain_text(name: str, monkeypatch: pytest.MonkeyPatch):
    """The clock ticks once for each place that is searched: what needs more is given up, and shown as it is."""
    ticks = itertools.count()
    monkeypatch.setattr(markdown.time, "perf_counter", lambda: next(ticks))
    assert rendered(BOMBS[name], seconds=200) == plain(BOMBS[name])
    assert next(ticks) <= 203


def test_what_is_too_long_or_too_deep_is_shown_as_it_is():
    assert rendered("*a* " * LONGEST) == plain("*a* " * LONGEST)
    assert rendered(">" * 10_000 + "x") == plain(">" * 10_000 + "x")
    assert "<em>" in rendered("*a*" + " " * (LONGEST - 3))
    assert SECONDS < 1
