"""A fact of the clinic's handbook is edited: who says the new one, and after how long?

    dabt serve --base examples/clinic/base_model          # over a home in which the demo ran, in another terminal
    python -m benchmarks.freshness --rag handbook:2 --trained handbook:3

The handbook is copied, one passage's time is changed, and the copy is indexed under the same name. The versions over it
are drafts: no alias moves. To undo it, run `dabt index examples/clinic/handbook --name handbook`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from evals.asking.endpoint import Endpoint
from evals.config import ENDPOINT
from evals.freshness import measure_freshness
from lifecycle.errors import InvalidData
from lifecycle.home import Home
from lifecycle.registry import Registry

HANDBOOK = Path(__file__).parents[1] / "examples" / "clinic" / "handbook"
OLD, NEW = "The Lotus clinic closes at 17:00", "The Lotus clinic closes at 20:45"
SAYS = "20:45"
QUESTIONS = ("When does the Lotus clinic close?", "What time does the Lotus clinic close?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rag", action="append", required=True, help="a version with knowledge; again for more")
    parser.add_argument("--trained", action="append", default=[], help="a version without knowledge; again for more")
    parser.add_argument("--endpoint", default=ENDPOINT)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    home = Home.at(given.home)
    with tempfile.TemporaryDirectory(prefix="dabt-edited-") as folder, Registry.open(home.registry_url) as registry:
        edited = Path(folder) / "handbook"
        shutil.copytree(HANDBOOK, edited)
        edit(edited)
        made = measure_freshness(
            [*given.rag, *given.trained],
            QUESTIONS,
            edited,
            SAYS,
            registry=registry,
            home=home,
            endpoint=Endpoint(url=given.endpoint),
        )
    print(f"{OLD} → {NEW}\n\n| Version | After the edit | Changed | Says {SAYS} | Seconds |\n|---|---|--:|--:|--:|")
    for arm in made:
        total = len(QUESTIONS)
        cells = f"{arm.changed} of {total} | {sum(arm.says_new)} of {total} | {arm.seconds:.1f}"
        print(f"| {arm.before} | {arm.after} | {cells} |")
    for arm in made:
        pairs = zip(QUESTIONS, arm.answers_before, arm.answers_after, strict=True)
        print("".join(f"\n{arm.arm}, {question}\n  before: {old}\n  after:  {new}" for question, old, new in pairs))


def edit(folder: Path) -> None:
    """Changes the fact in the one file that has it."""
    pages = [page for page in folder.rglob("*.md") if OLD in page.read_text(encoding="utf-8")]
    if len(pages) != 1:
        raise InvalidData(f"{len(pages)} pages say '{OLD}', and one should")
    pages[0].write_text(pages[0].read_text(encoding="utf-8").replace(OLD, NEW), encoding="utf-8")


if __name__ == "__main__":
    main()
