"""Documents are read and cut so that every passage can be cited, and every fault is named with its place."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
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


def test_cutting_loses_no_word() -> None:
    reached = Counter[str]()

    @seed(1)
    @settings(deadline=None, database=None)
    @given(
        st.lists(st.lists(st.sampled_from([*"abcdefgh", "i.", "ج؟", "\u00a0"]), max_size=30), min_size=1, max_size=9)
    )
    def holds(words: list[list[str]]) -> None:
        lines = [" ".join(line) for line in words]
        text = "\n".join(lines)
        if text.split():
            pieces = chunks(text, path="t.txt", max_words=10, overlap_sentences=0)
            assert " ".join(piece.text for piece in pieces).split() == text.split()
            assert all(len(piece.text.split()) <= 10 and "\n" not in piece.text for piece in pieces)
            reached.update(["cut"] * (len(pieces) > 1))
            reached.update(
                ["a sentence longer than a passage"] * any(len(s.split()) > 10 for s in re.split("[.؟]", text))
            )
            reached.update(["a paragraph's end"] * ("" in lines))

    holds()
    assert len(reached) == 3
    assert min(reached.values()) >= 10, reached


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


def test_a_document_without_text_is_one_problem_and_not_two() -> None:
    with pytest.raises(InvalidData) as raised:
        chunks("## h1\n   \n")
    assert [(p.place, p.fault) for p in raised.value.problems] == [("guide.md:1", "no text below h1")]


@pytest.mark.parametrize(("paths", "place"), [([], "."), (["b.md", "a.md"], "b.md")])
def test_where_there_is_no_text_at_all_the_first_document_is_named(paths: list[str], place: str) -> None:
    with pytest.raises(InvalidData) as raised:
        chunk_documents([Document(path=path, text="# Title") for path in paths], CONFIG)
    assert [p.place for p in raised.value.problems] == [place]


def test_text_before_any_heading_is_a_passage_from_the_first_line() -> None:
    before, below = chunks("Welcome.\n# Rules\nBe quiet.")
    assert (before.source, before.text) == ("guide.md:1", "Welcome.")
    assert (below.source, below.text) == ("guide.md:2", "Rules: Be quiet.")


def test_the_suffix_of_a_plain_text_file_may_be_in_capitals() -> None:
    (chunk,) = chunks("## h1\ntext", path="NOTES.TXT")
    assert chunk.text == "## h1 text"


def said(word: str, words: int) -> str:
    """A sentence of that many words."""
    return " ".join([word] * words) + "."


def test_a_sentence_runs_on_over_lines_and_ends_with_its_paragraph() -> None:
    """A paragraph without a full stop is a sentence of its own, and a line is none."""
    text = "a a a a\n  a a a a\n \t\nb b b\n\nc c c c c c c"
    assert [c.text for c in chunks(text, max_words=10, overlap_sentences=0)] == [
        "a a a a a a a a",
        "b b b c c c c c c c",
    ]


def test_sentences_are_repeated_only_where_the_next_one_still_fits() -> None:
    a, b, c, d = said("a", 6), said("b", 4), said("c", 6), said("c", 7)
    fits = chunks(f"{a} {b} {c}", max_words=10, overlap_sentences=1)
    assert [piece.text for piece in fits] == [f"{a} {b}", f"{b} {c}"]
    too_long = chunks(f"{a} {b} {d}", max_words=10, overlap_sentences=1)
    assert [piece.text for piece in too_long] == [f"{a} {b}", d]
    two = chunks(f"{b} {b} {said('e', 2)} {b}", max_words=10, overlap_sentences=2)
    assert [piece.text for piece in two] == [f"{b} {b} {said('e', 2)}", f"{b} {said('e', 2)} {b}"]


def test_no_heading_is_taken_for_a_fence_of_the_other_kind_of_file() -> None:
    assert [c.id for c in chunks("~~~\n## h1\n~~~\n## h2\ntext")] == ["guide-1", "h2"]


def test_documents_come_sorted_by_their_paths_as_written(tmp_path: Path) -> None:
    for path in ("b.txt", "a/x.md", "a-b/x.markdown", "A.MD"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("text")
    assert [d.path for d in read_documents(tmp_path)] == ["A.MD", "a-b/x.markdown", "a/x.md", "b.txt"]


def test_hidden_folders_and_folders_named_like_documents_are_no_documents(tmp_path: Path) -> None:
    for path in (".git/x.md", "seen.md/.draft.md", "seen.md/y.md"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("text")
    assert [d.path for d in read_documents(tmp_path)] == ["seen.md/y.md"]


def test_one_file_may_be_named_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "notes.rst").write_text("text")
    (tmp_path / "other.md").write_text("text")
    assert read_documents(tmp_path / "notes.rst") == [Document(path="notes.rst", text="text")]


def test_a_bad_byte_is_named_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"one\ntwo \xff\nthree\n")
    with pytest.raises(InvalidData) as raised:
        read_documents(tmp_path)
    assert raised.value.problems[0].place == "x.txt:2"


def test_an_empty_folder_says_what_it_may_hold(tmp_path: Path) -> None:
    with pytest.raises(InvalidData) as raised:
        read_documents(tmp_path)
    assert raised.value.problems[0].cure == "put files in it that end in .htm, .html, .markdown, .md, .pdf, .txt"
