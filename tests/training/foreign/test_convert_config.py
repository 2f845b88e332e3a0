"""`dabt convert-config`: whose file it is, what it writes, and that no key of any file vanishes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as some
from typer.testing import CliRunner

from lifecycle.errors import DabtError, InvalidConfig
from tests.training.foreign.conftest import Place, problems, told
from tests.training.foreign.test_axolotl import LEAST as AXOLOTL
from tests.training.foreign.test_axolotl import LORA, ROW
from tests.training.foreign.test_llama_factory import ALPACA, SFT
from tests.training.foreign.test_llama_factory import LEAST as FACTORY
from tests.training.foreign.test_trl import LEAST as TRL
from tests.training.foreign.test_trl import SFT as TRL_SFT
from training.config import TrainJob
from training.foreign import axolotl, axolotl_keys, llama_factory, llama_factory_keys, trl, trl_keys
from training.foreign.command import convert_config
from training.foreign.reading import converted
from training.foreign.translation import Asked, Keys, Translation, flat


def run(*args: object) -> tuple[str, str]:
    """What is printed, and what is told beside it."""
    app = typer.Typer()
    app.command()(convert_config)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if isinstance(result.exception, DabtError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.fixture
def started(place: Place) -> Place:
    """A folder in which each tool would start."""
    place.rows("محادثات.jsonl", [ROW] * 3)
    place.rows("data/triage.jsonl", [ALPACA] * 3)
    (place.root / "talks").mkdir()
    place.rows("talks/rows.jsonl", [ROW] * 3)
    place.info(triage={"file_name": "triage.jsonl"})
    return place


def written(place: Place, raw: dict[str, Any], name: str = "مهمة.yaml") -> Path:
    file = place.root / name
    file.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "raw", [FACTORY, AXOLOTL, {**TRL, "dataset_name": "talks"}], ids=["llama-factory", "axolotl", "trl"]
)
def test_it_writes_what_train_reads_and_says_what_it_left_out(started: Place, raw: dict[str, Any]) -> None:
    file, out = written(started, {**raw, "output_dir": "saves"}), started.ours / "فرز.yaml"
    printed, beside = run(file, "--out", out, "--name", "triage", "--root", started.root)
    assert printed == ""
    assert "left out, it says where results and logs go: output_dir" in beside
    assert f"next: dabt train {out}" in beside
    assert TrainJob.load(out).config.name == "triage"
    lines = out.read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if not line.startswith("#") and not line.endswith(":")]
    assert all("  # " in line for line in values), "each value says where it came from"
    assert lines[0].startswith("# From مهمة.yaml of ")


def test_without_out_the_file_is_printed_alone(started: Place, tmp_path: Path) -> None:
    printed, beside = run(written(started, AXOLOTL), "--root", started.root, "--name", "a")
    copy = tmp_path / "anywhere.yaml"
    copy.write_text(printed, encoding="utf-8")
    assert TrainJob.load(copy).train_paths == (started.root / "محادثات.jsonl",)
    assert "note: " in beside


def test_the_name_is_that_of_the_file_where_it_can_be_one(started: Place) -> None:
    file = written(started, AXOLOTL, "Triage_1.yaml")
    assert "name: triage_1 " in run(file, "--root", started.root)[0]
    found = problems(lambda: run(written(started, AXOLOTL), "--root", started.root))
    assert [*found] == ["the name of the file, or --name (here name)"]


def test_what_is_accepted_stands_in_the_file(started: Place) -> None:
    file = written(started, {**AXOLOTL, "sample_packing": True, "train_on_inputs": True})
    with pytest.raises(InvalidConfig):
        run(file, "--root", started.root, "--name", "a", "--accept", "sample_packing")
    accept = ("--accept", "sample_packing", "--accept", "train_on_inputs")
    printed, beside = run(file, "--root", started.root, "--name", "a", *accept)
    assert "# Accepted: train_on_inputs: learns the question too" in printed
    assert "accepted: sample_packing: " in beside


def test_what_there_is_nothing_to_accept_of_is_refused(started: Place) -> None:
    file = written(started, AXOLOTL)
    found = problems(lambda: run(file, "--root", started.root, "--name", "a", "--accept", "lora_r"))
    assert [*found] == ["--accept lora_r"]


def test_a_file_that_exists_and_a_folder_that_does_not_are_refused(started: Place) -> None:
    file, out = written(started, AXOLOTL), started.ours / "a.yaml"
    out.write_text("mine")
    assert "exists" in problems(lambda: run(file, "--out", out, "--root", started.root))[str(out)]
    assert out.read_text() == "mine"
    run(file, "--out", out, "--root", started.root, "--force")
    assert TrainJob.load(out).config.name == "a"
    away = started.ours / "none/a.yaml"
    assert "there is no folder" in problems(lambda: run(file, "--out", away, "--root", started.root))[str(away)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_name_or_path: a\nbase_model: b\n", "LLaMA-Factory or Axolotl"),
        ("lora_r: 8\n", "Axolotl's has base_model"),
        ("name: a\nbase: b\ndata: {train: c}\n", "is a configuration of dabt train already"),
        ("[1, 2]\n", "not a mapping"),
        ("", "not a mapping"),
        ("a: [1\n", "no YAML"),
        ("base_model: a\nbase_model: b\n", "base_model stands in line 1 already"),
        ("base_model: {{a}}\n", "no YAML"),
        ("a: .inf\nbase_model: b\n", "no number"),
    ],
)
def test_a_file_that_is_neither_or_both_or_none_ends_with_a_message(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert any(says in fault for fault in problems(lambda: run(file)).values())


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "model_name_or_path: org/model\nlearning_rate: .inf\nlora_rank: .nan\nval_size: -.inf\n"
            "stage: kto\nquux: 1\n",
            {"learning_rate", "lora_rank", "val_size", "stage", "quux", "dataset", "dataset_dir"},
        ),
        (
            'base_model: org/model\nadapter: lora\nlearning_rate: .inf\nlora_target_modules: [.inf]\nrl: kto\nquux: 1\n'
            'datasets: [{path: "x\\ud800", type: alpaca, shards: .nan}, {typ: x}]\n"half\\ud800": 1\n',
            {
                "learning_rate", "lora_target_modules[0]", "datasets[0].path", "datasets[0].shards", "a key", "rl",
                "quux", "lora_r", "lora_alpha", "datasets[0].type", "datasets[1].path", "datasets[1].type",
                "datasets[1].typ",
            },
        ),
        ("a: .inf\nb: 1\n", {"a", "x.yaml"}),
        ("base_model: a\nlearning_rate: .inf\nx: &x [*x, .inf]\n", {"learning_rate", "x[1]", "datasets"}),
    ],
)  # fmt: skip
def test_what_no_configuration_means_is_told_once_and_beside_every_other_fault(
    tmp_path: Path, text: str, places: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        run("x.yaml")
    told = [problem.place for problem in caught.value.problems]
    assert set(told) == places
    assert len(told) == len(places)


def test_a_file_that_is_not_there_ends_with_a_message(tmp_path: Path) -> None:
    assert "there is no such file" in "".join(problems(lambda: run(tmp_path / "x.yaml")).values())


# -- no key vanishes --------------------------------------------------------------------------------------------------

TABLES = {"llama_factory": llama_factory_keys.KEYS, "axolotl": axolotl_keys.KEYS, "trl": trl_keys.KEYS}
EXAMPLES = {"llama_factory": SFT, "axolotl": LORA, "trl": TRL_SFT}
SIGNS = {"llama_factory": llama_factory.SIGN, "axolotl": axolotl.SIGN, "trl": trl.NAMES}
TRANSLATIONS = {"llama_factory": llama_factory.translate, "axolotl": axolotl.translate, "trl": trl.translate}
NESTED = {
    "llama_factory": (),
    "axolotl": ("datasets", "test_datasets", "special_tokens", "trl", "peft"),
    "trl": ("datasets",),
}
_WORDS = some.text(some.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=8)
_VALUES = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-3, 5000),
    some.floats(-1, 100),
    some.just(math.inf),
    some.just(math.nan),
    _WORDS,
    some.lists(_WORDS, max_size=2),
    some.dictionaries(_WORDS, some.integers(), max_size=2),
)


def known(table: Keys, example: dict[str, Any]) -> list[str]:
    return [name for name in {*table.known, *example} if "." not in name and name != "name"]


@pytest.mark.parametrize("tool", TABLES)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=some.data())
def test_every_key_of_any_file_is_translated_left_out_or_refused(
    tool: str, data: some.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = some.one_of(some.sampled_from(sorted(known(TABLES[tool], EXAMPLES[tool]))), _WORDS)
    raw = {**data.draw(some.dictionaries(keys, _VALUES, max_size=8)), SIGNS[tool]: "org/model"}
    made = TRANSLATIONS[tool](raw, Asked("a", tmp_path_factory.getbasetemp() / "nowhere"))
    values = flat(raw, NESTED[tool])
    refused = [problem.place for problem in made.problems]
    for key in values:
        of = (key, f"{key}.", f"{key}[", f"{key} (", f"{key}, ")
        assert key in told(made) or any(place == key or place.startswith(of) for place in refused), key
    event("refused" if made.problems else "taken")


@pytest.mark.parametrize("tool", TABLES)
def test_no_key_is_called_idle_and_lost(tool: str) -> None:
    table = TABLES[tool]
    exact = {name for names in table.idle.values() for name in names.split()}
    assert not exact & {*table.lost}


@pytest.mark.parametrize("tool", TABLES)
def test_what_is_lost_by_default_values_is_no_problem(tool: str, tmp_path: Path) -> None:
    """A file may spell out the tool's own defaults."""
    table = TABLES[tool]
    values = {key: lost.neutral[0] for key, lost in table.lost.items() if lost.neutral}
    made = Translation(tool, values, Asked("a", tmp_path))
    made.finish(table)
    assert not made.problems
    assert {*made.idle} == {*values}


def test_a_secret_of_the_file_is_nowhere_told(started: Place) -> None:
    file = written(started, {**FACTORY, "hf_hub_token": "hf_verysecret"})
    printed, beside = run(file, "--root", started.root, "--name", "a")
    assert "hf_hub_token" in beside
    assert "verysecret" not in printed + beside


def test_it_needs_no_home_and_loads_no_torch(started: Place) -> None:
    import sys

    before = {name for name in ("torch", "transformers", "trl", "vllm") if name in sys.modules}
    converted(written(started, AXOLOTL), Asked("a", started.root))
    converted(written(started, {**TRL, "dataset_name": "talks"}), Asked("a", started.root))
    assert {name for name in ("torch", "transformers", "trl", "vllm") if name in sys.modules} == before
