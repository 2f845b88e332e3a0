"""One home and one running service for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.console import Console

from examples.service_process import ServiceProcess
from lifecycle.home import Home
from tests.e2e.command import BASE, Command


@pytest.fixture(scope="session")
def dabt(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="package")
def service(dabt: Command) -> Iterator[ServiceProcess]:
    """The real service on the real engine, started once for all tests of this folder."""
    with ServiceProcess(str(BASE), Home.at(dabt.home), Console(quiet=True)) as process:
        process.start()
        process.wait_until_ready()
        yield process
