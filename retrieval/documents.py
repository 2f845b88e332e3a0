"""A folder of documents → their text. Markdown and plain text, UTF-8; read `chunks.py` next."""

from __future__ import annotations

from pathlib import Path

from lifecycle.errors import InvalidData, NotFound, Problem
from lifecycle.version import Frozen

SUFFIXES = frozenset({".md", ".markdown", ".txt"})


class Document(Frozen):
    """One file. `path` is relative to the folder, with `/`, so that an index is the same wherever it is made."""

    path: str
    text: str


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
        raw = file.read_bytes()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            byte = f"byte 0x{raw[error.start]:02x} is not UTF-8"
            problems.append(Problem(f"{path}:{line}", byte, "save the file as UTF-8"))
            continue
        if text.strip():
            documents.append(Document(path=path, text=text))
        else:
            problems.append(Problem(f"{path}:1", "the file is empty", "write in it, or remove it"))
    if not files:
        wanted = ", ".join(sorted(SUFFIXES))
        problems.append(Problem(str(root), "no document in this folder", f"put files in it that end in {wanted}"))
    if problems:
        raise InvalidData("The documents cannot be indexed", problems)
    return documents


def _is_document(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()
