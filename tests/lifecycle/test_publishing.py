"""An adapter folder into the registry: the one way in, for what was trained here and what was trained elsewhere."""

from __future__ import annotations

import pytest

from lifecycle.errors import AdapterRefused, ArtifactRefused, InvalidInput
from lifecycle.manifests import GoldenPrompt
from lifecycle.models.answers import answer_settings
from lifecycle.models.base import fingerprint
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.states import State
from lifecycle.version import Decoding, Prompt, VersionSpec

TRAINED = Provenance(
    source="training",
    run="triage-0123456789ab",
    data_digest="sha256:" + "1" * 64,
    code_revision="abc",
    config={"lora": {"r": 4}},
    metrics={"eval_loss": 0.5},
    note="ملاحظة",
)


@pytest.fixture
def shelf(home):
    with (shelf := Shelf.at(home, actor="amal")).registry:
        yield shelf


def put(shelf, peft, base, provenance=TRAINED):
    prompt = Prompt(system="صنّف")
    return publish(peft.save(), name="triage", base=base, prompt=prompt, provenance=provenance, shelf=shelf)


def test_a_draft_is_the_adapter_over_its_base_behind_its_prompt(shelf, peft, base):
    version = put(shelf, peft, base)
    assert (version.ref, version.state, version.created_by) == ("triage:1", State.DRAFT, "amal")
    known = fingerprint(base).digest
    made = VersionSpec(
        base=known, answers=answer_settings(base), adapter=version.spec.adapter, prompt=Prompt(system="صنّف")
    )
    assert version.spec == made


def test_a_draft_is_decoded_as_its_bases_makers_say(shelf, peft, base):
    (base / "generation_config.json").write_text('{"max_new_tokens": 128, "repetition_penalty": 1.05, "top_k": 20}')
    assert put(shelf, peft, base).spec.decoding == Decoding(max_tokens=128, repetition_penalty=1.05, top_k=20)


def test_all_that_is_known_of_its_making_is_kept(shelf, peft, base):
    version = put(shelf, peft, base)
    kept = TRAINED.model_dump(include={"source", "run", "data_digest", "code_revision", "note", "started_from"})
    assert version.lineage.model_dump() == kept
    manifest = shelf.registry.adapter(version.spec.adapter)
    kept = TRAINED.model_dump(include={"data_digest", "code_revision", "config", "metrics"})
    assert manifest.model_dump(include=set(kept)) == kept
    assert (manifest.rank, manifest.base_name) == (4, "base")


@pytest.mark.parametrize("provenance", [TRAINED, Provenance(source="import", note="from elsewhere")])
def test_only_what_a_server_reads_is_stored_wherever_it_was_trained(shelf, peft, base, provenance):
    bare = put(shelf, peft, base, provenance)
    (peft.folder / "tokenizer.json").write_text("{}")
    (peft.folder / "training_args.bin").write_bytes(b"\x80")
    assert put(shelf, peft, base, provenance) == bare, "the same recipe is the same version"
    stored = shelf.store.get(bare.spec.adapter)
    assert sorted(path.name for path in stored.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert bare.lineage.source == provenance.source


def test_what_cannot_be_served_is_refused_and_nothing_is_stored(shelf, home, peft, base):
    peft.config["use_dora"] = True
    with pytest.raises(AdapterRefused, match="DoRA"):
        put(shelf, peft, base)
    assert shelf.registry.audit() == []
    assert not (home.root / "artifacts").exists()


def test_a_rank_that_the_servers_do_not_take_is_refused(home, peft, base):
    with (narrow := Shelf.at(home, max_rank=1)).registry, pytest.raises(AdapterRefused, match="rank"):
        put(narrow, peft, base)


GOLDEN = GoldenPrompt(prompt_ids=(1,), completion_ids=(2, 3), adapter_logprobs=(-0.1, -0.2), base_logprobs=(-3.0, -4.0))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"adapter_logprobs": (-0.1, float("nan"))}, "a log-probability is not a finite number"),
        ({"adapter_logprobs": (float("inf"), -0.2)}, "a log-probability is not a finite number"),
        ({"base_logprobs": (-3.0, -float("inf"))}, "a log-probability is not a finite number"),
        ({"adapter_logprobs": (-0.1,)}, "it has 2 tokens and another number of log-probabilities"),
        ({"base_logprobs": (-3.0, -4.0, -5.0)}, "it has 2 tokens and another number of log-probabilities"),
        ({"completion_ids": (), "adapter_logprobs": (), "base_logprobs": ()}, "it has no tokens"),
    ],
)
def test_golden_prompts_that_prove_nothing_are_refused_and_nothing_is_stored(shelf, peft, base, change, fault):
    with pytest.raises(ArtifactRefused) as caught:
        put(shelf, peft, base, Provenance(source="import", golden=(GOLDEN, GOLDEN.model_copy(update=change))))
    assert [(problem.place, problem.fault) for problem in caught.value.problems] == [("golden[1]", fault)]
    assert shelf.registry.audit() == []
    assert GOLDEN.fault == ""


def test_an_adapter_without_golden_prompts_gets_those_that_are_recorded_later_and_keeps_them(shelf, peft, base):
    bare, proved = Provenance(source="import"), Provenance(source="import", golden=(GOLDEN,))
    other = GOLDEN.model_copy(update={"adapter_logprobs": (-0.3, -0.4)})
    digest = put(shelf, peft, base, bare).spec.adapter
    before = shelf.registry.adapter(digest)
    assert before.golden == ()
    put(shelf, peft, base, proved)
    assert shelf.registry.adapter(digest) == before.model_copy(update={"golden": (GOLDEN,)})
    put(shelf, peft, base, Provenance(source="import", golden=(other,)))
    assert shelf.registry.adapter(digest).golden == (GOLDEN,)
    assert [entry.action for entry in shelf.registry.audit()].count("adapter.golden") == 1


def test_golden_prompts_over_another_base_are_not_this_ones(shelf, peft, base, make_base):
    digest = put(shelf, peft, base, Provenance(source="import")).spec.adapter
    with pytest.raises(InvalidInput, match="was trained on base"):
        put(shelf, peft, make_base("other", seed=1), Provenance(source="import", golden=(GOLDEN,)))
    assert shelf.registry.adapter(digest).golden == ()
