"""Tables on a terminal of 80 columns: no digest, name or reason is cut, in Arabic either; and how a command ends."""

from __future__ import annotations

import errno
import io
import re
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

import lifecycle
from lifecycle.commands import gates, keys, traffic, versions
from lifecycle.commands.terminal import open_console, run, show

ARABIC = "أُعيد النظر في الطلبات المستعجلة بعد ملاحظات قسم الطوارئ في العيادة"


@pytest.fixture
def dabt(home, monkeypatch):
    app = typer.Typer()
    app.command("versions")(versions.versions)
    app.command("gates")(gates.show)
    app.command("list-keys")(keys.list_)
    app.command("usage")(keys.usage)
    app.command("traffic")(traffic.show)
    app.command("create")(keys.create)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, terminal: bool = True) -> str:
        with monkeypatch.context() as patch:
            if terminal:
                patch.setenv("FORCE_COLOR", "1")
            said = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
        return re.sub(r"\x1b\[[0-9;]*m", "", said)

    return run


def read(text: str) -> str:
    """What stands in the lines, whatever was put on the next one."""
    assert max(map(cell_len, text.splitlines())) <= 80, text
    return " ".join(text.split())


def test_versions_fit_into_a_line_each(dabt, house):
    made = [house.promoted("a"), house.judged("b", passed=False), house.draft("c", name="digest")]
    lines = dabt("versions").splitlines()
    assert len(lines) == 1 + len(made)
    for version in made:
        (line,) = [one for one in lines if version.digest.removeprefix("sha256:")[:12] in one]
        assert line.split()[:3] == [version.name, str(version.number), "base"]
        assert cell_len(line.rstrip()) <= 80


def test_the_trail_has_every_reason_and_subject_whole(dabt, house):
    house.judged("a")
    house.registry.promote("triage:1", actor="amal", reason=ARABIC, force=False)
    said = read(dabt("versions", "--audit"))
    assert ARABIC in said
    assert "triage:prod" in said
    assert "…" not in said


def test_gates_have_every_digest_and_rival_whole(dabt, house):
    house.judged("a")
    gate = house.registry.gate("triage")
    said = read(dabt("gates"))
    assert gate.policy.removeprefix("sha256:")[:12] in said
    assert "…" not in said


def test_a_keys_id_can_be_read_and_copied(dabt, house):
    for name in ("the-application-of-the-clinic", "amal"):
        dabt("create", name, "--model", "triage", "--model", "digest:canary", "--tokens-per-day", "5000000")
    said = read(dabt("list-keys"))
    for key in house.registry.keys.all():
        assert key.id in said
        assert key.name in said
        assert "triage, digest:canary" in said


def test_traffic_is_told_whole(dabt, house):
    house.judged("a")
    house.judged("b")
    house.registry.promote("triage:1", actor="amal", reason="first")
    house.registry.promote("triage:2", actor="amal", reason="second", share=0.25)
    said = read(dabt("traffic"))
    assert "triage:1 (75%), triage:2 (25%)" in said
    assert "…" not in said


def test_in_a_pipe_every_row_is_one_line_however_long(dabt, house):
    house.judged("a")
    house.registry.promote("triage:1", actor="amal", reason=ARABIC * 6)
    said = dabt("versions", "--audit", terminal=False)
    assert any(ARABIC * 6 in line and "triage:prod" in line for line in said.splitlines())


@pytest.mark.parametrize("stderr", [False, True])
def test_in_a_pipe_a_sentence_is_one_line_whatever_the_terminal_around_it_is(stderr, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    sentence = f"{ARABIC}: run `dabt gate set triage --policy policy.yaml --eval triage.yaml`; " * 300
    console = open_console(stderr=stderr)
    console.print(sentence, markup=False, highlight=False)
    show(table(), console)
    said = capsys.readouterr()
    lines = (said.err if stderr else said.out).splitlines()
    assert lines[0] == sentence
    assert [line.split()[:2] for line in lines[1:]] == [
        ["name", "digest"],
        ["triage", "0123456789ab"],
        ["digest", "ba9876543210"],
    ]


def test_on_a_terminal_a_sentence_heeds_its_width(monkeypatch, capsys):
    for name, value in (("COLUMNS", "40"), ("FORCE_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    open_console().print(ARABIC * 3, markup=False, highlight=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert max(map(cell_len, lines)) <= 80


def test_every_command_prints_by_the_one_console():
    root = Path(lifecycle.__file__).parents[1]
    files = [
        path
        for package in ("lifecycle", "training", "evals", "retrieval", "service", "examples")
        for path in (root / package).rglob("*.py")
    ]
    own = {str(path.relative_to(root)) for path in files if re.search(r"(?<![\w.])Console\(", path.read_text("utf-8"))}
    assert own == {"lifecycle/commands/terminal.py"}


# -- any table --------------------------------------------------------------------------------------------------------


def shown(table: Table, width: int) -> list[str]:
    out = io.StringIO()
    show(table, Console(file=out, width=width, force_terminal=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def table() -> Table:
    made = Table("name", "digest", "why", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    made.add_row("triage", "0123456789ab", "لِأنّ العيادة")
    made.add_row("digest", "ba9876543210", "")
    return made


def test_a_table_that_just_fits_is_one():
    natural = len("triage 0123456789ab ") + cell_len("لِأنّ العيادة")
    assert shown(table(), natural)[0].split() == ["name", "digest", "why"]
    assert len(shown(table(), natural)) == 3
    assert shown(table(), natural - 1)[0] == ""


def test_one_that_does_not_has_its_rows_as_lines_without_what_is_empty():
    assert shown(table(), 30) == [
        "",
        "name    triage",
        "digest  0123456789ab",
        "why     لِأنّ العيادة",
        "",
        "name    digest",
        "digest  ba9876543210",
    ]


def test_a_value_longer_than_the_line_goes_on_in_the_next():
    long = Table("name", "digest", box=None)
    long.add_row("triage", "0123456789" * 8)
    lines = shown(long, 50)
    assert "".join(line.removeprefix("digest").strip() for line in lines[2:]) == "0123456789" * 8


def test_what_stands_around_a_narrow_table_has_the_width_of_the_terminal():
    said = "noise floor 0.0% · seed 17 · the seconds hold for this deployment alone"
    narrow = table()
    narrow.title, narrow.caption = "triage: 200 items, base_model, 95 % intervals", said
    lines = shown(narrow, 80)
    assert (lines[0], lines[-1]) == ("triage: 200 items, base_model, 95 % intervals", said)
    narrow.title, narrow.caption = "triage", said
    assert shown(narrow, 30)[0] == "triage", "rows as lines have both, too"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "a file cannot be written (No space left on device): free"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/x/rows"), "/x/rows cannot be written (Disk quota exceeded)"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/']"),
            "No usable temporary directory found in ['/tmp', '/']): free some room, or name a folder",
        ),
        (MemoryError(), "memory ran out: end other programs"),
        (OSError(errno.EROFS, "Read-only file system", "/x/a.lock"), "/x/a.lock is closed to this user (Read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/a"), "/x/a is closed to this user (Permission denied)"),
    ],
)
def test_a_machine_without_room_ends_any_command_with_a_sentence(
    error: Exception, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(command)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("by_typer", [True, False])
def test_an_interrupt_is_told_and_ends_with_130(
    by_typer: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    app = typer.Typer()
    app.command()(command)
    monkeypatch.setattr("sys.argv", ["dabt"])
    with pytest.raises(SystemExit) as ended:
        run(app if by_typer else command)
    assert ended.value.code == 130
    assert "interrupted; nothing is half done: run the same command to go on" in capsys.readouterr().err


def test_other_errors_are_not_hidden() -> None:
    def command() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "rows.jsonl")

    with pytest.raises(FileNotFoundError):
        run(command)
