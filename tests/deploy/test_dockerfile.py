"""The Dockerfile, read as a builder reads it: what it copies is there, and its images run without rights of root."""

from __future__ import annotations

import fnmatch
import json
import shlex
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.cli import serve
from service.config import ServeConfig

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments in one line), in order."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], " ".join(line.split()[1:])) for line in joined]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Stage → its own instructions, `FROM` first."""
    by_name: dict[str, list[tuple[str, str]]] = {}
    for instruction, arguments in instructions():
        if instruction == "FROM":
            by_name[name := arguments.rpartition(" AS ")[2]] = []
        by_name[name].append((instruction, arguments))
    return by_name


def image(target: str) -> list[tuple[str, str]]:
    """All instructions that make the target, those of the stages below it first."""
    own = stages()[target]
    below = own[0][1].split()[0]
    return [*(image(below) if below in stages() else []), *own]


def last(target: str, instruction: str) -> str:
    return [arguments for name, arguments in image(target) if name == instruction][-1]


def environment(target: str) -> dict[str, str]:
    words = [word for name, arguments in image(target) if name == "ENV" for word in shlex.split(arguments)]
    return dict(word.split("=", 1) for word in words)


def in_context(path: str) -> bool:
    """Whether `.dockerignore` lets the path into the build: it keeps everything out, and then lets some in."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    taken = True
    for rule in rules:
        pattern = rule.strip().removeprefix("!")
        if pattern and not pattern.startswith("#"):
            parts = path.split("/")
            heads = ["/".join(parts[: at + 1]) for at in range(len(parts))]
            if any(fnmatch.fnmatch(head, pattern) for head in heads):
                taken = rule.startswith("!")
    return taken


TARGETS = ["cpu", "cuda"]


def test_a_build_without_a_target_makes_the_image_that_runs_anywhere() -> None:
    assert list(stages())[-1] == "cpu"


def test_every_stage_that_is_built_on_or_copied_from_comes_before() -> None:
    known: set[str] = set()
    for name, own in stages().items():
        below = own[0][1].split()[0]
        assert below in known or ":" in below, "another stage, or an image with its tag"
        for _, arguments in (line for line in own if line[0] == "COPY"):
            flags = [word for word in arguments.split() if word.startswith("--from=")]
            assert {flag.removeprefix("--from=") for flag in flags} <= known
        known.add(name)


def test_what_is_copied_from_the_repository_is_there_and_is_sent_to_the_builder() -> None:
    sources = [
        source
        for instruction, arguments in instructions()
        if instruction == "COPY" and "--from=" not in arguments
        for source in arguments.split()[:-1]
    ]
    assert set(sources) >= {"requirements/cpu.lock", "requirements/cuda.lock", "."}
    for source in set(sources) - {"."}:
        assert (ROOT / source).is_file()
        assert in_context(source)


def test_the_image_has_every_package_of_the_project_and_nothing_of_its_tests() -> None:
    wanted = [pattern.removesuffix("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    modules = [f"{module}.py" for module in PROJECT["tool"]["setuptools"]["py-modules"]]
    for path in (*wanted, *modules, "pyproject.toml", PROJECT["project"]["readme"], "service/app.py"):
        assert (ROOT / path).exists()
        assert in_context(path)
    for path in ("tests/conftest.py", ".venv/bin/python", ".git/HEAD", "examples/.dabt/registry.db", ".dabt"):
        assert not in_context(path)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_the_command_as_a_user_without_rights_in_a_home_of_its_own(target: str) -> None:
    kinds = [name for name, _ in image(target) if name != "FROM"]
    assert last(target, "USER").isdigit(), "Kubernetes can check a number, and no name"
    assert int(last(target, "USER")) > 0
    assert kinds.count("USER") == 1
    assert kinds[-1] == "USER", "nothing runs as root after it"
    made = next(arguments for name, arguments in image(target) if name == "RUN" and "useradd" in arguments)
    assert f"--uid {last(target, 'USER')} dabt" in made
    assert f"--owner=dabt --group=dabt {last(target, 'VOLUME')}" in made


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_and_what_is_cached_lies_in_the_volume(target: str) -> None:
    told = environment(target)
    assert told["DABT_HOME"] == last(target, "VOLUME") == "/data"
    places = {name: value for name, value in told.items() if value.startswith("/") and name != "PATH"}
    assert set(places) >= {"HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"}
    assert all(value == "/data" or value.startswith("/data/") for value in places.values())


@pytest.mark.parametrize("target", TARGETS)
def test_each_image_has_the_packages_of_its_own_lock_file(target: str) -> None:
    copied = [arguments for name, arguments in image(target) if name == "COPY" and "--from=" in arguments]
    assert copied == [f"--from=packages-{target} /opt/venv /opt/venv"]
    locks = [arguments for name, arguments in stages()[f"packages-{target}"] if name == "RUN"]
    assert any(f"-r requirements/{target}.lock" in line and "--no-deps" in line for line in locks)
    python = image(target)[0][1].split()[0].partition(":")[2].partition("-")[0]
    assert PROJECT["project"]["requires-python"] == f">={python},<3.{int(python.split('.')[1]) + 1}"


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_is_the_projects_own_and_serves_a_base_that_is_in_the_image(target: str) -> None:
    (command,) = json.loads(last(target, "ENTRYPOINT"))
    assert command in PROJECT["project"]["scripts"]
    verb, option, base = json.loads(last(target, "CMD"))
    assert (verb, option) == (serve.__name__, "--base")
    assert in_context(base)
    assert (ROOT / base / "config.json").is_file()


class _Answering(BaseHTTPRequestHandler):
    status = 200
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None: ...


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_asks_the_service_at_its_own_port_and_fails_when_it_does_not_answer(
    status: int | None, code: int
) -> None:
    """Run as it stands, at another port."""
    check = last("cpu", "HEALTHCHECK")
    options, _, words = check.partition(" CMD ")
    assert "--start-period" in options, "an engine takes minutes to start"
    python, *rest = json.loads(words)
    assert python == "python"
    handler = type("Handler", (_Answering,), {"status": status, "asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    port = ServeConfig.model_fields["port"].default
    assert f"127.0.0.1:{port}/health" in rest[-1]
    script = rest[-1].replace(str(port), str(server.server_port))
    thread = threading.Thread(target=server.serve_forever)
    if status is None:
        server.server_close()
    else:
        thread.start()
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=300)
    finally:
        if status is not None:
            server.shutdown()
            thread.join()
            server.server_close()
    assert done.returncode == code
    assert handler.asked == ([] if status is None else ["/health"])


def test_a_compiler_is_there_at_run_time_and_the_lists_of_packages_are_not() -> None:
    (install,) = [arguments for name, arguments in stages()["base"] if name == "RUN"]
    assert {"g++", "libnuma1"} <= set(install.split())
    assert "rm -rf /var/lib/apt/lists/*" in install
