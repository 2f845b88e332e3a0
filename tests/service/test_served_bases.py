"""Several bases, as they are asked for: on the command line, in the environment, and in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dabt import app
from lifecycle.errors import InvalidConfig
from service.served_bases import bases_named, bases_of_file


def test_a_base_may_have_a_name_and_others_share_the_options(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    words = ["chat=Qwen/Qwen3-8B", "org/other", str(tmp_path / "a=b"), "tuned=triage:3"]
    asked = bases_named(words, {"dtype": "float32", "port": 9}, "chatml")
    assert [(each.base, each.config.base_name) for each in asked] == [
        ("Qwen/Qwen3-8B", "chat"), ("org/other", ""), (str(tmp_path / "a=b"), ""), ("triage:3", "tuned"),
    ]  # fmt: skip
    assert {(each.config.dtype, each.config.port, each.chat_template) for each in asked} == {("float32", 9, "chatml")}


def test_one_name_for_several_bases_is_refused_with_the_cure() -> None:
    assert bases_named(["org/a"], {"base_name": "a"})[0].config.base_name == "a"
    with pytest.raises(InvalidConfig, match=r"--base-name: is the name of one base.*NAME=BASE"):
        bases_named(["org/a", "org/b"], {"base_name": "a"})


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bases.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_base_of_the_file_has_its_own_settings_before_the_commands_and_the_files(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    path = written(
        tmp_path,
        """
serve: {max_loras: 2, dtype: bfloat16, turn_seconds: 3, ui: false}
bases:
  - base: org/a
    base_name: عيادة
    chat_template: chat.jinja
    serve: {tool_parser: hermes, dtype: float32}
  - base: triage:3
    chat_template: zephyr
""",
    )
    first, second = bases_of_file(path, {"max_loras": 4, "dtype": "float16", "max_cpu_loras": 8}, {"ui": True})
    assert (first.base, first.config.base_name, second.config.base_name) == ("org/a", "عيادة", "")
    assert (first.chat_template, second.chat_template) == (str(tmp_path / "chat.jinja"), "zephyr")
    assert (first.config.tool_parser, second.config.tool_parser) == ("hermes", "")
    assert (first.config.dtype, second.config.dtype) == ("float32", "float16")
    assert {(each.config.max_loras, each.config.turn_seconds) for each in (first, second)} == {(4, 3.0)}
    assert not first.config.ui


def test_all_that_is_wrong_with_a_file_is_told_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
serve: {max_lora_rank: 5, base_name: x}
bases:
  - base: org/a
    serve: {port: 9, max_loras: 0}
  - base: org/b
    serve: {base_name: b, nothing: 1}
""",
    )
    with pytest.raises(InvalidConfig) as error:
        bases_of_file(path, {}, {})
    told = {each.place.removeprefix(f"{path}: "): each.cure for each in error.value.problems}
    assert told["serve.base_name"] == "write it under `bases`"
    assert told["bases.0.serve.port"] == "write it under the file's own `serve`"
    assert told["bases.1.serve.base_name"] == "write it beside `serve`"
    assert {"bases.0.serve.max_loras", "bases.1.serve.nothing"} <= told.keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--base: is missing"),
        (["--base", "org/a", "--bases", "x.yaml"], "--bases: names the bases, and so do others"),
        (["--bases", "x.yaml", "--chat-template", "chatml"], "--bases: names the bases, and so do others"),
        (["--bases", "x.yaml"], "there is no such file"),
    ],
)
def test_the_command_says_what_bases_it_was_not_given(words: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", *words, "--home", str(tmp_path)])
    assert isinstance(result.exception, InvalidConfig), result.output
    assert said in str(result.exception)


def test_a_switch_that_was_not_given_leaves_the_file_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "serve: {worker: false, allowed_host: [gpu-box]}\nbases: [{base: org/a}]\n")
    asked: list[Any] = []

    def stop(config: Any, *_: Any) -> Any:
        asked.append(config)
        raise InvalidConfig("enough", [])

    monkeypatch.setattr("service.base_folder.with_base", stop)
    for words in ((), ("--no-ui", "--allowed-host", "other")):
        CliRunner().invoke(app, ["serve", "--bases", str(path), "--home", str(tmp_path), "--port", "0", *words])
    told = [(config.worker, config.ui, config.log_bodies, config.allowed_host) for config in asked]
    assert told == [(False, True, False, ("gpu-box",)), (False, False, False, ("other",))]


def test_the_environment_names_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def stop(words: Any, options: Any, template: str) -> Any:
        asked.append(words)
        raise InvalidConfig("enough", [])

    monkeypatch.setattr("service.served_bases.bases_named", stop)
    CliRunner().invoke(app, ["serve", "--home", str(tmp_path)], env={"DABT_BASE": "near=org/a org/b"})
    assert asked == [["near=org/a", "org/b"]]
