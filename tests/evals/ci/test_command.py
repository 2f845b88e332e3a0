"""`dabt eval --ci`: every way in which it ends has its exit code, and leaves its files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

import dabt
import evals.run
from lifecycle.errors import DabtError, Unavailable
from lifecycle.verdict import Ruling


@pytest.fixture
def call(workplace, trained, home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command on an evaluation that ends as `ends` says."""
    monkeypatch.setenv("DABT_REGISTRY_URL", home.registry_url)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    asked: dict[str, bool] = {}

    def call(ends: object, *words: str, file: str = "toy.yaml"):
        def evaluate(*_: object, first_deploy: bool, **__: object) -> object:
            asked["first_deploy"] = first_deploy
            if isinstance(ends, BaseException):
                raise ends
            return ends

        monkeypatch.setattr(evals.run, "evaluate", evaluate)
        folder = ["--ci-folder", str(tmp_path / "ci")] if "--ci" in words else []
        words = ("eval", str(workplace / file), "--home", str(home.root), *words, *folder)
        result = CliRunner().invoke(dabt.app, words)
        return result, asked

    return call


def junit(tmp_path: Path) -> ElementTree.Element:
    return ElementTree.parse(tmp_path / "ci" / "junit.xml").getroot()


@pytest.mark.parametrize(
    ("ruling", "code", "word"),
    [(Ruling.PASSED, 0, "passed"), (Ruling.FAILED, 2, "failed"), (Ruling.UNDECIDED, 3, "undecided")],
)
def test_the_ruling_is_the_exit_code_and_in_both_files(call, evaluated, tmp_path, ruling, code, word) -> None:
    result, asked = call(evaluated({"adapter": ruling}), "--ci")
    assert result.exit_code == code, result.output
    assert f"{word}: adapter (toy:2)" in result.output
    assert asked["first_deploy"]
    assert word in (tmp_path / "ci" / "summary.md").read_text("utf-8").splitlines()[0]
    red = [junit(tmp_path).get("failures"), junit(tmp_path).get("errors")]
    assert (red == ["0", "0"]) is (code == 0)


def test_without_ci_a_failed_verdict_is_no_error_and_no_file_is_written(call, evaluated, tmp_path) -> None:
    result, asked = call(evaluated({"adapter": Ruling.FAILED}))
    assert result.exit_code == 0
    assert not asked["first_deploy"]
    assert not (tmp_path / "ci").exists()


def test_an_arm_that_must_pass_is_named(call, evaluated) -> None:
    made = evaluated({"few-shot": Ruling.FAILED, "adapter": Ruling.PASSED})
    assert call(made, "--ci")[0].exit_code == 2
    assert call(made, "--ci", "--arm", "adapter")[0].exit_code == 0
    result, _ = call(made, "--ci", "--arm", "nobody")
    assert isinstance(result.exception, DabtError)
    result, _ = call(made, "--arm", "adapter")
    assert "with --ci" in str(result.exception)


@pytest.mark.parametrize("error", [Unavailable("the endpoint is down"), RuntimeError("a fault of ours")])
def test_an_error_leaves_the_files_too(call, tmp_path, error: Exception) -> None:
    result, _ = call(error, "--ci")
    assert result.exception is error
    assert junit(tmp_path).get("errors") == "1"
    assert str(error) in (tmp_path / "ci" / "summary.md").read_text("utf-8")


def test_a_file_that_cannot_be_read_leaves_them_too(call, tmp_path) -> None:
    result, _ = call(None, "--ci", file="none.yaml")
    assert isinstance(result.exception, DabtError)
    assert junit(tmp_path).get("errors") == "1"


@pytest.mark.parametrize(("words", "code"), [(("--ci",), 1), ((), 2)])
def test_wrong_usage_is_an_error_and_never_a_failed_candidate(call, words: tuple[str, ...], code: int) -> None:
    for wrong in ("--no-such-option", "--limit=none", "--limit=0"):
        assert call(None, *words, wrong)[0].exit_code == code


@pytest.mark.parametrize("wrong", ["--no-such-option", "--limit=none", "--limit=0"])
@pytest.mark.parametrize("written", ["--ci-folder={}", "--ci-folder {}", ""])
def test_wrong_usage_leaves_the_files_of_an_error_where_they_were_asked_for(
    evaluated, tmp_path, monkeypatch, wrong: str, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ("ci" if written else "dabt-ci")
    folder.mkdir()
    (folder / "junit.xml").write_text("green, of a run before", encoding="utf-8")
    words = ["eval", "toy.yaml", "--ci", *written.format(folder).split(), wrong]
    assert CliRunner().invoke(dabt.app, words).exit_code == 1
    (error,) = ElementTree.parse(folder / "junit.xml").getroot().iter("error")
    summary = (folder / "summary.md").read_text("utf-8")
    option = wrong.partition("=")[0]
    assert option in error.get("message", "")
    assert option in summary
    assert summary.startswith("# dabt eval: ✗ error")


def test_a_run_that_is_interrupted_leaves_nothing_green_of_the_one_before(call, evaluated, tmp_path) -> None:
    call(evaluated({"adapter": Ruling.PASSED}), "--ci")
    assert junit(tmp_path).get("errors") == "0"
    call(KeyboardInterrupt(), "--ci")
    assert not list((tmp_path / "ci").iterdir())


def test_a_folder_that_can_hold_no_files_is_told_before_anything_is_asked(call, evaluated, tmp_path) -> None:
    (tmp_path / "ci").write_text("a file", encoding="utf-8")
    result, asked = call(evaluated({"adapter": Ruling.PASSED}), "--ci")
    assert isinstance(result.exception, DabtError)
    assert "--ci-folder: " in str(result.exception)
    assert not asked


def test_an_arm_that_nobody_judges_is_told_before_anything_is_asked(call, evaluated) -> None:
    result, asked = call(evaluated({"adapter": Ruling.PASSED}), "--ci", "--arm", "base")
    assert isinstance(result.exception, DabtError)
    assert "--arm: base is no arm that is judged; there is few-shot, rag, adapter" in str(result.exception)
    assert not asked


def test_a_message_of_ours_ends_the_command_with_1(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["dabt", "eval", "none.yaml", "--ci", "--ci-folder", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        dabt.main()
    assert stopped.value.code == 1
    assert "error:" in capsys.readouterr().err
