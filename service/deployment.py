"""What this service tells of itself: its deployment, everything besides the version that can change an answer.

Answers carry its digest (`x-dabt-deployment`), and `GET /v1/dabt/deployment` says what is in it. An evaluation binds
what it measures to it. `engine/interface.py` has the engine's part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lifecycle.deployment import Deployment
from lifecycle.version import Digest
from service.config import ServeConfig
from service.engine.interface import EngineFacts

NO_ANSWER = frozenset(
    [
        # Told otherwise: by the base's digest, and by the engine as it resolved them.
        *("base", "dtype", "max_model_len"),
        # Names, addresses and keys.
        *("base_name", "host", "port", "keys", "limits_url", "allowed_host", "cors_origin"),
        # Where what was computed before is found again.
        "prefix_cache",
        # What is written of requests, and how often the registry and the collector are spoken to.
        *("log_bodies", "log_level", "log_format", "otlp_endpoint", "otlp_protocol", "shadow_folder"),
        *("usage_seconds", "poll_seconds", "canary_seconds"),
        # Which adapters are in memory first, how long one waits (for adapters, clients, the engine and the end), and
        # what people are shown.
        *(
            "preload",
            "pin",
            "cache_gib",
            "classifier_gib",
            "fetch_seconds",
            "load_wait_seconds",
            "client_seconds",
            *("ui", "grafana_url", "router_series"),
            *("max_file_mib", "max_upload_mib", "worker", "evals", "checkpoint_days"),
            "keep_alive_seconds",
            "drain_seconds",
        ),
        *("engine_silent_seconds", "restart_attempts"),
        # They may hold paths and secrets; what of them counts is the engine's word.
        "engine_options",
        # It answers /v1/embeddings alone; a version's index names its own.
        *("embedding_model",),
    ]
)
"""Settings of `ServeConfig` that change no answer of a version. All others count, and so does one that is new."""

_PACKAGES = ("service", "retrieval", "lifecycle")
"""All that this service is made of."""


class OwnDeployment:
    """Belongs to one service. What does not change while it runs is read once, when this is made."""

    def __init__(
        self, config: ServeConfig, base: Digest, others: Sequence[tuple[Digest, Digest, ServeConfig]] = ()
    ) -> None:
        """`base` is the digest of the recipe that is the base alone. `others` are further bases: their digests, those
        of the recipes, and the settings of their engines. All together are one deployment, and have one digest.
        """
        self._service = _settings(config)
        self._others = {digest: (recipe, _settings(settings)) for digest, recipe, settings in others}
        self._base = base
        self._revision = f"{_release()} {revision()}"
        self._told: tuple[EngineFacts, Deployment, Digest] | None = None

    def of(self, facts: EngineFacts) -> Deployment:
        return self._known(facts)[1]

    def digest(self, facts: EngineFacts) -> Digest:
        """The same as `of(facts).digest`, computed once for each start of the engine."""
        return self._known(facts)[2]

    def _known(self, facts: EngineFacts) -> tuple[EngineFacts, Deployment, Digest]:
        if self._told is None or self._told[0] is not facts:
            made = self._made(facts)
            self._told = facts, made, made.digest
        return self._told

    def _made(self, facts: EngineFacts) -> Deployment:
        return Deployment(
            engine=f"{facts.engine} {facts.version}",
            dtype=facts.dtype,
            base=self._base,
            kernels=facts.detail.kernels,
            device=facts.detail.device,
            libraries=facts.detail.libraries,
            revision=self._revision,
            arguments={
                "engine": {**facts.detail.arguments, "max_model_len": facts.max_model_len},
                "service": self._service,
                **self._of_others(facts),
            },
        )

    def _of_others(self, facts: EngineFacts) -> dict[str, Any]:
        told = {
            base: {"base": recipe, "engine": facts.of(base).model_dump(mode="json"), "service": settings}
            for base, (recipe, settings) in self._others.items()
        }
        return {"beside": told} if told else {}


def _settings(config: ServeConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=set(NO_ANSWER))


def revision(folders: Sequence[Path] = ()) -> str:
    """A digest of the code as it is installed: names and bytes of every file, so that a wheel has its checkout's.

    `folders` are packages; this service's own unless given.
    """
    here = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for folder in folders or [here / name for name in _PACKAGES]:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                name = path.relative_to(folder.parent).as_posix()
                digest.update(f"{len(name)}:{name}:{path.stat().st_size}:".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _release() -> str:
    try:
        return version("dabt")
    except PackageNotFoundError:  # a checkout on the path
        return "dabt"
