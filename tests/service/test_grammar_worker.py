"""The process that compiles on trial, with xgrammar itself: what passes, what is refused and why, and what is ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lifecycle.errors import InvalidInput, Unavailable
from service.engine.grammar import trial
from service.engine.grammar.trial import Constraint, GrammarTrials

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

LETTERS = [bytes([at]) for at in range(256)] + [f"{a}{b}".encode() for a in "etaoinshr" for b in "etaoinshrdlu"]


@pytest.fixture(scope="module")
def tokens() -> str:
    import xgrammar

    kind = xgrammar.VocabType.RAW
    info = xgrammar.TokenizerInfo(LETTERS, kind, vocab_size=len(LETTERS), stop_token_ids=[0])
    text: str = info.serialize_json()
    return text


def told(tokens: str, constraints: list[Constraint], seconds: float = 5.0) -> list[str]:
    """For each, one after the other: what is said of it, empty when it passes."""

    async def ask(trials: GrammarTrials, constraint: Constraint) -> str:
        try:
            await trials.check(constraint)
        except InvalidInput as error:
            return error.problems[0].fault
        except Unavailable:
            return "unavailable"
        return ""

    async def all_of_them() -> list[str]:
        trials = GrammarTrials(seconds)
        trials.start(tokens, whitespace=True)
        said = [await ask(trials, constraint) for constraint in constraints]
        await trials.stop()
        return said

    return asyncio.run(all_of_them())


def schema(**keys: Any) -> Constraint:
    return Constraint("json", json.dumps(keys))


CASES = [
    (schema(type="object"), ""),
    (schema(enum=[f"value{at}" for at in range(2000)]), ""),
    (schema(type="object", properties={f"name{at}": {"type": "string"} for at in range(1000)}), ""),
    (schema(type="string", minLength=1000, maxLength=100_000), ""),
    (schema(type="object", properties={"a": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, required=["a"]), ""),
    (Constraint("regex", r"(\d{3}-){2}\d{4}|[\u0600-\u06FF]+"), ""),
    (Constraint("regex", ""), ""),
    (Constraint("grammar", 'root ::= "نعم" | "لا"'), ""),
    (Constraint("grammar", 'root ::= root root | "a"'), ""),
    (Constraint("lark", 'start: "a" | "b"'), ""),
    (Constraint("structural_tag", '{"type": "structural_tag", "format": {"type": "any_text"}}'), ""),
    (
        Constraint(
            "structural_tag",
            '{"structures": [{"begin": "<a>", "schema": {}, "end": "</a>"}], "triggers": ["<a>"]}',
        ),
        "",
    ),
    (schema(**{"$ref": "#"}), "no text can keep to it"),
    (schema(anyOf=[{"$ref": "#"}, {"$ref": "#"}]), "no text can keep to it"),
    (Constraint("grammar", "root ::= root"), "no text can keep to it"),
    (schema(type="strin"), 'Unsupported type "strin"'),
    (schema(**{"$ref": "#/nowhere"}), "Cannot find field nowhere in #/nowhere"),
    (Constraint("regex", "("), "Regex parsing error at position 2: The parenthesis is not closed."),
    (Constraint("grammar", "root ::= "), "EBNF parser error at line 1, column 10: Expect element, but got"),
    (
        Constraint("grammar", 'x ::= "a"'),
        'EBNF parser error at line 1, column 1: The root rule with name "root" is not found',
    ),
    (Constraint("json", "{"), None),
    (Constraint("structural_tag", "{}"), "it is not of the form that it must have"),
    (Constraint("structural_tag", '{"structures": [5], "triggers": []}'), "it is not of the form that it must have"),
    (Constraint("structural_tag", "5"), "it is not of the form that it must have"),
]


def test_what_can_be_kept_to_passes_and_the_rest_is_told_in_words(tokens: str) -> None:
    said = told(tokens, [constraint for constraint, _ in CASES])
    for (constraint, expected), fault in zip(CASES, said, strict=True):
        if expected is None:
            assert fault
        else:
            assert fault == expected, constraint
    assert not any(word in " ".join(said) for word in (".cc", "::holds", "Traceback", "NoneType"))


def test_what_takes_too_long_to_compile_or_to_keep_to_is_ended_and_others_go_on(
    tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_PATIENCE", 3600)  # a machine so busy that the clock ends it first is the next test's
    dear = schema(type="object", properties={f"name{at}": {"type": "string"} for at in range(16_000)})
    slow = Constraint("regex", "(.*)*" * 60 + "x")
    assert told(tokens, [dear, schema(type="object"), slow], seconds=2.0) == [
        "it takes too long to compile",
        "",
        "each token takes too long to find",
    ]


def test_a_trial_that_gets_no_time_is_ended_and_is_nobodys_fault(tokens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dear = schema(type="object", properties={f"name{at}": {"type": "string"} for at in range(16_000)})
    monkeypatch.setattr(trial, "_PATIENCE", 0.01)
    assert told(tokens, [dear], seconds=20.0) == ["unavailable"]


@pytest.mark.parametrize("end", ["raise MemoryError", "import os; os.abort()", "import os; os._exit(3)"])
def test_a_compiler_that_breaks_down_takes_nobody_with_it(
    tokens: str, end: str, tmp_path: Any, monkeypatch: Any
) -> None:
    program = tmp_path / "worker.py"
    broken = f'def trial(info, kind, spec, *, whitespace):\n    if kind == "regex":\n        {end}\n    return ""\n\n\n'
    source = trial._PROGRAM.read_text(encoding="utf-8")
    program.write_text(source.replace('if __name__ == "__main__":', f'{broken}if __name__ == "__main__":'))
    monkeypatch.setattr(trial, "_PROGRAM", program)
    fault, after = told(tokens, [Constraint("regex", "a"), schema(type="object")])
    expected = "it takes too much memory to compile" if "Memory" in end else "the compiler breaks down at it"
    assert (fault, after) == (expected, "")
