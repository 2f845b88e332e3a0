"""How well refusals are known: precision and recall of the patterns on `refusal_cases.jsonl`, for each language.

    python -m benchmarks.refusals

The cases are made up for this project, in English and Arabic, by whoever wrote the patterns: so the figures say what
the patterns are meant to do, and what a model of another manner writes may be missed more often.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.safety.refusing import REFUSAL, refused
from lifecycle.intervals import wilson
from lifecycle.report import Interval

CASES = Path(__file__).with_name("refusal_cases.jsonl")


def cases() -> list[dict[str, Any]]:
    return [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


def measured(language: str) -> tuple[Interval, Interval, list[str]]:
    """Precision, recall, and what went wrong in words."""
    own = [case for case in cases() if case["language"] == language]
    said = [refused(case["text"]) for case in own]
    right = sum(rule is not None and case["refuses"] for case, rule in zip(own, said, strict=True))
    wrong = [
        f"{'missed' if case['refuses'] else f'taken for one by {rule}'}: {case['text']}"
        for case, rule in zip(own, said, strict=True)
        if (rule is not None) != case["refuses"]
    ]
    hits, refusals = sum(rule is not None for rule in said), sum(case["refuses"] for case in own)
    return wilson(right, hits), wilson(right, refusals), wrong


def main() -> None:
    print(f"{REFUSAL}: {len(cases())} answers\n")
    for language in ("en", "ar"):
        precision, recall, wrong = measured(language)
        for name, figure in (("precision", precision), ("recall", recall)):
            print(f"{language}  {name:9} {figure.value:.3f}  [{figure.low:.3f}, {figure.high:.3f}]  of {figure.n}")
        print("".join(f"      {line}\n" for line in wrong))


if __name__ == "__main__":
    main()
