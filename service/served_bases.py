"""Which bases one service runs, and with which settings: `--base` written several times, or a file of them.

What is written once holds for all; under a base stands what its engine alone needs. The file of a cluster
(`cluster/settings.py`) names its bases in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lifecycle.config_file import faults, load_mapping, validated
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import named_base
from lifecycle.version import Frozen
from service.config import ServeConfig, config_from

OF_AN_ENGINE = frozenset(
    [
        *("max_loras", "max_cpu_loras", "max_lora_rank", "max_model_len", "kv_cache_gib", "gpu_memory", "dtype"),
        *("max_seqs", "max_queue", "turn_seconds", "tool_parser", "reasoning_parser", "compile_seconds"),
        *("tensor_parallel", "quantization", "speculative", "engine_options", "golden_tolerance"),
        *("load_wait_seconds", "engine_silent_seconds", "restart_attempts"),
    ]
)
"""Settings that may differ from base to base; all others are the service's."""


class BaseSettings(Frozen):
    """A base, and what its engine alone needs."""

    base: str
    """A folder, .gguf file, hub id, or a version with whole weights (`triage:3`)."""
    base_name: str = ""
    """What callers write to reach the base itself; its hub id or folder's name unless given."""
    chat_template: str = ""
    """A file, or `chatml`, `zephyr` or `alpaca`, in place of the base's own template; it makes another base of it."""
    serve: dict[str, Any] = Field(default_factory=dict)
    """Settings of `dabt serve` for its engine alone."""


class BasesFile(Frozen):
    bases: tuple[BaseSettings, ...] = Field(min_length=1)
    serve: dict[str, Any] = Field(default_factory=dict)
    """Settings of `dabt serve` for all of them."""


@dataclass(frozen=True, slots=True)
class AskedBase:
    """A base as it was asked for; its folder is not known yet."""

    base: str
    chat_template: str
    config: ServeConfig


def bases_named(words: Sequence[str], options: Mapping[str, Any], chat_template: str = "") -> list[AskedBase]:
    """Of `--base`, each `BASE` or `NAME=BASE`. Raises `InvalidConfig` with everything that is wrong."""
    named = [named_base(word) for word in words]
    if len(named) > 1 and options.get("base_name"):
        fault = Problem("--base-name", "is the name of one base", "name each of several by --base NAME=BASE")
        raise InvalidConfig("The service cannot run like this:", [fault])
    asked = []
    for name, base in named:
        own = {"base_name": name} if name else {}
        asked.append(AskedBase(base, chat_template, config_from({**options, **own, "base": base})))
    return asked


def bases_of_file(path: Path, options: Mapping[str, Any], switches: Mapping[str, bool]) -> list[AskedBase]:
    """Of the file at `path`. Its `serve:` wins over the command's `switches` as they are by themselves, `options` that
    were given win over that, and what stands under a base over all.

    Raises `InvalidConfig` with everything that is wrong with the file, each fault with its place.
    """
    raw = load_mapping(path)
    file = validated(BasesFile, raw, path)
    problems, asked = [*_misplaced(file)], []
    for at, each in enumerate(file.bases):
        given = {**switches, **file.serve, **options, **each.serve, "base": each.base, "base_name": each.base_name}
        try:
            config = ServeConfig.model_validate(given)
        except ValidationError as error:
            problems += _placed(faults(error, ServeConfig, given), at, each)
        except InvalidConfig as error:
            problems += _placed(error.problems, at, each)
        else:
            asked.append(AskedBase(each.base, _template(each.chat_template, path), config))
    if problems:
        told = dict.fromkeys(Problem(f"{path}: {each.place}", each.fault, each.cure) for each in problems)
        raise InvalidConfig(f"{path} cannot be used", [*told])
    return asked


def _misplaced(file: BasesFile) -> Iterator[Problem]:
    for name in sorted({"base", "base_name"} & file.serve.keys()):
        yield Problem(f"serve.{name}", "stands under a base", "write it under `bases`")
    for at, each in enumerate(file.bases):
        for name in sorted(each.serve.keys() & ServeConfig.model_fields.keys() - OF_AN_ENGINE):
            where = "beside `serve`" if name in ("base", "base_name") else "under the file's own `serve`"
            yield Problem(f"bases.{at}.serve.{name}", "is no setting of one engine", f"write it {where}")


def _placed(problems: Sequence[Problem], at: int, base: BaseSettings) -> Iterator[Problem]:
    for problem in problems:
        place = f"bases.{at}.serve" if problem.place.partition(".")[0] in base.serve else "serve"
        yield Problem(f"{place}.{problem.place}", problem.fault, problem.cure)


def _template(text: str, file: Path) -> str:
    """A template beside the file may be named by its place there."""
    beside = file.parent / text
    return str(beside) if text and beside.is_file() else text
