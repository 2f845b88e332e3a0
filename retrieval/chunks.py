"""Documents → passages with ids to cite.

A passage gets its id from the document where one is written: a Markdown heading that is nothing but an id
(`## h07`: one word with a digit) or that carries one (`## Visiting hours {#h07}`). All text up to the next heading
is that passage, never split: its author chose its size. Any other text is cut into passages `<document>-<n>` at
paragraphs and sentence ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lifecycle.errors import InvalidData, Problem
from retrieval.config import IndexConfig
from retrieval.documents import Document
from retrieval.pages import Block
from retrieval.passage import Chunk

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_ID_ALONE = re.compile(r"^(?=\S*\d)[A-Za-z][A-Za-z0-9_.-]*$")
_ID_BEHIND = re.compile(r"^(.*?)\s*\{#([A-Za-z][A-Za-z0-9_.-]*)\}$")
_WHOLE = re.compile(r"[.!?؟…][\"'»”)]*$")
SENTENCE_END = re.compile(r"(?<=[.!?؟…])\s+")


@dataclass
class _Section:
    """A heading with the paragraphs below it; each paragraph is one line of text."""

    place: str
    """Behind the document's path."""
    title: str = ""
    id: str | None = None
    paragraphs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chunking:
    """The passages in the documents' order, and how many had an id of their own."""

    chunks: tuple[Chunk, ...]
    marked: int


def chunk_documents(documents: Sequence[Document], config: IndexConfig) -> Chunking:
    """Raises `InvalidData` with every id that is written twice and every marked heading with no text below it."""
    chunks: list[Chunk] = []
    problems: list[Problem] = []
    marked = 0
    stems = [PurePosixPath(d.path).with_suffix("").as_posix() for d in documents]
    for document, stem in zip(documents, stems, strict=True):
        # notes.md beside notes.txt: the suffix tells their passages apart
        name = (stem if stems.count(stem) == 1 else document.path).replace("/", "-").replace(" ", "_")
        number = 0
        for section in _sections(document):
            source = f"{document.path}{section.place}"
            if section.id is not None:
                if not section.paragraphs:
                    problems.append(
                        Problem(source, f"no text below {section.id}", "write the passage, or remove its heading")
                    )
                    continue
                text = " ".join(section.paragraphs)
                chunks.append(Chunk(id=section.id, text=_titled(section.title, text), source=source))
                marked += 1
                continue
            for piece in _pieces(section.paragraphs, config):
                number += 1
                chunks.append(Chunk(id=f"{name}-{number}", text=_titled(section.title, piece), source=source))
    problems += _doubled(chunks)
    if not chunks and not problems:
        problems.append(
            Problem(documents[0].path if documents else ".", "no text but headings", "write text below them")
        )
    if problems:
        raise InvalidData("The documents cannot be cut into passages", problems)
    return Chunking(tuple(chunks), marked)


def _titled(title: str, text: str) -> str:
    return f"{title}: {text}" if title else text


def _doubled(chunks: Sequence[Chunk]) -> list[Problem]:
    first: dict[str, str] = {}
    problems = []
    for chunk in chunks:
        if chunk.id in first:
            fault = f"the id {chunk.id} was already used at {first[chunk.id]}"
            problems.append(Problem(chunk.source, fault, "give each passage an id of its own"))
        first.setdefault(chunk.id, chunk.source)
    return problems


def _sections(document: Document) -> Iterator[_Section]:
    """The document cut at its headings; a plain text file is one section. A page of a PDF begins a section as well, so
    that its passages say their page, unless a sentence goes on over the page's end."""
    if document.blocks:
        yield from _of_blocks(document.blocks)
        return
    markdown = not document.path.lower().endswith(".txt")
    section = _Section(place=":1")
    paragraph: list[str] = []
    fenced = False
    for number, line in enumerate(document.text.split("\n"), start=1):
        if markdown and _FENCE.match(line):
            fenced = not fenced
        heading = _HEADING.match(line) if markdown and not fenced else None
        if heading or not line.strip():
            _close(section, paragraph)
        if heading:
            yield section
            section = _headed(f":{number}", heading.group(2))
        elif line.strip():
            paragraph.append(line)
    _close(section, paragraph)
    yield section


def _of_blocks(blocks: Sequence[Block]) -> Iterator[_Section]:
    section = _Section(place=blocks[0].place)
    for block in blocks:
        if block.heading:
            yield section
            section = _headed(block.place, block.text)
            continue
        text = block.text
        turned = block.place.startswith("#page=") and block.place != section.place
        if turned and section.paragraphs and section.id is None:
            if not _WHOLE.search(section.paragraphs[-1]):
                rest = SENTENCE_END.split(text, maxsplit=1)
                section.paragraphs[-1] += " " + rest[0]
                text = rest[1] if len(rest) > 1 else ""
            if text:
                yield section
                section = _Section(place=block.place, title=section.title)
        if text:
            section.paragraphs.append(text)
    yield section


def _close(section: _Section, paragraph: list[str]) -> None:
    """Puts the gathered lines into the section as one paragraph on one line."""
    if paragraph:
        section.paragraphs.append(" ".join(" ".join(paragraph).split()))
        paragraph.clear()


def _headed(place: str, heading: str) -> _Section:
    if _ID_ALONE.match(heading):
        return _Section(place=place, id=heading)
    if behind := _ID_BEHIND.match(heading):
        return _Section(place=place, title=behind.group(1), id=behind.group(2))
    return _Section(place=place, title=heading)


def _pieces(paragraphs: Sequence[str], config: IndexConfig) -> Iterator[str]:
    """Whole sentences up to `max_words`; each piece after the first opens with the last sentences of the one before."""
    piece: list[str] = []
    for sentence in (s for paragraph in paragraphs for s in _sentences(paragraph, config.max_words)):
        if _words([*piece, sentence]) > config.max_words:
            yield " ".join(piece)
            piece = piece[-config.overlap_sentences :] if config.overlap_sentences else []
            if _words([*piece, sentence]) > config.max_words:
                piece = []
        piece.append(sentence)
    if piece:
        yield " ".join(piece)


def _words(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def _sentences(paragraph: str, max_words: int) -> Iterator[str]:
    """The paragraph's sentences; one that is longer than a passage may be is cut between words."""
    for sentence in SENTENCE_END.split(paragraph):
        words = sentence.split()
        for start in range(0, len(words), max_words):
            yield " ".join(words[start : start + max_words])
