"""The Arabic README is the same README: its figures, commands, tables and links."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
ARABIC = (ROOT / "README.ar.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Without code, addresses, and links to the other README."""
    return re.sub(r"`[^`]*`|\]\([^)]*\)", " ", _BLOCK.sub(" ", text))


def figures(text: str) -> Counter[str]:
    return Counter(re.findall(r"(?<![A-Za-z0-9_.-])\d[\d,.]*\d|(?<![A-Za-z0-9_.-])\d(?![A-Za-z0-9_-])", prose(text)))


def test_it_has_the_same_figures():
    assert figures(ENGLISH)
    assert figures(ARABIC) == figures(ENGLISH)


def test_it_has_the_same_commands_word_for_word():
    assert _BLOCK.findall(ARABIC) == _BLOCK.findall(ENGLISH)


def test_it_leads_to_the_same_places():
    def links(text: str) -> list[str]:
        """A picture is of its own language."""
        named = {name.replace(".ar.png", ".en.png") for name in re.findall(r"\]\(([^)]+)\)", text)}
        return sorted(named - {"README.md", "README.ar.md"})

    assert links(ARABIC) == links(ENGLISH)


def test_its_tables_have_the_same_cells_but_for_words():
    def rows(text: str) -> list[list[str]]:
        cells = [line.split("|") for line in text.splitlines() if line.startswith("|")]
        return [[cell for cell in row if re.search(r"\[\d|^ *-+|\d / \d", cell)] for row in cells]

    assert rows(ARABIC) == rows(ENGLISH)


def test_it_has_the_same_sections():
    assert len(re.findall(r"^## ", ARABIC, re.MULTILINE)) == len(re.findall(r"^## ", ENGLISH, re.MULTILINE))


@pytest.mark.parametrize("text", [ENGLISH, ARABIC])
def test_each_leads_to_the_other(text: str):
    other = "README.ar.md" if text is ENGLISH else "README.md"
    assert f"]({other})" in text


def test_it_reads_from_the_right_and_its_code_from_the_left():
    assert ARABIC.startswith('<div dir="rtl" lang="ar">\n')
    for block in _BLOCK.finditer(ARABIC):
        before = ARABIC[: block.start()].rstrip().rpartition("\n")[2]
        assert before == '<div dir="ltr">', block.group()[:40]
    assert ARABIC.count("<div") == ARABIC.count("</div>")
