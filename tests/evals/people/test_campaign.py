"""From a stored evaluation to a verdict, as a team goes: create, rate, close, results, export, evaluate again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import dabt
from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.people.making import Wish, campaign_of, stored
from evals.report.markdown import render_markdown
from evals.run import evaluate
from lifecycle.errors import DabtError, InvalidData, InvalidInput, NotFound
from lifecycle.rating import Choice
from lifecycle.rows.files import read_kinds
from lifecycle.rows.kinds import Preference
from lifecycle.verdict import Ruling

QUICK = Endpoint(url="http://models.test/v1", retries=2, pause=0.0, patience=0.0)
PEOPLE = "  - {rule: people, arm: base, value: 0.5, votes: 20, agreement: 0.2}\n"


@pytest.fixture
def run(registry, home, models, config) -> Callable[..., Any]:
    def evaluated(of: EvalConfig = config, **more: Any) -> Any:
        return evaluate(of, registry, home, transport=models.transport, endpoint=QUICK, **more)

    return evaluated


A_TERMINAL = {"COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "dumb"}
"""Of 80 columns, in plain letters."""


@pytest.fixture
def dabt_rate(home, monkeypatch) -> Callable[..., str]:
    """The command, and what it prints; an error of ours is raised."""
    monkeypatch.setenv("DABT_HOME", str(home.root))
    monkeypatch.setenv("DABT_REGISTRY_URL", home.registry_url)

    def command(*words: str, typed: str = "") -> str:
        done = CliRunner().invoke(dabt.app, ["rate", *words], input=typed, env=A_TERMINAL)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return command


def everybody_votes(registry, name: str, raters=("amal", "badr"), says: Callable[[str, str], Choice] | None = None):
    def valid(a: str, b: str) -> Choice:
        """People prefer the answer that is JSON."""
        return Choice.A if a.startswith("{") and not b.startswith("{") else Choice.B

    for rater in raters:
        while ballot := registry.ratings.next(name, rater):
            registry.ratings.vote(name, ballot.id, rater, (says or valid)(ballot.a, ballot.b))


# -- creating ---------------------------------------------------------------------------------------------------------


def test_a_campaign_has_the_answers_of_the_stored_evaluation_and_its_versions_digests(run, registry, home):
    evaluation = run()
    report, items = stored(str(evaluation.folder), registry, home)
    assert report.digest == evaluation.report.digest
    for named in ("latest", "toy:latest", report.digest, report.digest[7:19]):
        assert stored(named, registry, home)[0].digest == report.digest
    campaign, chosen = campaign_of("c", report, items, Wish(arms=("base", "adapter")), actor="amal")
    assert {label: arm.version_digest for label, arm in campaign.arms.items()} == {
        label: report.result(label).version_digest for label in ("base", "adapter")
    }
    assert campaign.arms["base"].deployment == report.deployment.digest
    assert campaign.data_digest == report.suite.data_digest
    assert len(chosen) == report.n_items
    first = next(item for item in chosen if item.name == "toy-00")
    assert first.answers["base"] == "I am not sure."
    assert json.loads(first.answers["adapter"]) == json.loads(first.target)
    assert [turn["role"] for turn in first.messages] == ["system", "user"]
    assert first.scores["adapter"]["fields"] == 1.0
    assert first.slices["language"] == "ar"


def test_every_two_arms_are_compared_or_each_with_one_and_a_sample_is_seeded(run, registry, home):
    report, items = stored(str(run().folder), registry, home)
    every, _ = campaign_of("c", report, items, Wish(), actor="amal")
    assert len(every.pairs) == 6
    star, some = campaign_of("c", report, items, Wish(against="base", items=10, seed=3), actor="amal")
    assert star.pairs == (("base", "few-shot"), ("base", "rag"), ("base", "adapter"))
    assert some == campaign_of("d", report, items, Wish(items=10, seed=3), actor="amal")[1]
    assert len(some) == 10
    assert campaign_of("c", report, items, Wish(), actor="a")[0].seed != every.seed


def test_what_cannot_be_a_campaign_is_said_all_at_once(run, registry, home):
    evaluation = run()
    report, items = stored(str(evaluation.folder), registry, home)
    with pytest.raises(InvalidInput) as caught:
        campaign_of("c", report, items, Wish(arms=("base", "none"), against="rag"), actor="amal")
    assert [problem.place for problem in caught.value.problems] == ["--arms", "--against"]
    for arms in (("base",), ("base", "base")):
        with pytest.raises(InvalidInput, match="no two arms"):
            campaign_of("c", report, items, Wish(arms=arms), actor="amal")
    with pytest.raises(InvalidInput, match="name"):
        campaign_of("No Name", report, items, Wish(), actor="amal")
    for named in ("other:latest", "sha256:" + "0" * 64, str(home.root)):
        with pytest.raises(NotFound):
            stored(named, registry, home)
    lines = (evaluation.folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    (evaluation.folder / "items.jsonl").write_text("\n".join(["{", '{"key": "a"}', *lines[2:]]), encoding="utf-8")
    with pytest.raises(InvalidData) as broken:
        stored(str(evaluation.folder), registry, home)
    assert [problem.place.rpartition(":")[2] for problem in broken.value.problems] == ["1", "2"]


def test_half_a_character_in_an_answer_is_kept_as_the_sign_for_it(run, registry, home):
    folder = run().folder
    text = (folder / "items.jsonl").read_text(encoding="utf-8").replace("I am not sure.", "\\ud800 \\ud83d\\ude00", 1)
    (folder / "items.jsonl").write_text(text, encoding="utf-8")
    report, items = stored(str(folder), registry, home)
    assert items[0].answers["base"] == "\ufffd 😀"
    campaign, _ = campaign_of("c", report, items, Wish(arms=("base", "adapter")), actor="amal")
    registry.ratings.create(campaign, items, actor="amal")


def test_an_arm_whose_request_failed_loses_and_nobody_is_shown_the_error(run, registry, home, models):
    def refuse(_: Any, model: str, question: str) -> httpx.Response | None:
        failing = question.endswith(" 7") and registry.version(model).spec.kind == "base"
        return httpx.Response(400, json={"error": {"message": "too long for base"}}) if failing else None

    models.before = refuse
    _, items = stored(str(run().folder), registry, home)
    failed = next(item for item in items if item.name == "toy-07")
    assert failed.answers["base"] is None
    assert failed.settled("base", "adapter").value == "second"


# -- the terminal -----------------------------------------------------------------------------------------------------


def test_a_team_rates_in_the_terminal_blind_and_in_either_language(run, registry, dabt_rate):
    run()
    said = dabt_rate(
        "create", "c", "--evaluation", "toy:latest", "--arms", "base,adapter", "--items", "6", "--votes", "1"
    )
    assert "6 pairs of answers on 6 items, 6 votes are asked for" in said
    screen = dabt_rate("vote", "c", "--rater", "amal", "--lang", "ar", typed="؟\n١\n9\n2\n5\n0\n")
    assert "أي الإجابتين أفضل؟" in screen
    assert "اكتب أحد الأرقام" in screen
    assert "تم التراجع" in screen
    assert not re.search(r"adapter|toy:\d|fields|sha256", screen)
    assert max(len(line) for line in screen.splitlines()) <= 82  # the prompt and what was typed stand before a line
    assert registry.ratings.progress("c").raters == {"amal": 1}
    assert registry.ratings.progress("c").skipped == 1
    dabt_rate("undo", "c", "--rater", "amal")
    rest = dabt_rate("vote", "c", "--rater", "badr", typed="a\nt\nx\nb\n\n")
    assert "Stopped" in rest or "Nothing is left" in rest
    status = dabt_rate("status", "c")
    assert "of 6 votes on 6 pairs" in status
    assert "seed" not in dabt_rate("status", "c", "--json")
    assert "no pair has those of two people" in dabt_rate("agreement", "c")
    assert "c" in dabt_rate("list")


def test_results_and_rows_of_an_open_campaign_are_refused_since_they_tell_whose_answers_are_whose(
    run, dabt_rate, registry, tmp_path
):
    run()
    dabt_rate("create", "c", "--evaluation", "toy:latest", "--arms", "base,adapter", "--items", "4")
    everybody_votes(registry, "c")
    for words in (("results", "c"), ("export", "c", str(tmp_path / "p.jsonl"))):
        with pytest.raises(DabtError, match="is open"):
            dabt_rate(*words)
    assert not (tmp_path / "p.jsonl").exists()


def test_results_fit_80_columns_and_say_who_won_how_surely_and_who_agrees(run, registry, dabt_rate):
    run()
    dabt_rate("create", "c", "--evaluation", "toy:latest", "--arms", "base,rag,adapter", "--items", "12")
    everybody_votes(registry, "c")
    dabt_rate("close", "c", "--reason", "all have voted")
    printed = dabt_rate("results", "c")
    assert max(map(len, printed.splitlines())) <= 80
    flat = " ".join(printed.split())
    assert "adapter wins 1.000" in flat
    assert "Bradley–Terry" in printed
    assert "Krippendorff's alpha" in printed
    assert "fields says what people say in 1.000" in flat
    found = json.loads(dabt_rate("results", "c", "--json"))
    strengths = {arm["arm"]: arm["log_odds"]["value"] for arm in found["strengths"]}
    assert strengths["base"] < min(strengths["rag"], strengths["adapter"])


# -- rows for training ------------------------------------------------------------------------------------------------


def test_exported_rows_are_preferences_that_training_reads_and_say_where_they_come_from(
    run, registry, dabt_rate, tmp_path
):
    run()
    dabt_rate("create", "c", "--evaluation", "toy:latest", "--arms", "base,adapter", "--items", "9", "--votes", "2")
    everybody_votes(registry, "c")
    dabt_rate("close", "c")
    said = dabt_rate("export", "c", str(tmp_path / "preferences.jsonl"), "--votes", "2", "--unanimous")
    assert "9 preference rows" in said
    assert "judge what is trained on them by others" in said
    ((*rows,),) = read_kinds((Preference,), tmp_path / "preferences.jsonl")
    assert len(rows) == 9
    arms = registry.ratings.get("c").arms
    for row in rows:
        assert [turn.role for turn in row.messages] == ["system", "user"]
        assert json.loads(row.chosen[0].content)
        assert row.rejected[0].content == "I am not sure."
        assert row.meta["chosen_version"] == arms["adapter"].ref
        assert row.meta["votes"] == {"chosen": 2, "rejected": 0, "neither": 0}
    assert registry.audit("c", limit=1)[0].detail == {"rows": 9}
    checked = CliRunner().invoke(
        dabt.app, ["data", "check", str(tmp_path / "preferences.jsonl")], env={"COLUMNS": "200"}
    )
    assert checked.exit_code == 0, checked.output
    assert "preference" in checked.output


# -- the gate and the report ------------------------------------------------------------------------------------------


@pytest.fixture
def asks_people(workplace: Path, trained: str) -> EvalConfig:
    policy = workplace / "policy.yaml"
    policy.write_text(policy.read_text(encoding="utf-8") + PEOPLE, encoding="utf-8")
    return EvalConfig.load(workplace / "toy.yaml")


def ruling_of(evaluation: Any, arm: str) -> tuple[Ruling, str]:
    verdict = evaluation.verdict(evaluation.report.result(arm))
    check = next(check for check in verdict.checks if check.rule == "people prefer it to base")
    return check.ruling, check.detail


def test_the_gate_waits_for_people_and_takes_their_word_on_the_same_versions_and_items(
    asks_people, run, registry, home, models, dabt_rate
):
    first = run(asks_people)
    ruling, detail = ruling_of(first, "adapter")
    assert ruling is Ruling.UNDECIDED
    assert "no closed campaign" in detail
    dabt_rate("create", "c", "--evaluation", str(first.folder), "--arms", "base,adapter", "--items", "15")
    everybody_votes(registry, "c")
    assert ruling_of(run(asks_people), "adapter")[0] is Ruling.UNDECIDED  # it is open
    dabt_rate("close", "c")
    asked = models.asked.total()
    second = run(asks_people)
    assert models.asked.total() == asked
    ruling, detail = ruling_of(second, "adapter")
    assert ruling is Ruling.PASSED
    assert "win rate 1.000" in detail
    assert "30 votes of 2 raters" in detail
    assert ruling_of(second, "rag")[0] is Ruling.UNDECIDED
    (told,) = second.report.people
    assert (told.arm, told.against, told.campaigns, told.votes) == ("adapter", "base", ("c",), 30)
    for shown in (render_markdown(second), (second.folder / "report.html").read_text(encoding="utf-8")):
        assert "People" in shown
        assert "Krippendorff" in shown
        assert "fields says what people say in 1.000" in shown
    assert first.report.people == ()
    assert "## People" not in render_markdown(first)


def test_a_page_that_is_made_again_shows_the_votes_as_they_are_by_then(asks_people, run, registry, home, dabt_rate):
    first = run(asks_people)

    def again(language: str = "en") -> str:
        done = CliRunner().invoke(dabt.app, ["page", first.folder.name, "--language", language])
        assert done.exit_code == 0, done.output
        texts = [(first.folder / name).read_text(encoding="utf-8") for name in ("report.md", "report.html")]
        assert len({"Votes as of" in text for text in texts}) == 1
        return texts[0]

    dabt_rate("create", "c", "--evaluation", str(first.folder), "--arms", "base,adapter", "--items", "15")
    everybody_votes(registry, "c")
    assert "## People" not in again(), "an open campaign tells nothing"
    dabt_rate("close", "c")
    digest = json.loads((first.folder / "evaluation.json").read_text("utf-8"))["report"]
    text = again()
    assert "| adapter | base | 15 | 1.000" in text
    assert f"The verdicts stand on those of {first.report.created_at:%Y-%m-%d %H:%M} UTC, 0 in number" in text
    assert "الأحكام مبنية على أصوات" in again("ar")
    shown = CliRunner().invoke(dabt.app, ["reports", "show", first.folder.name.rpartition("-")[2]]).output
    assert "people: adapter wins 1.000" in shown
    assert "0 in number" in " ".join(shown.split())
    assert json.loads((first.folder / "evaluation.json").read_text("utf-8"))["report"] == digest
    assert "no closed campaign" in text, "the verdict is as it was"
    second = run(asks_people)
    CliRunner().invoke(dabt.app, ["page", str(second.folder)])
    assert "They are those that the verdicts stand on." in (second.folder / "report.md").read_text("utf-8")


def test_votes_on_other_items_or_another_version_count_for_nothing(
    asks_people, run, registry, workplace, dabt_rate, home
):
    first = run(asks_people)
    dabt_rate("create", "c", "--evaluation", str(first.folder), "--arms", "base,adapter", "--items", "15")
    everybody_votes(registry, "c")
    dabt_rate("close", "c")
    items = workplace / "tasks" / "test.jsonl"
    items.write_text(items.read_text(encoding="utf-8").replace('pain 1"', 'ache 1"'), encoding="utf-8")
    assert ruling_of(run(asks_people), "adapter")[0] is Ruling.UNDECIDED


def test_a_second_campaign_adds_to_the_first_and_takes_no_place_of_it(asks_people, run, registry, dabt_rate):
    first = run(asks_people)
    seed = ("--seed", "5")
    for name, says in (("c", lambda a, b: Choice.TIE), ("d", None)):
        dabt_rate("create", name, "--evaluation", str(first.folder), "--arms", "base,adapter", "--items", "15", *seed)
        everybody_votes(registry, name, says=says)
        dabt_rate("close", name)
    (told,) = run(asks_people).report.people
    assert told.campaigns == ("c", "d")
    assert (told.votes, told.ties, told.wins, told.win_rate.value) == (60, 30, 30, 0.75)
