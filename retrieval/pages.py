"""HTML and PDF → blocks of text with their places; `documents.py` calls it, `chunks.py` makes passages of the blocks.

HTML is read by Beautiful Soup: it finds the encoding that a page declares (Arabic pages are often windows-1256), keeps
the line of each tag, and drops nothing that it was not told to drop; an extractor of "main content" guesses, and what
it guesses away is missing from the index in silence. PDF is read by pypdf: pure Python, and Arabic in reading order.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidData, Problem
from lifecycle.version import Frozen

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCK_NAMES = """
    address article aside blockquote body caption dd details div dl dt fieldset figcaption figure footer form header hr
    html legend li main nav ol p pre section summary table tbody td tfoot th thead tr ul
"""
_BLOCKS = _HEADINGS | frozenset(_BLOCK_NAMES.split())
_UNSEEN = frozenset({"script", "style", "template", "noscript", "head", "svg", "iframe", "object"})
_FORMS = re.compile("[\ufb50-\ufdff\ufe70-\ufefc]+")
"""Arabic letters as they are drawn, which PDF files hold in place of the letters."""


class Block(Frozen):
    """A heading or a paragraph."""

    text: str
    place: str
    """Behind the document's path: `:12` for a line, `#page=3` for a page (RFC 8118)."""
    heading: bool = False


def html_blocks(file: Path, path: str) -> tuple[Block, ...]:
    """Every text that a reader would see, in the page's order. Raises `InvalidData` for a page whose bytes are not in
    the encoding that it declares; UTF-8 where it declares none."""
    from bs4 import BeautifulSoup
    from bs4.dammit import EncodingDetector

    raw = file.read_bytes()
    declared = EncodingDetector.strip_byte_order_mark(raw)[1] or EncodingDetector.find_declared_encoding(raw, True)
    try:
        text = raw.decode(declared or "utf-8-sig")
    except (UnicodeDecodeError, LookupError) as error:
        problem = Problem(f"{path}:1", f"the page is not in {declared or 'UTF-8'}: {error}", "save it as UTF-8")
        raise InvalidData("The documents cannot be indexed", [problem]) from error
    return tuple(_walk(BeautifulSoup(text.removeprefix("\ufeff"), "html.parser")))


def _walk(page: Any) -> Iterator[Block]:
    from bs4.element import NavigableString, PreformattedString, Tag

    pieces: list[str] = []
    line, heading = 1, False

    def close() -> Iterator[Block]:
        if text := " ".join("".join(pieces).split()):
            yield Block(text=text, place=f":{line}", heading=heading)
        pieces.clear()

    # A row of what is still to be read, and not recursion: pages may be nested deeper than Python calls.
    ahead: list[Any] = [page]
    while ahead:
        node = ahead.pop()
        if isinstance(node, Tag):
            if node.name in _UNSEEN or node.has_attr("hidden"):
                continue
            if node.name in _BLOCKS:
                yield from close()
                line, heading = node.sourceline or line, node.name in _HEADINGS
                ahead.append(None)
            if node.name in {"br", "td", "th"}:
                pieces.append(" ")
            ahead += reversed(node.contents)
        elif node is None:
            yield from close()
            heading = False
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            pieces.append(str(node))
    yield from close()


def pdf_blocks(file: Path, path: str) -> tuple[Block, ...]:
    """Each page's text, with the titles of the file's outline as headings. Raises `InvalidData` for a file that is no
    PDF or needs a password, and for pages without text, which are pictures and would be missing in silence."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(file)
        texts = [_letters(page.extract_text()) for page in reader.pages]
        titles = _titles(reader)
    except Exception as error:  # pypdf raises its own, and bare ones for files that are broken otherwise
        problem = Problem(path, f"is no PDF that can be read: {error}", "save it anew, without a password")
        raise InvalidData("The documents cannot be indexed", [problem]) from error
    if empty := [number for number, text in enumerate(texts, start=1) if not text.strip()]:
        shown = ", ".join(map(str, empty[:10])) + (", …" if len(empty) > 10 else "")
        problem = Problem(path, f"no text on page {shown}", "read its pictures by OCR first, or take the page out")
        raise InvalidData("The documents cannot be indexed", [problem])
    return tuple(block for at, text in enumerate(texts, start=1) for block in _page(text, at, titles))


def _page(text: str, number: int, titles: set[tuple[int, str]]) -> Iterator[Block]:
    place = f"#page={number}"
    lines: list[str] = []
    for line in (" ".join(raw.split()) for raw in text.split("\n")):
        if (number, line) in titles:
            if lines:
                yield Block(text=" ".join(lines), place=place)
                lines = []
            yield Block(text=line, place=place, heading=True)
        elif line:
            lines.append(line)
    if lines:
        yield Block(text=" ".join(lines), place=place)


def _titles(reader: Any) -> set[tuple[int, str]]:
    """(page from 1, title) of the outline, however deep."""
    titles = set()
    ahead = list(reader.outline)
    while ahead:
        item = ahead.pop()
        if isinstance(item, list):
            ahead += item
        elif (page := reader.get_destination_page_number(item)) is not None and item.title:
            titles.add((page + 1, " ".join(_letters(str(item.title)).split())))
    return titles


def _letters(text: str) -> str:
    return _FORMS.sub(lambda drawn: unicodedata.normalize("NFKC", drawn.group()), text)
