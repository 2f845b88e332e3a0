"""`dabt eval` and `dabt reports` on the real engine, over rows alone and with a judge, as a user runs them.

Answers of random weights mean nothing: what is looked at is what was asked, counted and kept.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from evals.archive import command
from evals.archive.library import Kept, Library, Wanted
from evals.asking.answers import Answer
from evals.cli import eval_

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

app = typer.Typer()
app.command("eval")(eval_)
app.command("list")(command.list_)
app.command("show")(command.show)

PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")
TURNS = [
    [
        {"role": "user", "content": f"Where is room {number}?"},
        {"role": "assistant", "content": f"On the {place} floor."},
    ]
    for number, place in enumerate(PLACES)
]
EARLIER = [{"role": "user", "content": "مرحبا"}, {"role": "assistant", "content": "أهلاً وسهلاً بكم."}]
MOST = 16
"""Tokens of an answer."""
K = 2


@pytest.fixture(scope="module")
def arms(real: Any) -> tuple[str, str]:
    """The base, which is greedy, and the adapter `red`, which samples its answers."""
    plain = real.house.version("plain", decoding={"max_tokens": MOST})
    warm = real.house.version("warm", adapter="red", decoding={"max_tokens": MOST, "temperature": 1.0})
    return plain.ref, warm.ref


@pytest.fixture
def call(real: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--home", str(real.house.home.root)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return call


def written(path: Path) -> Path:
    """Chat rows; the last has turns before its question."""
    rows = [{"messages": turns} for turns in [*TURNS[:-1], [*EARLIER, *TURNS[-1]]]]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def answers_of(real: Any, version: str) -> list[Answer]:
    """What the cache has of a version."""
    lines = [
        json.loads(line)
        for file in (real.house.home.cache / "answers").iterdir()
        for line in file.read_text("utf-8").splitlines()
    ]
    rows = [{key: value for key, value in line.items() if key != "form"} for line in lines]
    return [Answer.model_validate(row) for row in rows if row["version"] == version]


def kept_of(real: Any, task: str) -> list[Kept]:
    """Newest first."""
    return Library(real.house.registry, real.house.home).reports(Wanted(task=task))[0]


def said_in(kept: Kept) -> list[dict[str, list[str]]]:
    """Of each item, each arm's answers in the order of their seeds."""
    rows = map(json.loads, (kept.folder / "items.jsonl").read_text("utf-8").splitlines())
    return [
        {arm: [answer["answer"] for answer in said.get("repeats", [said])] for arm, said in row["arms"].items()}
        for row in rows
    ]


def test_rows_alone_are_asked_sampled_counted_timed_and_kept(
    real: Any, arms: tuple[str, str], call: Callable[..., str], tmp_path: Path
) -> None:
    rows, n = written(tmp_path / "rooms.jsonl"), len(TURNS)
    run = ["eval", "--data", str(rows), "--arms", ",".join(arms), "--repeats", str(K), "--endpoint", f"{real.url}/v1"]
    told = call(*run)
    (first,) = kept_of(real, "rooms")
    plain, warm = (first.report.result(arm) for arm in arms)
    assert (first.report.n_items, first.report.metric, first.report.repeats) == (n, "normalised", K)
    assert {"exact", "normalised", "token_f1"} <= plain.metrics.keys() & warm.metrics.keys(), "scorers by shape"
    assert f"normalised pass@{K}" in warm.metrics
    assert f"normalised pass@{K}" not in plain.metrics, "it is greedy, and asked once"
    assert warm.errors == plain.errors == 0

    # K answers to each item, each drawn with a seed of its own, and each timed by the service.
    sampled = answers_of(real, arms[1])
    assert set(Counter(answer.item for answer in sampled).values()) == {K}
    assert len({answer.text for answer in sampled}) == len(sampled) == K * n
    assert all(answer.first_token and 0 < answer.first_token <= answer.latency for answer in sampled)
    for arm, answers in ((plain, n), (warm, K * n)):
        assert arm.timing
        assert arm.timing.first_token
        assert arm.timing.first_token.n == answers

    # What ended at its limit is counted, answer by answer.
    cut = [answer for answer in sampled if answer.finish_reason == "length"]
    assert cut
    assert {answer.completion_tokens for answer in cut} == {MOST}
    assert warm.cut == len(cut)

    # Without what is kept, the same seeds give the same answers.
    shutil.rmtree(real.house.home.cache / "answers")
    call(*run)
    again, _ = kept_of(real, "rooms")
    assert said_in(again) == said_in(first)
    assert not {answer.at for answer in answers_of(real, arms[1])} & {answer.at for answer in sampled}, "asked anew"

    assert first.name in call("list", "--task", "rooms")
    shown = call("show", first.name)
    for text in (told, shown):
        assert f"rooms: {n} items" in text


def test_a_judge_that_gives_no_verdict_is_unscored_and_counted(
    real: Any, arms: tuple[str, str], call: Callable[..., str], tmp_path: Path
) -> None:
    """The judge is another adapter of the same service: it talks nonsense, or the question is too long for it."""
    n = len(TURNS)
    written(tmp_path / "judged.jsonl")
    judge = f"{{model: 'green:1', max_tokens: {MOST}}}"
    (tmp_path / "judged.yaml").write_text(
        f"data: judged.jsonl\nscorers: [chrf, {{type: rubric, judge: {judge}, questions: {{polite: 'Polite?'}}}}]\n"
    )
    (tmp_path / "evaluation.yaml").write_text(
        f"name: judged\ntask: judged.yaml\nprovisional: [a look]\nrepeats: {K}\nnoise_items: 0\nbaseline: plain\n"
        f"arms: {{plain: {{version: '{arms[0]}'}}, warm: {{version: '{arms[1]}'}}}}\n"
    )
    call("eval", str(tmp_path / "evaluation.yaml"), "--endpoint", f"{real.url}/v1")
    (kept,) = kept_of(real, "judged")
    for arm, answers in (("plain", n), ("warm", K * n)):
        result = kept.report.result(arm)
        assert result.metrics["chrf"].n == n
        assert not {"rubric", "polite"} & result.metrics.keys(), "no verdict is no figure"
        for figure in ("rubric", "polite"):
            assert sum(result.unscored[figure].values()) == answers
            assert all(reason.startswith("the judge") for reason in result.unscored[figure])
