"""How much wrong code the unit tests notice, per module; ends with 1 where it is less than the bar.

    make mutants                                    # a seeded sample of every module
    make mutants ARGS="evals/gate/policy.py retrieval"     # only paths that hold one of these words
    make mutants ARGS="--all"                       # every mutant
    make mutants ARGS="--sample 20 --seed 2"

A mutant is the code with one small wrong change (`changes.py`). One that no test notices survives and is printed with
its place. One that changes no behaviour stands in `equivalent.yaml` with the reason, and does not count.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.mutants import trials
from benchmarks.mutants.changes import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
BAR = 0.95
_EQUIVALENT = Path(__file__).with_name("equivalent.yaml")


@dataclass(frozen=True)
class Room:
    """Pure modules, and the tests (globs) that hold them to account."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def test_files(self) -> list[str]:
        return sorted({path.relative_to(ROOT).as_posix() for glob in self.tests for path in ROOT.glob(glob)})


ROOMS = (
    Room(
        "evals",
        tuple(f"evals/{name}.py" for name in (
            "asking/answers", "chat_rows", "gate/case", "gate/policy", "gate/provisional", "gate/rules", "gate/suites",
            "report/advice", "statistics/clusters", "statistics/comparison", "statistics/evidence",
            "statistics/intervals", "statistics/tango",
        )),
        (
            *(f"tests/evals/test_{name}*.py" for name in ("answer", "chat_rows", "edges", "tries")),
            "tests/evals/asking/test_answers.py", "tests/evals/gate/test_*.py", "tests/evals/report/test_advice.py",
            *(f"tests/evals/statistics/test_{name}.py" for name in (
                "clusters", "comparison", "evidence", "intervals", "tango",
            )),
        ),  # of these alone: the others wait for lm-eval
    ),
    Room(
        "lifecycle",
        (
            *(f"lifecycle/{name}.py" for name in (
                "aliases", "config_file", "conversation", "gates", "intervals", "report", "rows/files", "rows/forms",
                "rows/prompt_files", "standing", "states", "text/letters", "text/normaliser", "text/scores",
                "text/signs", "text/strict_json", "traffic", "version",
            )),
            "lifecycle/access/keys.py", "lifecycle/access/usage.py",
            *(f"lifecycle/models/{name}.py" for name in ("base", "peft_config", "preflight", "tensors")),
        ),
        (
            *(f"tests/lifecycle/{folder}test_*.py" for folder in ("", "access/", "models/", "rows/", "text/")),
        ),
    ),
    Room(
        "retrieval",
        tuple(f"retrieval/{name}.py" for name in (
            "analysis", "chunks", "documents", "fusion", "lexical", "prompting"
        )),
        ("tests/retrieval/test_*.py",),
    ),
    Room(
        "service",
        ("service/access/authentication.py", "service/access/limiter.py", "service/resolution.py"),
        ("tests/service/test_access.py", "tests/service/test_auth*.py", "tests/service/test_limiter*.py",
         "tests/service/test_resolution*.py"),
    ),
    Room(
        "console",
        ("console/door.py", "console/sessions.py", "console/signing_in.py"),
        ("tests/console/test_door.py",),
    ),
    Room(
        "traffic and admission",
        ("service/adapters/admission.py",
         *(f"service/traffic/{name}.py" for name in ("arrivals", "canary", "evidence"))),
        ("tests/service/test_admission.py", "tests/service/test_arrivals.py", "tests/service/test_canary.py",
         "tests/service/test_canary_evidence.py"),
    ),
    Room(
        "training",
        tuple(f"training/data/{name}.py" for name in ("balance", "checks", "duplicates", "split")),
        tuple(f"tests/training/test_{name}.py" for name in (
            "balance", "checks", "data_checks", "duplicates", "split", "split_files"
        )),
    ),
    Room(
        "personal data",
        tuple(
            f"training/data/personal/{name}.py"
            for name in ("addresses", "cues", "json_pieces", "national_ids", "numbers", "phones",
                         "redaction", "spelling")
        ),
        ("tests/training/personal/test_*.py",),
    ),
)  # fmt: skip


def main(
    only: Annotated[list[str] | None, typer.Argument(help="Words of the paths to try; all without.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="Mutants of each module at most.")] = 30,
    everything: Annotated[bool, typer.Option("--all", help="Every mutant, not a sample.")] = False,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="At a time.")] = os.cpu_count() or 1,
) -> None:
    """Try the mutants and print how many of each module were noticed."""
    os.chdir(ROOT)
    console = Console(width=120, highlight=False)
    console.print(f"seed {seed}, {'all mutants' if everything else f'at most {sample} of a module'}")
    known, stale = _equivalents()
    began = time.monotonic()
    noticed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    for room in ROOMS:
        wanted = [m for m in room.modules if not only or any(word in m for word in only)]
        if not wanted:
            continue
        survey = trials.survey(ROOT, room.test_files(), wanted)
        trials.check_unchanged(ROOT, wanted[0], survey)
        chosen: list[Mutant] = []
        for module in wanted:
            made = mutants(ROOT / module, ROOT)
            stale -= {mutant.change for mutant in made}
            real = [mutant for mutant in made if mutant.change not in known]
            equal[module] = len(made) - len(real)
            chosen += real if everything else _some(real, sample, seed)
        asked = (
            (mutant, tests, sum(survey.seconds[test] for test in tests))
            for mutant in chosen
            for tests in [trials.tests_for(mutant, survey)]
        )
        for mutant, was_noticed in trials.try_all(ROOT, asked, jobs):
            tried[mutant.module] += 1
            noticed[mutant.module] += was_noticed
            if not was_noticed:
                console.print(f"survived {mutant.module}:{mutant.line}", style="yellow", markup=False)
                console.print(f"  - {mutant.before}\n  + {mutant.after}", markup=False, soft_wrap=True)
    below = _show(console, tried, noticed, equal)
    console.print(f"{sum(tried.values())} mutants in {time.monotonic() - began:.0f} s")
    stale = {change for change in stale if change[0] in tried}
    for module, before, after in sorted(stale):
        console.print(f"equivalent.yaml: no such change of {module} any more: {before} → {after}", markup=False)
    if below:
        console.print(f"below {BAR:.0%}: {', '.join(below)}")
    if below or stale:
        sys.exit(1)


def _some(real: list[Mutant], count: int, seed: int) -> list[Mutant]:
    drawn = random.Random(seed).sample(range(len(real)), min(count, len(real)))
    return [real[at] for at in sorted(drawn)]


def _equivalents() -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
    """Twice: to know them by, and to strike out those that still exist."""
    listed = yaml.safe_load(_EQUIVALENT.read_text(encoding="utf-8"))
    changes = {
        (module, change["before"], after)
        for module, found in listed.items()
        for change in found
        for after in change["after"]
    }
    return changes, set(changes)


def _show(console: Console, tried: Counter[str], noticed: Counter[str], equal: Counter[str]) -> list[str]:
    """Prints the table; the packages below the bar."""
    table = Table("module", box=None)
    for column in ("tried", "noticed", "score", "equivalent, not tried"):
        table.add_column(column, justify="right")

    def row(name: str, modules: list[str], style: str = "") -> float:
        asked, seen = sum(tried[m] for m in modules), sum(noticed[m] for m in modules)
        score = seen / asked if asked else 1.0
        cells = (name, str(asked), str(seen), f"{score:.1%}", str(sum(equal[m] for m in modules)))
        table.add_row(*cells, style=style)
        return score

    below = []
    for room in ROOMS:
        asked = [m for m in room.modules if tried[m]]
        for module in asked:
            row(module, [module])
        if asked and row(room.name, asked, "bold") < BAR:
            below.append(room.name)
    row("all", list(tried), "bold")
    console.print(table)
    return below


if __name__ == "__main__":
    # One thread each: the forks of a process with threads may hang, and two jobs share two cores.
    os.environ.update(
        OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"
    )
    os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1")
    typer.run(main)
