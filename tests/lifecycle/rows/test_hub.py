"""Rows of a hub's data set by its name: which files, at which commit, and what is said where there are none."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.errors import DabtError, InvalidConfig, InvalidData, InvalidInput, NotFound, Unavailable
from lifecycle.rows import hub
from lifecycle.rows.files import Reading
from tests.lifecycle.rows.stub_hub import StubHub, used


def lines(*questions: str) -> bytes:
    return "".join(f"{json.dumps({'prompt': q, 'completion': 'a'}, ensure_ascii=False)}\n" for q in questions).encode()


def asked(name: str) -> list[str]:
    return [row.question for row in Reading(Path(name))]


OUTSIDE = b"---\nconfigs:\n- config_name: default\n  data_files: /etc/passwd\n---\n"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with used(monkeypatch, tmp_path) as stub:
        yield stub


def test_a_data_sets_name_stands_for_its_train_rows(stub: StubHub) -> None:
    stub.put("org/set", {"train.jsonl": lines("متى؟", "when\u2028?"), "test.jsonl": lines("who?")})
    assert asked("org/set") == ["متى؟", "when\u2028?"]
    assert asked("org/set:test") == ["who?"]
    assert [row.place for row in Reading(Path("org/set:test"))] == ["org/set:test:1"]
    assert sum("/resolve/" in path and path.startswith("GET") for path in stub.asked) == 2


def test_a_split_of_several_files_is_read_in_their_order_and_verbatim(stub: StubHub) -> None:
    big = b'{"prompt": "12345678901234567890", "completion": "007", "meta": {"n": 12345678901234567890}}\n'
    files = {"data/train-00000-of-00002.jsonl": lines("1", "2"), "data/train-00001-of-00002.jsonl": big}
    stub.put("org/set", files)
    rows = list(Reading(Path("org/set")))
    assert [row.question for row in rows] == ["1", "2", "12345678901234567890"]
    assert rows[2].meta == {"n": 12345678901234567890}  # type: ignore[union-attr]


def test_a_card_says_which_files_a_config_has(stub: StubHub) -> None:
    card = (
        b"---\nconfigs:\n- config_name: ar\n  data_files: a/*.csv\n- config_name: en\n  data_files: e.jsonl.gz\n---\n"
    )
    files = {
        "README.md": card,
        "a/x.csv": "prompt,completion\nمتى,007\n".encode(),
        "e.jsonl.gz": gzip.compress(lines("?")),
    }
    stub.put("org/set", files)
    assert asked("org/set:ar:train") == ["متى"]
    assert asked("org/set:en:train") == ["?"]
    with pytest.raises(NotFound, match="org/set:CONFIG:SPLIT") as told:
        asked("org/set")
    assert "ar" in str(told.value)


def test_a_name_is_pinned_to_its_commit_and_a_commit_stays_what_it_was(stub: StubHub) -> None:
    first = stub.put("org/set", {"train.jsonl": lines("old")})
    named = Path("org/set")
    assert hub.pinned(named) == Path(f"org/set@{first}:train")
    second = stub.put("org/set", {"train.jsonl": lines("new")})
    assert asked("org/set") == ["old"]  # all of one process has one commit
    hub._fetched.cache_clear()
    assert asked("org/set") == ["new"]
    assert hub.pinned(named) == Path(f"org/set@{second}:train")
    assert asked(f"org/set@{first}:train") == asked(f"org/set@{first}") == ["old"]


def test_what_was_fetched_is_there_without_a_hub(stub: StubHub) -> None:
    commit = stub.put("org/set", {"train.jsonl": lines("q")})
    assert asked("org/set") == ["q"]
    stub.status = 500
    before = len(stub.asked)
    assert asked(f"org/set@{commit}:train") == ["q"]
    assert len(stub.asked) == before  # a commit that is here is not asked for
    hub._fetched.cache_clear()
    assert asked("org/set") == ["q"]


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("org/none", NotFound, "there is no file org/none and no data set org/none on the hub; .* HF_TOKEN"),
        ("org/secret", NotFound, "HF_TOKEN"),
        ("org/set@v9", NotFound, "org/set has no revision v9 on the hub"),
        ("org/set:dev", NotFound, "org/set has no split dev; write one of org/set:train"),
        ("org/outside", NotFound, "org/outside cannot be used: "),
        ("org/code", NotFound, "org/code cannot be used: .*name a data set of JSON, CSV or Parquet"),
        ("org/big", InvalidInput, "org/big has 1,000,000,000,000,000,0.. bytes, and .* has room for"),
        ("a--b/c", InvalidConfig, "is no name of a data set"),
        ("org/broken", InvalidData, "is not JSON"),
    ],
)
def test_what_cannot_be_fetched_is_said_and_leaves_nothing(
    stub: StubHub, name: str, error: type[DabtError], says: str, tmp_path: Path
) -> None:
    stub.put("org/secret", {"train.jsonl": lines("q")})
    stub.private.add("org/secret")
    stub.put("org/set", {"train.jsonl": lines("q")})
    stub.put("org/code", {"code.py": b"print()"})
    stub.put("org/outside", {"README.md": OUTSIDE, "train.jsonl": lines("q")})
    stub.put("org/big", {"train.jsonl": lines("q"), "big.jsonl": b"", "train-2.jsonl": b""})
    stub.sizes["train-2.jsonl"] = 10**18
    stub.put("org/broken", {"train-0.jsonl": lines("q"), "train-1.jsonl": b'{"prompt": }\n'})
    with pytest.raises(error, match=says):
        asked(name)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_a_private_data_set_is_read_with_a_token(stub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.put("org/secret", {"train.jsonl": lines("q")})
    stub.private.add("org/secret")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert asked("org/secret") == ["q"]


def test_a_download_that_breaks_off_is_gone_on_with_the_next_time(
    stub: StubHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    stub.put("org/set", {"train.jsonl": lines(*(f"q{n}" * 100 for n in range(500)))})
    stub.cut = 10_000
    with pytest.raises(Unavailable, match="the hub cannot be reached, or broke off; try again"):
        asked("org/set")
    assert not list((tmp_path / "hub").rglob("*.jsonl"))
    assert not list((tmp_path / "home").rglob("*.json"))
    stub.cut = None
    assert len(asked("org/set")) == 500


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_fails_is_named_with_its_status(stub: StubHub, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    stub.status = status
    with pytest.raises(Unavailable, match=f"the hub answers {status}|cannot be reached"):
        asked("org/set")


def test_what_is_there_as_a_file_is_no_data_set(stub: StubHub, tmp_path: Path) -> None:
    (tmp_path / "org").mkdir()
    (tmp_path / "org/set").write_bytes(lines("mine"))
    assert asked("org/set") == ["mine"]
    assert hub.named("org/rows.jsonl") is hub.named("./org/other") is hub.named("a/b/c") is None
    assert stub.asked == []
    shutil.rmtree(tmp_path / "org")
