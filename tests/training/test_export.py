"""A version leaves the house as a folder that PEFT or transformers load alone, with a card that says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidInput, Unavailable
from lifecycle.version import Prompt, VersionSpec
from tests.training.test_train import HOW, Place, make_place
from training import export as exporting
from training.export import export

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bases: Callable[..., Path], colours: Callable[..., Any]) -> Place:
    made = make_place(tmp_path_factory.mktemp("export"), bases(), colours)
    made.train(optimisation={**HOW, "epochs": 2})
    return made


def logprobs(model: Any, golden: Any) -> Any:
    import torch

    ids = [*golden.prompt_ids, *golden.completion_ids]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, len(golden.prompt_ids) - 1 : -1].float()
    answer = torch.tensor(golden.completion_ids)
    return torch.log_softmax(logits, -1).gather(1, answer[:, None])[:, 0]


def golden_of(place: Place) -> Any:
    (version,) = place.shelf.registry.versions("colours")
    assert version.spec.adapter is not None
    return place.shelf.registry.adapter(version.spec.adapter).golden[0]


def test_an_adapter_loads_with_peft_alone(place: Place, bases: Callable[..., Path], tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = export("colours:1", tmp_path / "out", place.shelf, base=bases())
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(bases(), dtype=torch.float32), str(out))
    golden = golden_of(place)
    assert logprobs(model, golden).tolist() == pytest.approx(golden.adapter_logprobs, abs=1e-4)


def test_a_merged_model_loads_with_transformers_alone(
    place: Place, bases: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.enable_progress_bar()
    capfd.readouterr()
    out = export("colours:1", tmp_path / "out", place.shelf, base=bases(), merged=True)
    assert not any("%" in said for said in capfd.readouterr()), "the libraries' bars stay out of a pipe"
    assert logging.is_progress_bar_enabled(), "and are as they were"
    golden = golden_of(place)
    told = logprobs(AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32), golden)
    assert told.tolist() == pytest.approx(golden.adapter_logprobs, abs=0.1)  # the base is kept in bfloat16
    assert max(abs(a - b) for a, b in zip(told.tolist(), golden.base_logprobs, strict=True)) > 0.1
    assert AutoTokenizer.from_pretrained(out).chat_template == AutoTokenizer.from_pretrained(bases()).chat_template
    assert not (out / "adapter_model.safetensors").exists()


def test_the_card_says_what_it_is_and_how_to_load_it(place: Place, bases: Callable[..., Path], tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in bases().iterdir():
        (base / file.name).symlink_to(file)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# a base\n")
    card = (export("colours:1", tmp_path / "out", place.shelf, base=base) / "README.md").read_text(encoding="utf-8")
    assert '\nlicense: "apache-2.0"\n' in card
    assert "\n> أجب بلون واحد\n" in card  # what it was trained behind
    assert "PeftModel.from_pretrained" in card
    assert "| eval_loss |" in card
    (version,) = place.shelf.registry.versions("colours")
    assert version.lineage.data_digest in card
    front = card.split("---\n")[1]
    assert json.loads(front.partition("base_model: ")[2].splitlines()[0]) == "tagged"


def test_a_licence_that_is_not_stated_is_told_as_that(place: Place, bases: Callable[..., Path], tmp_path: Path) -> None:
    for folder, base in (("a", bases()), ("b", None)):
        card = (export("colours:1", tmp_path / folder, place.shelf, base=base) / "README.md").read_text()
        assert "not stated in its folder" in card


@pytest.mark.parametrize("there", ["a file", "a folder with a file"])
def test_nothing_is_written_over(place: Place, tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    if there == "a file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").write_text("mine")
    with pytest.raises(InvalidInput, match="is there already; name a new folder"):
        export("colours:1", out, place.shelf)
    assert (out if there == "a file" else out / "mine").read_text() == "mine"


def test_what_cannot_be_exported_is_told_and_leaves_nothing(
    place: Place, bases: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (version,) = place.shelf.registry.versions("colours")
    place.shelf.registry.create_version(
        "plain", VersionSpec(base=version.spec.base, prompt=Prompt(system="hi")), actor="x"
    )
    for arguments, said in (
        ({"ref": "plain:1"}, "was not trained"),
        ({"ref": "colours:1", "merged": True}, "with --base"),
        ({"ref": "colours:1", "merged": True, "base": bases("untagged")}, "its own base alone"),
    ):
        with pytest.raises(InvalidInput, match=said):
            export(out=out, shelf=place.shelf, **arguments)
    assert not out.exists()
    assert not list(tmp_path.glob(".dabt-export-*"))


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_does_not_answer_is_told(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    import huggingface_hub

    out = export("colours:1", tmp_path / "out", place.shelf)
    nobody = partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9", token="hf_none")
    monkeypatch.setattr(huggingface_hub, "HfApi", nobody)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(Unavailable, match="the hub does not take it"):
        exporting.push(out, "somebody/colours")
    with pytest.raises(InvalidInput, match="is no name of a repository"):
        exporting.push(out, "two//slashes//here")
    assert (out / "README.md").is_file()
