"""The one reader of YAML: a file is refused with every fault at once, each by its key path, with what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationInfo, field_validator, model_validator

from lifecycle.config_file import load_mapping, refuse_unusable, validated
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import Frozen


class Beats(Frozen):
    rule: Literal["beats"]
    margin_of: float = 0.0


class Floor(Frozen):
    rule: Literal["floor"]
    value: Annotated[float, Field(ge=0.0)]


class Shape(Frozen):
    rank: int = 8
    modules: Literal["all"] | tuple[str, ...] = "all"


class Config(Frozen):
    name: str
    shapes: dict[str, Shape] = Field(default_factory=dict)
    rules: tuple[Annotated[Beats | Floor, Field(discriminator="rule")], ...] = ()
    folder: str = ""
    span: tuple[int, int] = (0, 1)
    either: Beats | Shape | None = None

    @model_validator(mode="after")
    def _named(self) -> Config:
        if self.name == "nobody":
            raise ValueError("nobody is no name")
        return self

    @field_validator("folder", mode="after")
    @classmethod
    def _where(cls, text: str, info: ValidationInfo) -> str:
        return str(info.context["folder"] / text)


NUMBER = "must be a whole number"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "c.yaml"


def read(file: Path, text: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return validated(Config, load_mapping(file), file)


def problems(file: Path, text: str) -> list[Problem]:
    with pytest.raises(InvalidConfig) as caught:
        read(file, text)
    return list(caught.value.problems)


def test_a_file_is_a_model_and_its_validators_know_its_folder(file, tmp_path):
    config = read(file, "name: فرز\nshapes: {a: {rank: 4}}\nrules: [{rule: floor, value: 0.5}]\nfolder: x\n")
    assert (config.name, config.shapes["a"], config.folder) == ("فرز", Shape(rank=4), str(tmp_path / "x"))
    assert config.rules == (Floor(rule="floor", value=0.5),)


def test_every_fault_is_told_at_once_in_the_file_order_of_the_keys_that_a_person_wrote(file):
    found = problems(
        file,
        "shapes: {a: {rank: many, modules: 3}, b: {rnak: 2}}\n"
        "rules: [{rule: floor, value: -1}, {rule: beats, marginof: 1}, {rule: floor}]\ncolour: red\n",
    )
    assert {one.place.removeprefix(f"{file}: ") for one in found} == {
        "name", "shapes.a.rank", "shapes.a.modules", "shapes.b.rnak", "rules.0.value", "rules.1.marginof",
        "rules.2.value", "colour",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place", "fault", "cure"),
    [
        ("name: n\nfoldr: x", "foldr", "is no key here", "did you mean folder?"),
        ("name: n\nzzz: x", "zzz", "is no key here", "the keys here are name, shapes, rules, folder, span, either"),
        ("name: n\nshapes: {a: {q: 1}}", "shapes.a.q", "is no key here", "the keys here are rank, modules"),
        ("name: n\nrules: [{rule: beats, q: 1}]", "rules.0.q", "is no key here", "the keys here are rule, margin_of"),
        ("folder: x", "name", "is missing", ""),
        ("name: n\nrules: [{rule: floor}]", "rules.0.value", "is missing", ""),
        ("name: n\nspan: [1]", "span.1", "is missing", ""),
        ("name: n\nspan: [1, x]", "span.1", NUMBER, ""),
        ("name: n\nshapes: {a: {rank: []}}", "shapes.a.rank", NUMBER, ""),
    ],
)
def test_a_key_that_is_unknown_or_missing_is_told_with_what_belongs_there(file, text, place, fault, cure):
    assert problems(file, text) == [Problem(f"{file}: {place}", fault, cure)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is not a mapping"),
        (b"- a\n", "is not a mapping"),
        (b"a: [", "is no YAML in UTF-8: while parsing"),
        (b"a: \xff", "is no YAML in UTF-8"),
        (b"[" * 5000, "is no YAML in UTF-8"),
        (b"a: !!python/name:os.system x", "is no YAML in UTF-8"),
        (b"a: 1\nb: 2\na: 3\n", "line 3: the key a stands in line 1 already"),
        (b"? [a]\n: 1\n", "is no YAML in UTF-8"),
        (b"a:\n  b: 1\n  b: 1\n", "line 3: the key b stands in line 2 already"),
    ],
)
def test_what_is_no_mapping_of_keys_written_once_is_refused_by_its_file(file, text, says):
    file.write_bytes(text)
    with pytest.raises(InvalidConfig, match=f"{file.name} cannot be read") as caught:
        load_mapping(file)
    (problem,) = caught.value.problems
    assert problem.place == str(file)
    assert says in problem.fault


def test_what_a_file_says_as_a_whole_is_placed_by_the_file(file):
    assert problems(file, "name: nobody") == [Problem(str(file), "nobody is no name")]


def test_the_names_of_a_unions_members_are_no_part_of_a_place(file):
    for written in ("{x: 1}", "3"):
        assert {one.place for one in problems(file, f"name: n\nshapes: {{a: {{modules: {written}}}}}")} == {
            f"{file}: shapes.a.modules"
        }
    found = problems(file, "name: n\nshapes: {a: {modules: [q, 1]}}")
    assert {one.place for one in found} == {f"{file}: shapes.a.modules", f"{file}: shapes.a.modules.1"}


def test_each_member_of_a_union_says_what_it_would_take(file):
    found = problems(file, "name: n\neither: {rank: 4, q: 1}")
    assert [one.cure for one in found if one.place.endswith("either.q")] == [
        "the keys here are rule, margin_of",
        "the keys here are rank, modules",
    ]


def test_a_merged_mapping_may_say_a_key_again(file):
    file.write_text("deep: [{x: &b {<<: &a {k: 1}, k: 2}}]\ntop: {<<: *b, k: 3}\n")
    assert load_mapping(file) == {"deep": [{"x": {"k": 2}}], "top": {"k": 3}}


def test_a_file_that_is_not_there_or_is_a_folder_is_told_as_such(file, tmp_path):
    with pytest.raises(InvalidConfig, match=r"c\.yaml: there is no such file"):
        load_mapping(file)
    with pytest.raises(InvalidConfig, match="cannot be read: Is a directory"):
        load_mapping(tmp_path)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a: .inf\nb: {c: [1, -.inf, .nan]}\n", ["a", "b.c.1", "b.c.2"]),
        ('a: "\\ud83d"\n', ["a"]),
        ('"\\ud83d": {a: 1}\n', ["a key"]),
        ("a: &x [*x, .inf]\n", ["a.1"]),
    ],
)
def test_what_is_no_number_or_no_text_is_told_by_its_key(file, text, places):
    file.write_text(text)
    with pytest.raises(InvalidConfig, match=f"{file.name} cannot be used") as caught:
        refuse_unusable(load_mapping(file), file)
    assert [one.place for one in caught.value.problems] == [f"{file}: {place}" for place in places]
    str(caught.value).encode()


@pytest.mark.parametrize("half", ["\\uD800", "\\uDFFF", "\\uDBFF", "\\uDC00"])
def test_half_of_a_pair_is_told_wherever_it_stands_in_a_text(file, half):
    file.write_text(f'name: "a{half}b"')
    with pytest.raises(InvalidConfig, match="has half of a surrogate pair"):
        validated(Config, load_mapping(file), file)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e400", "-1e400", "inf", "nan", '"Infinity"'])
def test_what_is_no_number_is_told_once_beside_every_other_fault(file, number):
    """At the top, in models inside the model, and where a union's members or an unknown key stand."""
    text = (
        f"nmae: n\nname: [1]\nrules: [{{rule: floor, value: {number}}}, {{rule: beats, margin_of: {number}}}]\n"
        f"either: {{margin_of: {number}, rule: beats}}\nspan: [0, {number}]\n"
    )
    found = problems(file, text)
    places = [one.place.removeprefix(f"{file}: ") for one in found]
    assert {"nmae", "name", "span.1"} <= {*places}
    unusable = [one for one in found if one.fault.endswith("which is no number to work with")]
    told = [one.place.removeprefix(f"{file}: ") for one in unusable]
    for place in ("rules.0.value", "rules.1.margin_of", "either.margin_of"):
        assert told.count(place) == 1, place
    assert {one.cure for one in unusable} == {"write a number"}


def test_a_text_may_be_called_like_what_is_no_number(file):
    assert read(file, "name: nan\nshapes: {a: {modules: [inf, 1e400]}}").shapes["a"].modules == ("inf", "1e400")
