"""Documents are read and cut so that every passage can be cited, and every fault is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.errors import InvalidData, NotFound
from retrieval.chunks import chunk_documents
from retrieval.config import IndexConfig
from retrieval.documents import Document, read_documents
from retrieval.passage import Chunk

CONFIG = IndexConfig(dense="none")


def chunks(text: str, path: str = "guide.md", **options: int) -> tuple[Chunk, ...]:
    config = IndexConfig(dense="none", **options)
    return chunk_documents([Document(path=path, text=text)], config).chunks


def test_ids_and_places_come_from_the_headings(handbook: Path) -> None:
    chunking = chunk_documents(read_documents(handbook), CONFIG)
    assert [c.id for c in chunking.chunks] == [f"h{n:02}" for n in range(1, 11)]
    assert chunking.marked == 10
    assert chunking.chunks[1].source == "handbook.md:6"
    assert chunking.chunks[1].text == "Form QX-71 must be stamped by the registrar before discharge."


def test_an_id_behind_a_title_keeps_the_title_in_the_text() -> None:
    (chunk,) = chunks("## Visiting hours {#h07}\nFrom four\nto six.\n\nNot on Fridays.")
    assert chunk.id == "h07"
    assert chunk.text == "Visiting hours: From four to six. Not on Fridays."


def test_a_marked_passage_is_never_split() -> None:
    (chunk,) = chunks("## h1\n" + "One more sentence. " * 100, max_words=10)
    assert len(chunk.text.split()) == 300


def test_unmarked_text_is_cut_at_sentences_and_overlaps() -> None:
    sentences = [f"Sentence number {n} has exactly seven words." for n in range(6)]
    pieces = chunks("# Rules\n" + " ".join(sentences), max_words=21, overlap_sentences=1)
    assert [p.id for p in pieces] == ["guide-1", "guide-2", "guide-3"]
    assert pieces[0].text == "Rules: " + " ".join(sentences[:3])
    assert pieces[1].text == "Rules: " + " ".join(sentences[2:5])
    assert pieces[2].text == "Rules: " + " ".join(sentences[4:])


def test_a_heading_inside_a_code_fence_is_text() -> None:
    (chunk,) = chunks("## h1\n```\n## h2\n```\nafter")
    assert chunk.text == "``` ## h2 ``` after"


def test_a_plain_text_file_has_no_headings() -> None:
    (chunk,) = chunks("## h1\nnot a heading here", path="notes.txt")
    assert (chunk.id, chunk.text) == ("notes-1", "## h1 not a heading here")


def test_two_documents_of_one_name_get_different_ids() -> None:
    documents = [Document(path=path, text="Some text.") for path in ("a/notes.md", "a/notes.txt", "b/notes.md")]
    assert [c.id for c in chunk_documents(documents, CONFIG).chunks] == ["a-notes.md-1", "a-notes.txt-1", "b-notes-1"]


@given(st.lists(st.text(st.characters(exclude_characters="#`~", codec="utf-8"), max_size=40), max_size=20))
def test_cutting_loses_no_word(lines: list[str]) -> None:
    text = "\n".join(lines)
    if text.split():
        pieces = chunks(text, path="t.txt", max_words=10, overlap_sentences=0)
        assert " ".join(piece.text for piece in pieces).split() == text.split()
        assert all(len(piece.text.split()) <= 10 and "\n" not in piece.text for piece in pieces)


def test_doubled_ids_and_empty_passages_are_reported_together() -> None:
    with pytest.raises(InvalidData) as raised:
        chunks("## h1\none\n## h2\n\n## h1\ntwo")
    assert [(p.place, p.fault) for p in raised.value.problems] == [
        ("guide.md:3", "no text below h2"),
        ("guide.md:5", "the id h1 was already used at guide.md:1"),
    ]


def test_undecodable_and_empty_files_are_reported_together_with_their_lines(handbook: Path) -> None:
    (handbook / "latin.txt").write_bytes("first\nsecond caf\xe9".encode("latin-1"))
    (handbook / "sub").mkdir()
    (handbook / "sub" / "blank.md").write_text(" \n")
    with pytest.raises(InvalidData) as raised:
        read_documents(handbook)
    assert [p.place for p in raised.value.problems] == ["latin.txt:2", "sub/blank.md:1"]
    assert "0xe9" in raised.value.problems[0].fault


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.md").write_text("not a document")
    with pytest.raises(InvalidData, match="no document in this folder"):
        read_documents(tmp_path)
    with pytest.raises(NotFound, match="nowhere"):
        read_documents(tmp_path / "nowhere")


def test_headings_alone_are_refused() -> None:
    with pytest.raises(InvalidData, match="no text but headings"):
        chunks("# Title\n## Another")
