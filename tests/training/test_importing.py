"""`dabt import`: an adapter that was trained elsewhere becomes a draft, with golden prompts where PEFT gives them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.errors import AdapterRefused, InvalidConfig
from lifecycle.home import Home
from lifecycle.manifests import GoldenPrompt
from lifecycle.models.base import fingerprint
from lifecycle.models.templates import with_template
from lifecycle.models.tensors import read_header
from lifecycle.registry import Registry
from tests import blank_registry
from tests.lifecycle.conftest import PeftFolder, write_base
from training import cli, golden, importing, room

NO_TORCH = "torch is not installed"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It has shapes and a fingerprint, and no model could be made of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return write_base(tmp_path / "base")


@pytest.fixture
def peft(tmp_path: Path) -> PeftFolder:
    return PeftFolder(tmp_path / "adapter")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DABT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DABT_REGISTRY_URL", raising=False)
    monkeypatch.delenv("DABT_ARTIFACTS_URL", raising=False)
    return Home.at(None)


@pytest.fixture
def registry(home: Home):
    blank_registry.at(home.root / "registry.db")
    with Registry.open(home.registry_url) as opened:
        yield opened


@pytest.fixture
def dabt():
    app = typer.Typer()
    app.command("import")(cli.import_adapter)
    app.command("other")(cli.train)

    def run(*arguments: str) -> str:
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return run


@pytest.fixture(autouse=True)
def no_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base of these tests is none that torch could load; where one is, nothing is put in torch's place."""
    if "e2e" not in request.keywords:
        monkeypatch.setattr(importing, "_missing", lambda base: NO_TORCH)


def test_import_makes_a_draft_of_a_peft_folder(dabt, registry, home, peft, base):
    folder = peft.save()
    (folder / "training_args.bin").write_bytes(b"\x80")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "truncation": {"max_length": 512}}))
    (folder / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text() + "\n")
    said = dabt("import", str(folder), "--name", "triage", "--base", str(base), "--system", "صنّف")
    assert "triage:1 is a draft" in said
    assert f"it has no golden prompts: {NO_TORCH}" in said
    version = registry.version("triage:1")
    manifest = registry.adapter(version.spec.adapter)
    assert (manifest.rank, manifest.base_name, manifest.base) == (4, "base", version.spec.base)
    assert (version.lineage.source, version.spec.prompt.system) == ("import", "صنّف")
    stored = home.root / "artifacts" / "sha256" / version.spec.adapter.removeprefix("sha256:")
    assert sorted(path.name for path in stored.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    dabt("import", str(folder), "--name", "triage", "--base", str(base), "--system", "صنّف")
    assert len(registry.versions()) == 1, "the same recipe is the same version"


TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_template_that_is_not_the_bases_is_refused_or_makes_another_base(
    dabt, registry, home, peft, base, tmp_path, file
):
    folder = peft.save()
    (folder / file).write_text(TEMPLATE if file.endswith("jinja") else json.dumps({"chat_template": TEMPLATE}))
    told = ("import", str(folder), "--name", "triage", "--base", str(base))
    with pytest.raises(AdapterRefused, match=r"chat template: is another than the base's.* by --use-its-template"):
        dabt(*told)
    assert registry.versions() == []
    said = dabt(*told, "--use-its-template")
    served = re.search(r"dabt serve --base (\S+) --chat-template (\S+)", said)
    assert served is not None
    as_served = with_template(Path(served[1]), served[2], tmp_path / "served")
    assert registry.version("triage:1").spec.base == fingerprint(as_served).digest != fingerprint(base).digest


def test_a_template_of_the_bases_needs_no_other_base(dabt, registry, peft, base):
    folder = peft.save()
    (folder / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text())
    dabt("import", str(folder), "--name", "triage", "--base", str(base), "--use-its-template")
    assert registry.version("triage:1").spec.base == fingerprint(base).digest


def test_a_tokenizer_that_gives_other_tokens_is_refused_with_what_differs(dabt, registry, peft, base):
    folder = peft.save()
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    more = {**tokenizer, "added_tokens": [{"id": 50, "content": "<|extra|>"}]}
    (folder / "tokenizer.json").write_text(json.dumps(more))
    with pytest.raises(AdapterRefused, match=r"other tokens than the base's \(added_tokens with <\|extra\|>\)"):
        dabt("import", str(folder), "--name", "triage", "--base", str(base), "--use-its-template")
    assert registry.versions() == []


def test_import_takes_the_switches_that_the_chat_template_was_told(dabt, registry, peft, base):
    said = ("import", str(peft.save()), "--name", "triage", "--base", str(base), "--chat-template-kwargs")
    dabt(*said, '{"enable_thinking": false}')
    assert registry.version("triage:1").spec.prompt.chat_template_kwargs == {"enable_thinking": False}
    for wrong in ("{", '{"tools": 1}', "[]", '{"a": null}'):
        with pytest.raises(InvalidConfig, match="chat-template-kwargs"):
            dabt(*said, wrong)
    assert len(registry.versions()) == 1


def test_import_takes_the_base_that_the_folder_names(dabt, registry, peft, base):
    peft.config["base_model_name_or_path"] = str(base)
    dabt("import", str(peft.save()), "--name", "triage")
    assert registry.versions()[0].lineage.note.endswith(f"trained over {base}")


def test_import_without_a_base_asks_for_one(dabt, peft):
    peft.config["base_model_name_or_path"] = None
    with pytest.raises(InvalidConfig, match="--base"):
        dabt("import", str(peft.save()), "--name", "triage")


def test_import_of_an_adapter_that_cannot_be_served_stores_nothing(dabt, registry, home, peft, base):
    peft.config["use_dora"] = True
    with pytest.raises(AdapterRefused, match="DoRA"):
        dabt("import", str(peft.save()), "--name", "triage", "--base", str(base))
    assert registry.audit() == []
    assert not (home.root / "artifacts").exists()


def test_help_of_import_shows_an_example(dabt):
    said = dabt("import", "--help")
    assert "Example" in said
    assert "dabt import" in said


# -- golden prompts ---------------------------------------------------------------------------------------------------

RECORDED = GoldenPrompt(prompt_ids=(1,), completion_ids=(2,), adapter_logprobs=(-0.1,), base_logprobs=(-3.0,))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands in for PEFT: `golden` is what it computes, `asked` how it was asked."""
    said: dict[str, Any] = {"golden": (RECORDED,)}

    def compute(base, adapter, examples, *, spot):
        said["asked"] = (base, adapter, examples, spot.on)
        if isinstance(said["golden"], Exception):
            raise said["golden"]
        return said["golden"]

    monkeypatch.setattr(importing, "_missing", lambda base: "")
    monkeypatch.setattr(importing, "_examples", lambda base, prompt: [prompt.system])
    monkeypatch.setattr(golden, "compute", compute)
    return said


def test_golden_prompts_are_recorded_at_import_on_the_cpu(dabt, registry, peft, base, computed):
    said = dabt("import", str(peft.save()), "--name", "triage", "--base", str(base), "--system", "صنّف")
    assert "its golden prompts are recorded" in said
    assert registry.adapter(registry.version("triage:1").spec.adapter).golden == (RECORDED,)
    assert computed["asked"] == (base, peft.folder, ["صنّف"], "cpu")


def test_what_peft_cannot_compute_is_imported_and_said(dabt, registry, peft, base, computed):
    computed["golden"] = ValueError("no such architecture\nand more")
    said = dabt("import", str(peft.save()), "--name", "triage", "--base", str(base))
    assert "it has no golden prompts: PEFT cannot compute it here (no such architecture)" in said
    assert registry.adapter(registry.version("triage:1").spec.adapter).golden == ()


@pytest.mark.parametrize(("moved", "taken"), [(1e-3, True), (0.9e-3, False)])
def test_an_adapter_that_changes_nothing_is_refused(dabt, registry, peft, base, computed, moved, taken):
    computed["golden"] = (RECORDED.model_copy(update={"adapter_logprobs": (0.0,), "base_logprobs": (-moved,)}),)
    if taken:
        dabt("import", str(peft.save()), "--name", "triage", "--base", str(base))
    else:
        with pytest.raises(AdapterRefused, match="changes nothing"):
            dabt("import", str(peft.save()), "--name", "triage", "--base", str(base))
        assert registry.versions() == []


def test_what_the_base_cannot_serve_is_refused_before_anything_is_computed(dabt, registry, peft, base, computed):
    peft.config["use_dora"] = True
    with pytest.raises(AdapterRefused, match="DoRA"):
        dabt("import", str(peft.save()), "--name", "triage", "--base", str(base))
    assert "asked" not in computed


@pytest.mark.parametrize(("spare", "fits"), [(1, True), (-1, False), (None, True)])
def test_a_base_that_does_not_fit_into_memory_is_not_loaded(tmp_path, monkeypatch, base, spare, fits):
    monkeypatch.undo()
    weights = sum(tensor.parameters for tensor in read_header(base / "model.safetensors").values())
    meminfo = tmp_path / "meminfo"
    if spare is not None:
        free = math.ceil(4 * weights / 0.9 / 1024) + spare
        meminfo.write_text(f"MemTotal:  999999 kB\nMemAvailable:  {free} kB\n")
    monkeypatch.setattr(room, "_MEMORY", meminfo)
    assert ("GiB in float32" not in importing._missing(base)) is fits


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (("torch", "transformers"), "peft is not installed"),
        ((), "torch, transformers, peft are not installed"),
        (("torch", "transformers", "peft"), ""),
    ],
)
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, base, there, said):
    monkeypatch.undo()
    monkeypatch.setattr(room, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: name if name in there else None)
    assert importing._missing(base) == said


def _random_adapter(base: Path, folder: Path, scale: float) -> Path:
    """As PEFT saves one: with random weights on both sides, where training would begin with B at 0."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    how = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), how)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=scale if "lora_B" in name else max(scale, 0.1))
    model.save_pretrained(str(folder))
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["tagged", "untagged", "bare"])
def test_what_is_recorded_is_what_peft_computes(
    dabt, registry, bases: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = _random_adapter(bases(kind), tmp_path / "adapter", 0.5)
    said = dabt("import", str(folder), "--name", "triage", "--base", str(bases(kind)), "--system", "أجب")
    assert "its golden prompts are recorded" in said
    manifest = registry.adapter(registry.version("triage:1").spec.adapter)
    assert len(manifest.golden) == 4
    model = AutoModelForCausalLM.from_pretrained(bases(kind), dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(folder)).eval()
    for prompt in manifest.golden:
        ids = torch.tensor([[*prompt.prompt_ids, *prompt.completion_ids]])
        begin = len(prompt.prompt_ids)
        with torch.no_grad():
            scores = torch.log_softmax(model(ids).logits[0, begin - 1 : -1], dim=-1)
        expected = scores.gather(1, ids[0, begin:, None])[:, 0].tolist()
        assert prompt.adapter_logprobs == pytest.approx(expected, abs=1e-4)
        assert max(abs(a - b) for a, b in zip(prompt.adapter_logprobs, prompt.base_logprobs, strict=True)) > 0.01
    # A later import records nothing else.
    dabt("import", str(folder), "--name", "triage", "--base", str(bases(kind)), "--system", "أجب")
    assert registry.adapter(manifest.digest) == manifest
    assert len(registry.versions()) == 1


@pytest.mark.e2e
def test_an_adapter_as_it_is_before_training_changes_nothing(dabt, registry, bases, tmp_path: Path) -> None:
    folder = _random_adapter(bases("tagged"), tmp_path / "adapter", 0.0)
    with pytest.raises(AdapterRefused):
        dabt("import", str(folder), "--name", "triage", "--base", str(bases("tagged")))
    assert registry.versions() == []


@pytest.mark.e2e
def test_a_base_that_gives_no_numbers_is_refused(dabt, registry, bases, tmp_path: Path) -> None:
    """Weights that overflow on the way: preflight sees finite ones."""
    folder = _random_adapter(bases("tagged"), tmp_path / "adapter", 1e30)
    with pytest.raises(AdapterRefused, match="a log-probability is not a finite number"):
        dabt("import", str(folder), "--name", "triage", "--base", str(bases("tagged")))
    assert registry.audit() == []


@pytest.fixture(scope="module")
def trained_by_trainer(bases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps by transformers' Trainer over PEFT, with a checkpoint after each, and what it saves at the end."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("trainer")
    model = AutoModelForCausalLM.from_pretrained(bases("tagged"), dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(bases("tagged"))("what colour is the sky? it is blue")["input_ids"]
    trainer = Trainer(
        model=get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")),
        args=TrainingArguments(
            str(folder),
            max_steps=2,
            save_steps=1,
            learning_rate=0.05,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=[{"input_ids": ids, "labels": ids}] * 16,
        processing_class=AutoTokenizer.from_pretrained(bases("tagged")),
    )
    trainer.train()
    trainer.save_model()
    return folder


@pytest.mark.e2e
def test_what_transformers_trainer_leaves_is_taken_with_golden_prompts_and_each_of_its_checkpoints(
    dabt, registry, bases, trained_by_trainer: Path
) -> None:
    assert {"optimizer.pt", "trainer_state.json", "tokenizer.json"} <= {
        path.name for path in (trained_by_trainer / "checkpoint-2").iterdir()
    }
    for folder in (".", "checkpoint-2", "checkpoint-1"):
        said = dabt("import", str(trained_by_trainer / folder), "--name", "sky", "--base", str(bases("tagged")))
        assert "its golden prompts are recorded" in said
    # The last checkpoint and what was saved behind it are the same weights, so the same version.
    assert [version.ref for version in registry.versions()] == ["sky:1", "sky:2"]
    manifests = [registry.adapter(version.spec.adapter) for version in registry.versions()]
    assert [len(manifest.golden) for manifest in manifests] == [4, 4]
    assert manifests[0].golden[0].adapter_logprobs != manifests[1].golden[0].adapter_logprobs
