"""The console speaks Arabic wholly: no sentence without its translation, and each number with its own plural."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from console.language import LANGUAGES, language, po_files, preferred

CONSOLE = Path(__file__).parents[2] / "console"
KEYWORDS = {"_": None, "N_": None, "gettext": None, "text": None, "texts": (1, 2)}
OTHERS = [code for code in LANGUAGES if code != "en"]
_PLACES = re.compile(r"%\((\w+)\)s")


def sentences() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """(file, sentence or its two forms) of all that stands in the console in English."""
    for file in sorted([*CONSOLE.rglob("*.py"), *CONSOLE.rglob("templates/**/*.html")]):
        method = "python" if file.suffix == ".py" else "jinja2.ext:babel_extract"
        options = {"newstyle_gettext": "true", "silent": "false", "trimmed": "true", "encoding": "utf-8"}
        found = extract(method, BytesIO(file.read_bytes()), KEYWORDS, options=options)
        yield from ((file.relative_to(CONSOLE).as_posix(), said) for _, said, _, _ in found if said)


def known(code: str) -> dict[str, object]:
    """English sentence → what the files of the language have for it."""
    messages = {}
    for file in po_files(code):
        for message in read_po(BytesIO(file.read_bytes()), locale=code):
            if message.id:
                assert not message.fuzzy, f"{file.name}: {message.id} is marked fuzzy"
                messages[message.id if isinstance(message.id, str) else message.id[0]] = message.string
    return messages


def test_the_reader_of_sentences_sees_both_templates_and_modules():
    told = dict(reversed([(file, said) for file, said in sentences()]))
    assert told["templates/sign_in.html"]
    assert told["signing_in.py"]
    assert told["navigation.py"]


@pytest.mark.parametrize("code", OTHERS)
def test_no_sentence_is_without_its_translation(code: str):
    there = known(code)
    missing = []
    for file, said in sentences():
        one = said if isinstance(said, str) else said[0]
        given = there.get(one)
        forms = (given,) if isinstance(said, str) else given
        if not forms or not all(forms) or (not isinstance(said, str) and len(forms) != 6):
            missing.append(f"{file}: {one!r}")
    assert missing == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_names_the_same_values_as_its_sentence(code: str):
    """A place that is spelt otherwise would fail when the page is shown. A form for one number may leave it out."""
    for said, given in known(code).items():
        for form in [given] if isinstance(given, str) else given:
            assert set(_PLACES.findall(form)) - set(_PLACES.findall(said)) <= {"n", "num"}, said
            if isinstance(given, str):
                assert set(_PLACES.findall(form)) == set(_PLACES.findall(said)), said


@pytest.mark.parametrize("code", OTHERS)
def test_no_translation_is_left_over(code: str):
    used = {said if isinstance(said, str) else said[0] for _, said in sentences()}
    assert sorted(set(known(code)) - used) == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_sentence_that_stands_in_two_files_is_translated_alike(code: str):
    """All files are one catalogue: the first one's words would stand where another screen means something else."""
    said: dict[str, set[object]] = {}
    for file in po_files(code):
        for message in read_po(BytesIO(file.read_bytes()), locale=code):
            one = message.id if isinstance(message.id, str) else message.id[0]
            said.setdefault(one, set()).add(message.string)
    assert {one: told for one, told in said.items() if one and len(told) > 1} == {}


@pytest.mark.parametrize(
    ("n", "form"), [(0, 0), (1, 1), (2, 2), (3, 3), (10, 3), (11, 4), (99, 4), (100, 5), (102, 5), (103, 3), (111, 4)]
)
def test_arabic_has_its_six_plurals(n: int, form: int):
    said = known("ar")["%(n)s version"]
    assert isinstance(said, tuple)
    assert len(set(said)) >= 5
    arabic = language("ar")
    assert arabic.texts("%(n)s version", "%(n)s versions", n) == said[form] % {"n": arabic.number(n)}


def test_digits_follow_the_choice_of_the_reader():
    assert language("ar").number(1234.5, 1) == "1,234.5"
    assert language("ar", "arab").number(1234.5, 1) == "١٬٢٣٤٫٥"
    assert language("ar", "arab").percent(0.256) == "٢٦٪"
    assert language("en", "arab").percent(0.256) == "26%"


@pytest.mark.parametrize(
    ("share", "said"), [(1, "100%"), (0, "0%"), (0.2, "20%"), (0.125, "12.5%"), (0.005, "0.5%"), (0.00031, "0.031%")]
)
def test_a_share_of_traffic_is_told_as_it_was_given(share: float, said: str):
    assert language("en").share(share) == said
    assert language("ar", "arab").share(0.125) == "١٢٫٥٪"


@pytest.mark.parametrize(
    ("accepted", "code"),
    [("ar-EG,en;q=0.5", "ar"), ("en-US,ar;q=0.9", "en"), ("fr,ar;q=0.4", "ar"), ("", "en"), ("fr;q=x,*", "en"),
     ("en;q=0,ar;q=0.1", "ar")],
)  # fmt: skip
def test_a_new_reader_gets_the_language_that_the_browser_asks_for(accepted: str, code: str):
    assert preferred(accepted) == code
