"""HTML and PDF: every text that a reader sees, with its place, Arabic as letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecycle.errors import InvalidData
from retrieval.chunks import chunk_documents
from retrieval.config import IndexConfig
from retrieval.documents import read_documents
from retrieval.index import Index, build_index
from retrieval.passage import Chunk

PAGE = """<!doctype html>
<html><head><title>Clinic</title><style>p {color: red}</style></head>
<body><nav>Home</nav>
<h1>Clinic</h1>
<h2>h07</h2>
<p>The pharmacy <b>opens</b> at
nine.<p>It closes<br>at six.
<script>var x = "never";</script>
<!-- never -->
<h2>Visiting hours {#h08}</h2>
<ul><li>Monday<li>Tuesday</ul>
<h3>مواعيد</h3>
<table><tr><td>الأحد</td><td>٩ صباحًا</td></tr></table>
<p hidden>never</p>
</body></html>
"""


def chunks(folder: Path) -> list[Chunk]:
    return list(chunk_documents(read_documents(folder), IndexConfig(dense="none")).chunks)


def test_a_pages_headings_name_its_passages_as_markdowns_do(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    assert [(chunk.id, chunk.text, chunk.source) for chunk in chunks(tmp_path)] == [
        ("page-1", "Home", "page.html:3"),
        ("h07", "The pharmacy opens at nine. It closes at six.", "page.html:5"),
        ("h08", "Visiting hours: Monday Tuesday", "page.html:10"),
        ("page-2", "مواعيد: الأحد ٩ صباحًا", "page.html:12"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1256", "utf-16"])
def test_a_page_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    declared = f'<meta charset="{encoding}">' if encoding == "windows-1256" else ""
    (tmp_path / "page.htm").write_bytes(f"{declared}<p>تفتح الصيدلية في التاسعة.".encode(encoding))
    assert [chunk.text for chunk in chunks(tmp_path)] == ["تفتح الصيدلية في التاسعة."]


def test_a_page_that_is_not_in_its_encoding_is_refused_with_all_other_faults(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_bytes("<p>تفتح".encode("windows-1256"))
    (tmp_path / "two.html").write_text("<p> </p>")
    (tmp_path / "three.pdf").write_bytes(b"%PDF-1.7 no")
    with pytest.raises(InvalidData) as error:
        read_documents(tmp_path)
    assert [problem.place for problem in error.value.problems] == ["one.html:1", "three.pdf", "two.html"]


def test_a_page_nested_deeper_than_calls_may_be_is_read(tmp_path: Path) -> None:
    (tmp_path / "deep.html").write_text("<div>" * 5000 + "<p>At the bottom.")
    assert [chunk.text for chunk in chunks(tmp_path)] == ["At the bottom."]


def pdf(file: Path, pages: list[list[str]], titles: list[tuple[int, str]]) -> None:
    """A PDF of these lines. Its font is Type 0 with a ToUnicode map, as word processors write it."""
    from pypdf import PdfWriter
    from pypdf.generic import (
        ArrayObject,
        DecodedStreamObject,
        DictionaryObject,
        NameObject,
        NumberObject,
        TextStringObject,
    )  # fmt: skip

    writer = PdfWriter()
    letters = sorted({letter for lines in pages for line in lines for letter in line})
    codes = {letter: code for code, letter in enumerate(letters, start=1)}

    def stream(text: str) -> object:
        made = DecodedStreamObject()
        made.set_data(text.encode())
        return writer._add_object(made)

    def names(**keys: object) -> DictionaryObject:
        return DictionaryObject({NameObject(f"/{key}"): value for key, value in keys.items()})

    mapped = "\n".join(f"<{code:04x}> <{letter.encode('utf-16-be').hex()}>" for letter, code in codes.items())
    to_unicode = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n1 begincodespacerange <0000> <ffff> "
        f"endcodespacerange\n{len(codes)} beginbfchar\n{mapped}\nendbfchar\nendcmap end end"
    )
    system = names(
        Registry=TextStringObject("Adobe"), Ordering=TextStringObject("Identity"), Supplement=NumberObject(0)
    )
    below = names(
        Type=NameObject("/Font"), Subtype=NameObject("/CIDFontType2"), BaseFont=NameObject("/F"), CIDSystemInfo=system,
        DW=NumberObject(600),
    )  # fmt: skip
    font = names(
        Type=NameObject("/Font"), Subtype=NameObject("/Type0"), BaseFont=NameObject("/F"),
        Encoding=NameObject("/Identity-H"), DescendantFonts=ArrayObject([writer._add_object(below)]),
        ToUnicode=stream(to_unicode),
    )  # fmt: skip
    for lines in pages:
        page = writer.add_blank_page(600, 800)
        page[NameObject("/Resources")] = names(Font=names(F=writer._add_object(font)))
        shown = (f"<{''.join(f'{codes[letter]:04x}' for letter in line)}> Tj 0 -20 Td" for line in lines)
        page[NameObject("/Contents")] = stream("BT /F 12 Tf 50 700 Td " + " ".join(shown) + " ET")
    for number, title in titles:
        writer.add_outline_item(title=title, page_number=number)
    writer.write(file)


def test_a_pdfs_passages_say_their_page_and_its_outline_gives_the_headings(tmp_path: Path) -> None:
    first = ["Handbook", "Opening hours", "We open at nine.", "We close at six and"]
    second = ["on Fridays at noon. Closed on", "Sundays.", "h07", "Pay by card."]
    pdf(tmp_path / "a.pdf", [first, second], [(0, "Opening hours"), (1, "h07")])
    assert [(chunk.id, chunk.text, chunk.source) for chunk in chunks(tmp_path)] == [
        ("a-1", "Handbook", "a.pdf#page=1"),
        ("a-2", "Opening hours: We open at nine. We close at six and on Fridays at noon.", "a.pdf#page=1"),
        ("a-3", "Opening hours: Closed on Sundays.", "a.pdf#page=2"),
        ("h07", "Pay by card.", "a.pdf#page=2"),
    ]


def test_arabic_in_a_pdf_is_letters_in_reading_order_and_is_found(tmp_path: Path) -> None:
    drawn = "ﺗﻔﺘﺢ ﺍﻟﺼﻴﺪﻟﻴﺔ"  # presentation forms, from right to left as they stand on the page
    pdf(tmp_path / "a.pdf", [[drawn[::-1]]], [])
    assert [chunk.text for chunk in chunks(tmp_path)] == ["تفتح الصيدلية"]
    build_index(tmp_path / "a.pdf", tmp_path / "index", IndexConfig(dense="none"))
    (passage,) = Index.load(tmp_path / "index").search("متى تفتح الصيدلية؟", 1)
    assert passage.source == "a.pdf#page=1"


def test_a_scanned_page_is_told_and_not_left_out(tmp_path: Path) -> None:
    pdf(tmp_path / "a.pdf", [["Text."], []], [])
    with pytest.raises(InvalidData, match="no text on page 2"):
        read_documents(tmp_path)
