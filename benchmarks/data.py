"""Rows a second on one core, and the largest memory, of the data checks over files of three sizes.

    python -m benchmarks.data [--rows 10000,100000,1000000] [--ways flat,against]

Each figure is of a process of its own, which is held to one core. `flat` is everything but near duplicates and
personal data, held against a thousand test rows; `against` is the same held against the rows themselves, each of which
leaks then; `near` and `personal` are each of those two beside the reading of the rows; `split` is a whole split.
`worst` is `near` for rows without numbers, all of the same few words: texts that ask for different numbers are no pair,
so that most need not be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.tables import markdown

ENGLISH = """
doctor clinic pain head knee since monday when open please book visit my son daughter fever strong sleep night medicine
take after food daily twice results blood test ready insurance cover cost parking near entrance child tooth eye skin
rash cough throat ear stomach back shoulder week month morning evening call letter report form
""".split()  # noqa: SIM905 - a list of words reads better than eighty strings
ARABIC = """
أريد حجز موعد عند الطبيب يوم الأحد القادم ابني يعاني من حرارة شديدة منذ ثلاثة أيام ولا ينام الليل دواء بعد الأكل مرتين
نتيجة تحليل الدم جاهزة التأمين يغطي تكلفة موقف السيارات قرب المدخل طفل سن عين جلد طفح سعال حلق أذن معدة
""".split()  # noqa: SIM905
WAYS = {
    "flat": "All checks but the next two",
    "near": "Near duplicates",
    "worst": "The same, no row with a number",
    "personal": "Personal data",
    "split": "Split",
    "against": "All checks but two, against itself",
}
"""Each with the head of its column in docs/guides/data.md."""


def make(path: Path, rows: int, *, numbers: bool = True) -> None:
    """Short rows, two of three in English: a question of about ten words, a JSON answer, a field of `meta`."""
    drawn = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            words = drawn.choices(ARABIC if row % 3 == 0 else ENGLISH, k=drawn.randint(7, 13))
            place, number = drawn.randrange(len(words)), drawn.randrange(1000)
            words[place:place] = [str(number)] if numbers else []
            answer = json.dumps({"urgency": drawn.choice(["routine", "soon", "now"])})
            said = [{"role": "user", "content": " ".join(words) + "?"}, {"role": "assistant", "content": answer}]
            line = {"messages": said, "meta": {"intent": drawn.choice(["visit", "result", "cost"])}}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def looked_at(path: Path, tests: Path, *, similarity: float | None, personal: bool) -> None:
    from lifecycle.rows.files import Reading
    from training.data.checks import Checks

    checks = Checks({"test": Reading(tests)}, similarity=similarity, look_for_personal=personal)
    for row in Reading(path):
        checks.see(row)
    checks.report()


def nearly_equal(path: Path) -> None:
    from lifecycle.rows.files import Reading
    from lifecycle.text.normaliser import LIGHT_1
    from training.data.content import content
    from training.data.leaks import NearLeaks
    from training.data.repeats import Repeats
    from training.data.row_places import RowPlaces
    from training.data.unseen import Unseen

    places, none = RowPlaces(), Unseen()
    repeats = Repeats(0.85, places)
    for row in Reading(path):
        seen = content(row)
        repeats.see(places.add(seen.place), seen, LIGHT_1.normal(seen.question))
    list(repeats.findings(NearLeaks(none, places, none.first)))


def told_personal(path: Path) -> None:
    from lifecycle.rows.files import Reading
    from training.data import personal
    from training.data.content import content

    for row in Reading(path):
        for text in content(row).texts:
            personal.find(text)


def split_up(path: Path, folder: Path) -> None:
    from training.data.split_files import Side, split

    split(path, [Side("train", folder / "train.jsonl", None), Side("test", folder / "test.jsonl", 0.1)])


def measure(way: str, path: Path, tests: Path) -> tuple[float, float]:
    """(seconds of the core, MiB at most), in this process; what is imported is imported before."""
    for module in (
        "lifecycle.rows.files",
        "training.data.checks",
        "training.data.personal",
        "training.data.split_files",
    ):
        import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        run: Callable[[], None] = {
            "flat": lambda: looked_at(path, tests, similarity=None, personal=False),
            "against": lambda: looked_at(path, path, similarity=None, personal=False),
            "near": lambda: nearly_equal(path),
            "worst": lambda: nearly_equal(path),
            "personal": lambda: told_personal(path),
            "split": lambda: split_up(path, Path(folder)),
        }[way]
        start = time.process_time()
        run()
        return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"Of {', '.join(WAYS)}.")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        way, path, tests = options.one
        print(*measure(way, Path(path), Path(tests)))
        return
    ways: list[str] = options.ways.split(",")
    lines: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        tests = Path(folder) / "test.jsonl"
        make(tests, 1000)
        for count in map(int, options.rows.split(",")):
            path, plain = Path(folder) / f"{count}.jsonl", Path(folder) / f"{count}-plain.jsonl"
            make(path, count)
            make(plain, count, numbers=False)
            cells = []
            for way in ways:
                rows = plain if way == "worst" else path
                command = [sys.executable, "-m", "benchmarks.data", "--one", way, str(rows), str(tests)]
                seconds, memory = map(float, subprocess.check_output(command, text=True).split())
                cells.append(f"{count / seconds:,.0f} rows/s, {memory:,.0f} MiB")
                print(f"{count:,} rows, {way}: {cells[-1]}", flush=True)
            lines.append([f"{count:,}", *cells])
    print(f"\n{markdown(['Rows', *(WAYS[way] for way in ways)], lines)}")


if __name__ == "__main__":
    main()
