"""`scripts/setup.sh`, with a stand-in for Python and pip that writes down what it was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Plays the interpreter, `-m venv` and `-m pip`. $FAIL is a pattern of pip's arguments that it refuses.
FAKE_PYTHON = """\
#!/usr/bin/env bash
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*)
    echo "$*" >>"$CALLS"
    while [[ -n "${UNTIL:-}" && ! -e "$UNTIL" ]]; do sleep 0.05; done
    if [[ -n "${FAIL:-}" && "$*" =~ $FAIL ]]; then echo "ERROR: No matching distribution"; exit 1; fi ;;
  *version_info*) exit "${WRONG_VERSION:-0}" ;;
  *ensurepip*) exit "${NO_VENV:-0}" ;;
  *libnuma*) exit "${NO_NUMA:-0}" ;;
  *Python.h*) exit "${NO_HEADERS:-0}" ;;
esac
"""


FAKE_SMI = """\
#!/bin/sh
case "$*" in
  -L) echo 'GPU 0: NVIDIA H200' ;;
  *driver_version,compute_cap*) echo "${GPUS:-580.65.06, 9.0}" ;;
esac
"""


class Checkout:
    """A folder with the set-up script and a `PATH` whose first Python is the stand-in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls_file = root / "calls.log"
        self.tools: Path | None = None
        for path in ("scripts/setup.sh", "requirements/cpu.lock", "requirements/cuda.lock", "pyproject.toml"):
            (root / path).parent.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / path, root / path)
        self.program("python3.11", FAKE_PYTHON)

    def program(self, name: str, text: str) -> None:
        file = self.root / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def without_python(self) -> None:
        """A `PATH` with the machine's tools and no Python and no uv among them."""
        (self.root / "bin" / "python3.11").unlink()
        self.tools = self.root / "tools"
        self.tools.mkdir()
        for folder in ("/bin", "/usr/bin"):
            for tool in Path(folder).iterdir():
                if not tool.name.startswith(("python", "uv", "pip")) and not (self.tools / tool.name).exists():
                    (self.tools / tool.name).symlink_to(tool)

    def start(self, **variables: str) -> subprocess.Popen[str]:
        path = f"{self.root / 'bin'}:{self.tools or os.environ['PATH']}"
        environment = {"PATH": path, "CALLS": str(self.calls_file), "DABT_DEVICE": "cpu", **variables}
        script = self.root / "scripts" / "setup.sh"
        return subprocess.Popen([script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        started = self.start(**variables)
        stdout, stderr = started.communicate()
        return subprocess.CompletedProcess(started.args, started.returncode, stdout, stderr)

    def calls(self) -> list[str]:
        """pip's calls since the last look."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_set_up_installs_the_lock_file_and_resolves_nothing(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    calls = checkout.calls()
    assert all("--no-deps" in call for call in calls)
    assert "torch==2.13.0+cpu" in calls[0]
    assert calls[1].endswith("-r requirements/cpu.lock")
    assert calls[2].endswith("--no-build-isolation -e .")
    assert len(calls) == 3


def test_a_second_run_does_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.run()
    checkout.calls()
    again = checkout.run()
    assert (again.returncode, again.stdout, again.stderr, checkout.calls()) == (0, "", "", [])


def test_of_two_at_once_one_installs_and_the_other_waits_for_it(checkout: Checkout, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    first = checkout.start(UNTIL=str(go_on))
    assert first.stdout is not None
    assert first.stdout.readline().startswith("set-up: Installing torch")
    second = checkout.start()
    assert second.stdout is not None
    assert second.stdout.readline() == "set-up: another set-up is at work in this folder; waiting for its end\n"
    go_on.touch()
    first.communicate()
    said, _ = second.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Installing" not in said
    assert len(checkout.calls()) == 3


def test_only_what_changed_is_installed_again(checkout: Checkout) -> None:
    checkout.run()
    checkout.calls()
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    checkout.run()
    assert [call.split()[-1] for call in checkout.calls()] == ["."]
    with (checkout.root / "requirements" / "cpu.lock").open("a") as file:
        file.write("one-more==1.0\n")
    checkout.run()
    assert len(checkout.calls()) == 3


def test_a_moved_checkout_is_set_up_anew(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> None:
    checkout.run()
    moved = Checkout(tmp_path_factory.mktemp("moved"))
    shutil.copytree(checkout.root / ".venv", moved.root / ".venv")
    moved.run()
    assert len(moved.calls()) == 3


def test_torch_comes_from_its_own_index_only_when_pip_has_none(checkout: Checkout) -> None:
    done = checkout.run(FAIL="no-deps torch==")
    assert done.returncode == 0, done.stderr
    assert "--index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu" in checkout.calls()[1]


@pytest.mark.parametrize("fault", ["torch==", "requirements/cpu.lock", "-e ."])
def test_a_failed_install_is_one_line_and_is_tried_again(checkout: Checkout, fault: str) -> None:
    failed = checkout.run(FAIL=fault)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    assert failed.stderr.startswith("set-up: ")
    checkout.calls()
    assert checkout.run().returncode == 0
    assert len(checkout.calls()) == 3


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DABT_PYTHON": "python-of-nowhere"}, "python-of-nowhere is missing"),
        ({"WRONG_VERSION": "1"}, "is not Python 3.11"),
        ({"NO_VENV": "1"}, "no venv module"),
        ({"NO_NUMA": "1"}, "libnuma is missing"),
        ({"DABT_DEVICE": "tpu"}, "DABT_DEVICE is cpu or cuda"),
    ],
)
def test_a_missing_prerequisite_is_one_line_that_names_the_cure(
    checkout: Checkout, variables: dict[str, str], message: str
) -> None:
    done = checkout.run(**variables)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert checkout.calls() == []


def test_a_full_disk_is_told_before_anything_is_downloaded(checkout: Checkout) -> None:
    checkout.program("df", "#!/bin/sh\necho header\necho /dev/vda 9 9 2097152 99% /\n")
    done = checkout.run()
    assert (done.returncode, checkout.calls()) == (1, [])
    assert "7 GB of free disk are needed here, 2 GB are left" in done.stderr


def test_a_gpu_that_answers_chooses_the_cuda_lock_file(checkout: Checkout) -> None:
    checkout.program("nvidia-smi", FAKE_SMI)
    checkout.run(DABT_DEVICE="")
    assert any(call.endswith("-r requirements/cuda.lock") for call in checkout.calls())
    checkout.program("nvidia-smi", "#!/bin/sh\necho 'no devices were found' >&2\nexit 6\n")
    checkout.run(DABT_DEVICE="")
    assert any(call.endswith("-r requirements/cpu.lock") for call in checkout.calls())


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"GPUS": "575.57.08, 9.0"}, "the NVIDIA driver is 575.57.08, and CUDA 13 needs 580 or newer"),
        ({"GPUS": "580.65.06, 7.0"}, "has compute capability 7.0, and CUDA 13 needs 7.5"),
        ({"GPUS": "580.65.06, 9.0\n580.65.06, 6.1"}, "has compute capability 6.1"),
        ({"NO_HEADERS": "1"}, "Python.h is missing"),
    ],
)
def test_a_gpu_machine_that_lacks_something_is_told_in_one_line_before_anything_is_installed(
    checkout: Checkout, variables: dict[str, str], message: str
) -> None:
    checkout.program("nvidia-smi", FAKE_SMI)
    done = checkout.run(DABT_DEVICE="", **variables)
    assert (done.returncode, checkout.calls()) == (1, [])
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gpu_machine_without_a_compiler_is_told(checkout: Checkout) -> None:
    checkout.program("nvidia-smi", FAKE_SMI)
    checkout.without_python()
    assert checkout.tools is not None
    for compiler in checkout.tools.glob("*g++*"):
        compiler.unlink()
    checkout.program("python3.11", FAKE_PYTHON)
    done = checkout.run(DABT_DEVICE="cuda")
    assert (done.returncode, checkout.calls()) == (1, [])
    assert "g++ is missing" in done.stderr


@pytest.mark.parametrize("gpus", ["580.65.06, 7.5", "580.65.06, 9.0", "600.1, 12.0"])
def test_a_gpu_that_is_good_enough_is_taken(checkout: Checkout, gpus: str) -> None:
    checkout.program("nvidia-smi", FAKE_SMI)
    done = checkout.run(DABT_DEVICE="", GPUS=gpus)
    assert done.returncode == 0, done.stderr


def test_what_is_installed_for_a_gpu_elsewhere_says_that_none_is_here(checkout: Checkout) -> None:
    checkout.program("nvidia-smi", "#!/bin/sh\nexit 9\n")
    done = checkout.run(DABT_DEVICE="cuda")
    assert done.returncode == 0, done.stderr
    assert "no NVIDIA driver answers here" in done.stdout


def test_the_compiler_and_the_headers_are_of_the_cuda_release_that_torch_was_built_with() -> None:
    lines = (REPOSITORY / "requirements" / "cuda.lock").read_text().splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line)
    of_the_release = ("nvcc", "crt", "cccl", "nvrtc", "runtime", "cupti")
    names = [f"nvidia-cuda-{part}" for part in of_the_release] + ["nvidia-nvvm", "nvidia-nvtx"]
    releases = {name: versions[name].rsplit(".", 1)[0] for name in names}
    assert set(releases.values()) == {versions["cuda-toolkit"].rsplit(".", 2)[0]}, releases


# -- Python -----------------------------------------------------------------------------------------------------------

# Knows no Python 3.11 until it has brought the stand-in, unless $KNOWN says that it does.
FAKE_UV = """\
#!/usr/bin/env bash
echo "uv $*" >>"$CALLS"
brought="$(dirname "$0")/../brought/python3.11"
case "$*" in
  "python find --system 3.11") [[ -f "$brought" ]] && echo "$brought" ;;
  "python install 3.11")
    [[ -z "${NO_NETWORK:-}" ]] || { echo "dns error" >&2; exit 1; }
    cp "$(dirname "$0")/../stand-in" "$brought" ;;
  *) exit 2 ;;
esac
"""


@pytest.fixture
def without_python(checkout: Checkout) -> Checkout:
    checkout.without_python()
    (checkout.root / "brought").mkdir()
    (checkout.root / "stand-in").write_text(FAKE_PYTHON)
    (checkout.root / "stand-in").chmod(0o755)
    return checkout


def test_without_python_and_uv_one_line_names_both_ways(without_python: Checkout) -> None:
    done = without_python.run()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("set-up: Python 3.11 is missing; ")
    for way in ("apt-get install python3.11 python3.11-venv", "uv (https://docs.astral.sh/uv)", "DABT_PYTHON"):
        assert way in done.stderr
    assert without_python.calls() == []


def test_where_python_is_missing_uv_brings_it(without_python: Checkout) -> None:
    without_python.program("uv", FAKE_UV)
    done = without_python.run()
    assert done.returncode == 0, done.stderr
    assert "Python 3.11 is missing; uv brings it" in done.stdout
    calls = without_python.calls()
    assert [call for call in calls if call.startswith("uv")] == [
        "uv python find --system 3.11",
        "uv python install 3.11",
        "uv python find --system 3.11",
    ]
    assert calls[-1].endswith("--no-build-isolation -e .")
    assert without_python.run().stdout == "", "a second run asks nobody"


def test_a_python_that_uv_has_already_is_taken_as_it_is(without_python: Checkout) -> None:
    without_python.program("uv", FAKE_UV)
    shutil.copy(without_python.root / "stand-in", without_python.root / "brought" / "python3.11")
    assert without_python.run().returncode == 0
    assert "uv python install 3.11" not in without_python.calls()


def test_uv_that_cannot_bring_python_is_one_line_that_names_the_other_way(without_python: Checkout) -> None:
    without_python.program("uv", FAKE_UV)
    done = without_python.run(NO_NETWORK="1")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "uv cannot bring Python 3.11" in done.stderr
    assert "apt-get install python3.11" in done.stderr


def test_a_python_that_is_there_or_named_is_taken_before_uvs(checkout: Checkout) -> None:
    checkout.program("uv", FAKE_UV)
    assert checkout.run().returncode == 0
    checkout.program("mine", FAKE_PYTHON)
    shutil.rmtree(checkout.root / ".venv")
    assert checkout.run(DABT_PYTHON="mine").returncode == 0
    assert not any(call.startswith("uv") for call in checkout.calls())


# -- what a log shows -------------------------------------------------------------------------------------------------

# Each call of pip, the making of .venv and the compiling go on until set-up has said one line more than it had before.
SLOW_PYTHON = FAKE_PYTHON.replace(
    'case "$*" in',
    """lines() { wc -l <"$SAID"; }
before=$(lines)
case "$*" in *"-m venv"*|*"-m pip"*|*"-m compileall"*) until (($(lines) > before)); do sleep 0.05; done ;; esac
case "$*" in""",
    1,
)


def test_no_step_of_set_up_is_silent_for_long(checkout: Checkout) -> None:
    checkout.program("python3.11", SLOW_PYTHON)
    said = checkout.root / "said.log"
    environment = {
        "PATH": f"{checkout.root / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(checkout.calls_file), "SAID": str(said), "DABT_DEVICE": "cpu", "DABT_SAYS_EVERY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    with said.open("w") as out:
        script = checkout.root / "scripts" / "setup.sh"
        subprocess.run([script], env=environment, stdout=out, stderr=out, check=True, timeout=300)
    lines = said.read_text().splitlines()
    for step in (
        ".venv is still being made",
        "torch is still being installed",
        " found",
        "still being compiled",
        "the project is still",
    ):
        assert any(step in line for line in lines), (step, lines)


def test_set_up_says_a_line_every_ten_seconds_unless_told_otherwise() -> None:
    assert "readonly EVERY=${DABT_SAYS_EVERY:-8}" in (REPOSITORY / "scripts" / "setup.sh").read_text()
