"""The containers of SageMaker and Vertex AI, by laying out what each platform lays out before it starts one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import dabt
from lifecycle.errors import InvalidConfig
from lifecycle.home import Home
from lifecycle.registry import Registry
from training import container

Rows = Callable[..., list[dict[str, Any]]]
SHORT = {"lr": 1.0e-2, "epochs": 1, "batch_size": 8, "max_length": 128}
CONFIG = {
    "name": "colours",
    "base": "to/be/replaced",
    "data": {"train": "nowhere.jsonl"},
    "method": {"type": "lora", "r": 8, "alpha": 16},
    "optimisation": SHORT,
    "golden_prompts": 1,
}


def put(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def runs(checkpoints: Path) -> list[Path]:
    return [path for path in checkpoints.iterdir() if path.is_dir()]


def sagemaker(root: Path, base: Path, colours: Rows, **hyperparameters: str) -> Path:
    """As a job with four channels has it; returns /opt/ml."""
    place = root / "opt" / "ml"
    data = place / "input" / "data"
    put(data / "config" / "run.yaml", yaml.safe_dump(CONFIG))
    put(data / "train" / "one.jsonl", colours(12))
    put(data / "train" / "two.jsonl", colours(12, 12))
    put(data / "validation" / "rows.jsonl", colours(4, 24))
    (data / "base").symlink_to(base, target_is_directory=True)
    put(place / "input" / "config" / "hyperparameters.json", hyperparameters)
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    put(place / "input" / "config" / "inputdataconfig.json", dict.fromkeys(("config", "train", "base"), channel))
    put(place / "input" / "config" / "resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    (place / "model").mkdir()
    (place / "output").mkdir()
    return place


def test_sagemaker_trains_on_its_channels_by_its_hyperparameters_and_takes_a_folder_that_can_be_imported(
    tmp_path: Path, bases: Callable[..., Path], colours: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DABT_REGISTRY_URL", raising=False)
    asked = {"optimisation.epochs": "2", "method.r": "16", "sagemaker_region": "eu-west-1"}
    place = sagemaker(tmp_path, bases(), colours, **asked)
    home = tmp_path / "home"
    words = ["train-container", "train", "--root", str(tmp_path), "--home", str(home)]
    done = CliRunner().invoke(dabt.app, words, catch_exceptions=False)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "colours:1")
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= set(os.listdir(place / "model"))
    assert json.loads((place / "model" / "adapter_config.json").read_text(encoding="utf-8"))["r"] == 16
    (run,) = runs(place / "checkpoints")
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["optimisation"]["epochs"] == 2
    assert not (place / "output" / "failure").exists()
    with Registry.open(Home.at(home).registry_url) as registry:
        assert registry.version("colours:1").state == "draft"
    # The platform starts it anew: what it kept of the run is gone on with, in a home that is new.
    again = CliRunner().invoke(dabt.app, [*words[:-1], str(tmp_path / "other")], catch_exceptions=False)
    assert again.exit_code == 0, "the model's folder has files already"
    assert runs(place / "checkpoints") == [run]


def test_vertex_trains_on_its_buckets_by_its_arguments(
    tmp_path: Path, bases: Callable[..., Path], colours: Rows
) -> None:
    bucket = tmp_path / "gcs" / "clinic"
    put(bucket / "run.yaml", yaml.safe_dump(CONFIG))
    put(bucket / "rows" / "training-1.jsonl", colours(12))
    put(bucket / "rows" / "training-2.jsonl", colours(12, 12))
    put(bucket / "rows" / "validation-1.jsonl", colours(4, 24))
    (bucket / "base").symlink_to(bases(), target_is_directory=True)
    environment = {
        "AIP_MODEL_DIR": "gs://clinic/out/model/",
        "AIP_CHECKPOINT_DIR": "gs://clinic/out/checkpoints/",
        "AIP_DATA_FORMAT": "jsonl",
        "AIP_TRAINING_DATA_URI": "gs://clinic/rows/training-*",
        "AIP_VALIDATION_DATA_URI": "gs://clinic/rows/validation-*",
    }
    words = ["--config=gs://clinic/run.yaml", "--base=gs://clinic/base", "--optimisation.lr=0.02"]
    found = container.find(words, environment, tmp_path)
    job = found.job()
    assert [path.name for path in job.train_paths] == ["training-1.jsonl", "training-2.jsonl"]
    assert job.validation_path == bucket / "rows" / "validation-1.jsonl"
    assert job.config.optimisation.lr == 0.02
    home = Home.at(tmp_path / "home").model_copy(update={"artifacts_url": str(tmp_path / "home" / "artifacts")})
    assert container.run(found, home) == "colours:1"
    assert (bucket / "out" / "model" / "adapter_model.safetensors").is_file()
    (run,) = runs(bucket / "out" / "checkpoints")
    assert (run / "run.json").is_file()


def test_what_goes_wrong_is_told_where_sagemaker_looks_for_it(
    tmp_path: Path, bases: Callable[..., Path], colours: Rows
) -> None:
    place = sagemaker(tmp_path, bases(), colours, **{"optimisation.lr": "fast"})
    with pytest.raises(InvalidConfig) as caught:
        container.run(container.find(["train"], {}, tmp_path), Home.at(tmp_path / "home"))
    told = (place / "output" / "failure").read_text(encoding="utf-8")
    assert told == str(caught.value)
    assert "optimisation.lr" in told
    assert [*(place / "model").iterdir()] == []


def test_all_that_a_platform_leaves_out_is_told_at_once(
    tmp_path: Path, bases: Callable[..., Path], colours: Rows
) -> None:
    place = sagemaker(tmp_path, bases(), colours)
    put(place / "input" / "config" / "inputdataconfig.json", {"train": {"TrainingInputMode": "Pipe"}})
    put(place / "input" / "config" / "resourceconfig.json", {"hosts": ["algo-1", "algo-2"]})
    (place / "input" / "data" / "config" / "run.yaml").unlink()
    with pytest.raises(InvalidConfig) as caught:
        container.find(["train"], {}, tmp_path)
    assert [problem.place for problem in caught.value.problems] == ["channel train", "instances", "channel config"]
    with pytest.raises(InvalidConfig) as caught:
        container.find(["fast"], {"AIP_MODEL_DIR": "gs://b/m"}, tmp_path / "elsewhere")
    assert [problem.place for problem in caught.value.problems] == ["fast", "--config"]
    with pytest.raises(InvalidConfig, match="neither SageMaker nor Vertex AI"):
        container.find([], {}, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("key", "text", "read"),
    [
        ("method.r", "4", 4),
        ("optimisation.lr", "1.0e-3", 1e-3),
        ("method", "qlora", "qlora"),
        ("data.train", "[a]", ["a"]),
    ],
)
def test_keys_of_the_configuration_are_read_as_its_file_is(key: str, text: str, read: Any) -> None:
    raw: dict[str, Any] = {"method": "lora", "optimisation": {}, "data": {}}
    container._set(raw, key.split("."), text)
    for part in key.split("."):
        raw = raw[part]
    assert raw == read


def test_a_key_below_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="has no keys of its own"):
        container._set({"golden_prompts": 2}, ["golden_prompts", "many"], "3")
    for text in ("3\nname: other", "["):
        with pytest.raises(InvalidConfig):
            container._set({}, ["golden_prompts"], text)


def test_the_training_image_runs_it() -> None:
    from tests.deploy.test_dockerfile import last

    for target in ("training", "training-cpu"):
        assert json.loads(last(target, "ENTRYPOINT")) == ["dabt", "train-container"]
        assert last(target, "USER") == "0", "the folders of both platforms belong to root"
