"""The configuration: refused with every reason at once."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig
from lifecycle.models.base import chat_template_of
from service.cli import serve
from service.config import ServeConfig, config_from
from tests.service.conftest import fake_base


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_with_keys_off_only_loopback_is_bound(host: str) -> None:
    assert ServeConfig(base=Path("/m"), host=host).host == host, "the registry tells whether there are keys"
    with pytest.raises(InvalidConfig, match="keys are off"):
        ServeConfig(base=Path("/m"), host=host, keys="off")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_with_keys_off_loopback_addresses_are_taken(host: str) -> None:
    assert ServeConfig(base=Path("/m"), host=host, keys="off").host == host


def test_changes_made_elsewhere_are_looked_for_more_than_once_a_second() -> None:
    assert ServeConfig(base=Path("/m")).poll_seconds < 1
    with pytest.raises(InvalidConfig) as caught:
        config_from({"base": "/m", "poll_seconds": 1.0})
    assert [problem.place for problem in caught.value.problems] == ["--poll-seconds"]


def test_limits_are_counted_in_memory_or_in_redis() -> None:
    for url in ("memory://", "redis://localhost:6379/0", "rediss://:password@cache.example.org:6380"):
        assert ServeConfig(base=Path("/m"), limits_url=url).limits_url == url
    with pytest.raises(InvalidConfig, match="limits_url"):
        ServeConfig(base=Path("/m"), limits_url="localhost:6379")


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(InvalidConfig) as caught:
        ServeConfig(base=Path("/m"), host="::", keys="off", max_lora_rank=12, max_loras=8, max_cpu_loras=4)
    assert [problem.place for problem in caught.value.problems] == ["host", "max_cpu_loras", "max_lora_rank"]


def test_options_are_named_as_the_command_names_them() -> None:
    with pytest.raises(InvalidConfig) as caught:
        config_from({"base": "/m", "port": 70000, "kv_cache_gib": -1})
    assert [problem.place for problem in caught.value.problems] == ["--port", "--kv-cache-gib"]


def test_the_base_is_served_under_its_folders_name_unless_named() -> None:
    assert ServeConfig(base=Path("/models/tiny")).served_name == "tiny"
    assert ServeConfig(base=Path("/models/tiny"), base_name="clinic").served_name == "clinic"


def test_a_base_of_the_hub_is_served_under_its_hub_id() -> None:
    snapshot = Path("/cache/models--Qwen--Qwen2.5-0.5B-Instruct/snapshots/7ae557604adf")
    assert ServeConfig(base=snapshot).served_name == "Qwen/Qwen2.5-0.5B-Instruct"
    assert ServeConfig(base=snapshot, base_name="qwen").served_name == "qwen"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_of_a_service_is_without_bounds(value: float) -> None:
    numbers = [name for name, about in ServeConfig.model_fields.items() if about.annotation in (float, float | None)]
    assert {"golden_tolerance", "kv_cache_gib", "cache_gib", "drain_seconds"} <= set(numbers)
    for name in numbers:
        with pytest.raises(InvalidConfig, match="--" + name.replace("_", "-")):
            config_from({"base": "/m", name: value})


def test_every_option_of_serve_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the command hands on is what `ServeConfig` knows, with every option given and with none."""
    seen: list[set[str]] = []

    def config_from(options: dict[str, Any]) -> None:
        seen.append(set(options))
        raise KeyboardInterrupt

    monkeypatch.setattr("service.served_bases.config_from", config_from)
    parameters = inspect.signature(serve).parameters
    given = dict.fromkeys(parameters, "x") | {"base": ["x"], "bases": None}
    for options in ({"base": ["x"]}, given):
        with pytest.raises(KeyboardInterrupt):
            serve(**dict.fromkeys(parameters) | options | {"home": tmp_path})
    assert all(keys <= set(ServeConfig.model_fields) for keys in seen)
    assert set(parameters) - seen[1] == {"home", "chat_template", "bases"}


def test_another_chat_template_is_served_as_a_base_of_its_own_under_the_bases_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = fake_base(tmp_path / "tiny")
    (tmp_path / "mine.jinja").write_text("{{ messages }}")
    seen: list[ServeConfig] = []

    def engine(config: ServeConfig) -> None:
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("service.engine.vllm.engine.VllmEngine", engine)
    for given in ({}, {"chat_template": tmp_path / "mine.jinja"}):
        with pytest.raises(KeyboardInterrupt):
            serve(
                **dict.fromkeys(inspect.signature(serve).parameters)
                | {"base": [str(base)], "home": tmp_path, "port": 0}
                | given
            )
    plain, other = seen
    assert (plain.base, plain.served_name) == (base, "tiny")
    assert other.served_name == "tiny"
    assert other.base != base
    assert chat_template_of(other.base) == "{{ messages }}"
