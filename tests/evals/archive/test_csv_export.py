"""CSV of items: no cell is a formula, and every text comes back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from evals.archive.csv_export import export
from lifecycle.text.cells import cell_of, text_of

RISKY = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠x", " =1", "\u200f=1",
         "\ufeff=1", "\xa0\u2066 =cmd|' /C calc'!A0", "'=1", "'", "''", "\0=1"]  # fmt: skip
HARMLESS = ["", "a=b", "1-1", "ألم", "a,b;c\td", 'say "x"', "two\nlines", "200f"]


@pytest.mark.parametrize("text", [*RISKY, *HARMLESS])
def test_a_text_that_could_be_a_formula_is_marked_and_every_text_comes_back(text: str) -> None:
    cell = cell_of(text)
    assert cell == (f"'{text}" if text in RISKY else text)
    assert text_of(cell) == text


def test_what_is_written_is_read_back_by_any_reader_of_csv(keep, tmp_path: Path) -> None:
    texts = {"a": '=HYPERLINK("http://x","y")', "b": "-5; =1+1", "c": 'ألم،\n"شديد"\u200f', "d": "'quoted'"}
    kept = keep({"base": dict.fromkeys("abcd", 0.0), "new": {"a": 1.0, "b": None, "c": 0.25, "d": 1.0}}, texts=texts)
    path = tmp_path / "items.csv"
    assert export(kept, path) == 4
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [text_of(row["new: answer"]) for row in rows] == list(texts.values())
    assert [row["new: exact"] for row in rows] == ["1.0", "unscored: late", "0.25", "1.0"]
    assert [row["slice language"] for row in rows] == ["latin"] * 4
    assert rows[0]["anchor"].startswith("item-")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_a_bom_is_there_only_for_who_asks(keep, tmp_path: Path) -> None:
    kept = keep({"base": {"a": 0.0}, "new": {"a": 1.0}})
    export(kept, tmp_path / "plain.csv")
    export(kept, tmp_path / "excel.csv", bom=True)
    plain, excel = ((tmp_path / name).read_bytes() for name in ("plain.csv", "excel.csv"))
    assert excel == b"\xef\xbb\xbf" + plain
