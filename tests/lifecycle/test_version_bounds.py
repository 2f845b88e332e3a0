"""A version's parts at their bounds and defaults, its digest to the letter, and the whole table of its life."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from statsmodels.stats.proportion import proportion_confint

from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.gates import Gate, SuiteFacts
from lifecycle.intervals import Z_TWO_SIDED, score_bounds, wilson
from lifecycle.states import CALLABLE, MOVES, State, move
from lifecycle.version import (
    AnswerSettings,
    Decoding,
    Knowledge,
    Lineage,
    Prompt,
    Ref,
    Shot,
    Version,
    VersionSpec,
    digest_of,
)

ZERO, ONE = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


# -- the digest -------------------------------------------------------------------------------------------------------


def test_a_digest_is_of_sorted_keys_without_spaces_in_utf8():
    assert digest_of({"ب": 1, "a": {"z": [1, 2], "b": "ضبط"}}) == sha256('{"a":{"b":"ضبط","z":[1,2]},"ب":1}')


def test_the_digest_of_a_whole_recipe_is_this_one_for_ever():
    """Every part is set to other than its default; verdicts name this digest, and no release may change it."""
    spec = VersionSpec(
        base=ZERO,
        adapter=ONE,
        prompt=Prompt(system="s", shots=(Shot(user="u", assistant="a"),)),
        knowledge=Knowledge(
            index=ONE, top_k=4, template="{question}{passages}", arabic_template="{passages}{question}"
        ),
        decoding=Decoding(temperature=0.5, top_p=0.9, max_tokens=7, stop=("x",)),
    )
    assert spec.digest == sha256(
        f'{{"adapter":"{ONE}","base":"{ZERO}","decoding":{{"max_tokens":7,"stop":["x"],"temperature":0.5,"top_p":0.9}},'
        f'"knowledge":{{"arabic_template":"{{passages}}{{question}}","index":"{ONE}",'
        '"template":"{question}{passages}","top_k":4},'
        '"prompt":{"shots":[{"assistant":"a","user":"u"}],"system":"s"}}'
    )


def test_what_is_at_its_default_is_left_out_of_the_digest():
    said = VersionSpec(
        base=ZERO,
        prompt=Prompt(system="", shots=()),
        decoding=Decoding(
            temperature=0.0, top_p=1.0, max_tokens=None, stop=(), top_k=0, min_p=0.0, repetition_penalty=1.0,
            presence_penalty=0.0, frequency_penalty=0.0,
        ),
    )  # fmt: skip
    assert said.digest == sha256(json.dumps({"base": ZERO}, separators=(",", ":")))
    knowing = VersionSpec(
        base=ZERO,
        knowledge=Knowledge(
            index=ONE, top_k=3, template="Passages:\n{passages}\n\nQuestion: {question}", arabic_template=None
        ),
    )
    assert knowing.digest == sha256(f'{{"base":"{ZERO}","knowledge":{{"index":"{ONE}"}}}}')


def test_settings_of_answers_differ_in_each_of_their_parts():
    one = AnswerSettings(tokenizer_config=ZERO)
    assert (one.stops, one.dtype, one.frozen_template, one.files) == ((), "", None, {})
    changes = {
        "tokenizer_config.json": {"tokenizer_config": ONE},
        "the token ids that end an answer": {"stops": (1,)},
        "the checkpoint's number format": {"dtype": "float32"},
        "the chat template's fixed date": {"frozen_template": ONE},
        "a.json": {"files": {"a.json": ONE}},
    }
    for words, change in changes.items():
        other = AnswerSettings.model_validate({**one.model_dump(), **change})
        assert one.differences(other) == other.differences(one) == [words]
    assert one.differences(one) == []
    left, right = (one.model_copy(update={"files": files}) for files in ({"b": ONE, "c": ONE}, {"a": ONE, "c": ONE}))
    assert left.differences(right) == ["a", "b"]


# -- bounds -----------------------------------------------------------------------------------------------------------

INSIDE, OUTSIDE = {
    "temperature": (0.0, 2.0), "top_p": (1e-9, 1.0), "max_tokens": (1,), "top_k": (0,), "min_p": (0.0, 1.0),
    "repetition_penalty": (1e-9,), "presence_penalty": (-2.0, 2.0), "frequency_penalty": (-2.0, 2.0),
}, {
    "temperature": (-1e-9, 2.0 + 1e-9), "top_p": (0.0, 1.0 + 1e-9), "max_tokens": (0,), "top_k": (-1,),
    "min_p": (-1e-9, 1.0 + 1e-9), "repetition_penalty": (0.0,), "presence_penalty": (-2.1, 2.1),
    "frequency_penalty": (-2.1, 2.1),
}  # fmt: skip


@pytest.mark.parametrize("field", INSIDE)
def test_sampling_goes_from_its_first_to_its_last_value(field):
    for value in INSIDE[field]:
        assert getattr(Decoding.model_validate({field: value}), field) == value
    for value in OUTSIDE[field]:
        with pytest.raises(ValidationError):
            Decoding.model_validate({field: value})


@pytest.mark.parametrize(("passages", "fits"), [(0, False), (1, True), (50, True), (51, False)])
def test_between_one_and_fifty_passages_are_retrieved(passages, fits):
    assert Knowledge(index=ZERO).top_k == 3
    if fits:
        assert Knowledge(index=ZERO, top_k=passages).top_k == passages
    else:
        with pytest.raises(ValidationError):
            Knowledge(index=ZERO, top_k=passages)


@pytest.mark.parametrize("wrong", ["0" * 64, "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64])
def test_a_digest_has_one_form(wrong):
    with pytest.raises(ValidationError):
        VersionSpec(base=wrong)


def version(**changes):
    whole = {"name": "triage", "number": 1, "spec": VersionSpec(base=ZERO), "state": State.DRAFT, "created_by": "x"}
    return Version(**{**whole, "created_at": datetime.now(UTC), **changes})


@pytest.mark.parametrize(
    "wrong", [{"number": 0}, {"name": "A"}, {"name": ""}, {"name": "-a"}, {"name": "a" * 64}, {"x": 1}]
)
def test_a_version_has_a_name_and_a_number_from_1(wrong):
    assert version(name="a" * 63).ref == "a" * 63 + ":1"
    with pytest.raises(ValidationError):
        version(**wrong)


def test_a_version_that_says_nothing_of_itself_was_made_by_hand():
    assert version().lineage == Lineage(source="manual", run="", data_digest="", code_revision="", note="")
    assert version().digest == VersionSpec(base=ZERO).digest


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError):
        version().number = 2


# -- references -------------------------------------------------------------------------------------------------------


def test_whatever_is_written_reads_back_as_it_was_or_is_refused():
    reached: Counter[str] = Counter()
    part = st.text(st.sampled_from("ab-_079:A ض"), min_size=1, max_size=4) | st.sampled_from(["triage", "7", "prod"])

    @seed(1)
    @settings(max_examples=300, database=None, deadline=None)
    @given(part, st.sampled_from(["", ":"]), part)
    def holds(name: str, colon: str, tail: str) -> None:
        text = name + colon + tail * bool(colon)
        try:
            ref = Ref.parse(text)
        except InvalidInput:
            reached["refused"] += 1
            return
        assert Ref.parse(str(ref)) == ref
        assert str(ref) == (text if ":" in text else f"{text}:prod")
        reached["a number" if ref.number is not None else "an alias" if ":" in text else "a bare name"] += 1

    holds()
    assert len(reached) == 4
    assert min(reached.values()) >= 10, reached


@pytest.mark.parametrize(("text", "number"), [("t:1", 1), ("t:999999999", 999_999_999)])
def test_numbers_go_from_1_to_nine_digits(text, number):
    assert Ref.parse(text) == Ref(name="t", number=number, alias=None)


# -- a version's life -------------------------------------------------------------------------------------------------

LIFE = {
    "draft": {"evaluated", "retired"},
    "evaluated": {"approved", "rejected", "retired"},
    "approved": {"doubted", "retired"},
    "doubted": {"approved", "retired"},
    "rejected": {"approved", "retired"},
    "retired": set(),
}


def test_every_move_of_the_table_is_made_and_no_other():
    assert {state.value: {to.value for to in MOVES[state]} for state in State} == LIFE
    for now in State:
        for to in State:
            if to.value in LIFE[now.value]:
                assert move("t:1", now, to) is to
            else:
                with pytest.raises(NotAllowed, match=f"t:1 is {now} and cannot become {to}"):
                    move("t:1", now, to)
    assert {State.APPROVED, State.DOUBTED} == CALLABLE


def test_a_move_that_is_refused_names_those_that_are_not():
    with pytest.raises(NotAllowed, match=r"it can become approved, rejected, retired$"):
        move("t:1", State.EVALUATED, State.DRAFT)
    with pytest.raises(NotAllowed, match="it can become nothing: it is final"):
        move("t:1", State.RETIRED, State.DRAFT)


# -- gates ------------------------------------------------------------------------------------------------------------

SUITE = SuiteFacts(task="triage", task_digest=ZERO, data_digest=ZERO, metric="exact")


def test_a_suite_is_another_by_each_of_its_parts():
    assert (SUITE.safety_metric, SUITE.cluster, SUITE.baseline, SUITE.rivals) == (None, None, "base", {})
    changes = {
        "the task": {"task": "other"},
        "the task file, its items or settings": {"task_digest": ONE},
        "the items": {"data_digest": ONE},
        "the deciding figure": {"metric": "f1"},
        "the safety figure": {"safety_metric": "f1"},
        "the clusters": {"cluster": "fact"},
        "the baseline": {"baseline": "rag"},
        "the rivals": {"rivals": {"rag": ONE}},
    }
    for words, change in changes.items():
        other = SUITE.model_copy(update=change)
        assert SUITE.differences(other) == [words]
        assert other.digest != SUITE.digest
    assert SUITE.differences(SUITE) == []
    everything = SuiteFacts.model_validate(
        {**SUITE.model_dump(), **{k: v for one in changes.values() for k, v in one.items()}}
    )
    assert SUITE.differences(everything) == list(changes)


def test_the_digests_of_suite_and_gate_leave_out_what_is_at_its_default():
    """So that a part that a later release adds makes no recorded gate void."""
    suite = f'"data_digest":"{ZERO}","metric":"exact","task":"triage","task_digest":"{ZERO}"'
    assert SUITE.digest == sha256(f"{{{suite}}}")
    gate = Gate(name="triage", policy=ONE, policy_name="strict", suites=(SUITE,), policy_body={"rules": 1})
    assert gate.digest == sha256(f'{{"name":"triage","policy":"{ONE}","policy_name":"strict","suites":[{{{suite}}}]}}')


def test_a_gate_says_its_policy_and_its_suites() -> None:
    other = SUITE.model_copy(update={"task": "digest", "metric": "f1"})
    gate = Gate(name="triage", policy=ZERO, policy_name="strict", suites=(SUITE, other))
    assert str(gate) == "policy strict in triage (by exact), digest (by f1)"


def test_a_gate_is_another_by_what_binds_and_not_by_what_is_shown():
    gate = Gate(name="triage", policy=ZERO, policy_name="strict", suites=(SUITE,))
    assert gate.policy_body == {}
    assert gate.model_copy(update={"policy_body": {"rules": 1}}).digest == gate.digest
    for change in ({"policy": ONE}, {"name": "other"}, {"suites": (SUITE, SUITE)}):
        assert gate.model_copy(update=change).digest != gate.digest
    with pytest.raises(ValidationError):
        Gate(name="triage", policy=ZERO, policy_name="strict", suites=())


# -- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 9), (9, 9), (3, 10), (8, 10), (613, 626)])
def test_wilsons_interval_is_statsmodels(successes, n):
    interval = wilson(successes, n)
    low, high = proportion_confint(successes, n, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)
    assert (interval.value, interval.n, interval.clusters) == (successes / n, n, None)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


def test_the_ends_of_an_interval_are_exact():
    assert wilson(0, 7).low == 0.0
    assert wilson(7, 7).high == 1.0
    # an effective number of items
    assert score_bounds(0.5, 12.5, Z_TWO_SIDED) == pytest.approx(proportion_confint(6.25, 12.5, method="wilson"))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5), (1, -1)])
def test_there_is_no_share_of_nothing_or_of_more_than_all(successes, n):
    with pytest.raises(InvalidInput, match="no share"):
        wilson(successes, n)
