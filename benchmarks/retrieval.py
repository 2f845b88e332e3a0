"""What the retriever finds in a real knowledge base: tau2's bank, 698 documents and 97 tasks that name theirs.

    pip install --no-deps inspect-evals==0.28.0
    python -m benchmarks.retrieval

The documents, the tasks and the documents that each task requires are those of the `banking_knowledge` domain of tau2
(arXiv 2506.07982) as the package inspect-evals (MIT) brings them. They are read from the installed package, or from its
wheel with `--wheel`, and are kept nowhere. What is searched for is the instruction of the task's simulated customer: it
is long, and no customer writes so. A document stands where its first passage does.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evals.retrieval.measured import measure_indexes
from evals.retrieval.questions import LabelledQuestion
from evals.retrieval.shown import render_markdown
from lifecycle.errors import NotFound
from lifecycle.version import digest_of
from retrieval.config import IndexConfig
from retrieval.index import Index, build_index

_DOMAIN = "tau2/data/domains/banking_knowledge"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="the package's wheel, where it is not installed")
    parser.add_argument("--max-words", type=int, default=IndexConfig().max_words, help="words of a passage, at most")
    given = parser.parse_args()
    read = _reader(given.wheel)
    documents = json.loads(gzip.decompress(read("documents.json.gz")))
    questions = labelled(json.loads(read("tasks.json")))
    with tempfile.TemporaryDirectory(prefix="dabt-tau2-") as folder:
        source, made = Path(folder) / "documents", Path(folder) / "index"
        write_documents(documents, source)
        began = time.perf_counter()
        facts = build_index(source, made, IndexConfig(max_words=given.max_words))
        built = time.perf_counter()
        report = measure_indexes(
            "tau2", questions, [("tau2", digest_of(facts.recipe), Index.load(made))], unit="document"
        )
        searched = time.perf_counter()
    print(render_markdown(report))
    print(
        f"{facts.documents} documents, {facts.passages} passages of at most {given.max_words} words; indexed in "
        f"{built - began:.0f} s, {len(questions)} questions asked of every ranking in {searched - built:.0f} s"
    )


def write_documents(documents: list[dict[str, Any]], folder: Path) -> None:
    """One Markdown file for each, named by its id: a label is a file's name."""
    folder.mkdir()
    for document in documents:
        text = f"# {document['title']}\n\n{document['content']}\n"
        (folder / f"{document['id']}.md").write_text(text, encoding="utf-8")


def labelled(tasks: list[dict[str, Any]]) -> list[LabelledQuestion]:
    """The customer's instruction of each task, with the documents that it requires."""
    return [
        LabelledQuestion(
            id=task["id"],
            place=task["id"],
            text=task["user_scenario"]["instructions"],
            gold=tuple(f"{name}.md" for name in dict.fromkeys(task["required_documents"])),
            language="en",
        )
        for task in tasks
    ]


def _reader(wheel: Path | None) -> Callable[[str], bytes]:
    """Reads a file of the domain. Nothing of the package is imported: it would bring its own dependencies."""
    if wheel is not None:
        archive = zipfile.ZipFile(wheel)
        return lambda name: archive.read(f"inspect_evals/{_DOMAIN}/{name}")
    spec = importlib.util.find_spec("inspect_evals")
    if spec is None or not spec.submodule_search_locations:
        raise NotFound("inspect-evals is not installed: pip install --no-deps inspect-evals==0.28.0, or give --wheel")
    folder = Path(next(iter(spec.submodule_search_locations))) / _DOMAIN
    return lambda name: (folder / name).read_bytes()


if __name__ == "__main__":
    main()
