"""A split never parts rows that ask the same, in any words; it is drawn by a seed, and writes rows as they stood."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import DabtError, InvalidData, InvalidInput
from lifecycle.rows.files import Reading
from lifecycle.text.normaliser import LIGHT_1
from training.data.duplicates import near
from training.data.split_files import Side, Way, split


def sides(folder: Path, *sizes: float | None, suffix: str = ".jsonl") -> list[Side]:
    names = ("train", "validation", "test")[: len(sizes)] if len(sizes) != 2 else ("train", "test")
    return [Side(name, folder / f"{name}{suffix}", size) for name, size in zip(names, sizes, strict=True)]


def questions(path: Path) -> list[str]:
    return [LIGHT_1.normal(row.question) for row in Reading(path)]  # type: ignore[union-attr]


def planted(seed: int = 5) -> list[dict[str, Any]]:
    """A hundred clusters of 1 to 6 rows: one question in other spellings, or with a word more."""
    drawn = random.Random(seed)
    rows = []
    for cluster in range(100):
        asked = "".join(drawn.choices("abcdefghijklmnop ", k=60))
        for copy in range(drawn.randint(1, 6)):
            text = (asked, asked.upper(), f"{asked} x", f"{asked}!?", f"{asked[:-1]}", f"{asked} 7")[copy]
            rows.append({"prompt": text, "completion": "ab"[cluster % 4 == 0], "meta": {"cluster": cluster}})
    drawn.shuffle(rows)
    return rows


def test_no_pair_of_near_duplicates_falls_on_two_sides(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    rows = planted()
    path, out = jsonl("rows.jsonl", rows), sides(tmp_path, None, 0.2, 0.2)
    told = split(path, out)
    texts = {side.name: questions(side.path) for side in out}
    assert sum(map(len, texts.values())) == len(rows)
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert near(texts[one], 0.85, texts[other]) == []
        assert not set(texts[one]) & set(texts[other])
    assert near(texts["train"], 0.85), "the clusters are there"
    assert told.groups == 100
    for name in ("validation", "test"):
        assert abs(told.rows(name) - 0.2 * len(rows)) <= 6
    where = {json.loads(line)["meta"]["cluster"]: side.name for side in out for line in side.path.open()}
    for side in out:
        assert all(where[json.loads(line)["meta"]["cluster"]] == side.name for line in side.path.open())


def test_the_same_seed_gives_the_same_files_and_another_gives_others(
    jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    path, out = jsonl("rows.jsonl", planted()), sides(tmp_path, None, 0.2)
    written = []
    for seed in (1, 1, 2):
        split(path, out, Way(seed=seed), force=True)
        written.append([side.path.read_bytes() for side in out])
    assert written[0] == written[1] != written[2]


def test_every_side_has_its_share_of_every_label_and_counts_are_exact(
    jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    drawn = random.Random(1)
    labels = ["rare"] * 20 + ["some"] * 80 + ["common"] * 300
    rows = [{"text": "".join(drawn.choices("abcdefghij", k=30)), "label": label} for label in labels]
    out = sides(tmp_path, None, 40, 0.25)
    told = split(jsonl("rows.jsonl", rows), out)
    assert [told.rows(side.name) for side in out] == [260, 40, 100]
    assert told.labels["test"] == {"rare": 5, "some": 20, "common": 75}
    assert told.labels["validation"] == {"rare": 2, "some": 8, "common": 30}
    assert Counter(json.loads(line)["label"] for line in out[0].path.open()) == told.labels["train"]


@pytest.mark.parametrize("field", ["urgency", "meta.urgency"])
def test_a_field_of_the_answer_or_of_meta_stratifies(jsonl: Callable[..., Path], tmp_path: Path, field: str) -> None:
    drawn, rows = random.Random(1), []
    for n in range(100):
        value, asked = "ab"[n < 10], "".join(drawn.choices("abcdefghij", k=30))
        inside = field == "urgency"
        answer = json.dumps({"urgency": value}) if inside else "a"
        rows.append({"prompt": asked, "completion": answer, "meta": {} if inside else {"urgency": value}})
    told = split(jsonl("rows.jsonl", rows), sides(tmp_path, None, 0.2), Way(stratify=field))
    assert told.labels["test"] == {"a": 18, "b": 2}


def test_rows_of_one_patient_stay_together(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    drawn = random.Random(1)
    rows = [{"text": "".join(drawn.choices("abcdefghij", k=30)), "meta": {"patient": n % 17}} for n in range(170)]
    out = sides(tmp_path, None, 0.3)
    told = split(jsonl("rows.jsonl", rows), out, Way(group="patient"))
    patients = [{json.loads(line)["meta"]["patient"] for line in side.path.open()} for side in out]
    assert patients[0] | patients[1] == set(range(17))
    assert not patients[0] & patients[1]
    assert (told.groups, told.rows("test")) == (17, 50)


def test_rows_are_written_as_they_stand(tmp_path: Path) -> None:
    lines = [f'{{"prompt":"سؤال {name * 9}",  "completion": "\\u0061\u2028b", "id": 1.50}}' for name in "abcdefgh"]
    path = tmp_path / "in.jsonl"
    path.write_text("\n\n".join(lines), encoding="utf-8")
    out = sides(tmp_path, None, 3)
    split(path, out)
    written = [line for side in out for line in side.path.read_text(encoding="utf-8").split("\n") if line]
    assert sorted(written) == sorted(lines)
    assert [len(side.path.read_text(encoding="utf-8").split("\n")) - 1 for side in out] == [5, 3]


def test_an_array_over_many_lines_becomes_lines_of_the_same_json(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    rows = [{"prompt": name * 9, "completion": "a", "meta": {"n": 1.5}} for name in "abcdef"]
    path.write_text(json.dumps(rows, indent=2).replace("1.5", "1.50"))
    out = sides(tmp_path, None, 2)
    split(path, out)
    written = [line for side in out for line in side.path.read_text().splitlines()]
    assert sorted((json.loads(line) for line in written), key=lambda row: row["prompt"]) == rows
    assert all("1.50" in line for line in written)


def test_a_table_keeps_its_header_its_quotes_and_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    cells = [f'"{name * 9}, ""so""\nit is",00{n}' for n, name in enumerate("abcdef")]
    path.write_text("\n".join(["text,label", *cells]) + "\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"end it in \.csv"):
        split(path, sides(tmp_path, None, 2))
    out = sides(tmp_path, None, 2, suffix=".csv")
    split(path, out)
    texts = [side.path.read_text(encoding="utf-8") for side in out]
    assert all(text.startswith("text,label\n") for text in texts)
    assert all(sum(cell in text for text in texts) == 1 for cell in cells)
    assert [len(list(Reading(side.path))) for side in out] == [4, 2]


def test_parquet_and_gzip_are_split_too(tmp_path: Path) -> None:
    from lifecycle.rows.writing import write

    rows = [{"prompt": name * 9, "completion": "أ"} for name in "abcdef"]
    for name in ("in.parquet", "in.jsonl.gz"):
        write(tmp_path / name, iter(rows))
        out = sides(tmp_path, None, 2, suffix=".jsonl.gz")
        split(tmp_path / name, out, force=True)
        back = [row for side in out for row in Reading(side.path)]
        assert sorted(row.question for row in back) == [row["prompt"] for row in rows]  # type: ignore[union-attr]


def test_nothing_is_overwritten_without_force_and_all_faults_are_told(
    jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    path, out = jsonl("rows.jsonl", planted()), sides(tmp_path, None, 0.2)
    out[1].path.write_text("before")
    with pytest.raises(InvalidInput, match=r"exists.*--force"):
        split(path, out)
    assert out[1].path.read_text() == "before"
    assert not out[0].path.exists()
    wrong = [
        Side("train", path, None),
        Side("validation", tmp_path / "v.txt", -1),
        Side("test", tmp_path / "v.txt", 1.5),
    ]
    with pytest.raises(InvalidInput) as caught:
        split(path, wrong)
    said = str(caught.value)
    for fault in ("is the file that is read", "is named for two sides", "ends in .txt", "is -1", "is 1.5"):
        assert fault in said
    with pytest.raises(InvalidInput, match="fewer than two"):
        split(path, sides(tmp_path, None)[:1])


@pytest.mark.parametrize(
    ("rows", "way", "sizes", "says"),
    [
        (["{"], Way(), (None, 1), "not_json"),
        ([{"text": "a" * 9}, {"text": "b" * 9}], Way(), (None, 5), "5 rows are asked of 2"),
        ([{"text": "a" * 9}, {"text": "A" * 9}], Way(), (None, 1), "left for it: 1 group, the largest of 2 rows"),
        ([{"text": "a" * 9}, {"text": "b" * 9}], Way(), (None, 0.1), "a share of 0.1 of 2 rows is less than one row"),
        ([{"text": "a" * 9}, {"text": "b" * 9}], Way(group="patient"), (None, 1), "no row has meta.patient"),
        ([{"text": "a" * 9}, {"text": "b" * 9}], Way(stratify="urgency"), (None, 1), "no row has urgency"),
    ],
)
def test_what_cannot_be_split_is_told_and_writes_nothing(
    jsonl: Callable[..., Path], tmp_path: Path, rows: list[Any], way: Way, sizes: tuple[float | None, ...], says: str
) -> None:
    out = sides(tmp_path, *sizes)
    with pytest.raises(DabtError, match=says) as caught:
        split(jsonl("rows.jsonl", rows), out, way)
    assert isinstance(caught.value, InvalidInput | InvalidData)
    assert not any(side.path.exists() for side in out)


def test_the_command_says_what_it_wrote(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    import typer
    from typer.testing import CliRunner

    from training.data.commands.split import split as command

    app = typer.Typer()
    app.command()(command)
    path = jsonl("rows.jsonl", [{"text": name * 9, "label": "xy"[name > "d"]} for name in "abcdefgh"])
    paths = [f"--train={tmp_path / 'a.jsonl'}", f"--test={tmp_path / 'b.jsonl'}", "--test-size=0.25"]
    result = CliRunner().invoke(app, [str(path), *paths])
    assert result.exit_code == 0, result.output
    # Where the lines end depends on how long the folder's path is.
    assert "b.jsonl:2rows:x1y1" in "".join(result.output.split())
    assert "8 groups of rows that ask the same or nearly; the largest has 1" in result.output
