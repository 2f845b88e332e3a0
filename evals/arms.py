"""Arms → versions: every recipe of a configuration becomes a version that the registry knows, so that it can ship.

Read `measure.py` next: it asks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evals.alias_arms import served_arms, served_now
from evals.config import NEWEST, EvalConfig
from evals.knowledge import knowledge_of
from evals.recipes import Recipe, read_prompt
from lifecycle.aliases import PROD
from lifecycle.errors import InvalidConfig, InvalidInput, NotFound, Problem
from lifecycle.manifests import Manifest
from lifecycle.models.answers import bare_spec
from lifecycle.models.base import name_of, resolve_base
from lifecycle.models.generation import decoding_in_force
from lifecycle.report import Served
from lifecycle.states import State
from lifecycle.version import ArmKind, Decoding, Frozen, Lineage, Ref, Version, VersionSpec

if TYPE_CHECKING:
    from lifecycle.registry import Registry


class Arm(Frozen):
    """A version under the label that it has in the comparison."""

    label: str
    version: Version
    endpoint: str = ""
    """Where it answers, when another service than the evaluation's serves it."""

    @property
    def kind(self) -> ArmKind:
        return self.version.spec.kind


def resolve_arms(
    config: EvalConfig, registry: Registry, *, actor: str, served: Mapping[str, Served] | None = None
) -> tuple[Arm, ...]:
    """The arms in the configuration's order; new recipes are numbered under `config.name` as drafts.

    `served` is what aliases stand for (`served_arms`). An arm of an alias that serves nothing is left out, and so is
    one that serves what another arm is, unless it is the baseline: then the other arm is what is served.

    Raises `InvalidConfig` with every version and index that is not there, adapters over another base than the
    evaluation's, retired versions, and two arms that are one version.
    """
    problems: list[Problem] = []
    served = served_arms(config, registry) if served is None else served
    recipes = {label: recipe for label, recipe in config.arms.items() if label not in served or served[label].ref}
    known = {
        label: registry.version(served[label].ref or "") if label in served
        else _known(label, recipe, registry, problems)
        for label, recipe in recipes.items()
    }  # fmt: skip
    # A classifier is served beside any base, and what answers elsewhere has its own: they are compared with nothing.
    over_base = {
        label: version
        for label, version in known.items()
        if version and not version.spec.classifier and not recipes[label].endpoint
    }
    need_base = over_base or any(not recipe.version for recipe in recipes.values())
    # An unknown version has been told: that there is then no base to take from it is no second fault.
    unknown = any((recipe.version or recipe.adapter) and known[label] is None for label, recipe in recipes.items())
    bare = None
    if need_base and (config.base or over_base or not unknown):
        bare = _bare(config, list(over_base.values()), registry, problems)
    if bare is not None:
        problems += _over_another(recipes, known, bare)
        whole = [version for label, version in over_base.items() if recipes[label].version]
        problems += _strangers(bare, [version for version in whole if version.spec.base == bare.base])
    if problems or (bare is None and need_base):
        raise InvalidConfig("the arms cannot be made into versions", problems)
    arms: list[Arm] = []
    for label, recipe in recipes.items():
        origin = known[label]
        if recipe.version and origin:
            version = origin
        else:
            assert bare is not None, "a recipe has a base"
            spec = _spec(label, recipe, bare, origin, registry, problems)
            if spec is None:
                continue
            lineage = Lineage(source="evaluation", note=f"arm {label} of {config.title}")
            version = registry.create_version(config.name, spec, actor=actor, lineage=lineage)
        if version.state == State.RETIRED:
            problems.append(Problem(f"arms.{label}", f"{version.ref} is retired", "change the recipe, or leave it out"))
        arms.append(Arm(label=label, version=version, endpoint=recipe.endpoint or ""))
    spare = {label for label in served if label != config.baseline}
    arms = [arm for arm in arms if arm.label not in spare or not _twin(arm, arms)]
    problems += _twins(arms)
    if problems:
        raise InvalidConfig("the arms cannot be made into versions", problems)
    return tuple(arms)


def with_prod(
    arms: tuple[Arm, ...], config: EvalConfig, registry: Registry, served: Mapping[str, Served] | None = None
) -> tuple[tuple[Arm, ...], str | None]:
    """The arms with what `prod` of this name serves now, for policies that compare with it, and its label.

    It is added as `prod` unless one of the arms is that version; (`arms`, None) when nothing is served. What arms of
    aliases were found to be (`served`) is not asked again. Raises `InvalidConfig` when the two cannot be compared.
    """
    named = {now.alias: now for now in (served or {}).values()}
    now = named.get(f"{config.name}:{PROD}") or served_now(config.name, PROD, registry)
    if now.ref is None:
        return arms, None
    version = registry.version(now.ref)
    if label := next((arm.label for arm in arms if arm.version.digest == version.digest), None):
        return arms, label
    problems = []
    if any(arm.label == PROD for arm in arms):
        fault = f"it is not what {now.alias} serves ({version.ref})"
        problems.append(Problem(f"arms.{PROD}", fault, "give this arm another label"))
    if problems:
        raise InvalidConfig("the arms cannot be compared with what is served", problems)
    return (*arms, Arm(label=PROD, version=version)), PROD


def base_name(config: EvalConfig, arms: tuple[Arm, ...], registry: Registry) -> str:
    """What people call the base model: its folder's or repository's name."""
    if config.base:
        stored = _stored(config.base, registry)
        return stored.ref if stored else name_of(resolve_base(config.base))
    over_base = tuple(arm for arm in arms if not arm.version.spec.classifier and not arm.endpoint) or arms
    manifests = _manifests(over_base, registry)
    return manifests[0].base_name if manifests else over_base[0].version.spec.base[:19]


def training_rows(arms: tuple[Arm, ...], registry: Registry) -> int | None:
    """Rows that the arms were trained on (the most, when they differ), as their manifests say; None if unknown."""
    rows = [int(run.metrics["train_rows"]) for run in _manifests(arms, registry) if "train_rows" in run.metrics]
    return max(rows, default=None)


def _manifests(arms: tuple[Arm, ...], registry: Registry) -> list[Manifest]:
    return [registry.artifact(made[1]) for arm in arms if (made := arm.version.spec.artifact)]


def _known(label: str, recipe: Recipe, registry: Registry, problems: list[Problem]) -> Version | None:
    """The version that the recipe names, whole (`version`) or for its adapter (`adapter`)."""
    text = recipe.version or recipe.adapter
    if text is None:
        return None
    key = "version" if recipe.version else "adapter"
    ref = Ref.parse(text)
    try:
        version = _newest(ref.name, registry) if ref.alias == NEWEST else registry.version(text)
    except (NotFound, InvalidInput) as error:  # or an adapter of an alias that is split
        problems.append(Problem(f"arms.{label}.{key}", str(error)))
        return None
    if recipe.adapter and not version.spec.adapter:
        problems.append(Problem(f"arms.{label}.adapter", f"{version.ref} has no adapter", "name a trained version"))
    return version


def _newest(name: str, registry: Registry) -> Version:
    trained = [
        version
        for version in registry.versions(name)
        if version.lineage.source == "training" and version.state != State.RETIRED
    ]
    if not trained:
        raise NotFound(f"training has published no version of '{name}' yet; run `dabt train` first")
    return max(trained, key=lambda version: version.number)


def _stored(base: str, registry: Registry) -> Version | None:
    """The version whose whole weights are the base, where it is written as one: `triage:3`.

    Raises `NotFound` for one that is not there, and `InvalidConfig` for one without weights of its own.
    """
    if ":" not in base or Path(base).exists():
        return None
    version = registry.version(base)
    if version.spec.weights is None:
        problem = Problem("base", f"{version.ref} has no weights of its own", "name a model folder, or a hub id")
        raise InvalidConfig("the arms cannot be made into versions", [problem])
    return version


def _bare(config: EvalConfig, named: list[Version], registry: Registry, problems: list[Problem]) -> VersionSpec | None:
    """The base that recipes are made over. A whole version may be over another that the endpoint serves too.

    Without a folder to read, the first version named tells what decides an answer beside its own recipe.
    """
    stored = _stored(config.base, registry) if config.base else None
    if config.base and stored is None:
        bare = bare_spec(resolve_base(config.base))
    elif stored or named:
        spec = (stored or named[0]).spec
        decoding = spec.decoding if spec.answers else Decoding()
        # Whatever a service over whole weights answers, they have answered it.
        bare = VersionSpec(base=spec.base, answers=spec.answers, decoding=decoding, weights=spec.weights)
    else:
        problems.append(Problem("base", "no arm names a version to take it from", "a model folder or a hub id"))
        return None
    return bare


def _over_another(
    recipes: Mapping[str, Recipe], known: Mapping[str, Version | None], bare: VersionSpec
) -> Iterator[Problem]:
    """An adapter is put over the base of the evaluation, and only its own will do."""
    for label, recipe in recipes.items():
        version = known[label]
        if recipe.adapter and version is not None and version.spec.base != bare.base:
            fault = (
                f"{version.ref} is over another base ({version.spec.base[:19]}…) than this evaluation "
                f"({bare.base[:19]}…)"
            )
            cure = "compare it whole, by `version:`, where its base is served (`template` is a part of a base)"
            yield Problem(f"arms.{label}.adapter", fault, cure)


def _strangers(bare: VersionSpec, served: list[Version]) -> list[Problem]:
    """Versions that the endpoint would refuse, because over this base they would not answer as they were made to."""
    problems = []
    for version in served:
        if bare.answers and version.spec.answers and (differ := version.spec.answers.differences(bare.answers)):
            fault = f"{version.ref} was made over a base that differs from this one in {', '.join(differ)}"
            problems.append(Problem("base", fault, "write its recipe as an arm, or name its own base"))
    return problems


def _spec(
    label: str, recipe: Recipe, bare: VersionSpec, origin: Version | None, registry: Registry, problems: list[Problem]
) -> VersionSpec | None:
    given = origin.spec if origin else bare
    knowledge = given.knowledge
    if recipe.knowledge:
        knowledge, faults = knowledge_of(recipe.knowledge, f"arms.{label}", registry)
        if faults:
            problems += faults
            return None
    return VersionSpec(
        base=bare.base,
        adapter=given.adapter,
        weights=given.weights,
        prompt=read_prompt(recipe.prompt) if recipe.prompt else given.prompt,
        knowledge=knowledge,
        decoding=_decoding(recipe, bare, given),
        answers=bare.answers or given.answers,
    )


def _decoding(recipe: Recipe, bare: VersionSpec, given: VersionSpec) -> Decoding:
    """What the recipe says, and where it is silent, the adapter's version or the base."""
    said = recipe.decoding.model_dump(exclude_unset=True) if recipe.decoding else {}
    return decoding_in_force(given, bare.decoding).model_copy(update=said)


def _twin(arm: Arm, arms: list[Arm]) -> bool:
    return any(other.version.digest == arm.version.digest for other in arms if other is not arm)


def _twins(arms: list[Arm]) -> list[Problem]:
    first: dict[str, str] = {}
    problems = []
    for arm in arms:
        other = first.setdefault(arm.version.digest, arm.label)
        if other != arm.label:
            fault = f"it is the same recipe as '{other}' ({arm.version.ref}): there is nothing to compare"
            problems.append(Problem(f"arms.{arm.label}", fault))
    return problems
