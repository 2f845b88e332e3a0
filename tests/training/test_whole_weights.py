"""Methods that leave whole weights: each ends in a version whose stored folder loads alone, with its golden numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import ArtifactRefused, InvalidConfig
from lifecycle.home import Home
from lifecycle.manifests import WeightsManifest
from lifecycle.models.base import fingerprint
from lifecycle.models.whole_models import preflight_weights
from lifecycle.origin import ORIGIN_FILE
from lifecycle.publishing import Shelf
from tests.training.conftest import TAGGED
from training.config import TrainJob
from training.recipes.last_layers import LastLayers
from training.run import train

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains


@pytest.fixture(scope="session")
def gpt2(bases: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of some ten thousand random weights, with the tokenizer of the other tiny bases."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2") / "tiny-gpt2"
    fast = AutoTokenizer.from_pretrained(bases())
    fast.chat_template = TAGGED
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=len(fast),
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=256,
        bos_token_id=fast.eos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.1,
    )
    GPT2LMHeadModel(config).float().save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def trained(tmp_path: Path, colours: Callable[..., list[dict[str, Any]]]) -> Callable[..., tuple[Any, Shelf]]:
    def run(base: Path, method: Any) -> tuple[Any, Shelf]:
        for name, rows in (("train", colours(24)), ("validation", colours(4, start=24))):
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        raw = {
            "name": "toy",
            "base": str(base),
            "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
            "method": method,
            "optimisation": {"epochs": 1, "batch_size": 8, "lr": 3e-3, "max_length": 128},
            "golden_prompts": 2,
        }
        home = Home.at(tmp_path / "home")
        shelf = Shelf.at(home, actor="test")
        return train(TrainJob.from_mapping(raw, tmp_path), home, shelf), shelf

    return run


def logprobs(folder: Path, manifest: WeightsManifest) -> list[float]:
    """By transformers alone, from the folder as the store has it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    values: list[float] = []
    for golden in manifest.golden:
        ids = torch.tensor([[*golden.prompt_ids, *golden.completion_ids]])
        with torch.no_grad():
            logits = model(ids).logits[0, len(golden.prompt_ids) - 1 : -1]
        answer = torch.tensor(golden.completion_ids)
        values += torch.log_softmax(logits, -1).gather(1, answer[:, None])[:, 0].tolist()
    return values


METHODS: list[tuple[str, Any]] = [
    ("llama", "full"),
    ("llama", {"type": "last_layers", "layers": 1}),
    ("llama", {"type": "last_layers", "layers": 0, "head": True}),
    ("llama", {"type": "merged_lora", "r": 8}),
    ("gpt2", {"type": "merged_lora", "r": 8}),
    ("gpt2", "full"),
]


@pytest.mark.parametrize(("family", "method"), METHODS, ids=str)
def test_a_run_ends_in_a_version_whose_folder_loads_alone_and_gives_the_golden_numbers(
    family: str, method: Any, bases: Any, gpt2: Path, trained: Any
) -> None:
    base = gpt2 if family == "gpt2" else bases()
    result, shelf = trained(base, method)
    spec = result.version.spec
    manifest = shelf.registry.artifact(spec.weights)
    assert isinstance(manifest, WeightsManifest)
    folder = shelf.store.get(spec.weights)
    known = fingerprint(folder)
    assert spec.artifact == ("weights", spec.weights)
    assert (spec.base, manifest.base, manifest.origin) == (known.digest, known.digest, fingerprint(base).digest)
    before = fingerprint(base)
    assert (known.tokenizer, known.chat_template) == (before.tokenizer, before.chat_template)
    assert known.weights != before.weights
    recorded = [value for golden in manifest.golden for value in golden.tuned_logprobs]
    assert logprobs(folder, manifest) == pytest.approx(recorded, abs=1e-4)
    original = [value for golden in manifest.golden for value in golden.original_logprobs]
    assert logprobs(base, manifest) == pytest.approx(original, abs=1e-4)
    assert result.record.metrics["eval_loss"] < result.record.metrics["base_eval_loss"]


def test_embeddings_that_are_tied_are_saved_once_and_stay_tied(bases: Any, gpt2: Path, trained: Any) -> None:
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM

    result, shelf = trained(gpt2, {"type": "merged_lora", "r": 8})
    folder = shelf.store.get(result.version.spec.weights)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_only_what_is_named_is_learnt(bases: Any) -> None:
    from training import whole_weights

    model = whole_weights.load(bases())
    LastLayers(layers=1).freeze(model)
    assert {name.split(".")[2] for name, one in model.named_parameters() if one.requires_grad} == {"1"}
    LastLayers(layers=0, head=True).freeze(model)
    # The base ties its embeddings to the head: they are one tensor.
    assert [name for name, one in model.named_parameters() if one.requires_grad] == ["model.embed_tokens.weight"]


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"type": "last_layers", "layers": 3}, "method.layers: 3 is more than the 2 that the base has"),
        ("lora", "transposed .* method: merged_lora, or method: full"),
        ({"type": "merged_lora", "target_modules": ["q_proj"]}, "method.target_modules: PEFT can make no adapter"),
    ],
)
def test_what_cannot_work_is_refused_before_training(method: Any, says: str, gpt2: Path, trained: Any) -> None:
    with pytest.raises(InvalidConfig, match=says):
        trained(gpt2, method)


def test_a_method_that_would_learn_nothing_is_no_configuration(gpt2: Path, trained: Any) -> None:
    with pytest.raises(InvalidConfig, match="nothing would be learnt"):
        trained(gpt2, {"type": "last_layers", "layers": 0})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [("quantization_config", {"quant_method": "awq"}, "packed by awq"), ("auto_map", {"A": "m.A"}, "code of its own")],
)
def test_a_base_that_cannot_be_trained_whole_is_refused(
    gpt2: Path, trained: Any, tmp_path: Path, key: str, value: Any, says: str
) -> None:
    base = shutil.copytree(gpt2, tmp_path / "other")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(InvalidConfig, match=says):
        trained(base, "full")


def test_preflight_tells_everything_that_is_wrong_with_a_whole_model_at_once(gpt2: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(gpt2, tmp_path / "tuned")
    tensors = load_file(folder / "model.safetensors")
    (name,) = [name for name in tensors if name.endswith("wte.weight")]
    head = tensors[name] + 1
    tensors["transformer.ln_f.bias"][0] = float("nan")
    save_file({**tensors, "lm_head.weight": head}, folder / "model.safetensors")
    save_file({"x": head}, folder / "other.safetensors")
    (folder / "modeling_tiny.py").write_text("import os\n")
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    (folder / ORIGIN_FILE).write_text('{"base": "sha256:0"}')
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True, "auto_map": {"A": "m.A"}}))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ArtifactRefused) as caught:
        preflight_weights(folder, gpt2)
    said = "\n".join(map(str, caught.value.problems))
    for fault in (
        "modeling_tiny.py: is code",
        "pytorch_model.bin: is pickled",
        "names code of its own",
        "holds no tokenizer",
        "other.safetensors: is no part",
        "transformer.ln_f.bias: holds NaN",
        "lm_head.weight: differs from the embeddings",
        "was trained on another base",
    ):
        assert fault in said, fault


def test_weights_that_were_not_trained_are_refused(gpt2: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefused, match="byte for byte: nothing was trained"):
        preflight_weights(shutil.copytree(gpt2, tmp_path / "same"), gpt2)
