"""Adapters over a base of packed weights on the real engine: what PEFT computes over it is what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import httpx
import pytest

from lifecycle.home import Home
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.version import Prompt
from service.engine.processor import has_wide_vectors
from tests.service.conftest import golden_of
from tests.service.engine_here import served_here
from tests.service.packed_base import Packing, pack, unpack
from tests.service.random_llama import Recipe, Reference, make_adapter, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def made(folder: Path, packing: Packing) -> tuple[Path, Path, Path]:
    """A base, the same packed, and an adapter over either."""
    plain, packed, adapter = (folder / name for name in ("plain", "packed", "adapter"))
    make_base(plain)
    pack(plain, packed, packing)
    make_adapter(plain, adapter, Recipe(8), seed=1)
    return plain, packed, adapter


def texts(base: Path, home: Home, *models: str, **settings: str) -> list[str]:
    """What a service over the base answers as each of the models."""
    asked = {"max_tokens": 8, "temperature": 0}
    with (
        served_here(str(base), home, dtype="auto", **settings) as url,
        httpx.Client(base_url=url, timeout=120, headers={"x-dabt-purpose": "evaluation"}) as client,
    ):
        said = []
        for model in models:
            messages = [{"role": "user", "content": "hello"}]
            reply = client.post("/v1/chat/completions", json={"model": model, "messages": messages, **asked})
            assert reply.status_code == 200, reply.text
            said.append(reply.json()["choices"][0]["message"]["content"])
    return said


in_4_bits = pytest.mark.skipif(not has_wide_vectors(), reason="vLLM multiplies 4 bits with AVX-512 alone")


@pytest.mark.parametrize("packing", [pytest.param("int4", marks=in_4_bits), "int8"])
def test_an_adapter_over_a_packed_base_is_verified_and_answers(packing: Packing, tmp_path: Path) -> None:
    from training.importing import take_in

    _, base, adapter = made(tmp_path, packing)
    home = Home.at(tmp_path / "home")
    shelf = Shelf.at(home, actor="test")
    taken = take_in(adapter, name="red", base=base, prompt=Prompt(), note="", shelf=shelf, tell=lambda said: None)
    shelf.registry.close()
    assert taken.unproved == ""  # so it is served only if the engine computes what PEFT does
    red, bare = texts(base, home, "red:1", "packed")
    assert red != bare


def test_over_weights_rounded_at_the_start_an_adapter_is_verified_and_answers(tmp_path: Path) -> None:
    """Its golden prompts are the plain base's, so rounding must cost less than they allow."""
    base, adapter = tmp_path / "plain", tmp_path / "adapter"
    make_base(base)
    make_adapter(base, adapter, Recipe(8), seed=1)
    home = Home.at(tmp_path / "home")
    shelf = Shelf.at(home, actor="test")
    proof = Provenance(source="import", golden=(golden_of(Reference(base, {"red": adapter}), "red"),))
    publish(adapter, name="red", base=base, prompt=Prompt(), provenance=proof, shelf=shelf)
    shelf.registry.close()
    red, bare = texts(base, home, "red:1", "plain", quantization="int8")
    assert red != bare


@in_4_bits
@pytest.mark.parametrize("packing", ["awq", "gptq"])
def test_over_awq_and_gptq_an_adapter_computes_what_peft_does_over_the_same_rounded_weights(
    packing: Literal["awq", "gptq"], tmp_path: Path
) -> None:
    """transformers reads neither without another package, so PEFT is given the weights unpacked."""
    from training.importing import take_in

    plain, base, adapter = made(tmp_path, packing)
    unpack(plain, tmp_path / "unpacked", packing)
    golden = golden_of(Reference(tmp_path / "unpacked", {"red": adapter}), "red")
    home = Home.at(tmp_path / "home")
    shelf = Shelf.at(home, actor="test")
    proof = Provenance(source="import", golden=(golden,))
    publish(adapter, name="red", base=base, prompt=Prompt(), provenance=proof, shelf=shelf)
    make_adapter(plain, tmp_path / "other", Recipe(4), seed=2)
    other = tmp_path / "other"
    taken = take_in(other, name="green", base=base, prompt=Prompt(), note="", shelf=shelf, tell=lambda said: None)
    shelf.registry.close()
    assert taken.unproved.startswith("PEFT cannot compute it here (Loading a"), taken.unproved
    red, green, bare = texts(base, home, "red:1", "green:1", "packed")
    assert len({red, green, bare}) == 3
