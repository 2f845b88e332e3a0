"""`dabt reports`, as a user runs it, at 80 columns."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from evals.archive import command
from lifecycle.commands.terminal import run
from lifecycle.errors import InvalidInput
from lifecycle.home import Home

ROOT = Path(__file__).parents[3]
app = typer.Typer()
app.command("list")(command.list_)
app.command("show")(command.show)
app.command("diff")(command.diff)
app.command("history")(command.history)
app.command("import")(command.import_)
ITEMS = [f"i{number:02}" for number in range(20)]
LOW, HIGH = dict.fromkeys(ITEMS, 0.0), dict.fromkeys(ITEMS, 1.0)
SOME = {**LOW, **dict.fromkeys(ITEMS[:15], 1.0)}


@pytest.fixture
def call(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DABT_REGISTRY_URL", home.registry_url)
    monkeypatch.setenv("DABT_ARTIFACTS_URL", home.artifacts_url)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--home", str(home.root)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return call


@pytest.fixture
def two(keep):
    texts = dict.fromkeys(ITEMS, "عندي ألم \x1b[31m")
    first = keep({"base": LOW, "new": SOME}, texts=texts)
    return first, keep({"base": LOW, "new": HIGH}, day=1, systems={"new": "newer"})


def test_the_list_has_a_line_an_arm_with_its_ruling_and_fits_80_columns(two, call) -> None:
    text = call("list")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if "toy " in line and "2026" in line] == [two[1].name, two[0].name]
    assert "✓ new toy:3 1.000" in text
    assert "· base toy:1 0.000" in text
    assert "and 1 older ones" in call("list", "--limit", "1")
    assert "no evaluation of this kind" in call("list", "--task", "none")
    (row,) = json.loads(call("list", "--until", "2026-03-01", "--json"))
    assert (row["report"], row["arms"][1]["ruling"]) == (two[0].report.digest, "passed")


def test_an_empty_registry_says_so(call) -> None:
    assert "no evaluation is kept yet" in call("list")


@pytest.mark.parametrize(
    ("words", "place"),
    [(["--since", "yesterday"], "since"), (["--verdict", "good"], "verdict")],
)
def test_a_filter_that_is_none_is_told_with_its_option(call, words: list[str], place: str) -> None:
    with pytest.raises(Exception, match=place):
        call("list", *words)


def test_a_report_is_shown_as_it_was_printed(two, call) -> None:
    text = call("show", two[0].name)
    assert "toy: 20 items, tiny-base, 95 % intervals" in text
    assert f"digest {two[0].report.digest}" in text
    assert json.loads(call("show", "latest", "--json"))["full"]["seed"] == 1


def test_items_are_shown_where_arms_differ_by_search_and_by_link(two, call, tmp_path: Path) -> None:
    text = call("show", two[0].name, "--disagree", "--limit", "2")
    assert "15 of 20 items, the first 2 of them shown" in text
    assert text.count("#item-") == 2
    assert "عندي ألم" in text
    assert "\x1b" not in text, "an answer must not command the terminal"
    link = next(word for word in text.split() if "#item-" in word)
    assert "1 of 20 items" in call("show", link)
    assert "2 of 20 items" not in call("show", two[0].name, "--item", "i03")
    assert "10 of 20 items" in call("show", two[0].name, "--search", "ask i0")
    (row,) = json.loads(call("show", two[0].name, "--item", "i19", "--json"))
    assert (row["key"], row["arms"]["new"]["scores"]) == ("i19/abc", {"exact": 0.0})
    path = tmp_path / "items.csv"
    assert "15 items" in call("show", two[0].name, "--disagree", "--csv", str(path), "--bom")
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ITEMS[:15]
    with pytest.raises(Exception, match="its arms are base, new"):
        call("show", two[0].name, "--disagree", "--arm", "nobody")


@pytest.mark.parametrize("words", [("show", "latest", "--csv"), ("history", "toy", "--svg")])
def test_where_no_file_can_be_the_place_is_told_and_what_stood_there_stays(two, call, tmp_path, words) -> None:
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "nowhere" / "out", tmp_path / "folder"):
        with pytest.raises(InvalidInput, match="cannot be written") as error:
            call(*words, str(place))
        assert str(place) in str(error.value)
    assert [path.name for path in tmp_path.rglob("*out*")] == []
    assert list((tmp_path / "folder").iterdir()) == []


def test_the_difference_of_two_reports_is_printed_within_80_columns(two, call, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    text = call("diff", two[0].name, "latest")
    assert max(map(len, text.splitlines())) <= 80
    for part in ("20 items are in both; only before 0, only after 0", "+0.250", "mcnemar-exact", "p 0.06",
                 "arms.new", "recipe of new.prompt.system", "new  0 → 1  i15", "decides nothing"):  # fmt: skip
        assert part in text
    made = json.loads(call("diff", two[0].name, "latest", "--arm", "new", "--json"))
    assert [flip["name"] for flip in made["arms"][0]["flips"]] == ITEMS[15:]
    assert "base → new" in call("diff", two[0].name, "latest", "--arm", "base=new")


def test_reports_that_cannot_be_compared_say_why_and_show_their_figures(two, keep, call) -> None:
    keep({"base": LOW, "new": HIGH}, day=2, task_digest="sha256:" + "0" * 64, scoring=None)
    text = call("diff", two[0].name, "latest")
    assert "not comparable: the task is another" in text
    assert "0.750" in text
    assert "decides nothing" not in text


def test_the_history_of_a_task_has_what_prod_served_and_is_drawn(two, keep, registry, call, tmp_path: Path) -> None:
    registry.promote("toy:2", actor="amal", reason="it passed", force=True)
    keep({"base": LOW, "new": HIGH}, day=400_000, judged=False)  # after the promotion, whenever that is
    text = call("history", "toy", "--arm", "new")
    assert "toy:prod → toy:2" in text
    assert text.count("toy:2") >= 3
    assert "passed" in text
    made = json.loads(call("history", "toy", "--arm", "new", "--json"))
    assert [point["serving"] for point in made["points"]] == ["", "", "toy:2"]
    path = tmp_path / "toy.svg"
    assert "3 figures" in call("history", "toy", "--arm", "new", "--svg", str(path))
    assert path.read_text("utf-8").startswith("<?xml")
    with pytest.raises(Exception, match="no evaluation of none is kept; there is toy"):
        call("history", "none")


def test_results_of_another_tool_are_listed_beside_our_own_and_marked(two, call, tmp_path: Path) -> None:
    scores = {"pass@1": {"value": 0.5, "ci_lower": 0.4, "ci_upper": 0.6}}
    bundle = {"benchmark": {"name": "gsm8k", "samples": 100, "scores": scores}, "config": {"model": "m"}}
    (tmp_path / "eval-x.json").write_text(json.dumps(bundle))
    assert "no item can be shown" in call("import", str(tmp_path / "eval-x.json"))
    assert "from NeMo Evaluator" in call("list")
    assert "it opens no gate" in " ".join(call("show", "gsm8k:latest").split())


def test_an_error_of_ours_is_one_message_and_exit_code_1(call, home, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(lambda: app(["show", "toy:latest", "--home", str(home.root)], standalone_mode=False))
    assert stopped.value.code == 1
    assert "no evaluation of toy is kept yet" in capsys.readouterr().err


def test_the_commands_load_nothing_heavy_before_they_run() -> None:
    heavy = ("lm_eval", "scipy", "numpy", "torch", "jinja2", "httpx", "sqlalchemy", "rich.table")
    code = f"import evals.archive.command, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
