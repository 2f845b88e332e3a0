"""The report as a page: all of it in one file, every text escaped and in its own direction; and what a run takes."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from lifecycle.errors import InvalidConfig, InvalidInput
from tests.training.tiny_bert import make_encoder
from training.data import batches, computer
from training.data.batches import Laid, blocks, lay
from training.data.commands.report import report
from training.data.commands.shown import cost, show
from training.data.computer import Computer, this_computer
from training.data.estimate import (
    Expected,
    Plan,
    expected,
)
from training.data.findings import DataReport
from training.data.looking import Task, data_of, look, task_of

HERE = Computer("here", 1e3)
ATTACK = "<script>alert(1)</script><img src=https://x.test/a onerror=b>"


def run(*args: object, ends: int = 0) -> str:
    app = typer.Typer()
    app.command()(report)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == ends
    return result.output


def test_the_page_is_one_file_that_escapes_everything_and_lets_arabic_run_its_way(
    jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    asked = f"متى تفتح العيادة يا ترى {ATTACK}"
    path = jsonl("t.jsonl", [{"prompt": asked, "completion": "أ", "meta": {"intent": ATTACK}}] * 3)
    test = jsonl("e.jsonl", [{"prompt": asked, "completion": "ب"}])
    html = tmp_path / "r.html"
    said = run(path, "--against", test, "--html", html, ends=1)
    # Where the lines end depends on how long the folder's path is.
    assert f"writtento{html}" in "".join(said.split())
    page = html.read_text(encoding="utf-8")
    assert ATTACK not in page
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 2
    assert re.findall(r"<(?:link|img|script|iframe)\b[^>]*", page) == ['<link rel="icon" href="data:,"']
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert f'<div class="text" dir="auto">{asked.split("<", maxsplit=1)[0]}' in page
    assert "e.jsonl:1 = " in page
    with pytest.raises(InvalidInput, match=r"exists.*--force"):
        run(path, "--html", html)


@pytest.mark.parametrize(("strict", "ends"), [(False, 0), (True, 1)])
def test_a_report_with_warnings_alone_ends_as_a_check_does(
    jsonl: Callable[..., Path], tmp_path: Path, strict: bool, ends: int
) -> None:
    path = jsonl("t.jsonl", [{"prompt": "q", "completion": "a"}])
    run(path, "--html", tmp_path / "r.html", *["--strict"] * strict, ends=ends)
    assert (tmp_path / "r.html").exists()


def test_a_page_of_no_findings_says_so() -> None:
    from training.data.page import render_page

    assert "nothing found" in render_page(
        DataReport(rows=0, against={}, findings=(), balance=None), "t", {}, lambda _: ""
    )


def test_several_files_are_one_report(jsonl: Callable[..., Path]) -> None:
    one, two = (jsonl(name, [{"prompt": "q", "completion": "a"}]) for name in ("a.jsonl", "b.jsonl"))
    found = look(Task((one, two)))
    assert found.rows == 2
    (same,) = [finding for finding in found.findings if finding.check == "duplicates"]
    assert same.places == (f"{one}:1 = {two}:1",)


def test_a_base_counts_tokens_and_tells_what_a_run_takes(
    jsonl: Callable[..., Path], bases: Callable[..., Path], colours: Callable[..., list[dict[str, Any]]]
) -> None:
    found = look(Task((jsonl("t.jsonl", colours(20)),), base=str(bases()), max_length=10))
    assert found.tokens is not None
    assert found.expected is not None
    assert found.expected.tokens == pytest.approx(0.9 * 3 * found.tokens.total, abs=1)  # a tenth is held out
    assert found.expected.steps == 6
    assert found.expected.seconds > 0
    (long,) = [finding for finding in found.findings if finding.check == "tokens"]
    assert (long.level, long.count) == ("error", 20)


def test_a_row_that_the_base_refuses_is_named(jsonl: Callable[..., Path], bases: Callable[..., Path]) -> None:
    path = jsonl("t.jsonl", [{"prompt": "q <|im_end|>", "completion": "a"}, {"prompt": "q", "completion": "a"}])
    (refused,) = [finding for finding in look(Task((path,), base=str(bases()))).findings if finding.check == "tokens"]
    assert f"{path}:1" in refused.places[0]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "blue", "label": "x"}, {"text": "blue"}, {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "completion": "a", "label": False},
    ],
)  # fmt: skip
def test_tokens_of_every_kind_of_row_are_counted(
    jsonl: Callable[..., Path], bases: Callable[..., Path], row: dict[str, Any]
) -> None:
    found = look(Task((jsonl("t.jsonl", [row]),), base=str(bases())))
    assert found.tokens is not None
    assert found.tokens.total > 0


@pytest.mark.parametrize(("lora", "method", "rank"), [(None, "full", 16), ({"r": 4}, "lora", 4)])
def test_a_classifiers_run_is_looked_at_by_its_encoder_which_has_no_end_of_a_turn(
    jsonl: Callable[..., Path], tmp_path: Path, lora: dict[str, int] | None, method: str, rank: int
) -> None:
    make_encoder(tmp_path / "encoder")
    jsonl("rows.jsonl", [{"text": f"so the film was so so {word}", "label": word} for word in ("good", "bad") * 4])
    file = tmp_path / "run.yaml"
    told = {
        "name": "mood",
        "base": str(tmp_path / "encoder"),
        "data": {"train": str(tmp_path / "rows.jsonl")},
        "method": {"type": "classification", "lora": lora, "truncate": True},
        "optimisation": {"max_length": 8},
    }
    file.write_text(json.dumps(told), encoding="utf-8")
    task = Task.of_run(file)
    assert (task.plan.method, task.plan.rank, task.plan.generates) == (method, rank, False)
    found = look(task)
    assert found.tokens is not None
    assert (found.tokens.shortest, found.tokens.longest) == (9, 9)  # with [CLS] and [SEP]
    assert not [finding for finding in found.findings if finding.check == "tokens"], "longer texts are cut"
    file.write_text(json.dumps(told | {"method": {"type": "classification", "lora": lora}}), encoding="utf-8")
    (long,) = [finding for finding in look(Task.of_run(file)).findings if finding.check == "tokens"]
    assert long.count == 8


def test_texts_are_expected_in_the_blocks_that_they_are_packed_into(
    jsonl: Callable[..., Path], bases: Callable[..., Path]
) -> None:
    rows = jsonl("t.jsonl", [{"text": "blue is the sky"}] * 40)
    each, texts = (
        look(Task((rows,), base=str(bases()), plan=Plan(epochs=1, batch=4, method=method), max_length=64)).expected
        for method in ("lora", "text")
    )
    assert each is not None
    assert texts is not None
    assert (each.steps, each.tokens) == (9, texts.tokens)  # a tenth is held out
    assert texts.steps == math.ceil(math.ceil(texts.tokens / 64) / 4)
    assert texts.activations > 2 * each.activations


def test_the_machine_is_the_processor_where_no_driver_is_loaded(tmp_path: Path) -> None:
    machine = this_computer(tmp_path / "version")
    assert (machine.name, machine.gpu) == ("this machine's CPU, in float32", False)
    assert machine.speed > 0


@pytest.mark.parametrize(("found", "name"), [(True, "NVIDIA H200, in bfloat16"), (False, "CPU, in float32")])
def test_the_machine_is_the_gpu_where_a_run_would_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool, name: str
) -> None:
    (driver := tmp_path / "version").touch()
    card = Computer("NVIDIA H200, in bfloat16", 4e14, 2**37, gpu=True)
    monkeypatch.setattr(computer, "_gpu", lambda: card if found else None)
    assert this_computer(driver).name.endswith(name)


def test_what_a_run_costs_says_where_and_how_much_is_free_there() -> None:
    gib = 2**30
    run = Expected(
        tokens=9, steps=1, seconds=60.0, machine="a card", free=100 * gib,
        weights=2 * gib, activations=gib, optimiser=gib,
    )  # fmt: skip
    assert cost(run) == (
        "9 tokens in 1 step; about 60 s on a card; about 4 GiB of the 100 that are free there "
        "(2 weights, 1 activations, 1 optimiser)"
    )


def test_in_a_pipe_what_is_said_of_the_rows_is_a_whole_line_each(
    jsonl: Callable[..., Path], bases: Callable[..., Path]
) -> None:
    rows = [{"prompt": f"q{n}", "completion": "a"} for n in range(40)]
    told = look(Task((jsonl("rows.jsonl", rows),), base=str(bases())))
    assert told.expected is not None
    out = io.StringIO()
    show(told, "Rows", "", Console(file=out, width=40, force_terminal=False))
    assert f"  expected of a run: {cost(told.expected)}" in out.getvalue().splitlines()


def test_a_batch_is_as_wide_as_its_longest_row_and_what_is_packed_has_little_padding() -> None:
    sizes = [Counter({10: 4, 40: 4})]
    padded = lay(sizes, [8], 8)
    assert (padded.rows, padded.batches, padded.tokens) == (8, 1, 200)
    assert (padded.computed, padded.pairs, padded.widest) == (8 * 40, 8 * 40**2, 8 * 40)
    assert lay(sizes, [8], 8, packs=True).computed == 5 * 40
    two = lay(sizes, [8], 8, texts=2)
    assert (two.tokens, two.computed, two.widest) == (400, 16 * 40, 16 * 40)
    assert lay([Counter({30: 9})], [9], 4).computed == 9 * 30, "the last batch is short"
    parts = lay([Counter({30: 9}), Counter({10: 20})], [9, 3], 100)
    assert (parts.rows, parts.tokens) == (12, 300)
    assert lay([Counter()], [0], 8).computed == 0
    assert blocks(Counter({30: 9}), 9, 64) == {64: 4, 14: 1}
    assert blocks(Counter({30: 9}), 3, 100) == {90: 1}


def test_many_batches_are_told_from_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [Counter(dict.fromkeys(range(1, 51), 400))]
    whole = lay(sizes, [20_000], 8)
    assert whole.batches == 2500
    monkeypatch.setattr(batches, "SAMPLE", 2500)
    assert whole.computed == pytest.approx(lay(sizes, [20_000], 8).computed, rel=0.02)
    # Of eight draws from 1 to 50 the largest is 45.0 in the mean.
    assert whole.computed == pytest.approx(20_000 * 45.0, rel=0.02)


def test_what_a_run_lays_is_what_its_trainer_computes(
    jsonl: Callable[..., Path], bases: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.data import looking

    laid: list[Laid] = []

    def keep(*args: Any) -> Any:
        laid[:] = args[2:4]
        return expected(*args)

    monkeypatch.setattr(looking, "expected", keep)

    def look_at(rows: list[Any], validation: list[Any], **more: Any) -> tuple[Laid, Laid]:
        folder = jsonl("train.jsonl", rows).parent
        jsonl("validation.jsonl", validation)
        told = {
            "name": "triage",
            "base": str(bases()),
            "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
            "optimisation": {"batch_size": 4},
        }
        (folder / "run.yaml").write_text(json.dumps(told | more), encoding="utf-8")
        look(Task.of_run(folder / "run.yaml", similarity=None))
        training, validating = laid
        return training, validating

    talks = [{"prompt": "q " * n, "completion": "a"} for n in (1, 60, 1, 60)]
    training, validating = look_at(talks, talks[:2], optimisation={"batch_size": 4, "packing": False})
    assert (training.rows, training.batches, validating.rows) == (4, 1, 2)
    assert training.computed == 2 * validating.computed > training.tokens
    packed, _ = look_at(talks, talks[:2])
    assert packed.computed < training.computed
    pairs = [{"prompt": "q", "chosen": "a " * n, "rejected": "b"} for n in (1, 9, 1, 9)]
    preferred, _ = look_at(pairs, pairs[:1], method="dpo")
    assert (preferred.rows, preferred.batches) == (4, 1), "two texts are one row"
    assert preferred.computed == preferred.widest
    report = look(Task.of_run(tmp_path / "run.yaml", similarity=None))
    assert report.tokens is not None
    assert preferred.tokens == pytest.approx(report.tokens.total), "a pair's shorter text counts as what it has"
    held, out = look_at(talks * 5, talks, data={"train": "train.jsonl", "holdout": 0.2})
    assert (held.rows, out.rows) == (16, 4)


def test_a_configuration_names_what_is_looked_at(jsonl: Callable[..., Path], bases: Callable[..., Path]) -> None:
    rows = [{"prompt": f"q{n}", "completion": "a"} for n in range(4)]
    train, validation = jsonl("train.jsonl", rows), jsonl("validation.jsonl", rows[:1])
    config = train.parent / "run.yaml"
    config.write_text(
        f"name: triage\nbase: {bases()}\ndata: {{train: train.jsonl, validation: validation.jsonl}}\n"
        "optimisation: {epochs: 2, batch_size: 2, max_length: 64}\n"
    )
    task = task_of((config,), against=())
    assert (task.files, task.against) == ((train,), (validation,))
    assert (task.plan.epochs, task.plan.batch, task.plan.rank, task.max_length) == (2, 2, 16, 64)
    found = look(task)
    assert [finding.check for finding in found.of("error")] == ["leakage"]
    assert found.expected is not None
    assert found.expected.steps == 4


def test_an_evaluations_configuration_names_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "eval.yaml"
    path.write_text("name: x\ntask: y\ndata: rows/test.jsonl\n")
    assert data_of(path) == [tmp_path / "rows" / "test.jsonl"]
    path.write_text("name: x\ntask: y\n")
    with pytest.raises(InvalidConfig, match="names no file of rows"):
        data_of(path)
