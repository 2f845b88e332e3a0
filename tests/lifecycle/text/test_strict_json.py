"""JSON that every program reads alike: what it is, and in whose words the rest is refused."""

from __future__ import annotations

import json
import pickle
import random
import re
from typing import Any

import pytest

from lifecycle.text import strict_json
from lifecycle.text.strict_json import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, -2.5, true, false, null, "ض"]}', {"a": [1, -2.5, True, False, None, "ض"]}),
        ("12", 12), ("1.0", 1.0), ("1e308", 1e308), ('""', ""), ("[]", []), ("{}", {}), (' {"a":1} \n', {"a": 1}),
        ('"\\ud83d\\ude00"', "😀"), ('{"a": {"b": 1}, "b": 1}', {"a": {"b": 1}, "b": 1}),
        ("9" * 300, int("9" * 300)),
    ],
)  # fmt: skip
def test_a_json_text_is_its_value(text: str, value: Any) -> None:
    found = parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "^is not JSON: "), ("{", "^is not JSON: "), ("a", "^is not JSON: "), ('{"a": 1} x', "^is not JSON: "),
        ("{'a': 1}", "^is not JSON: "), ("[1,]", "^is not JSON: "), ("01", "^is not JSON: "),
        ("NaN", "^is not JSON: it has no NaN$"), ("[Infinity]", "^is not JSON: it has no Infinity$"),
        ("-Infinity", "^is not JSON: it has no -Infinity$"),
        ("1e309", "^has a number that is too large: 1e309$"), ("[-1e999]", "too large: -1e999$"),
        ("9" * 400, f"^has a number that is too large: {'9' * 20}$"),
        ("9" * 4500, "^has a number that is too large: more than 4,300 digits$"),
        ('"\\ud800"', "^has half of a surrogate pair"), ('"\\udc00x"', "^has half of a surrogate pair"),
        ('{"a": 1, "b": 2, "a": 1}', "^says 'a' twice in one object$"),
        ('{"b": 1, "ض": 2, "ض": 3}', r"^says '\\u0636' twice in one object$"),
        ('{"x": [{"a": 1, "a": 1}]}', "^says 'a' twice"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_it_is(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_the_quick_reader_gives_what_the_careful_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(3)
    numbers = [repr(drawn.uniform(-1, 1) * 10.0 ** drawn.randint(-30, 30)) for _ in range(2000)]
    texts = [
        *numbers, *(f"{drawn.getrandbits(bits)}" for bits in range(1, 900, 7)), "-0", "-0.0", "9" * 299, "9" * 300,
        *(f"{drawn.getrandbits(60)}.{drawn.getrandbits(60)}" for _ in range(500)), '"\u2028\x7f"', '"\\u0000"',
        '"\ufeff"', '{"": {"": []}}', '"1e999 12345"', '{"1e999": "9e9"}',
    ]  # fmt: skip
    quick = [parse(text) for text in texts]
    monkeypatch.setattr(strict_json, "_LARGE", re.compile(""))
    careful = [parse(text) for text in texts]
    assert [*map(repr, quick)] == [*map(repr, careful)]


@pytest.mark.parametrize("number", ["1e309", "1E+309", "-1e999", f"{'9' * 250}e99", f"0.{'0' * 250}1e999"])
def test_no_number_becomes_infinite_in_any_place(number: str) -> None:
    with pytest.raises(ValueError, match=r"^has a number that is too large"):
        parse(f'{{"a": [0, {number}]}}')


def test_half_of_a_surrogate_pair_is_refused_as_a_character_too() -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogate"):
        parse('"\ud800"')


def test_nesting_is_refused_before_anything_behind_gives_up() -> None:
    assert parse("[" * 150 + "]" * 150)
    for depth in (1_000, 100_000):
        with pytest.raises(ValueError, match=r"^is nested too deeply: 200 levels are the most$"):
            parse("[" * depth + "]" * depth)


def test_a_long_key_is_named_by_its_beginning() -> None:
    key = "k" * 200
    with pytest.raises(ValueError, match=f"^says '{'k' * 80}' twice"):
        parse(json.dumps({key: 1})[:-1] + f', "{key}": 2}}')


def test_numbers_of_a_row_are_written_as_they_were_spelled() -> None:
    text = (
        '{"a": 1.10, "b": [1e3, -0, -0.0, 12345678901234567890, 0.1234567890123456789, 1E5, 1e-7, 5, 1.0, 1e-400],'
        ' "c": {"d": 100.00}, "e": "1.10, 2.20 ]", "f": 0.00001, "ض": "ض", "g": null, "h": [true, false, {}, []]}'
    )
    value = strict_json.kept(text)
    assert strict_json.written(value) == text
    assert value == parse(text), "and each is the same number"
    assert strict_json.written(pickle.loads(pickle.dumps(value))) == text
    assert [f"{number}" for number in strict_json.respelled(value)][:3] == ["1.10", "1e3", "-0"]


def test_every_number_is_kept_however_it_is_spelled() -> None:
    drawn = random.Random(5)
    for _ in range(3000):
        digits = "".join(drawn.choices("0019", k=drawn.randint(1, 18))).lstrip("0") or "0"
        fraction = drawn.choice(["", "." + "".join(drawn.choices("0015", k=drawn.randint(1, 18)))])
        number = drawn.choice(["", "-"]) + digits + fraction + drawn.choice(["", "", "e5", "E-07", "e+2"])
        text = f'{{"a": [{number}], "b": {number}}}'
        assert strict_json.written(strict_json.kept(text)) == text
