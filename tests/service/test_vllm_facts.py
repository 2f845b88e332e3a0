"""What the real engine tells of itself is everything but what is listed, and nothing that is private or passing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.engine.vllm import facts
from service.engine.vllm.facts import environment, given, libraries, together


class Executor:
    """A class, as vLLM takes some for arguments."""


@dataclasses.dataclass
class Args:
    """As vLLM's: every field has its release's default."""

    model: str = "a/default"
    seed: int = 0
    quantization: str | None = None
    otlp_traces_endpoint: str | None = None
    hf_token: str | None = None
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    speculative: dict[str, Any] | None = None
    processors: list[Any] = dataclasses.field(default_factory=list)
    a_flag_of_next_year: bool = False


def test_arguments_are_those_that_differ_from_the_releases_own() -> None:
    assert given(Args()) == {}
    assert given(Args(seed=1, quantization="fp8", overrides={"rope": 2.0})) == {
        "seed": 1,
        "quantization": "fp8",
        "overrides": {"rope": 2.0},
    }


def test_an_argument_that_nobody_knows_yet_counts() -> None:
    assert given(Args(a_flag_of_next_year=True)) == {"a_flag_of_next_year": True}


def test_places_and_secrets_are_left_out() -> None:
    assert given(Args(model="/home/me/model", otlp_traces_endpoint="http://x", hf_token="hf_secret")) == {}


def test_of_a_path_inside_an_argument_the_name_alone_is_told() -> None:
    told = given(Args(speculative={"model": "/home/me/draft", "tokens": 3, "all": ["/a/b", "c/d"]}))
    assert told == {"speculative": {"model": "draft", "tokens": 3, "all": ["b", "c/d"]}}


def test_what_json_cannot_hold_has_its_kinds_name_and_never_an_address() -> None:
    name = f"{__name__}.Executor"
    assert given(Args(processors=[Executor, Executor()])) == {"processors": [name, name]}


@pytest.mark.parametrize(
    "name",
    ["VLLM_ATTENTION_BACKEND", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG"],
)
def test_a_variable_that_the_engine_reads_counts_by_its_value_and_does_not_show_it(name: str) -> None:
    known = {"VLLM_ATTENTION_BACKEND"}
    one, two = environment({name: "AVX2"}, known), environment({name: "AVX512"}, known)
    assert list(one) == [name]
    assert one != two
    assert "AVX2" not in str(one)


@pytest.mark.parametrize(
    "name",
    ["HOME", "PATH", "DABT_API_KEY", "VLLM_API_KEY", "VLLM_PORT", "VLLM_HOST_IP", "TORCH_HOME", "NCCL_CONF_PATH"],
)
def test_a_variable_that_is_a_place_or_a_secret_or_nobodys_is_left_out(name: str) -> None:
    assert environment({name: "x"}, {"VLLM_API_KEY", "VLLM_PORT", "VLLM_HOST_IP"}) == {}


def test_workers_that_are_alike_are_told_once_and_others_each() -> None:
    one, other = {"kind": "cuda", "name": "H100"}, {"kind": "cuda", "name": "H200"}
    assert together([one]) == {**one, "count": 1}
    assert together([one, one]) == {**one, "count": 2}
    assert together([one, other]) == {"count": 2, "each": [one, other]}


def package(folder: Path, name: str, version: str, *needs: str) -> None:
    made = folder / f"{name}-{version}.dist-info"
    made.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {one}" for one in needs),
    ]
    (made / "METADATA").write_text("\n".join(lines) + "\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`installed(leaf="2")`: the libraries of a root that needs a leaf through a branch, and of nothing else."""

    def told(*, leaf: str = "1", extra: str = "1", tool: str = "1") -> dict[str, str]:
        folder = tmp_path / f"{leaf}-{extra}-{tool}"
        package(folder, "fruit", "1", "fruit_branch[sweet]>=1", "not-there; extra == 'optional'", "never-installed")
        package(folder, "fruit_branch", "1", "fruit-leaf", "fruit-sugar; extra == 'sweet'", "fruit")
        package(folder, "fruit_leaf", leaf)
        package(folder, "fruit_sugar", extra)
        package(folder, "fruit_linter", tool, "fruit")
        monkeypatch.syspath_prepend(str(folder))
        return libraries(["fruit"])

    return told


def test_every_library_that_is_needed_counts_and_no_tool_beside_them(installed: Any) -> None:
    first = installed()
    assert set(first) == {"python", "others"}
    assert installed(leaf="2") != first
    assert installed(extra="2") != first
    assert installed(tool="2") == first


def test_what_stands_under_the_real_engine_is_told() -> None:
    told = libraries()
    assert all(told[name] for name in ("python", "torch", "transformers", "tokenizers", "others"))
    assert told == libraries()


def test_the_norms_kernel_is_told_where_it_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolved(*order: str) -> Any:
        return SimpleNamespace(kernel_config=SimpleNamespace(ir_op_priority=SimpleNamespace(rms_norm=list(order))))

    ours = SimpleNamespace(PROVIDER="dabt_cpu", __name__="service.engine.cpu.norms")
    monkeypatch.setattr("service.engine.cpu.norms", ours, raising=False)
    assert facts.norm_kernels(resolved("dabt_cpu", "native")) == ("service.engine.cpu.norms",)
    assert facts.norm_kernels(resolved("native", "dabt_cpu")) == facts.norm_kernels(resolved()) == ()
