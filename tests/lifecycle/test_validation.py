"""What is wrong with a value is told in our words, in files, options and requests alike."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from lifecycle.config_file import checked
from lifecycle.validation import fault_of, problems_of
from lifecycle.version import Frozen


class Cat(Frozen):
    kind: Literal["cat"] = "cat"


class Dog(Frozen):
    kind: Literal["dog"] = "dog"
    weight: float = 1


class Kept(Frozen):
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    even: Annotated[int, Field(multiple_of=2)] = 2
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    name: Annotated[str, Field(min_length=2, max_length=3)] = "ab"
    colours: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("red",)
    packed: bool | Literal["auto"] = "auto"
    folder: Path = Path()
    since: datetime | None = None
    flags: dict[str, bool] = Field(default_factory=dict)
    beast: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat()


WRONG = [
    ("count", 0, "must be 1 or more"),
    ("count", 2_000_000, "must be 1000000 or less"),
    ("count", 1.5, "must be a whole number"),
    ("count", "many", "must be a whole number"),
    ("even", 3, "must be a multiple of 2"),
    ("share", 0, "must be more than 0"),
    ("share", 1.0, "must be less than 1"),
    ("share", [1], "must be a number"),
    ("name", "a", "must have 2 or more characters"),
    ("name", "abcd", "must have 3 or fewer characters"),
    ("name", 5, "must be a string"),
    ("colours", [], "must have 1 or more items"),
    ("colours", "red", "must be a list"),
    ("packed", "perhaps", "must be true or false, or one of 'auto'"),
    ("folder", 5, "must be a path"),
    ("since", "soon", "must be a date and time (ISO 8601)"),
    ("flags", [1], "must be an object"),
    ("flags", {"a": "perhaps"}, "must be true or false"),
    ("beast", {"kind": "cow"}, "must be one of 'cat', 'dog'"),
    ("beast", {"weight": 3}, "has no 'kind', which says what it is"),
    ("beast", {"kind": "dog", "weight": "much"}, "must be a number"),
]


@pytest.mark.parametrize(("key", "value", "fault"), WRONG)
def test_a_file_and_a_request_are_told_the_same(key: str, value: Any, fault: str) -> None:
    raw = {key: value}
    _, told = checked(Kept, raw)
    with pytest.raises(ValidationError) as refused:
        Kept.model_validate(raw)
    for said in (told, problems_of(refused.value, raw)):
        assert [problem.fault for problem in said] == [fault]
        assert said[0].place.split(".")[0] == key


def test_what_is_no_json_says_so() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(dict[str, int]).validate_json("{")
    assert [fault_of(each) for each in refused.value.errors()] == ["is no JSON"]
