"""How well personal data is found: precision and recall per kind on `personal_cases.jsonl`, and rows a second.

    python -m benchmarks.personal

The cases are made up for this project, in English and Arabic; ⟦KIND|value⟧ marks what is to be found, and the lines
without a mark are there to mislead. A mark is found where a hit of its kind covers it; any other hit is wrong.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

from training.data.personal import Hit, find
from training.data.personal.names import MISSING, available, names_detector

CASES = Path(__file__).with_suffix("").with_name("personal_cases.jsonl")
_MARK = re.compile(r"⟦(\w+)\|(.*?)⟧")
_ROUNDS = 20


def case(marked: str) -> tuple[str, list[tuple[str, int, int]]]:
    """The text without its marks, and (kind, start, end) of each."""
    text, marks, at = "", [], 0
    for mark in _MARK.finditer(marked):
        text += marked[at : mark.start()]
        marks.append((mark[1], len(text), len(text) + len(mark[2])))
        text += mark[2]
        at = mark.end()
    return text + marked[at:], marks


def cases() -> list[tuple[str, list[tuple[str, int, int]]]]:
    return [case(json.loads(line)["text"]) for line in CASES.read_text(encoding="utf-8").splitlines()]


class Tally:
    """Marks that were found, and hits that are right, by kind."""

    def __init__(self) -> None:
        self.marks: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.certain: Counter[str] = Counter()
        self.certain_right: Counter[str] = Counter()

    def see(self, marks: list[tuple[str, int, int]], hits: tuple[Hit, ...]) -> list[str]:
        """What is wrong with the hits, in words."""
        wrong = []
        for kind, start, end in marks:
            self.marks[kind] += 1
            # Direction marks around a number are none of it.
            covered = any(hit.kind == kind and hit.start <= start + 1 and hit.end >= end - 1 for hit in hits)
            self.found[kind] += covered
            wrong += [] if covered else [f"missed {kind}"]
        for hit in hits:
            right = any(hit.kind == kind and hit.start < end and start < hit.end for kind, start, end in marks)
            self.hits[hit.kind] += 1
            self.right[hit.kind] += right
            self.certain[hit.kind] += hit.sure
            self.certain_right[hit.kind] += hit.sure and right
            wrong += [] if right else [f"wrong {hit.kind}"]
        return wrong


def main() -> None:
    with_names, tally, every = available(), Tally(), cases()
    more = names_detector(None)
    for text, marks in every:
        asked = [mark for mark in marks if with_names or mark[0] != "PERSON"]
        for wrong in tally.see(asked, find(text, more=more)):
            print(f"{wrong}: {text!r}")
    print(f"\n{len(every)} cases, {sum(not marks for _, marks in every)} of them without anything to find\n")
    print("| Kind | Marked | Recall | Hits | Precision | Certain | Precision of the certain |")
    print("|---" * 7 + "|")
    for kind in tally.marks | tally.hits:
        recall, precision, certain = (
            f"{part[kind] / whole[kind]:.2f}" if whole[kind] else "–"
            for part, whole in (
                (tally.found, tally.marks), (tally.right, tally.hits), (tally.certain_right, tally.certain),
            )
        )  # fmt: skip
        print(
            f"| {kind} | {tally.marks[kind]} | {recall} | {tally.hits[kind]} | {precision} "
            f"| {tally.certain[kind]} | {certain} |"
        )
    if not with_names:
        print(f"\n{MISSING}")
    plain = "I have had a headache since Monday and cannot sleep; what can I take?"
    for what, texts in (
        ("rows with nothing in them", [plain] * len(every)),
        ("the cases", [text for text, _ in every]),
    ):
        start = time.perf_counter()
        for _ in range(_ROUNDS):
            for text in texts:
                find(text)
        print(f"{what}: {_ROUNDS * len(texts) / (time.perf_counter() - start):,.0f} texts a second on one core")


if __name__ == "__main__":
    main()
