"""The sentences: every row is read or is an error with its place, none twice, and no part knows another's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples.reviews import data
from examples.reviews.data import Sentence, distinct, prepare, read, shots, split
from lifecycle.errors import Corrupt, InvalidData
from lifecycle.rows.files import read_rows
from lifecycle.text.normaliser import LIGHT_1
from tests.examples.conftest import END, Packed, fixture
from training.data.duplicates import near


def sentence(text: str, label: str = "positive", name: str = "yelp-0000") -> Sentence:
    return Sentence(name, "yelp", text, label)


def test_rows_are_read_in_order_with_their_place_site_and_label(packed: Packed) -> None:
    rows = [{"text": "  Crust is\nnot good. ", "class": 0}, {"text": "Loved it!", "class": 1}, END]
    read_ = read(packed({"amazon": rows, "imdb": [END], "yelp": rows[:1]}))
    assert read_ == [
        Sentence("amazon-0000", "amazon", "Crust is not good.", "negative"),
        Sentence("amazon-0001", "amazon", "Loved it!", "positive"),
        Sentence("yelp-0000", "yelp", "Crust is not good.", "negative"),
    ]


def test_every_row_that_is_no_labelled_sentence_is_told_with_its_place(packed: Packed) -> None:
    bad: list[Any] = [
        END, {"text": "x", "class": 2}, {"text": "x", "class": None}, {"text": "x"}, {"class": 1}, "x", None,
        {"text": 5, "class": 1}, {"text": " \t", "class": 1}, {"text": "x", "class": True}, {"text": "x", "class": 1.0},
    ]  # fmt: skip
    good = {"text": "x", "class": 1}
    with pytest.raises(InvalidData) as refused:
        read(packed({"amazon": [*bad, good], "imdb": [good, END], "yelp": [good, END, END]}))
    places = [problem.place for problem in refused.value.problems]
    assert places == [
        *(f"package/test/fixtures/amazon.json[{number}]" for number in range(len(bad))),
        "package/test/fixtures/yelp.json[1]",
    ]


@pytest.mark.parametrize("rows", [b"[", b"\xff\xfe", b'{"text": "x"} extra'])
def test_a_fixture_that_is_no_json_is_an_error(packed: Packed, rows: bytes) -> None:
    with pytest.raises(Corrupt, match=r"no package/test/fixtures/amazon.json that can be read"):
        read(packed({"amazon": rows, "imdb": [END], "yelp": [END]}))


def test_a_fixture_that_is_no_list_or_is_missing_is_an_error(packed: Packed, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="a list of rows"):
        read(packed({"amazon": {"text": "x"}, "imdb": [END], "yelp": [END]}))
    with pytest.raises(Corrupt, match=r"imdb.json"):
        read(packed({"amazon": [END]}))
    (tmp_path / "page.tgz").write_text("<html>sign in</html>")
    with pytest.raises(Corrupt, match=r"page.tgz"):
        read(tmp_path / "page.tgz")


def test_of_what_a_reader_takes_for_the_same_the_first_is_kept() -> None:
    texts = ["Great phone.", "great phone", "Bad phone.", "GREAT PHONE!!", "I love this phone so very much, really."]
    nearly = "I love this phone so very much, really!! 1"
    kept = distinct([sentence(text) for text in [*texts, nearly]])
    assert [one.text for one in kept] == ["Great phone.", "Bad phone.", texts[-1]]


def test_a_sentence_that_has_both_labels_is_left_out() -> None:
    kept = distinct([sentence("So-so."), sentence("Great."), sentence("so so", "negative")])
    assert [one.text for one in kept] == ["Great."]


def test_every_part_has_as_many_of_each_site_and_label_and_no_sentence_of_another(whole: Path) -> None:
    parts = split(distinct(read(whole)))
    for part, share in data.SHARES.items():
        counts = Counter((one.site, one.label) for one in parts[part])
        assert counts == {(site, label): share // 2 for site in data.SITES for label in data.LABELS}
    keys = {part: [one.key for one in sentences] for part, sentences in parts.items()}
    for part, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not set(keys[part]) & set(keys[other])
        assert near(keys[part], data.NEAR, keys[other]) == []


def test_the_split_hangs_on_the_words_and_not_on_the_order_of_the_file(whole: Path) -> None:
    sentences = read(whole)
    assert split(sentences) == split(sentences[::-1])


def test_too_few_sentences_of_a_site_are_an_error(packed: Packed) -> None:
    few = sum(data.SHARES.values())
    fixtures = {site: fixture(site, few) for site in data.SITES}
    split(read(packed(fixtures)))
    with pytest.raises(InvalidData, match=f"yelp has {few // 2 - 1} positive sentences, and {few // 2} are wanted"):
        split(read(packed(fixtures | {"yelp": fixture("yelp", few - 1)})))


def test_the_shots_are_short_training_sentences_with_both_labels_by_turns(whole: Path) -> None:
    train = split(read(whole))["train"]
    long = Sentence("long", "yelp", "a" * (data.SHORT + 1), "negative")
    chosen = shots([long, *train])
    assert [one.label for one in chosen] == list(data.LABELS) * (data.SHOTS // 2)
    assert set(chosen) < set(train)


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jsonl")}


def test_what_is_written_is_read_by_training_and_evaluation_and_is_the_same_every_time(
    whole: Path, tmp_path: Path
) -> None:
    prepared = prepare(tmp_path / "data", whole)
    files = written(tmp_path / "data")
    assert prepared.read == 3000
    assert prepared.parts == {part: share * len(data.SITES) for part, share in data.SHARES.items()}
    for part, count in prepared.parts.items():
        (rows,) = read_rows(tmp_path / "data" / f"{part}.jsonl")
        assert len(rows) == count
        assert {row.answer for row in rows} == set(data.LABELS)
    asked = {LIGHT_1.normal(json.loads(line)["user"]) for line in files["shots.jsonl"].splitlines()}
    assert len(asked) == data.SHOTS
    prepare(tmp_path / "data", whole)
    assert written(tmp_path / "data") == files
