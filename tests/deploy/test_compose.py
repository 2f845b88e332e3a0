"""The Compose file: read as Compose reads it, held against its schema, and against what it speaks of."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

import dabt
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.upkeep.doctor.settings import VARIABLES
from service.config import ServeConfig
from tests.deploy.test_dockerfile import environment, stages
from tests.lifecycle.store.s3_server import GRPC
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "compose"
SECRETS = {"POSTGRES_PASSWORD", "S3_SECRET", "CONSOLE_SECRET", "GRAFANA_PASSWORD"}
OPTIONAL = {"DABT_TARGET", "DABT_BASE", "WORKER_KEY", "METRICS_KEY"}
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
IMAGES = dict(
    line.split() for line in (FOLDER / "images.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"
)
ENV = {**{name: f"{name.lower()}-of-env" for name in SECRETS}, **{name: f"{name}@digest" for name in IMAGES}}


def read(**env: str) -> dict[str, Any]:
    """With its variables replaced. One that is needed and absent raises, as Compose refuses it."""

    def value(match: re.Match[str]) -> str:
        name, rule, default = match["name"], match["rule"], match["default"]
        if rule == ":?" and not env.get(name):
            raise KeyError(name)
        return env.get(name) or (default or "")

    text = re.sub(r"\$\{(?P<name>\w+)(?:(?P<rule>:[-?])(?P<default>[^}]*))?\}", value, TEXT)
    told: dict[str, Any] = yaml.safe_load(text)
    return told


SERVICES: dict[str, Any] = read(**ENV)["services"]


def test_it_is_as_the_compose_specification_has_it() -> None:
    place = importlib.util.find_spec("check_jsonschema")
    assert place is not None
    assert place.origin is not None
    schema = Path(place.origin).with_name("builtin_schemas") / "vendor" / "compose-spec.json"
    check = jsonschema.validators.validator_for(json.loads(schema.read_text(encoding="utf-8")))
    validator = check(json.loads(schema.read_text(encoding="utf-8")))
    told = read(**ENV)
    assert [error.message for error in validator.iter_errors(told)] == []
    told["services"]["dabt"]["comand"] = []
    assert ["comand" in error.message for error in validator.iter_errors(told)] == [True]


def test_every_variable_is_pinned_or_has_a_default_and_without_them_nothing_starts() -> None:
    assert set(re.findall(r"\$\{(\w+):\?", TEXT)) == SECRETS | IMAGES.keys()
    assert set(re.findall(r"\$\{(\w+):-", TEXT)) == OPTIONAL
    for name in ENV:
        with pytest.raises(KeyError, match=name):
            read(**{other: value for other, value in ENV.items() if other != name})


def test_images_are_targets_of_the_dockerfile_or_digests_of_the_environment_and_none_is_made_up() -> None:
    for service in SERVICES.values():
        if "build" in service:
            assert (FOLDER / service["build"]["context"] / "Dockerfile").is_file()
            assert service["build"]["target"] in stages()
            assert service["image"] == f"dabt:{service['build']['target']}"
        else:
            assert service["image"] in {f"{name}@digest" for name in IMAGES}
    assert "sha256:" not in TEXT
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+", image) for image in IMAGES.values())


def test_pinning_writes_what_the_registry_says_and_keeps_the_secrets(tmp_path: Path) -> None:
    """`docker` is a stand-in here: it answers as `docker buildx imagetools inspect` does."""
    for name in ("pin", "images.txt"):
        shutil.copy(FOLDER / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    path = {"PATH": f"{docker.parent}:{os.environ['PATH']}"}

    def pin(answer: str) -> subprocess.CompletedProcess[str]:
        docker.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo "{answer}"\n')
        docker.chmod(0o755)
        return subprocess.run([tmp_path / "pin"], env=path, capture_output=True, text=True, check=False)

    def env() -> dict[str, str]:
        return dict(line.split("=", 1) for line in (tmp_path / ".env").read_text(encoding="utf-8").splitlines())

    assert pin(f"sha256:{'a' * 64}").returncode == 0
    first = env()
    assert set(first) == SECRETS | IMAGES.keys()
    assert first["POSTGRES_IMAGE"] == f"docker.io/library/postgres@sha256:{'a' * 64}"
    assert len({first[name] for name in SECRETS}) == len(SECRETS)
    assert all(re.fullmatch("[0-9a-f]{48}", first[name]) for name in SECRETS)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    read(**first)
    with (tmp_path / ".env").open("a", encoding="utf-8") as file:
        file.write("METRICS_KEY=mine\n")
    assert pin(f"sha256:{'b' * 64}").returncode == 0
    second = env()
    assert second["METRICS_KEY"] == "mine"
    assert {name: second[name] for name in SECRETS} == {name: first[name] for name in SECRETS}
    assert {second[name].partition("@")[2] for name in IMAGES} == {f"sha256:{'b' * 64}"}
    refused = pin("manifest unknown")
    assert (refused.returncode, "has no digest: manifest unknown" in refused.stderr) == (1, True)
    assert env() == second, "what was pinned stays"
    assert ".env" in (FOLDER / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_commands_are_the_projects_own_and_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    root: Any = typer.main.get_command(dabt.app)
    ours = {name: service for name, service in SERVICES.items() if "build" in service}
    assert set(ours) == {"dabt", "worker"}
    for service in ours.values():
        verb, *options = service["command"]
        monkeypatch.setenv("DABT_BASE", service["environment"]["DABT_BASE"])
        root.commands[verb].make_context(verb, list(options))
        assert {name for name in service["environment"] if name.startswith("DABT_")} <= set(VARIABLES)
        assert set(service["depends_on"]) == {"postgres", "redis", "seaweedfs"}
        assert all("healthcheck" in SERVICES[name] for name in service["depends_on"])


def test_nothing_is_open_to_other_machines_and_the_projects_containers_have_no_rights() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    told = read(**ENV)
    for name in ("dabt", "worker"):
        service = SERVICES[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        (volume, _, place) = service["volumes"][0].partition(":")
        assert volume in told["volumes"]
        assert place == environment("cpu")["DABT_HOME"] == service["environment"]["HOME"]
        assert service["tmpfs"] == ["/tmp"]
    assert SERVICES["dabt"]["command"][SERVICES["dabt"]["command"].index("--keys") + 1] == "required"


def test_every_name_and_port_that_one_calls_another_by_is_there() -> None:
    told = read(**ENV)
    ports = {"postgres": 5432, "redis": 6379, "dabt": ServeConfig.model_fields["port"].default, "seaweedfs": 8333}
    named = re.findall(r"(?:@|//|\")([a-z]+):(\d{4})\b", json.dumps(told))
    called = {(name, int(port)) for name, port in named if name not in ("prometheus",)}
    assert called == {*ports.items()} | ({("localhost", 0)} & called)
    assert "-s3.port=8333" in SERVICES["seaweedfs"]["command"]
    for service in told["services"].values():
        for config in service.get("configs", []):
            given = told["configs"][config["source"]]
            assert "content" in given or (FOLDER / given["file"]).is_file()


def test_prometheus_takes_its_settings_and_the_alerts(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: install Debian's package prometheus to run this")
    configs = read(**ENV)["configs"]
    scrape = yaml.safe_load(configs["scrape"]["content"])
    (job,) = scrape["scrape_configs"]
    assert job["job_name"].startswith("dabt"), "the alerts look for it"
    (tmp_path / "key").write_text("key")
    job["authorization"]["credentials_file"] = str(tmp_path / "key")
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(scrape))
    shutil.copy(FOLDER / configs["alerts"]["file"], tmp_path / scrape["rule_files"][0])
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.e2e
def test_the_store_takes_these_options_is_healthy_where_it_is_asked_and_holds_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SeaweedFS as the file starts it, but for its folder and its ports."""
    told = read(**ENV)
    store, service = told["services"]["seaweedfs"], told["services"]["dabt"]["environment"]
    (tmp_path / "s3.json").write_text(told["configs"]["s3"]["content"])
    (tmp_path / "data").mkdir()
    ports = [free_port(above=GRPC) for _ in range(4)]
    changed = {
        "-dir=/data": f"-dir={tmp_path / 'data'}",
        "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1",
        "-s3.port=8333": f"-s3.port={ports[0]}",
        "-s3.config=/etc/seaweedfs/s3.json": f"-s3.config={tmp_path / 's3.json'}",
    }
    assert changed.keys() < set(store["command"])
    command = [str(Path(sys.executable).with_name("weed")), *(changed.get(word, word) for word in store["command"])]
    command += [
        "-ip=127.0.0.1",
        *(f"-{what}.port={port}" for what, port in zip(("master", "volume", "filer"), ports[1:], strict=True)),
    ]
    (url,) = re.findall(r"http://\S+(?=\")", json.dumps(store["healthcheck"]["test"]))
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        healthy = url.replace("8333", str(ports[0]))
        while True:
            with suppress(OSError), urllib.request.urlopen(healthy, timeout=5) as answer:
                assert answer.status == 200
                break
            assert process.poll() is None
            time.sleep(0.1)
        for name, value in service.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports[0]}")
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter" / "weights").write_text("ضبط")
        artifacts = ArtifactStore(service["DABT_ARTIFACTS_URL"], tmp_path / "cache")
        digest = artifacts.put(tmp_path / "adapter")
        assert (artifacts.get(digest) / "weights").read_text() == "ضبط", "the bucket is made with the first artifact"
    finally:
        process.kill()
        process.wait()
