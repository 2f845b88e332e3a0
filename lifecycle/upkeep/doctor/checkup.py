"""All checks, in the order in which one rests on another: a registry that is away says nothing of artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lifecycle.home import Home
from lifecycle.upkeep.doctor import machine, settings, truth
from lifecycle.upkeep.doctor.finding import Finding


@dataclass(frozen=True, slots=True)
class Patient:
    home: Home
    bases: tuple[str, ...] = ()
    """What `dabt serve --base` is given."""
    port: int = 8000
    deep: bool = False
    """Read every byte that the registry needs, and every page of SQLite."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def examine(patient: Patient) -> Iterator[Finding]:
    """Never raises for what is wrong with the patient: it says so."""
    home = patient.home
    yield from machine.python()
    yield from machine.packages()
    yield from machine.processor()
    yield from machine.memory()
    yield from machine.disk(home)
    yield from machine.open_files()
    yield from truth.home(home)
    needs = None
    for said in truth.registry(home, deep=patient.deep):
        if isinstance(said, truth.Known):
            needs = said.needs
        else:
            yield said
    yield from truth.store(home)
    if needs is not None:
        yield from truth.artifacts(home, needs, deep=patient.deep)
        yield from settings.versions(home, patient.bases)
    yield from settings.port(patient.port)
    yield from settings.contradictions(home, patient.environment)
