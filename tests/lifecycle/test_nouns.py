"""Versions, references, states and errors: the parts that have no place of their own to be kept in."""

from __future__ import annotations

import hashlib
import pickle
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from lifecycle.errors import DabtError, InvalidData, InvalidInput, NotAllowed, Overloaded, Problem
from lifecycle.home import Home
from lifecycle.report import ArmResult, Comparison, Interval, Report
from lifecycle.states import MOVES, State, move
from lifecycle.version import Decoding, Knowledge, Prompt, Ref, Shot, VersionSpec, digest_of

BASE = digest_of("base")


def test_equal_recipes_have_one_digest_and_any_other_part_another():
    whole = VersionSpec(
        base=BASE,
        adapter=digest_of("adapter"),
        prompt=Prompt(system="صنّف", shots=(Shot(user="u", assistant="a"),)),
        knowledge=Knowledge(index=digest_of("index")),
        decoding=Decoding(max_tokens=64),
    )
    assert VersionSpec.model_validate_json(whole.model_dump_json()).digest == whole.digest
    changed = [
        {"base": digest_of("other")},
        {"adapter": None},
        {"prompt": Prompt(system="صنف", shots=whole.prompt.shots)},
        {"prompt": Prompt(system="صنّف")},
        {"knowledge": Knowledge(index=digest_of("index"), top_k=4)},
        {"decoding": Decoding(max_tokens=64, temperature=0.1)},
    ]
    digests = {whole.model_copy(update=change).digest for change in changed}
    assert len(digests) == len(changed)
    assert whole.digest not in digests


def test_the_digest_of_a_recipe_does_not_change_between_releases():
    """Verdicts name it: a change here makes every recorded verdict void, and needs a migration."""
    base = "sha256:" + "0" * 64
    written = '{"base":"' + base + '","prompt":{"system":"ضبط"}}'
    expected = "sha256:" + hashlib.sha256(written.encode()).hexdigest()
    assert VersionSpec(base=base, prompt=Prompt(system="ضبط")).digest == expected


def test_a_part_that_a_later_release_adds_leaves_old_digests_alone():
    class Later(VersionSpec):
        reranker: str | None = None

    spec = VersionSpec(base=BASE, prompt=Prompt(system="s"))
    assert Later.model_validate(spec.model_dump()).digest == spec.digest
    assert Later(base=BASE, reranker="r").digest != VersionSpec(base=BASE).digest


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({}, "base"),
        ({"prompt": Prompt(shots=(Shot(user="u", assistant="a"),))}, "few-shot"),
        ({"knowledge": Knowledge(index=digest_of("i"))}, "rag"),
        ({"adapter": digest_of("a")}, "adapter"),
        ({"adapter": digest_of("a"), "knowledge": Knowledge(index=digest_of("i"))}, "hybrid"),
        ({"weights": digest_of("a")}, "weights"),
        ({"weights": digest_of("a"), "knowledge": Knowledge(index=digest_of("i"))}, "hybrid"),
        ({"classifier": digest_of("a")}, "classifier"),
    ],
)
def test_a_recipe_is_the_arm_that_its_parts_make_it(parts, kind):
    assert VersionSpec(base=BASE, **parts).kind == kind


@pytest.mark.parametrize("kind", ["adapter", "weights", "classifier"])
def test_what_was_trained_is_told_with_its_kind_and_changes_the_digest(kind):
    spec = VersionSpec(base=BASE, **{kind: digest_of("a")})
    assert (spec.artifact, spec.trained) == ((kind, digest_of("a")), True)
    bare = VersionSpec(base=BASE)
    assert (bare.artifact, bare.trained) == (None, False)
    others = [VersionSpec(base=BASE, **{other: digest_of("a")}) for other in ("adapter", "weights", "classifier")]
    assert len({spec.digest for spec in (bare, *others)}) == 4


@pytest.mark.parametrize("two", [("adapter", "weights"), ("weights", "classifier"), ("adapter", "classifier")])
def test_a_version_is_made_of_one_artifact(two):
    with pytest.raises(ValidationError, match=f"names {two[0]} and {two[1]}"):
        VersionSpec(base=BASE, **dict.fromkeys(two, digest_of("a")))


def test_upkeep_follows_from_the_recipe():
    index, shots = Knowledge(index=digest_of("i")), Prompt(shots=(Shot(user="u", assistant="a"),))
    a = digest_of("a")
    parts = ({}, {"prompt": shots}, {"knowledge": index}, {"adapter": a}, {"classifier": a}, {"weights": a})
    rising = [VersionSpec(base=BASE, **one) for one in (*parts, {"adapter": a, "knowledge": index})]
    assert [spec.upkeep for spec in rising] == sorted({spec.upkeep for spec in rising})
    assert VersionSpec(base=BASE, adapter=a, prompt=shots).upkeep == VersionSpec(base=BASE, adapter=a).upkeep


@pytest.mark.parametrize("template", ["{question}", "{passages}", "", "passages question"])
def test_a_template_that_would_drop_the_passages_or_the_question_is_refused(template):
    with pytest.raises(ValidationError, match="the template needs"):
        Knowledge(index=digest_of("i"), template=template)
    with pytest.raises(ValidationError, match="the template needs"):
        Knowledge(index=digest_of("i"), arabic_template=template)


def test_a_digest_of_what_json_cannot_hold_is_an_error_and_not_a_guess():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"rate": float("nan")})


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("triage", Ref(name="triage", alias="prod")),
        ("triage:3", Ref(name="triage", number=3)),
        ("triage:canary", Ref(name="triage", alias="canary")),
        ("triage:3a", Ref(name="triage", alias="3a")),
        ("t-r_1:prod", Ref(name="t-r_1", alias="prod")),
    ],
)
def test_a_reference_is_a_name_a_number_or_an_alias(text, ref):
    assert Ref.parse(text) == ref
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    ["", ":", ":3", "triage:", "triage:0", "triage:007", "triage:٣", "triage:9999999999", "triage:1:2", "Triage",
     "triage\n", "triage:prod\n", "tri age", "../x", "ضبط", "a" * 64, "triage:-1", "triage: 3"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_the_forms_that_are(text):
    with pytest.raises(InvalidInput, match="name:number or name:alias"):
        Ref.parse(text)


@pytest.mark.parametrize("now", State)
@pytest.mark.parametrize("to", State)
def test_a_state_moves_only_as_the_table_says_and_a_refusal_names_the_moves(now, to):
    if to in MOVES[now]:
        assert move("triage:1", now, to) is to
        return
    with pytest.raises(NotAllowed) as caught:
        move("triage:1", now, to)
    assert all(allowed.value in str(caught.value) for allowed in MOVES[now])


def test_only_a_verdict_approves_and_nothing_returns_from_retirement():
    assert State.APPROVED not in MOVES[State.DRAFT]
    assert MOVES[State.RETIRED] == frozenset()
    assert all(State.RETIRED in MOVES[state] for state in State if state is not State.RETIRED)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "chrf"}, "chrf is missing from base, adapter"),
        ({"arms": ("base", "base")}, "share a label"),
        ({"comparisons": ("adapter", "rag")}, "names rag, which is no arm"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(change, says):
    def arm(label):
        metrics = {"accuracy": Interval(value=0.5, low=0.4, high=0.6, n=100)}
        given = {"arm": label, "ref": "triage:1", "version_digest": BASE, "metrics": metrics}
        return ArmResult(**given, latency_p50=1, latency_p95=2, prompt_tokens=3, completion_tokens=4)

    def comparison(first, second):
        figures = dict.fromkeys(("delta", "low", "high", "p_value", "p_adjusted"), 0.1)
        return Comparison(arm=first, against=second, metric="accuracy", test="mcnemar-exact", n=100, **figures)

    arms = change.get("arms", ("base", "adapter"))
    compared = change.get("comparisons", ("adapter", "base"))

    def report():
        return Report(
            task="triage",
            task_digest=BASE,
            base="clinic-base",
            metric=change.get("metric", "accuracy"),
            arms=tuple(arm(label) for label in arms),
            comparisons=(comparison(*compared),),
            n_items=100,
            seed=0,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    with pytest.raises(ValidationError, match=says):
        report()
    change.clear()
    arms, compared = ("base", "adapter"), ("adapter", "base")
    assert report().digest == report().digest, "without the contradiction it stands"


def test_an_error_tells_every_problem_with_its_place_and_cure():
    problems = [Problem("train.jsonl:3", "has no answer", "add one"), Problem("train.jsonl:9", "is empty")]
    text = str(InvalidData("2 rows are wrong", problems))
    assert text == "2 rows are wrong\n  train.jsonl:3: has no answer → add one\n  train.jsonl:9: is empty"


def test_errors_survive_the_way_between_processes():
    refused = pickle.loads(pickle.dumps(InvalidData("wrong", [Problem("a:1", "b")])))
    assert (refused.problems, str(refused)) == ((Problem("a:1", "b"),), "wrong\n  a:1: b")
    assert pickle.loads(pickle.dumps(Overloaded("busy", retry_after=2))).retry_after == 2


def test_every_error_has_a_code_of_its_own():
    def tree(root):
        return [root, *(error for child in root.__subclasses__() for error in tree(child))]

    ours = [error for error in tree(DabtError) if error.__module__ == "lifecycle.errors"]
    assert len({error.code for error in ours}) == len(ours)


def test_a_home_is_one_folder_unless_urls_say_otherwise(tmp_path, monkeypatch):
    for variable in ("DABT_HOME", "DABT_REGISTRY_URL", "DABT_ARTIFACTS_URL"):
        monkeypatch.delenv(variable, raising=False)
    home = Home.at(tmp_path)
    assert home.registry_url == f"sqlite:///{tmp_path / 'registry.db'}"
    assert home.artifacts_url == str(tmp_path / "artifacts")
    monkeypatch.setenv("DABT_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("DABT_REGISTRY_URL", "postgresql://db/dabt")
    monkeypatch.setenv("DABT_ARTIFACTS_URL", "s3://bucket/dabt")
    home = Home.at()
    assert (home.root, home.registry_url) == (tmp_path / "other", "postgresql://db/dabt")
    assert home.artifacts_url == "s3://bucket/dabt"


@pytest.mark.parametrize("now", [now for now in State if len(MOVES[now]) > 1])
def test_what_a_state_can_become_is_told_in_one_order(now: State) -> None:
    allowed = sorted(str(to) for to in MOVES[now])
    with pytest.raises(NotAllowed, match="it can become " + ", ".join(allowed) + "$"):
        move("triage:1", now, now)
