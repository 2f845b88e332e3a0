"""`dabt data redact`: the copy is what its name says, and no file that is read is written to."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.errors import InvalidConfig, InvalidInput
from lifecycle.rows.files import Reading
from training.data.commands.check import check
from training.data.commands.redact import redact as redact_file
from training.data.personal import names as names_module

DIRTY = [{"prompt": f"my mail is a{number}@b.org", "completion": "ok"} for number in range(3)]


@pytest.mark.parametrize(
    "name", ["clean.jsonl", "clean.json", "clean.csv", "clean.tsv", "clean.parquet", "clean.jsonl.gz"]
)
def test_the_copy_is_what_its_name_says(jsonl: Callable[..., Path], tmp_path: Path, name: str) -> None:
    redact_file(jsonl("t.jsonl", DIRTY), tmp_path / name)
    rows = list(Reading(tmp_path / name))
    assert [row.question for row in rows] == [f"my mail is [EMAIL_{number}]" for number in (1, 2, 3)]  # type: ignore[union-attr]


def test_records_of_no_form_are_redacted_too_and_told(
    jsonl: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = [{"patient_name": "x", "mail": "a@b.org", "n": 1}, *DIRTY]
    redact_file(jsonl("t.jsonl", raw), out := tmp_path / "clean.jsonl")
    assert f"4 rows written to {out}\n1 row of them cannot be trained on as written" in capsys.readouterr().out
    assert out.read_text().splitlines()[0] == '{"patient_name": "x", "mail": "[EMAIL_1]", "n": 1}'
    redact_file(jsonl("t.jsonl", DIRTY), out)
    assert "cannot be trained on" not in capsys.readouterr().out


def test_numbers_that_are_not_replaced_keep_their_spelling(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    row = '{"prompt": "a@b.org", "completion": "ok", "meta": {"dose": 1.10, "n": 1e3, "phone": "x"}}'
    redact_file(jsonl("t.jsonl", [row]), tmp_path / "clean.jsonl")
    assert (tmp_path / "clean.jsonl").read_text() == row.replace("a@b.org", "[EMAIL_1]") + "\n"


def test_rows_that_are_lists_of_turns_stay_lists(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    turns = [{"user": "a@b.org", "assistant": "ok"}]
    redact_file(jsonl("t.jsonl", [json.dumps(turns)]), tmp_path / "clean.jsonl")
    assert (tmp_path / "clean.jsonl").read_text() == '[{"user": "[EMAIL_1]", "assistant": "ok"}]\n'


def link(path: Path) -> Path:
    path.with_name("link.jsonl").symlink_to(path)
    return path.with_name("link.jsonl")


def twin(path: Path) -> Path:
    path.with_name("twin.jsonl").hardlink_to(path)
    return path.with_name("twin.jsonl")


@pytest.mark.parametrize("same", [lambda path: path, link, twin, lambda path: path.parent / "." / path.name])
def test_a_file_that_is_read_is_not_written_to(jsonl: Callable[..., Path], same: Callable[[Path], Path]) -> None:
    path = jsonl("t.jsonl", DIRTY)
    before = path.read_bytes()
    with pytest.raises(InvalidConfig, match="is a file that is read"):
        redact_file(path, same(path))
    assert path.read_bytes() == before


def test_check_writes_to_none_of_its_files(jsonl: Callable[..., Path]) -> None:
    path, test = jsonl("t.jsonl", DIRTY), jsonl("test.jsonl", DIRTY)
    for out in (path, test):
        with pytest.raises(InvalidConfig, match="is a file that is read"):
            check(path, against=[test], redact=out)


BAD_PLACES = {"folder": ".", "no folder": "none/clean.jsonl", "below a file": "t.jsonl/clean.jsonl", "no name": "clean"}


@pytest.mark.parametrize("out", BAD_PLACES.values(), ids=BAD_PLACES.keys())
def test_a_place_that_cannot_be_written_is_one_error_and_leaves_nothing(
    jsonl: Callable[..., Path], tmp_path: Path, out: str
) -> None:
    path = jsonl("t.jsonl", DIRTY)
    with pytest.raises(InvalidInput, match=r"was written|cannot be written"):
        redact_file(path, tmp_path / out)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.jsonl"]


def test_a_full_disk_leaves_what_was_there(
    jsonl: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = jsonl("t.jsonl", DIRTY), tmp_path / "clean.jsonl"
    out.write_text("before")
    handles = []

    class Full:
        def __init__(self, handle: int, *_: object) -> None:
            handles.append(handle)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(handles.pop())

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lifecycle.rows.writing.os.fdopen", Full)
    with pytest.raises(InvalidInput, match="No space left"):
        redact_file(path, out)
    assert out.read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clean.jsonl", "t.jsonl"]


@pytest.mark.parametrize(
    "bad", ['{"prompt": "half \\ud83d", "completion": "a"}', '{"mess\\ud83d": 1}', "{", "[" * 100_000]
)
def test_a_row_that_cannot_be_read_is_named_and_nothing_is_written(
    jsonl: Callable[..., Path], tmp_path: Path, bad: str
) -> None:
    path = jsonl("t.jsonl", [*DIRTY, bad])
    with pytest.raises(InvalidInput, match=r"t\.jsonl:4"):
        redact_file(path, tmp_path / "clean.jsonl")
    assert not (tmp_path / "clean.jsonl").exists()


def test_names_are_told_to_be_missing_and_refused_where_they_are_asked_for(
    jsonl: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(names_module, "available", lambda: False)
    path = jsonl("t.jsonl", DIRTY)
    redact_file(path, tmp_path / "clean.jsonl")
    assert "3 values replaced (EMAIL 3); 3 rows written" in (said := capsys.readouterr().out)
    assert "dabt[names]" in said
    redact_file(path, tmp_path / "clean.jsonl", names=False)
    assert "dabt[names]" not in capsys.readouterr().out
    with pytest.raises(InvalidConfig, match="is not installed"):
        redact_file(path, tmp_path / "clean.jsonl", names=True)
