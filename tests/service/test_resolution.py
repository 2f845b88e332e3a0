"""Resolution: from what a caller writes in `model` to the version that answers."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.aliases import Alias, Target
from lifecycle.errors import InvalidInput, NotAllowed, NotFound, Unreadable
from lifecycle.registry.readable import LeftOut
from lifecycle.states import State
from lifecycle.version import AnswerSettings, Decoding, Version, VersionSpec
from service.catalogue import Snapshot
from service.request_context import RequestContext
from service.resolution import Base, Caller, caller_of, resolve

DIGEST = "sha256:" + "b" * 64
BASE = Base("tiny", DIGEST)
NOBODY = Caller()
EVALUATOR = Caller(purpose="evaluation")


def version(number: int, state: State, base: str = DIGEST, answers: AnswerSettings | None = None) -> Version:
    spec = VersionSpec(base=base, adapter=f"sha256:{number:064x}", answers=answers)
    return Version(
        name="triage", number=number, spec=spec, state=state, created_at=datetime.now(UTC), created_by="test"
    )


def snapshot(*versions: Version, **aliases: list[tuple[int, float]]) -> Snapshot:
    return Snapshot(
        revision=1,
        versions={"triage": {one.number: one for one in versions}},
        aliases={
            "triage": {
                alias: Alias(name="triage", alias=alias, targets=tuple(Target(number=n, weight=w) for n, w in targets))
                for alias, targets in aliases.items()
            }
        },
    )


LIVE = snapshot(
    version(1, State.DRAFT),
    version(2, State.EVALUATED),
    version(3, State.APPROVED),
    version(4, State.REJECTED),
    version(5, State.RETIRED),
    version(6, State.DOUBTED),
    prod=[(3, 1.0)],
    canary=[(2, 1.0)],
    old=[(5, 1.0)],
    doubtful=[(6, 1.0)],
)


def test_a_bare_name_is_its_prod_alias_and_the_bases_name_is_the_base() -> None:
    assert resolve("triage", NOBODY, LIVE, BASE).ref == "triage:3"
    assert resolve("triage:prod", NOBODY, LIVE, BASE).ref == "triage:3"
    base = resolve("tiny", NOBODY, LIVE, BASE)
    assert (base.version, base.digest) == (None, DIGEST)


@pytest.mark.parametrize(
    "model", ["nobody", "nobody:3", "UPPER", "../../etc/passwd", "triage:", "triage:9", "triage:x"]
)
def test_an_unknown_model_is_not_found_and_the_message_names_what_there_is(model: str) -> None:
    with pytest.raises(NotFound, match=r"triage|tiny"):
        resolve(model, NOBODY, LIVE, BASE)


@pytest.mark.parametrize("model", [None, "", 3, ["triage"], {"a": 1}])
def test_no_model_at_all_is_an_invalid_request(model: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(model, NOBODY, LIVE, BASE)
    assert caught.value.problems[0].place == "model"


def test_a_name_without_prod_says_how_to_promote() -> None:
    with pytest.raises(NotFound, match=r"dabt promote triage:<number>"):
        resolve("triage", NOBODY, snapshot(version(1, State.APPROVED)), BASE)


@pytest.mark.parametrize(("number", "state"), [(1, "draft"), (2, "evaluated"), (4, "rejected")])
def test_an_unapproved_version_answers_evaluations_only(number: int, state: str) -> None:
    with pytest.raises(NotAllowed, match=f"is {state}.*x-dabt-purpose: evaluation"):
        resolve(f"triage:{number}", NOBODY, LIVE, BASE)
    assert resolve(f"triage:{number}", EVALUATOR, LIVE, BASE).ref == f"triage:{number}"


def test_an_approved_version_answers_by_number() -> None:
    assert resolve("triage:3", NOBODY, LIVE, BASE).ref == "triage:3"


@pytest.mark.parametrize("model", ["triage:6", "triage:doubtful"])
def test_a_doubted_version_serves_on_by_number_and_behind_an_alias(model: str) -> None:
    assert resolve(model, NOBODY, LIVE, BASE).ref == "triage:6"


@pytest.mark.parametrize("caller", [NOBODY, EVALUATOR])
@pytest.mark.parametrize("model", ["triage:5", "triage:old"])
def test_a_retired_version_answers_nobody(model: str, caller: Caller) -> None:
    with pytest.raises(NotAllowed, match="retired"):
        resolve(model, caller, LIVE, BASE)


def test_behind_an_alias_the_registrys_decision_stands() -> None:
    assert resolve("triage:canary", NOBODY, LIVE, BASE).ref == "triage:2"


def test_a_version_for_another_base_is_refused() -> None:
    other = snapshot(version(1, State.APPROVED, base="sha256:" + "c" * 64), prod=[(1, 1.0)])
    with pytest.raises(NotAllowed, match="another base model than tiny"):
        resolve("triage", NOBODY, other, BASE)


SPLIT = snapshot(version(1, State.APPROVED), version(2, State.APPROVED), prod=[(1, 0.8), (2, 0.2)])


@given(st.text(min_size=1))
def test_a_session_always_meets_the_same_version(session: str) -> None:
    caller = Caller(session=session)
    assert len({resolve("triage", caller, SPLIT, BASE).ref for _ in range(5)}) == 1


def test_sessions_are_shared_out_by_weight() -> None:
    refs = Counter(resolve("triage", Caller(session=f"user-{at}"), SPLIT, BASE).ref for at in range(4000))
    assert 0.77 < refs["triage:1"] / 4000 < 0.83


def test_requests_without_a_session_are_shared_out_by_weight() -> None:
    refs = Counter(resolve("triage", NOBODY, SPLIT, BASE).ref for _ in range(4000))
    assert 0.76 < refs["triage:1"] / 4000 < 0.84


def test_growing_a_share_moves_no_session_away_from_it() -> None:
    grown = snapshot(version(1, State.APPROVED), version(2, State.APPROVED), prod=[(1, 0.9), (2, 0.1)])
    for at in range(500):
        caller = Caller(session=str(at))
        if resolve("triage", caller, SPLIT, BASE).ref == "triage:1":
            assert resolve("triage", caller, grown, BASE).ref == "triage:1"


def test_a_version_made_over_a_base_that_answers_otherwise_is_refused_naming_what_differs() -> None:
    here = AnswerSettings(tokenizer_config=DIGEST, stops=(2,), dtype="bfloat16", files={"tekken.json": DIGEST})
    base = Base("tiny", DIGEST, here)
    for answers, says in [
        (here.model_copy(update={"stops": (2, 3)}), "in the token ids that end an answer:"),
        (
            here.model_copy(update={"tokenizer_config": "sha256:" + "c" * 64, "dtype": "float16"}),
            "in tokenizer_config.json, the checkpoint's number format:",
        ),
        (here.model_copy(update={"frozen_template": DIGEST}), "in the chat template's fixed date:"),
        (here.model_copy(update={"files": {}}), "in tekken.json:"),
    ]:
        with pytest.raises(NotAllowed, match=says):
            resolve("triage:3", NOBODY, snapshot(version(3, State.APPROVED, answers=answers)), base)
    for same in (here, None):
        known = snapshot(version(3, State.APPROVED, answers=same))
        assert resolve("triage:3", NOBODY, known, base).ref == "triage:3"


THIRDS = snapshot(*(version(n, State.APPROVED) for n in (1, 2, 3)), prod=[(1, 0.25), (2, 0.25), (3, 0.25)])


@pytest.mark.parametrize(("point", "number"), [(0.0, 1), (0.2499, 1), (0.25, 2), (0.5, 3), (0.7499, 3), (0.9, 3)])
def test_a_request_falls_to_the_target_that_its_point_lies_in(
    monkeypatch: pytest.MonkeyPatch, point: float, number: int
) -> None:
    """And to the last where the weights' sum, by rounding, is less than the point."""
    monkeypatch.setattr(random, "random", lambda: point)
    assert resolve("triage", NOBODY, THIRDS, BASE).ref == f"triage:{number}"


@pytest.mark.parametrize(
    ("header", "user", "session"),
    [("", "amal", "amal"), ("s-1", "amal", "s-1"), ("s-1", None, "s-1"), ("", None, ""), ("", 7, ""), ("", ["a"], "")],
)
def test_the_session_is_the_headers_or_else_the_user_of_the_body(header: str, user: object, session: str) -> None:
    context = RequestContext(purpose="evaluation", session=header)
    body = {} if user is None else {"user": user}
    assert caller_of(body, context) == Caller("evaluation", session, None)


@pytest.mark.parametrize(
    ("model", "fault"), [(None, "is missing"), ("", "must be a model's name"), (3, "must be a model's name")]
)
def test_a_model_that_is_none_is_told_from_one_that_is_missing(model: object, fault: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(model, NOBODY, LIVE, BASE)
    assert caught.value.problems[0].fault == fault


def test_a_version_whose_adapter_another_release_registered_is_refused_with_the_cure() -> None:
    newer = version(3, State.APPROVED)
    place: tuple[Literal["artifact"], str] = ("artifact", str(newer.spec.adapter))
    left_out = {place: LeftOut(kind="artifact", ref=place[1], why="rank: extra_forbidden")}
    known = snapshot(newer, version(4, State.APPROVED)).model_copy(update={"left_out": left_out})
    with pytest.raises(Unreadable, match=f"the adapter of triage:3, {place[1]}: .*upgrade") as told:
        resolve("triage:3", NOBODY, known, BASE)
    assert "extra_forbidden" not in str(told.value), "what the row holds is the log's alone"
    assert resolve("triage:4", NOBODY, known, BASE).ref == "triage:4"


def left_out(kind: Literal["version", "alias"], ref: str, known: Snapshot = LIVE) -> Snapshot:
    return known.model_copy(update={"left_out": {(kind, ref): LeftOut(kind=kind, ref=ref, why="x: extra_forbidden")}})


@pytest.mark.parametrize(
    ("kind", "ref"), [("version", "triage:9"), ("version", "new:1"), ("alias", "triage:blue"), ("alias", "new:prod")]
)
def test_what_another_release_wrote_is_told_from_what_is_not_there(kind: Literal["version", "alias"], ref: str) -> None:
    with pytest.raises(NotFound):
        resolve(ref, NOBODY, LIVE, BASE)
    with pytest.raises(Unreadable, match=f"^{ref}: .*upgrade"):
        resolve(ref, NOBODY, left_out(kind, ref), BASE)
    with pytest.raises(NotFound):
        resolve(ref, NOBODY, left_out("version" if kind == "alias" else "alias", ref), BASE)
    assert resolve("triage:3", NOBODY, left_out(kind, ref), BASE).ref == "triage:3"


def test_an_alias_of_a_version_that_cannot_be_read_is_refused_with_both_names() -> None:
    with pytest.raises(Unreadable, match=r"^triage:7, behind triage:prod: .*upgrade"):
        resolve("triage", NOBODY, snapshot(version(3, State.APPROVED), prod=[(7, 1.0)]), BASE)


def test_what_is_resolved_tells_what_was_asked_and_what_it_was_decided_from() -> None:
    caller = Caller(session="s-1")
    behind = resolve("triage", caller, LIVE, BASE)
    assert (behind.asked, behind.ref, behind.revision, behind.session) == ("triage", "triage:3", 1, "s-1")
    assert behind.version is not None
    assert behind.alias is not None
    assert (behind.version.number, behind.alias.alias) == (3, "prod")
    assert behind.digest == behind.version.digest
    by_number = resolve("triage:3", caller, LIVE, BASE)
    assert (by_number.asked, by_number.alias, by_number.session) == ("triage:3", None, "s-1")
    base = resolve("tiny", caller, LIVE, BASE)
    assert (base.asked, base.ref, base.revision, base.alias, base.session) == ("tiny", "tiny", 1, None, "")


def test_a_version_without_answer_settings_or_over_a_base_without_is_served() -> None:
    here = AnswerSettings(tokenizer_config=DIGEST, stops=(2,), dtype="bfloat16")
    known = snapshot(version(3, State.APPROVED, answers=here))
    assert resolve("triage:3", NOBODY, known, BASE).ref == "triage:3"


def test_a_caller_who_says_nothing_is_no_evaluation_of_no_session_and_without_a_key() -> None:
    assert (NOBODY.purpose, NOBODY.session, NOBODY.key) == ("", "", None)
    assert (BASE.answers, BASE.decoding) == (None, Decoding())
