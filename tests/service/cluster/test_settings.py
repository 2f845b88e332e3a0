"""A cluster's file: what it says to gateways and to engines, and everything that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifecycle.errors import InvalidConfig
from service.cluster.settings import ClusterSettings, read_settings

ROOT = Path(__file__).parents[3]


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_that_is_shipped_is_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = read_settings(ROOT / "deploy" / "ray" / "cluster.yaml")
    assert settings.config(settings.bases[0], gateway=False).preload == ("prod",)


def test_what_the_application_file_names_is_there() -> None:
    import importlib

    from lifecycle.config_file import load_mapping

    pytest.importorskip("ray.serve", reason="the extra `ray` is not installed", exc_type=ImportError)
    told = load_mapping(ROOT / "deploy" / "ray" / "application.yaml")["applications"][0]
    module, _, name = told["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert (ROOT / told["args"]["settings"]).is_file()


def test_engines_load_ahead_and_keep_and_gateways_do_not() -> None:
    settings = ClusterSettings.model_validate(
        {"bases": [{"base": "tiny", "serve": {"pin": ["a"], "max_loras": 4}}], "serve": {"preload": ["prod"]}}
    )
    engine = settings.config(settings.bases[0], gateway=False)
    gateway = settings.config(settings.bases[0], gateway=True)
    assert (engine.pin, engine.preload, engine.max_loras) == (("a",), ("prod",), 4)
    assert (gateway.pin, gateway.preload, gateway.max_loras) == ((), (), 4)


def test_a_base_has_settings_of_its_own_before_those_of_all() -> None:
    settings = ClusterSettings.model_validate(
        {"bases": [{"base": "tiny", "serve": {"dtype": "float32"}}, {"base": "other"}], "serve": {"dtype": "bfloat16"}}
    )
    assert [settings.config(tier, gateway=False).dtype for tier in settings.bases] == ["float32", "bfloat16"]


def test_everything_that_is_wrong_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
bases:
  - base: tiny
    serve: {max_lora: 8, port: 9000, pin: ["Not A Name"]}
  - base: other
    serve: {max_cpu_loras: 2, max_loras: 4}
serve: {drain_seconds: -1}
""",
    )
    with pytest.raises(InvalidConfig) as told:
        read_settings(path)
    places = {problem.place.removeprefix(f"{path}: "): problem for problem in told.value.problems}
    assert set(places) == {"bases.0.serve.max_lora", "bases.0.serve.port", "serve.drain_seconds"}
    assert "did you mean max_loras?" in str(places["bases.0.serve.max_lora"])


def test_what_does_not_go_together_is_told_with_the_base_that_it_is_said_of(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
bases:
  - base: tiny
    serve: {pin: ["Not A Name"]}
  - base: other
    serve: {max_cpu_loras: 2, max_loras: 4}
""",
    )
    with pytest.raises(InvalidConfig) as told:
        read_settings(path)
    assert [problem.place.removeprefix(f"{path}: ") for problem in told.value.problems] == [
        "bases.0.serve.pin",
        "bases.1.serve.max_cpu_loras",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gateways: {}", "bases: is missing"),
        ("bases: []", "bases"),
        ("bases: [{base: tiny, replicas: {least: 3, most: 2}}]", "most is 2 and least 3; write at least 3"),
        ("bases: [{base: tiny}, {base: tiny}]", "tiny is named twice; raise its replicas instead"),
        ("bases: [{base: tiny}]\nslak: 2", "slak: is no key here → did you mean slack?"),
        ("bases: [{base: tiny, engine: llama.cpp}]", "bases.0.engine"),
        ("bases: [{base: tiny, workers: {most: 1, devices: 0}}]", "bases.0.workers.devices"),
        (
            "bases: [{base: tiny, each: {gpus: 1.5}}]",
            "bases.0.each.gpus: 1.5 of them cannot be set aside; write a whole",
        ),
    ],
)
def test_each_fault_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        read_settings(written(tmp_path, text))
    assert told in str(error.value)


def test_what_each_device_needs_is_said_as_ray_names_it() -> None:
    said = {"most": 1, "devices": 2, "each": {"cpus": 4, "gpus": 0.5, "memory_gib": 1.5}}
    settings = ClusterSettings.model_validate({"bases": [{"base": "tiny", "workers": said}]})
    assert settings.bases[0].workers.each.in_rays_words == {"CPU": 4, "GPU": 0.5, "memory": 3 * 2**29}
    assert ClusterSettings.model_validate({"bases": [{"base": "t"}]}).bases[0].each.in_rays_words == {"CPU": 1}
