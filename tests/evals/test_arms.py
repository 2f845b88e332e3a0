"""Recipes become versions: numbered once, over one base, and different from each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.arms import base_name, resolve_arms, training_rows, with_prod
from evals.config import EvalConfig
from lifecycle.aliases import Alias, Target
from lifecycle.errors import InvalidConfig
from lifecycle.models.answers import answer_settings
from lifecycle.registry import Registry
from lifecycle.states import State
from lifecycle.version import Decoding, Knowledge, Lineage, Prompt, VersionSpec, digest_of


def with_arms(config: EvalConfig, workplace: Path, text: str) -> EvalConfig:
    lines = (workplace / "toy.yaml").read_text().splitlines()
    kept = lines[: lines.index("arms:") + 1]
    (workplace / "other.yaml").write_text("\n".join(kept) + "\n" + text)
    return EvalConfig.load(workplace / "other.yaml")


def test_each_recipe_is_a_version_of_its_kind(config: EvalConfig, registry: Registry, trained: str) -> None:
    arms = resolve_arms(config, registry, actor="test")
    assert [(arm.label, arm.kind) for arm in arms] == [(kind, kind) for kind in ("base", "few-shot", "rag", "adapter")]
    assert arms[3].version.ref == trained
    assert len({arm.version.digest for arm in arms}) == 4
    assert arms[0].version.lineage == Lineage(source="evaluation", note="arm base of toy")
    assert base_name(config, arms, registry) == "tiny-base"
    assert training_rows(arms, registry) == 400


def test_a_second_evaluation_numbers_nothing_anew(config: EvalConfig, registry: Registry) -> None:
    first = resolve_arms(config, registry, actor="test")
    assert resolve_arms(config, registry, actor="test") == first
    assert len(registry.versions("toy")) == 4


def test_an_adapter_brings_the_prompt_that_it_was_trained_with(
    config: EvalConfig, workplace: Path, registry: Registry, trained: str
) -> None:
    spec = registry.version(trained).spec
    prompt = spec.prompt.model_copy(update={"system": "as trained"})
    registry.create_version(
        "toy", spec.model_copy(update={"prompt": prompt}), actor="t", lineage=Lineage(source="training")
    )
    text = "  base: {prompt: {system: system.txt}}\n  hybrid: {adapter: toy:newest, knowledge: {index: handbook}}\n"
    arms = resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    assert arms[1].kind == "hybrid"
    assert arms[1].version.spec.prompt.system == "as trained"


def test_newest_means_the_newest_that_training_published(config: EvalConfig, registry: Registry, trained: str) -> None:
    resolve_arms(config, registry, actor="test")  # numbers versions above the trained one
    arms = resolve_arms(config, registry, actor="test")
    assert arms[3].version.ref == trained == "toy:1"


def test_all_that_is_missing_is_reported_together(config: EvalConfig, workplace: Path, registry: Registry) -> None:
    text = "  base: {}\n  one: {version: other:newest}\n  two: {adapter: toy:99}\n  three: {adapter: toy:prod}\n"
    with pytest.raises(InvalidConfig) as error:
        resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    assert [one.place for one in error.value.problems] == ["arms.one.version", "arms.two.adapter", "arms.three.adapter"]
    assert "dabt train" in error.value.problems[0].fault


def test_an_index_that_is_not_there_names_the_cure(config: EvalConfig, workplace: Path, registry: Registry) -> None:
    text = "  base: {}\n  rag: {knowledge: {index: nowhere}}\n"
    with pytest.raises(InvalidConfig, match="dabt index"):
        resolve_arms(with_arms(config, workplace, text), registry, actor="test")


def test_two_arms_that_are_one_recipe_are_refused(config: EvalConfig, workplace: Path, registry: Registry) -> None:
    with pytest.raises(InvalidConfig, match="same recipe as 'base'"):
        resolve_arms(with_arms(config, workplace, "  base: {}\n  few-shot: {}\n"), registry, actor="test")


def test_an_adapter_is_put_over_no_other_base_and_a_whole_version_over_its_own_is_compared(
    config: EvalConfig, workplace: Path, registry: Registry, base_model: Path
) -> None:
    (base_model / "model.safetensors").write_bytes(b"other weights, same name")
    with pytest.raises(InvalidConfig, match=r"arms.x.adapter: toy:1 is over another base"):
        resolve_arms(with_arms(config, workplace, "  base: {}\n  x: {adapter: 'toy:1'}\n"), registry, actor="test")
    over_both = with_arms(config, workplace, "  base: {}\n  x: {version: 'toy:1'}\n")
    new, old = resolve_arms(over_both, registry, actor="test")
    assert new.version.spec.base != old.version.spec.base


def test_an_adapter_arm_needs_a_version_that_has_one(config: EvalConfig, workplace: Path, registry: Registry) -> None:
    spec = VersionSpec(base=registry.version("toy:1").spec.base)
    plain = registry.create_version("plain", spec, actor="test")
    with pytest.raises(InvalidConfig, match="has no adapter"):
        resolve_arms(
            with_arms(config, workplace, f"  base: {{}}\n  x: {{adapter: {plain.ref}}}\n"), registry, actor="t"
        )


def test_a_retired_recipe_is_not_evaluated_again(config: EvalConfig, registry: Registry) -> None:
    arms = resolve_arms(config, registry, actor="test")
    registry.retire(arms[1].version.ref, "test", "wrong shots")
    assert registry.version(arms[1].version.ref).state is State.RETIRED
    with pytest.raises(InvalidConfig, match=f"{arms[1].version.ref} is retired"):
        resolve_arms(config, registry, actor="test")


def test_without_a_base_the_one_of_the_named_version_is_taken(
    config: EvalConfig, workplace: Path, registry: Registry, base_model: Path, trained: str
) -> None:
    lines = [line for line in (workplace / "toy.yaml").read_text().splitlines() if not line.startswith("base:")]
    (workplace / "toy.yaml").write_text("\n".join(lines))
    arms = resolve_arms(EvalConfig.load(workplace / "toy.yaml"), registry, actor="test")
    assert {arm.version.spec.base for arm in arms} == {registry.version(trained).spec.base}


@pytest.mark.parametrize("arm", ["{version: 'other:1'}", "{adapter: 'other:1'}", "{version: 'other:newest'}"])
def test_an_unknown_version_alone_is_one_fault_where_it_would_have_told_the_base(
    config: EvalConfig, workplace: Path, registry: Registry, arm: str
) -> None:
    lines = [line for line in (workplace / "toy.yaml").read_text().splitlines() if not line.startswith("base:")]
    (workplace / "toy.yaml").write_text("\n".join(lines))
    baseless = EvalConfig.load(workplace / "toy.yaml")
    with pytest.raises(InvalidConfig) as error:
        resolve_arms(with_arms(baseless, workplace, f"  base: {{}}\n  x: {arm}\n"), registry, actor="test")
    assert [problem.place.rpartition(".")[0] for problem in error.value.problems] == ["arms.x"]
    nameless = with_arms(baseless, workplace, "  base: {}\n  short: {decoding: {max_tokens: 5}}\n")
    with pytest.raises(InvalidConfig, match="base: no arm names a version to take it from"):
        resolve_arms(nameless, registry, actor="test")


def said_by_the_makers(base_model: Path, **said: object) -> None:
    (base_model / "generation_config.json").write_text(json.dumps(said))


def test_an_arm_is_decoded_as_the_bases_makers_say_unless_it_says_otherwise(
    config: EvalConfig, workplace: Path, registry: Registry, base_model: Path
) -> None:
    said_by_the_makers(base_model, repetition_penalty=1.1, temperature=0.6, max_new_tokens=64)
    text = "  base: {}\n  greedy: {decoding: {temperature: 0}}\n  short: {decoding: {max_tokens: 5, top_k: 3}}\n"
    arms = resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    assert [arm.version.spec.decoding for arm in arms] == [
        Decoding(temperature=0.6, repetition_penalty=1.1, max_tokens=64),
        Decoding(temperature=0.0, repetition_penalty=1.1, max_tokens=64),
        Decoding(temperature=0.6, repetition_penalty=1.1, max_tokens=5, top_k=3),
    ]
    assert [arm.version.spec.answers for arm in arms] == [answer_settings(base_model)] * 3


def test_an_adapter_brings_the_decoding_of_its_version_and_what_was_applied_to_it_in_silence(
    config: EvalConfig, workplace: Path, registry: Registry, base_model: Path, trained: str
) -> None:
    said_by_the_makers(base_model, repetition_penalty=1.1, temperature=0.6)
    old = registry.version(trained).spec.model_copy(update={"answers": None, "decoding": Decoding(max_tokens=9)})
    registry.create_version("old", old, actor="t")
    new = old.model_copy(update={"answers": answer_settings(base_model)})
    registry.create_version("new", new, actor="t")
    text = (
        "  base: {}\n  old: {adapter: old:1}\n  new: {adapter: new:1}\n"
        "  warm: {adapter: new:1, decoding: {temperature: 0.5}}\n  as-it-was: {version: old:1}\n"
    )
    arms = resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    assert [arm.version.spec.decoding for arm in arms] == [
        Decoding(temperature=0.6, repetition_penalty=1.1),
        Decoding(max_tokens=9, repetition_penalty=1.1),
        Decoding(max_tokens=9),
        Decoding(max_tokens=9, temperature=0.5),
        Decoding(max_tokens=9),
    ]
    assert arms[4].version.spec == old


def test_a_version_over_a_base_that_answers_otherwise_cannot_be_compared_but_its_adapter_can(
    config: EvalConfig, workplace: Path, registry: Registry, base_model: Path, trained: str
) -> None:
    spec = registry.version(trained).spec.model_copy(update={"answers": answer_settings(base_model)})
    registry.create_version("new", spec, actor="t")
    said_by_the_makers(base_model, eos_token_id=[2, 7])
    with pytest.raises(InvalidConfig, match="new:1 was made over a base that differs from this one in the token ids"):
        resolve_arms(with_arms(config, workplace, "  base: {}\n  x: {version: new:1}\n"), registry, actor="test")
    arms = resolve_arms(with_arms(config, workplace, "  base: {}\n  x: {adapter: new:1}\n"), registry, actor="test")
    assert arms[1].version.spec == spec.model_copy(update={"answers": answer_settings(base_model)})
    assert arms[1].version.spec.answers.stops == (2, 7)


def test_without_a_base_every_arm_has_the_settings_and_the_decoding_of_the_named_version(
    config: EvalConfig, workplace: Path, registry: Registry, base_model: Path, trained: str
) -> None:
    decoding = Decoding(repetition_penalty=1.1, max_tokens=64)
    update = {"answers": answer_settings(base_model), "decoding": decoding}
    registry.create_version("new", registry.version(trained).spec.model_copy(update=update), actor="t")
    made = with_arms(config, workplace, "  base: {}\n  x: {version: new:1}\n").model_copy(update={"base": None})
    arms = resolve_arms(made, registry, actor="test")
    assert (arms[0].version.spec.decoding, arms[0].version.spec.answers) == (decoding, answer_settings(base_model))


# what prod serves


def served(registry: Registry, ref: str) -> None:
    registry.promote(ref, actor="test", reason="for the test", force=True)


def test_nothing_in_prod_adds_no_arm(config: EvalConfig, registry: Registry) -> None:
    arms = resolve_arms(config, registry, actor="test")
    assert with_prod(arms, config, registry) == (arms, None)


def test_what_prod_serves_is_one_more_arm(config: EvalConfig, registry: Registry, trained: str) -> None:
    spec = registry.version(trained).spec.model_copy(update={"prompt": Prompt(system="older")})
    older = registry.create_version("toy", spec, actor="test")
    served(registry, older.ref)
    arms = resolve_arms(config, registry, actor="test")
    more, label = with_prod(arms, config, registry)
    assert (more[:-1], label) == (arms, "prod")
    assert (more[-1].label, more[-1].version.ref) == ("prod", older.ref)


def test_an_arm_that_prod_serves_is_not_asked_twice(config: EvalConfig, registry: Registry, trained: str) -> None:
    served(registry, trained)
    arms = resolve_arms(config, registry, actor="test")
    assert with_prod(arms, config, registry) == (arms, "adapter")


@pytest.mark.parametrize(("incumbent", "expected"), [(None, "toy:9"), (7, "toy:7")])
def test_of_several_versions_in_prod_the_incumbent_is_meant_or_else_the_larger_share(
    config: EvalConfig, registry: Registry, monkeypatch: pytest.MonkeyPatch, incumbent: int | None, expected: str
) -> None:
    arms = resolve_arms(config, registry, actor="test")
    targets = (Target(number=7, weight=0.2), Target(number=9, weight=0.8))
    alias = Alias(name="toy", alias="prod", targets=targets, incumbent=incumbent)
    version = arms[1].version.model_copy(
        update={"spec": VersionSpec(base=arms[0].version.spec.base, prompt=Prompt(system="x"))}
    )
    monkeypatch.setattr(registry, "alias", lambda *_: alias)
    monkeypatch.setattr(registry, "version", lambda ref: version.model_copy(update={"number": int(ref[4:])}))
    more, _ = with_prod(arms, config, registry)
    assert more[-1].version.ref == expected


def test_another_arm_of_the_label_that_prod_would_have_cannot_be_compared(
    config: EvalConfig, workplace: Path, registry: Registry
) -> None:
    text = "  base: {prompt: {system: system.txt}}\n  prod: {prompt: {system: shots.jsonl}}\n"
    arms = resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    elsewhere = registry.create_version("toy", VersionSpec(base=digest_of("another")), actor="test")
    served(registry, elsewhere.ref)
    with pytest.raises(InvalidConfig) as error:
        with_prod(arms, config, registry)
    assert [one.place for one in error.value.problems] == ["arms.prod"]
    assert "toy:prod serves" in error.value.problems[0].fault


def test_an_arm_declares_its_retrievers_stages_and_two_rows_of_stages_are_two_versions(
    config: EvalConfig, workplace: Path, registry: Registry
) -> None:
    (workplace / "reranker").mkdir()
    (workplace / "reranker" / "config.json").write_text("{}")
    text = (
        "  base: {}\n  plain: {knowledge: {index: handbook}}\n"
        "  ranked: {knowledge: {index: handbook, stages: [lexical, {type: rerank, model: reranker}]}}\n"
    )
    _, plain, ranked = resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    assert plain.version.spec.knowledge == Knowledge(index=registry.index("handbook").digest)
    assert ranked.version.spec.knowledge
    assert [stage.type for stage in ranked.version.spec.knowledge.stages] == ["lexical", "rerank"]
    before = ranked.version.digest
    assert len({before, plain.version.digest}) == 2
    (workplace / "reranker" / "config.json").write_text('{"other": 1}')
    again = resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    assert again[2].version.digest != before, "the reranker's files are in the digest"


def test_what_is_wrong_with_the_stages_of_all_arms_is_told_together(
    config: EvalConfig, workplace: Path, registry: Registry
) -> None:
    text = (
        "  base: {knowledge: {index: handbook, stages: [fusion, lexical]}}\n"
        "  rag: {knowledge: {index: handbook, stages: [lexcal]}}\n"
    )
    with pytest.raises(InvalidConfig) as error:
        resolve_arms(with_arms(config, workplace, text), registry, actor="test")
    places = [problem.place for problem in error.value.problems]
    assert places == ["arms.base.knowledge.stages.0", "arms.rag.knowledge.stages.0"]
