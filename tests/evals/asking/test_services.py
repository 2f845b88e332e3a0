"""Arms that other services serve: whole weights beside the base that they were trained from, on the same items."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.config import EvalConfig
from evals.gate.suites import make_gate
from evals.run import evaluate
from lifecycle.errors import InvalidConfig, NotAllowed, NotFound, Unavailable
from lifecycle.manifests import WeightsManifest
from lifecycle.version import Lineage, Version, VersionSpec, digest_of

ELSEWHERE = "http://127.0.0.1:8001/v1"


def tuned(registry: Any) -> Version:
    """Whole weights as training publishes them: over a base of their own."""
    base, digest = digest_of("tuned base"), digest_of("tuned")
    registry.add_artifact(
        WeightsManifest(
            digest=digest,
            base=base,
            base_name="tiny-base",
            origin=digest_of("base"),
            architecture="LlamaForCausalLM",
            parameters=1,
            bytes=1,
            metrics={"train_rows": 400.0},
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    spec = VersionSpec(base=base, weights=digest)
    return registry.create_version("full", spec, actor="test", lineage=Lineage(source="training"))


@pytest.fixture
def both(models: Any) -> Any:
    """The evaluation's own service, and another one for the weights."""
    right = models.speaks["adapter"]
    other = type(models)(models.registry, {"weights": right, "base": right})
    other.deployment = models.deployment.model_copy(update={"base": digest_of("tuned base")})

    def answer(request: httpx.Request) -> httpx.Response:
        return (other if request.url.port == 8001 else models)._handle(request)

    models.other, models.both = other, httpx.MockTransport(answer)
    return models


def with_weights(workplace: Path, endpoint: str = f", endpoint: '{ELSEWHERE}'", **changes: str) -> EvalConfig:
    text = (workplace / "toy.yaml").read_text().partition("  few-shot:")[0]
    text += f"  adapter: {{version: toy:newest}}\n  full: {{version: full:newest{endpoint}}}\n"
    (workplace / "full.yaml").write_text(text)
    return EvalConfig.load(workplace / "full.yaml", **changes)


def test_base_adapter_and_whole_weights_answer_the_same_items_and_are_judged_together(
    workplace: Path, trained: str, registry: Any, home: Any, both: Any
) -> None:
    version = tuned(registry)
    for name in ("toy", "full"):
        with_weights(workplace)
        gate = make_gate(name, workplace / "policy.yaml", [workplace / "full.yaml"], registry, home.cache)
        registry.set_gate(gate, actor="test", reason="what patients need")
    evaluation = evaluate(with_weights(workplace), registry, home, transport=both.both)
    report = evaluation.report
    assert {model for model, _ in both.other.asked} == {version.ref}
    assert version.ref not in {model for model, _ in both.asked}
    assert report.result("full").metrics["fields"].value == 1.0
    assert report.difference("full", "adapter").delta == 0.0
    assert [arm.deployment for arm in report.arms] == [None, None, both.other.deployment]
    assert {verdict.ref: verdict.deployment for verdict in evaluation.verdicts} == {
        trained: both.deployment.digest,
        version.ref: both.other.deployment.digest,
    }
    assert registry.promote(version.ref, actor="test", reason="it is better").numbers == {version.number}
    assert both.other.deployment.digest in (evaluation.folder / "report.md").read_text("utf-8")


def test_a_service_that_serves_another_version_under_the_name_is_refused(
    workplace: Path, trained: str, registry: Any, home: Any, both: Any
) -> None:
    tuned(registry)
    both.other._who = lambda _: {"x-dabt-digest": digest_of("x"), "x-dabt-deployment": both.other.deployment.digest}
    with pytest.raises(NotAllowed, match="serves another full:1"):
        evaluate(with_weights(workplace), registry, home, transport=both.both)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dtype", "bfloat16"),
        ("engine", "fake 2"),
        ("revision", "2"),
        ("device", {"name": "x"}),
        ("kernels", ("k",)),
        ("libraries", {"torch": "1"}),
    ],
)
def test_services_that_differ_in_more_than_the_base_are_not_compared(
    workplace: Path, trained: str, registry: Any, home: Any, both: Any, key: str, value: Any
) -> None:
    tuned(registry)
    both.other.deployment = both.other.deployment.model_copy(update={key: value})
    with pytest.raises(InvalidConfig, match=rf"arms\.full\.endpoint.* differ in {key}"):
        evaluate(with_weights(workplace), registry, home, transport=both.both)
    assert not both.asked
    assert not both.other.asked


def test_what_follows_from_the_base_may_differ(
    workplace: Path, trained: str, registry: Any, home: Any, both: Any
) -> None:
    tuned(registry)
    both.other.deployment = both.other.deployment.model_copy(update={"arguments": {"max_model_len": 64}})
    assert evaluate(with_weights(workplace), registry, home, transport=both.both).report.n_items


def test_a_service_that_is_not_there_is_told_by_its_address(
    workplace: Path, trained: str, registry: Any, home: Any, both: Any
) -> None:
    tuned(registry)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.port == 8001:
            raise httpx.ConnectError("refused")
        return both._handle(request)

    with pytest.raises(Unavailable, match=r"no model answers at http://127\.0\.0\.1:8001/v1"):
        evaluate(with_weights(workplace), registry, home, transport=httpx.MockTransport(answer))


def test_whole_weights_without_an_endpoint_are_told_what_to_write(
    workplace: Path, trained: str, registry: Any, home: Any, models: Any
) -> None:
    tuned(registry)
    with pytest.raises(InvalidConfig, match=r"arms\.full: .*give its arm the endpoint it has"):
        evaluate(with_weights(workplace, endpoint=""), registry, home, transport=models.transport)
    assert not models.asked


def test_arms_over_two_bases_that_one_service_runs_are_one_report_and_may_be_promoted(
    workplace: Path, trained: str, registry: Any, home: Any, models: Any
) -> None:
    version = tuned(registry)
    models.speaks["weights"] = models.speaks["adapter"]
    beside = {"beside": {version.spec.base: {"base": digest_of("tuned base")}}}
    models.deployment = models.deployment.model_copy(update={"arguments": beside})
    for name in ("toy", "full"):
        with_weights(workplace, endpoint="")
        gate = make_gate(name, workplace / "policy.yaml", [workplace / "full.yaml"], registry, home.cache)
        registry.set_gate(gate, actor="test", reason="what patients need")
    evaluation = evaluate(with_weights(workplace, endpoint=""), registry, home, transport=models.transport)
    assert [arm.arm for arm in evaluation.report.arms] == ["base", "adapter", "full"]
    assert evaluation.report.difference("full", "adapter").delta == 0.0
    assert {verdict.deployment for verdict in evaluation.verdicts} == {models.deployment.digest}
    assert registry.promote(version.ref, actor="test", reason="it is better").numbers == {version.number}


def test_a_policy_that_compares_with_prod_over_a_base_that_is_not_served_says_so(
    workplace: Path, trained: str, registry: Any, home: Any, models: Any
) -> None:
    elsewhere = registry.create_version("toy", VersionSpec(base=digest_of("another")), actor="test")
    registry.promote(elsewhere.ref, actor="test", reason="for the test", force=True)
    policy = workplace / "policy.yaml"
    policy.write_text(policy.read_text().replace("{rule: beats, arm: base}", "{rule: beats, arm: prod}"))
    config = EvalConfig.load(workplace / "toy.yaml")
    with pytest.raises(InvalidConfig, match=r"arms\.prod: .*take prod out of the policy's rules"):
        evaluate(config, registry, home, transport=models.transport)


def test_an_endpoint_is_for_a_version_that_exists(workplace: Path) -> None:
    text = (workplace / "toy.yaml").read_text().replace("{version: toy:newest}", f"{{endpoint: '{ELSEWHERE}'}}")
    (workplace / "wrong.yaml").write_text(text)
    with pytest.raises(InvalidConfig, match="name it by version"):
        EvalConfig.load(workplace / "wrong.yaml")


def test_whole_weights_may_be_the_base_of_recipes(workplace: Path, registry: Any, home: Any, models: Any) -> None:
    version = tuned(registry)
    text = (workplace / "toy.yaml").read_text().partition("  rag:")[0].partition("base: ")
    lines = text[2].partition("\n")
    (workplace / "over.yaml").write_text(f"{text[0]}base: full:1\n{lines[2]}  full: {{version: full:1}}\n")
    models.speaks["weights"] = models.speaks["adapter"]
    report = evaluate(EvalConfig.load(workplace / "over.yaml"), registry, home, transport=models.transport).report
    assert (report.base, [arm.arm for arm in report.arms]) == (version.ref, ["base", "few-shot", "full"])
    specs = [registry.version(arm.ref).spec for arm in report.arms]
    assert {spec.weights for spec in specs} == {version.spec.weights}
    assert len({spec.base for spec in specs}) == 1


@pytest.mark.parametrize(("base", "error"), [("toy:1", InvalidConfig), ("nobody:1", NotFound)])
def test_a_version_without_weights_is_no_base(
    workplace: Path, trained: str, registry: Any, home: Any, models: Any, base: str, error: type[Exception]
) -> None:
    config = replace_base(workplace, base)
    with pytest.raises(error):
        evaluate(config, registry, home, transport=models.transport)


def replace_base(workplace: Path, base: str) -> EvalConfig:
    text = (workplace / "toy.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("base: "))
    (workplace / "other.yaml").write_text(text.replace(line, f"base: {base}"))
    return EvalConfig.load(workplace / "other.yaml")
