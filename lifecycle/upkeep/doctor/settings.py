"""Settings: variables that contradict each other or are written wrong, ports, and versions without their base."""

from __future__ import annotations

import difflib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from lifecycle.errors import DabtError
from lifecycle.home import Home
from lifecycle.models.base import fingerprint, named_base, resolve_base
from lifecycle.registry import Registry
from lifecycle.registry.database import parse
from lifecycle.states import State
from lifecycle.text.counting import counted
from lifecycle.upkeep.doctor.finding import Finding, fault, ok, warning
from lifecycle.version import Digest, Version

VARIABLES = (
    "DABT_API_KEY", "DABT_ARTIFACTS_URL", "DABT_BASE", "DABT_BASES", "DABT_CONSOLE_SECRET", "DABT_DEVICE",
    "DABT_ENGINE_PROCESSES", "DABT_EVALS", "DABT_HAPROXY", "DABT_HOME", "DABT_JUDGE_API_KEY", "DABT_LIMITS_URL",
    "DABT_LOG_FORMAT", "DABT_PYTHON", "DABT_REGISTRY_CONNECTIONS", "DABT_REGISTRY_URL", "DABT_SAYS_EVERY",
    "DABT_WORKER",
)  # fmt: skip
"""All that Dabt reads; a test holds this against the sources."""
_TOLD = 5


def contradictions(home: Home, environment: Mapping[str, str]) -> Iterator[Finding]:
    found = [*_unknown(environment), *_apart(home), *_counted(home, environment)]
    yield from found
    if not found:
        yield ok("settings", "nothing contradicts")


def _unknown(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(environment):
        if name.startswith("DABT_") and name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            cure = f"write {near[0]}" if near else "take it away"
            yield warning("settings", f"{name} is set, and nothing reads it", cure)


def _apart(home: Home) -> Iterator[Finding]:
    """Whether other machines that share the one see the other."""
    try:
        shared_registry = parse(home.registry_url).get_backend_name() != "sqlite"
    except Exception:  # what it is, `registry` says
        return
    local = urlsplit(home.artifacts_url).scheme in ("", "file", "local")
    if shared_registry and local:
        yield warning(
            "settings",
            f"many machines can share the registry, and the artifacts are a folder of this one: {home.artifacts_url}",
            "set DABT_ARTIFACTS_URL to a store that all of them reach, such as s3://bucket/dabt; or share the folder",
        )
    if not shared_registry and not local:
        yield warning(
            "settings",
            f"many machines can share the artifacts, and the registry is a file of this one: {home.registry_url}",
            "set DABT_REGISTRY_URL to a PostgreSQL that all of them reach, unless this machine is the only one",
        )


def _counted(home: Home, environment: Mapping[str, str]) -> Iterator[Finding]:
    url = environment.get("DABT_LIMITS_URL", "")
    scheme = urlsplit(url).scheme
    if url and scheme not in ("memory", "redis", "rediss"):
        yield fault("settings", f"DABT_LIMITS_URL={url} is no place to count in", "redis://host:port/db, or memory://")
    elif scheme in ("", "memory") and not home.registry_url.startswith("sqlite"):
        says = (
            "several services can share this registry, and each counts limits for itself: a key gets them once for each"
        )
        yield warning(
            "settings", says, "set DABT_LIMITS_URL to a Redis that all of them reach, unless there is one service"
        )
    elif scheme.startswith("redis"):
        where = urlsplit(url)
        try:
            socket.create_connection((where.hostname or "localhost", where.port or 6379), timeout=5).close()
        except OSError as error:
            cure = "start it, or correct DABT_LIMITS_URL: without it services refuse or admit by their own count"
            yield fault("settings", f"nothing answers at {where.hostname}:{where.port or 6379}: {error}", cure)


def port(number: int, host: str = "127.0.0.1") -> Iterator[Finding]:
    """Free, or a Dabt service is there already."""
    try:
        with closing(socket.create_connection((host, number), timeout=5)):
            pass
    except OSError:
        yield _can_listen(number, host)
        return
    connection = http.client.HTTPConnection(host, number, timeout=5)
    try:
        connection.request("GET", "/ready")
        told = json.loads(connection.getresponse().read(65536))
        ready = told.get("ready") if isinstance(told, dict) else None
    except (OSError, ValueError, http.client.HTTPException):
        ready = None
    finally:
        connection.close()
    if ready is None:
        yield fault(
            "port", f"another program listens at {number}", f"end it (`ss -ltnp sport = :{number}`), or use --port"
        )
    elif ready:
        yield ok("port", f"a service of Dabt answers at {number}, and is ready")
    else:
        yield warning("port", f"a service of Dabt answers at {number}, and is not ready", f"see {host}:{number}/ready")


def _can_listen(number: int, host: str) -> Finding:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            cure = "take a port above 1023" if number < 1024 else "use another --port"
            return fault("port", f"nothing may listen at {number}: {error.strerror}", cure)
    return ok("port", f"{number} is free")


def versions(home: Home, bases: Sequence[str]) -> Iterator[Finding]:
    """Whether what serves is over `bases`, where some are named, and over one base at all; and can prove itself."""
    digests, faults = _digests(home, bases)
    if faults:
        yield from faults
        return
    with closing(Registry.later(home.registry_url, new=False)) as registry:
        listed = registry.listings.versions()
        behind = [row.version for row in listed.rows if row.aliases]
        unproved = sorted(
            {v.ref for v in behind if (made := v.spec.artifact) and not registry.artifact(made[1]).golden}
        )
    for left in listed.left_out:
        yield fault(
            "versions", f"{left.kind} {left.ref} cannot be read: {left.why}", "upgrade to the release that wrote it"
        )
    alive = [row.version for row in listed.rows if row.version.state is not State.RETIRED]
    if digests:
        named = [named_base(base)[1] for base in bases]
        others = [version for version in behind if version.spec.base not in digests and not _is_classifier(version)]
        if others:
            yield warning(
                "versions",
                f"{_refs(others)} serve by an alias and are over another base than {' and '.join(named)}",
                "serve their base as well, or train them again over this one",
            )
        else:
            yield ok(
                "versions",
                f"all {len(behind)} that serve by an alias are over {' and '.join(Path(base).name for base in named)}",
            )
    else:
        over = {version.spec.base for version in alive if not _is_classifier(version)}
        told = f"{counted(len(alive), 'version')} over {counted(len(over), 'base')}"
        yield ok("versions", f"{told}; name one by --base to hold them against it")
    if unproved:
        says = f"{', '.join(unproved[:_TOLD])} have no golden prompts: no service can prove that they load as trained"
        yield warning("versions", says, "`dabt import` their folder again with its base")


def _digests(home: Home, bases: Sequence[str]) -> tuple[set[Digest], list[Finding]]:
    """Their fingerprints', and what cannot be a base."""
    digests, faults = set(), []
    for base in (named_base(word)[1] for word in bases):
        try:
            digests.add(_digest(home, base))
        except DabtError as error:
            cure = "name a model folder, a .gguf file, a hub id, or a version with whole weights"
            faults.append(fault("base", f"{base} cannot be one: {error}", cure))
    return digests, faults


def _digest(home: Home, base: str) -> Digest:
    if ":" in base and not Path(base).expanduser().exists():
        with closing(Registry.later(home.registry_url, new=False)) as registry:
            version = registry.version(base)
        if version.spec.weights is not None:
            return version.spec.base
    return fingerprint(resolve_base(base)).digest


def _is_classifier(version: Version) -> bool:
    return version.spec.classifier is not None


def _refs(versions: Sequence[Version]) -> str:
    more = f" and {len(versions) - _TOLD} more" if len(versions) > _TOLD else ""
    return ", ".join(version.ref for version in versions[:_TOLD]) + more
