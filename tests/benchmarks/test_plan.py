"""What is measured: which requests, in which order, on which flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.answers import NoAnswer, check_apart, share_wrong
from benchmarks.bases import TINY
from benchmarks.load import Ask, Run, Told
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import ours, stock


def plan(tmp_path: Path, **options: object) -> Plan:
    return Plan(**{"base": TINY, "size": "tiny", "work": tmp_path, "rounds": 2, "dtype": "float32", **options})  # type: ignore[arg-type]


def test_every_model_meets_every_message_equally_often() -> None:
    work = asks(["base", "red", "green"], 3 * 8 * 2, 16, messages=8)
    counts = {ask: work.count(ask) for ask in work}
    assert len(counts) == 3 * 8
    assert set(counts.values()) == {2}


def test_the_sides_take_turns_at_being_first() -> None:
    order: list[str] = []
    results = by_turns(3, lambda: order.append("ours"), lambda: order.append("stock"))
    assert order == ["ours", "stock", "stock", "ours", "ours", "stock"]
    assert [len(side) for side in results] == [3, 3]


def test_both_servers_are_given_the_same_flags_but_for_what_only_ours_reads(tmp_path: Path) -> None:
    config = plan(tmp_path).config(slots=4, in_memory=32)
    theirs = stock(config, {"red": tmp_path / "red"})
    mine = ours(config, tmp_path)
    assert theirs.environment["VLLM_PLUGINS"] == ""
    assert not {"--worker-extension-cls", "--enable-per-request-metrics"} & set(theirs.command)
    for flag, ours_flag in (
        ("--max-loras", "--max-loras"),
        ("--max-cpu-loras", "--max-cpu-loras"),
        ("--dtype", "--dtype"),
    ):
        assert theirs.command[theirs.command.index(flag) + 1] == mine.command[mine.command.index(ours_flag) + 1]
    assert theirs.command[-2:] == ("--lora-modules", f"red={tmp_path / 'red'}")


def test_a_quick_run_makes_a_quarter_of_the_requests_and_never_none(tmp_path: Path) -> None:
    assert plan(tmp_path).count(64) == 64
    assert plan(tmp_path, quick=True).count(64) == 16
    assert plan(tmp_path, quick=True, size="large").count(16) == 4


def test_adapters_that_answer_as_the_base_does_would_show_nothing() -> None:
    base, red = Ask("base", "hello", 2), Ask("red", "hello", 2)
    check_apart({base: (1, 2), red: (1, 3)}, "base")
    with pytest.raises(NoAnswer, match="red answers as the base does"):
        check_apart({base: (1, 2), red: (1, 2)}, "base")


def test_the_share_of_wrong_answers_is_of_those_that_were_answered() -> None:
    ask = Ask("red", "hello", 2)
    tokens = [(1, 2), (1, 2), (1, 3), ()]
    run = Run(tuple(Told(ask, 0.0, 1.0, one, error="" if one else "503") for one in tokens))
    assert share_wrong(run, {ask: (1, 2)}) == pytest.approx(1 / 3)


def test_the_larger_base_is_asked_for_fewer_tokens_and_messages(tmp_path: Path) -> None:
    large = plan(tmp_path, size="large")
    assert (large.tokens(64), large.messages(8), large.messages(4)) == (32, 2, 2)
    assert (plan(tmp_path).tokens(64), plan(tmp_path).messages(8)) == (64, 8)
