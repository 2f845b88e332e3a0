"""What a page loads: files of the service alone, those of others as published, a style for both directions."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from console.rendering import HERE

STATIC = HERE / "static"
VENDORED = STATIC / "vendor"
OURS = sorted(path for path in STATIC.glob("*") if path.suffix in (".css", ".js"))
TEMPLATES = sorted((HERE / "templates").rglob("*.html"))
_PHYSICAL = re.compile(
    r"(?<![\w-])(?:(?:margin|padding|border)-(?:left|right|top|bottom)|(?:min-|max-)?(?:width|height)|left|right|top|bottom)\s*:"
)
_QUERIES = re.compile(r"@media[^{]*")


def test_what_others_wrote_is_as_they_published_it():
    listed = dict(reversed(line.split("  ")) for line in (VENDORED / "SHA256SUMS").read_text().splitlines())
    there = {path.name for path in VENDORED.iterdir() if path.suffix in (".js", ".css")}
    assert there == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest, name
        assert (VENDORED / f"{name.split('.')[0]}.LICENSE").read_text().strip()


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix == ".css"], ids=lambda path: path.name)
def test_a_style_sheet_names_no_side_of_the_page(path: Path):
    """`margin-inline-start` is the right side of an Arabic page; `margin-left` never is."""
    text = _QUERIES.sub("", re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL))
    assert _PHYSICAL.findall(text) == []
    assert not re.search(r"text-align:\s*right|float:\s*(left|right)", text)


@pytest.mark.parametrize("path", [*OURS, *TEMPLATES], ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_that_stands_in_a_page(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text)
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|<style|\sstyle=|\son\w+=|hx-on", text)
    else:
        assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", text)
