"""The leaderboard's items out of its wheel, and its rule: what its own checker said of these answers is the test
(`benchmarks/bfcl.py` runs that checker over all items)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from evals.config import EvalConfig
from evals.sample import Sample
from evals.scorers.bfcl import Bfcl
from evals.scorers.scorer import ScoringContext
from evals.solvers.solver import Attempt
from evals.tasks.bfcl import BfclSuite, tool
from evals.tasks.loading import load_suite
from lifecycle.errors import Corrupt, NotFound
from lifecycle.home import Home
from tests.evals.scorers.conftest import call

FUNCTION = {
    "name": "clinic.book",
    "description": "Book a visit.",
    "parameters": {
        "type": "dict",
        "properties": {
            "day": {"type": "string", "description": "Which."},
            "hour": {"type": "integer"},
            "weight": {"type": "float", "description": "In kilograms."},
            "urgent": {"type": "boolean"},
            "symptoms": {"type": "array", "items": {"type": "string"}},
            "doses": {"type": "tuple", "items": {"type": "float"}},
            "address": {"type": "dict", "properties": {"city": {"type": "string"}}},
            "visits": {"type": "array", "items": {"type": "dict"}},
        },
        "required": ["day", "hour"],
    },
}
POSSIBLE = {
    "day": ["1 May, 2026", "الأحد"],
    "hour": [9],
    "weight": ["", 70, 70.5],
    "urgent": ["", True],
    "symptoms": ["", ["chest pain", "fever"]],
    "doses": ["", [1.5, 2.0]],
    "address": ["", {"city": ["Berlin", "berlin, DE"], "street": ["", "Main"]}],
    "visits": ["", [{"day": ["Mon"]}, {"day": ["Tue"]}]],
}
RIGHT = {"day": "1 May, 2026", "hour": 9}


def sample(target: Any = None, **metadata: Any) -> Sample:
    wanted = {"tool_calls": [{"name": "clinic_book", "possible": POSSIBLE}]}
    return Sample("k", "i", (), wanted if target is None else target, metadata or {"function": FUNCTION})


async def told(arguments: Any, name: str = "clinic_book", target: Any = None) -> tuple[float, str]:
    calls = () if arguments is None else (call(name, arguments),)
    score = await Bfcl().score(sample(target), Attempt((), "", tool_calls=calls), ScoringContext())
    return score.figures["bfcl"], score.explanation


@pytest.mark.parametrize(
    ("more", "right"),
    [
        ({}, 1), ({"day": "1-MAY 2026."}, 1), ({"day": "الأحد"}, 1), ({"day": "2 May, 2026"}, 0), ({"day": 5}, 0),
        ({"hour": 9.0}, 0), ({"hour": "9"}, 0), ({"hour": True}, 0), ({"hour": 10}, 0),
        ({"weight": 70}, 1), ({"weight": 70.5}, 1), ({"weight": 71}, 0), ({"weight": "70"}, 0),
        ({"urgent": True}, 1), ({"urgent": 1}, 0), ({"urgent": False}, 0),
        ({"symptoms": ["Chest-pain", "FEVER"]}, 1), ({"symptoms": ["fever", "chest pain"]}, 0), ({"symptoms": []}, 1),
        ({"symptoms": ["fever", 1]}, 0), ({"doses": [1.5, 2.0]}, 1), ({"doses": [1.5, 2]}, 1), ({"doses": [2.0]}, 0),
        ({"address": {"city": "BERLIN"}}, 1), ({"address": {"city": "Berlin", "street": "main"}}, 1),
        ({"address": {"city": "Paris"}}, 0), ({"address": {"street": "Main"}}, 0), ({"address": {}}, 0),
        ({"visits": [{"day": "mon"}, {"day": "tue"}]}, 1), ({"visits": [{"day": "tue"}, {"day": "mon"}]}, 0),
        ({"visits": [{"day": "mon"}]}, 0), ({"other": 1}, 0),
    ],
)  # fmt: skip
async def test_one_call_is_right_as_the_leaderboard_has_it(more: dict[str, Any], right: int) -> None:
    score, why = await told(json.dumps(RIGHT | more))
    assert score == right
    assert bool(why) is not bool(right)


@pytest.mark.parametrize(
    ("arguments", "name", "why"),
    [
        (None, "", "0 calls were made, and one was wanted"),
        (json.dumps(RIGHT), "cancel", "the call is of cancel"),
        ("{", "clinic_book", "the arguments are no JSON object"),
        ('{"day": "1 May, 2026"}', "clinic_book", "the argument hour is missing"),
        ("[" * 5000, "clinic_book", "the arguments are no JSON object"),
    ],
)
async def test_what_is_no_such_call_is_wrong_and_says_why(arguments: Any, name: str, why: str) -> None:
    assert await told(arguments, name) == (0.0, why)


async def test_of_irrelevance_no_call_is_right_and_one_that_cannot_be_read_is_none() -> None:
    assert (await told(None, target=""))[0] == 1.0
    assert await told("{}", target="") == (0.0, "a tool was called")
    assert (await told("{", target=""))[0] == 1.0
    assert Bfcl().problems(sample("")) == []
    assert [problem.place for problem in Bfcl().problems(sample(None, other=1))] == ["target"]


def wheel(folder: Path, files: dict[str, list[Any]]) -> Path:
    with zipfile.ZipFile(folder / "bfcl_eval-2026.3.23-py3-none-any.whl", "w") as archive:
        for name, rows in files.items():
            archive.writestr(f"bfcl_eval/data/{name}.json", "\n".join(map(json.dumps, rows)))
    return folder


def test_items_are_read_out_of_the_wheel_with_their_tools(tmp_path: Path) -> None:
    asked = {"question": [[{"role": "user", "content": "احجز موعدًا"}]], "function": [FUNCTION]}
    truth = {"id": "simple_python_0", "ground_truth": [{"clinic.book": POSSIBLE}]}
    wheels = wheel(
        tmp_path,
        {"BFCL_v4_simple_python": [{"id": "simple_python_0", **asked}],
         "possible_answer/BFCL_v4_simple_python": [truth],
         "BFCL_v4_irrelevance": [{"id": f"irrelevance_{n}", **asked} for n in range(3)]},
    )  # fmt: skip
    suite = BfclSuite(wheels=wheels)
    first, *others = suite.samples()
    assert first.target == sample().target
    assert (first.metadata["function"], first.slices) == (FUNCTION, {"category": "simple_python"})
    assert [(other.target, other.slices["category"]) for other in others] == [("", "irrelevance")] * 3
    (offered,) = first.tools
    assert offered == tool(FUNCTION)
    properties = offered["function"]["parameters"]["properties"]
    assert offered["function"]["name"] == "clinic_book"
    assert [properties[name]["type"] for name in ("weight", "doses", "address")] == ["number", "array", "object"]
    assert properties["weight"]["description"].endswith("This is a float type value.")
    assert "licence: Apache-2.0" in suite.notes()[0]
    assert len(BfclSuite(wheels=wheels, categories=("irrelevance",), at_most=2).samples()) == 2


def test_a_package_that_is_not_there_or_of_another_form_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="pip install --no-deps bfcl-eval"):
        BfclSuite(wheels=tmp_path).samples()
    wheel(tmp_path, {"BFCL_v4_irrelevance": [{"id": "x", "question": []}]})
    with pytest.raises(Corrupt, match="is not in the form"):
        BfclSuite(wheels=tmp_path, categories=("irrelevance",)).samples()


def test_an_evaluation_names_it_as_its_task_and_needs_no_metric(workplace: Path, home: Home) -> None:
    asked = {"question": [[{"role": "user", "content": "hi"}]], "function": [FUNCTION]}
    wheel(workplace, {"BFCL_v4_irrelevance": [{"id": f"irrelevance_{n}", **asked} for n in range(3)]})
    settings = f"settings: {{wheels: {workplace}, categories: [irrelevance]}}\n"
    text = f"name: toy\npolicy: policy.yaml\ntask: tools/bfcl\n{settings}"
    (workplace / "own.yaml").write_text(text + "arms:\n  base: {}\n  adapter: {version: 'toy:1'}\n")
    suite = load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache)
    assert (suite.metric, len(suite.samples), suite.samples[0].tools) == ("bfcl", 3, (tool(FUNCTION),))
