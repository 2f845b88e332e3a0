"""Instructions about the form of an answer, which a program can check: what narrow training makes a version forget.

The kinds and their names are IFEval's (Zhou et al. 2023, arXiv 2311.07911), those that hold in English and Arabic.
`python -m benchmarks.instructions` holds the checks beside those of the package if-verifiable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from evals.safety.prompts import own, sample
from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from evals.tasks.source import SuiteSource
from lifecycle.errors import Problem
from lifecycle.text import strict_json
from lifecycle.text.letters import visible
from lifecycle.text.normaliser import DEFAULT

Check = Callable[[str, Mapping[str, Any]], bool]
INSTRUCTIONS = "instructions"
"""The field of a sample's metadata that has them: a list of {id, and what the kind needs}."""


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _says(text: str, word: str) -> bool:
    return f" {DEFAULT.normal(word)} " in f" {DEFAULT.normal(text)} "


def _is_json(text: str, _: Mapping[str, Any]) -> bool:
    bare = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        strict_json.parse(bare)
    except ValueError:
        return False
    return True


def _counts(text: str, said: Mapping[str, Any]) -> bool:
    count = len(_words(text))
    bound = int(said["num_words"])
    return count < bound if said["relation"] == "less than" else count >= bound


def _bullets(text: str, said: Mapping[str, Any]) -> bool:
    return len(re.findall(r"^\s*(?:\*[^*].*|-.*)$", text, flags=re.MULTILINE)) == int(said["num_bullets"])


def _quoted(text: str, _: Mapping[str, Any]) -> bool:
    said = text.strip()
    return len(said) > 1 and (said[0], said[-1]) in {('"', '"'), ("«", "»")}


def _ends(text: str, said: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').casefold().endswith(str(said["end_phrase"]).strip().casefold())


CHECKS: dict[str, Check] = {
    "keywords:existence": lambda text, said: all(_says(text, word) for word in said["keywords"]),
    "keywords:forbidden_words": lambda text, said: not any(_says(text, word) for word in said["forbidden_words"]),
    "length_constraints:number_words": _counts,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": lambda text, _: re.search(r"<<[^\n<>]*\w[^\n<>]*>>", text) is not None,
    "detectable_content:number_placeholders": lambda text, said: (
        len(re.findall(r"\[.*?\]", text)) >= int(said["num_placeholders"])
    ),
    "startend:end_checker": _ends,
    "startend:quotation": _quoted,
    "change_case:english_lowercase": lambda text, _: text.islower(),
    "change_case:english_capital": lambda text, _: text.isupper(),
    "punctuation:no_comma": lambda text, _: not re.search("[,،]", text),
}
"""Kind → whether an answer, of which nothing unseen is left, follows it."""


class Follows(Scorer):
    """`follows`: the answer follows all of the sample's instructions; `followed`: their share. Silence follows none."""

    type: Literal["follows"] = "follows"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="follows"), Figure(name="followed", kind=Kind.MEAN))

    def problems(self, sample: Sample) -> list[Problem]:
        given = sample.metadata.get(INSTRUCTIONS)
        if not isinstance(given, list | tuple) or not given:
            return [Problem(f"metadata.{INSTRUCTIONS}", "there is none", "a list of {id: kind, …}")]
        strange = [said.get("id") for said in given if said.get("id") not in CHECKS]
        cure = f"one of {', '.join(CHECKS)}"
        return [Problem(f"metadata.{INSTRUCTIONS}", f"{kind!r} is no kind of instruction", cure) for kind in strange]

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        text, given = visible(attempt.text), sample.metadata[INSTRUCTIONS]
        done = [bool(text.strip()) and CHECKS[said["id"]](text, said) for said in given]
        missed = [said["id"] for said, did in zip(given, done, strict=True) if not did]
        figures = {"follows": float(all(done)), "followed": sum(done) / len(done)}
        return Score(figures, explanation=f"does not follow {', '.join(missed)}" if missed else "")


class InstructionsSuite(SuiteSource):
    """Short requests, each with one or two instructions about its form."""

    metric: str = "follows"

    def samples(self) -> Sequence[Sample]:
        return [sample(row, row["text"]) for row in own("instructions")]

    def scorers(self) -> Sequence[Scorer]:
        return [Follows()]
