"""Markdown that a model wrote → HTML that can do nothing: an allow-list of elements, and no image, script or style.

What the model wrote as HTML is shown as text. A link goes to a named host by http(s), and the host stands behind its
text, so that no text can pretend to lead elsewhere. Each outermost block has `dir="auto"`, by its own first letter, and
what is in it follows the page's `unicode-bidi: plaintext`; code runs from left to right. Marks that turn the order of
letters around (Unicode's bidirectional overrides and embeddings) are shown as their number, for with them a text can
read otherwise than it is.

The time is bounded: what takes longer, is too long or too deep, is shown as plain text.
"""

from __future__ import annotations

import html
import re
import time
from collections.abc import MutableMapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup

SECONDS = 0.5
"""For one text. Such a text of ordinary Markdown has about 100,000 characters."""
LONGEST = 100_000
"""Characters; longer ones are shown as plain text at once."""
_TAGS = {
    "p", "br", "hr", "em", "strong", "s", "blockquote", "ul", "ol", "li", "code", "pre", "a", "bdi",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "div",
}  # fmt: skip
_ATTRIBUTES = {"*": {"dir", "lang"}, "a": {"href"}, "ol": {"start"}, "bdi": {"class"}, "div": {"class"}}
_BLOCKS = ("paragraph", "heading", "blockquote", "bullet_list", "ordered_list", "table")
_DEEPEST = 16
"""Blocks in blocks."""
_TURNING = re.compile("[\u202a-\u202e]")


class _TooMuch(Exception):
    """The time is over, or the text is nested too deep."""


def rendered(text: str, seconds: float = SECONDS) -> Markup:
    """HTML that may stand in a page as it is. Takes up to `seconds` of a thread."""
    text = readable(text)
    if len(text) > LONGEST:
        return plain(text)
    try:
        made: str = _parser().render(text, {"until": time.perf_counter() + seconds})
    except (_TooMuch, RecursionError):
        return plain(text)
    clean = nh3.clean(
        made,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )
    return Markup(clean)  # noqa: S704  (it has nothing but what the list names)


def plain(text: str) -> Markup:
    """The same text without any of its marks."""
    return Markup('<div class="said" dir="auto">{}</div>').format(readable(text))


def readable(text: str) -> str:
    """Halves of surrogate pairs as the replacement character, and turning marks by their number."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")
    return _TURNING.sub(lambda mark: f"[U+{ord(mark.group()):04X}]", whole)


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST + 4}).enable(["table", "strikethrough"])
    parser.disable(["image", "html_block", "html_inline"])
    parser.validateLink = _is_link  # type: ignore[method-assign]
    parser.block.ruler.before("table", "bounds", _block_bounds, {"alt": ["paragraph", "blockquote", "list"]})
    parser.inline.ruler.before("text", "bounds", _inline_bounds)
    for name in _BLOCKS:
        parser.add_render_rule(f"{name}_open", _directed)
    parser.add_render_rule("link_open", _opened)
    parser.add_render_rule("link_close", _closed)
    parser.add_render_rule("fence", _code)
    parser.add_render_rule("code_block", _code)
    parser.add_render_rule("code_inline", _inline_code)
    return parser


def _is_link(url: str) -> bool:
    return bool(_host(url))


def _host(url: str) -> str:
    """As browsers ask for it, in ASCII; empty for what leads to no host by http(s)."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") if parts.scheme.lower() in ("http", "https") else ""
    except ValueError:
        return ""


def _block_bounds(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.level > _DEEPEST:
        raise _TooMuch
    return _in_time(state.env)


def _inline_bounds(state: StateInline, silent: bool) -> bool:
    return _in_time(state.env)


def _in_time(env: MutableMapping[str, Any]) -> bool:
    """A rule that never matches. Others call it at every place of a text, however they search it."""
    if time.perf_counter() > env["until"]:
        raise _TooMuch
    return False


def _directed(self: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    if tokens[at].level == 0:
        tokens[at].attrs["dir"] = "auto"
    return self.renderToken(tokens, at, options, env)


def _opened(self: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    href = str(tokens[at].attrs.get("href", ""))
    env.setdefault("hosts", []).append(_host(href))
    return f'<a href="{html.escape(href)}"><bdi>'


def _closed(self: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return f'</bdi> <bdi dir="ltr" class="host">({html.escape(env["hosts"].pop())})</bdi></a>'


def _code(self: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return f'<pre dir="ltr"><code dir="ltr">{html.escape(tokens[at].content)}</code></pre>\n'


def _inline_code(self: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return f'<code dir="ltr">{html.escape(tokens[at].content)}</code>'
