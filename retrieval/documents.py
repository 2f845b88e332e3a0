"""A folder of documents → their text. Markdown and text in UTF-8, HTML and PDF (`pages.py`); read `chunks.py` next."""

from __future__ import annotations

from pathlib import Path

from lifecycle.errors import InvalidData, NotFound, Problem
from lifecycle.version import Frozen
from retrieval.pages import Block, html_blocks, pdf_blocks

SUFFIXES = frozenset({".md", ".markdown", ".txt", ".html", ".htm", ".pdf"})
_PAGES = {".html": html_blocks, ".htm": html_blocks, ".pdf": pdf_blocks}


class Document(Frozen):
    """One file. `path` is relative to the folder, with `/`, so that an index is the same wherever it is made."""

    path: str
    text: str
    blocks: tuple[Block, ...] = ()
    """Of HTML and PDF, where `text` is what they say together."""


def read_documents(root: Path) -> list[Document]:
    """Every document under `root` (or the one file that it is), sorted by path; hidden files are left out.

    Raises `NotFound` when `root` is not there, and `InvalidData` with all the files that cannot be read, or when
    there is no document at all.
    """
    if not root.exists():
        raise NotFound(f"There are no documents at '{root}': no such file or folder")
    if root.is_file():
        files, folder = [root], root.parent
    else:
        folder = root
        files = sorted(
            (p for p in root.rglob("*") if _is_document(p, root)), key=lambda p: p.relative_to(root).as_posix()
        )
    problems: list[Problem] = []
    documents: list[Document] = []
    for file in files:
        path = file.relative_to(folder).as_posix()
        try:
            documents.append(_document(file, path))
        except InvalidData as error:
            problems += error.problems
    if not files:
        wanted = ", ".join(sorted(SUFFIXES))
        problems.append(Problem(str(root), "no document in this folder", f"put files in it that end in {wanted}"))
    if problems:
        raise InvalidData("The documents cannot be indexed", problems)
    return documents


def _document(file: Path, path: str) -> Document:
    if read := _PAGES.get(file.suffix.lower()):
        if not (blocks := read(file, path)):
            raise _unread(Problem(path, "no text in the file", "write in it, or remove it"))
        return Document(path=path, text="\n".join(block.text for block in blocks), blocks=blocks)
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        byte = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise _unread(Problem(f"{path}:{line}", byte, "save the file as UTF-8")) from error
    if not text.strip():
        raise _unread(Problem(f"{path}:1", "the file is empty", "write in it, or remove it"))
    return Document(path=path, text=text)


def _unread(problem: Problem) -> InvalidData:
    return InvalidData("The documents cannot be indexed", [problem])


def _is_document(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
