"""A cluster as one YAML file: its gateways, and the engines of each base.

The same settings as `dabt serve` takes (`service/config.py`), once for all under `serve:` and once more under a base
where its engines need others. Read `ray_app.py` for what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from lifecycle.config_file import faults, load_mapping, validated
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.home import Home
from lifecycle.version import Frozen
from service.cluster.routing import SLACK
from service.cluster.scaling import LATELY
from service.config import ServeConfig
from service.served_bases import BaseSettings, BasesFile

_OWN = frozenset({"base", "base_name", "host", "port", "shadow_folder"})
"""Settings of `ServeConfig` that stand elsewhere in the file, or follow from it."""


class _Bounds(Frozen):
    """How many processes there may be."""

    least: int = Field(default=1, ge=0)
    """0 lets the last one go when nobody has asked for a while; the next request then waits for its start."""
    most: int = Field(default=1, ge=1)
    idle_seconds: float = Field(default=300, ge=0)
    """How long fewer are needed before a process is let go."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.most < self.least:
            raise ValueError(f"most is {self.most} and least {self.least}; write at least {self.least}")
        return self


class Replicas(_Bounds):
    """How many processes, and when there are more of them."""

    requests: float = Field(default=16, gt=0)
    """Running and waiting, that one replica should have: with more of them there is another replica."""


class Needs(Frozen):
    """What Ray sets aside for one replica."""

    cpus: float = Field(default=1, ge=0)
    gpus: float = Field(default=0, ge=0)
    """A whole number, or a part of one that others share."""
    memory_gib: float = Field(default=0, ge=0)

    @field_validator("gpus")
    @classmethod
    def _whole(cls, gpus: float) -> float:
        if gpus > 1 and gpus % 1:
            raise ValueError(f"{gpus:g} of them cannot be set aside; write a whole number, or less than 1")
        return gpus

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * 2**30)

    @property
    def in_rays_words(self) -> dict[str, float]:
        """As `dabt worker --each` has it."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes}
        return {name: amount for name, amount in named.items() if amount}


class Workers(_Bounds):
    """Of the fine-tuning API's queue: one for each job over this base that waits or runs, within these bounds."""

    least: int = Field(default=0, ge=0)
    """0 lets the last one go when there has been no job for a while; the next job then waits for its start."""
    most: int = Field(default=0, ge=0)
    """0 runs none here."""
    devices: int = Field(default=1, ge=1)
    """Several train each job together, by Ray Train. They are set aside while there is a job."""
    each: Needs = Needs()
    """Of one worker; of each device where they are several, whose worker takes a core."""

    @property
    def follow(self) -> bool:
        """Whether there are more or fewer of them at different times."""
        return self.most > self.least


class EngineTier(BaseSettings):
    """The engines of one base. Every node must be able to read a base or a template that is a path."""

    engine: Literal["vllm", "fake"] = "vllm"
    """`fake` answers without a model: to try a cluster out."""
    step_seconds: float = Field(default=0, ge=0)
    """Of the fake engine, for each token."""
    replicas: Replicas = Replicas()
    called_seconds: float = Field(default=LATELY, gt=0)
    """How long an adapter that was called counts as one that should be in memory, for which there are more replicas."""
    each: Needs = Needs()
    workers: Workers = Workers()


class GatewayTier(Frozen):
    replicas: Replicas = Replicas(requests=64)
    each: Needs = Needs()


class ClusterSettings(BasesFile):
    bases: tuple[EngineTier, ...] = Field(min_length=1)
    gateways: GatewayTier = GatewayTier()
    home: Path | None = None
    """On every node, for what is kept there; unless given, DABT_HOME."""
    registry: str = ""
    """A URL that every node reaches; unless given, DABT_REGISTRY_URL."""
    artifacts: str = ""
    """The same of the artifact store; unless given, DABT_ARTIFACTS_URL."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    slack: float = Field(default=SLACK, ge=1)
    """Times the mean load that an engine may have before an adapter's requests go on to the next."""
    told_seconds: float = Field(default=0.5, gt=0)
    """How often engines tell gateways which adapters they hold."""
    start_seconds: float = Field(default=300, gt=0)
    """How long a request waits for an engine where none runs."""

    @model_validator(mode="after")
    def _each_base_once(self) -> Self:
        names = [tier.base for tier in self.bases]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"bases: {', '.join(twice)} is named twice; raise its replicas instead")
        return self

    def at_home(self) -> Home:
        home = Home.at(self.home)
        told = {"registry_url": self.registry, "artifacts_url": self.artifacts}
        return home.model_copy(update={name: url for name, url in told.items() if url})

    def config(self, tier: EngineTier, *, gateway: bool) -> ServeConfig:
        """Of one process. Raises `ValidationError`."""
        fixed = {"base": tier.base, "base_name": tier.base_name, "host": self.host, "port": self.port}
        given = {**self.serve, **tier.serve, **fixed}
        if gateway:
            # Engines load ahead and keep what is named; a gateway has no memory to keep it in.
            given |= {"preload": (), "pin": (), "worker": False, "shadow_folder": self.at_home().shadow}
        return ServeConfig.model_validate(given)


def read_settings(path: Path) -> ClusterSettings:
    """Raises `InvalidConfig` with everything that is wrong with the file, each fault with its place."""
    raw = load_mapping(path)
    settings = validated(ClusterSettings, raw, path)
    if problems := [*_not_here(settings), *_not_served(settings)]:
        placed = [Problem(f"{path}: {problem.place}", problem.fault, problem.cure) for problem in problems]
        raise InvalidConfig(f"{path} cannot be used", placed)
    return settings


def _not_here(settings: ClusterSettings) -> Iterator[Problem]:
    """Settings that must not be given under `serve:`."""
    every = [("serve", settings.serve)]
    every += [(f"bases.{at}.serve", tier.serve) for at, tier in enumerate(settings.bases)]
    for place, serve in every:
        for name in sorted(_OWN & serve.keys()):
            yield Problem(f"{place}.{name}", "stands elsewhere in this file", "leave it out here")


def _not_served(settings: ClusterSettings) -> Iterator[Problem]:
    """What is wrong for all bases is told once."""
    told = set()
    for at, tier in enumerate(settings.bases):
        for problem in _refused(settings, tier):
            place = f"bases.{at}.serve" if problem.place.partition(".")[0] in tier.serve else "serve"
            placed = Problem(f"{place}.{problem.place}", problem.fault, problem.cure)
            if placed not in told:
                told.add(placed)
                yield placed


def _refused(settings: ClusterSettings, tier: EngineTier) -> Iterable[Problem]:
    try:
        settings.config(tier, gateway=False)
    except ValidationError as error:
        return faults(error, ServeConfig, {**settings.serve, **tier.serve})
    except InvalidConfig as error:
        return error.problems
    return ()
