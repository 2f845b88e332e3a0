"""The configuration: refused with every reason at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecycle.errors import InvalidConfig
from service.config import ServeConfig, config_from


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_without_api_keys_only_loopback_is_bound(host: str) -> None:
    with pytest.raises(InvalidConfig, match="no API keys"):
        ServeConfig(base=Path("/m"), host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_addresses_are_taken(host: str) -> None:
    assert ServeConfig(base=Path("/m"), host=host).host == host


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(InvalidConfig) as caught:
        ServeConfig(base=Path("/m"), host="::", max_lora_rank=12, max_loras=8, max_cpu_loras=4)
    assert [problem.place for problem in caught.value.problems] == ["host", "max_cpu_loras", "max_lora_rank"]


def test_options_are_named_as_the_command_names_them() -> None:
    with pytest.raises(InvalidConfig) as caught:
        config_from({"base": "/m", "port": 70000, "kv_cache_gib": -1})
    assert [problem.place for problem in caught.value.problems] == ["--port", "--kv-cache-gib"]


def test_the_base_is_served_under_its_folders_name_unless_named() -> None:
    assert ServeConfig(base=Path("/models/tiny")).served_name == "tiny"
    assert ServeConfig(base=Path("/models/tiny"), base_name="clinic").served_name == "clinic"
