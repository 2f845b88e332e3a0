"""What a user writes to compare arms: one YAML file, read whole, with all of its faults reported together.

Paths are relative to the file. `arms.py` turns the recipes into versions; `gate.py` has the policy's keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from evals.cost.prices import load_prices
from evals.gate.policy import Policy
from evals.gate.rules import Beats
from evals.recipes import File, Recipe, RowsFile, anchored, folder_at, model_at, read_prompt
from evals.safety.table import OURS
from lifecycle.aliases import PROD
from lifecycle.answer_schema import AnswerSchema
from lifecycle.config_file import checked, load_mapping, validated
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import resolve_base
from lifecycle.models.templates import with_template
from lifecycle.plugins import SUITES, entries
from lifecycle.version import Frozen, Name

_BASE = "base"
"""The arm that is the base model as it is."""
NEWEST = "newest"
"""As an alias in a configuration: the newest version of that name that training published."""
_OF_THE_TASK = (
    "settings", "task_files", "data", "answer_schema", "structured", "task_shots", "fewshot_as_multiturn", "metric",
    "scorers", "safety", "policy", "cluster", "slices",
)  # fmt: skip
"""Keys that say something of the task; another task does not take them."""
ENDPOINT = "http://127.0.0.1:8000/v1"
_OF_OPTIONS = "no evaluation file says what decides"
_NO_POLICY = "no policy says what a version must show"


def _task(task: str, info: ValidationInfo) -> str:
    """A file beside the evaluation's, else what was written: a name."""
    local = anchored(Path(task), info)
    if Path(task).suffix in (".yaml", ".yml") and not local.is_file():
        raise ValueError(f"there is no file {local}")
    return str(local) if task and local.is_file() else task


def _decides(metric: str | None, info: ValidationInfo) -> str | None:
    task = info.data.get("task")
    brings_its_own = not task or _is_file(task) or (not info.data.get("task_files") and _is_suite(task))
    if metric is None and not brings_its_own:
        raise PydanticCustomError("missing", "is missing")
    return metric


def _is_file(task: str) -> bool:
    return Path(task).suffix in (".yaml", ".yml")


def _is_suite(task: str) -> bool:
    return task in OURS or task in entries(SUITES)


def _setting(value: Any, info: ValidationInfo) -> Any:
    """A file or folder beside the evaluation's, else what was written."""
    return model_at(value, info) if isinstance(value, str) else value


def _scorer(entry: Any, info: ValidationInfo) -> Any:
    """With the file of its schema beside the evaluation's."""
    schema = entry.get("schema") if isinstance(entry, dict) else None
    return {**entry, "schema": model_at(schema, info)} if isinstance(schema, str) else entry


def _template(template: str | None, info: ValidationInfo) -> str | None:
    return template and model_at(template, info)


def _schema(source: str, info: ValidationInfo) -> str:
    """A file beside the evaluation's, else what was written: a model."""
    local = anchored(Path(source), info)
    schema = str(local) if local.is_file() else source
    try:
        AnswerSchema.load(schema)
    except InvalidConfig as error:
        raise ValueError("; ".join(problem.fault for problem in error.problems)) from error
    return schema


class EvalConfig(Frozen):
    """One evaluation: a task, the arms, the metric that decides, and the policy that judges."""

    name: Name
    """Inline recipes become versions of this name."""
    task: Annotated[str, AfterValidator(_task)] = ""
    """The file of a short task (`tasks/task_file.py`), another package's suite by its name, or an lm-eval task: one of
    `task_files`, or any public task or group. Without it, `data` alone is the task."""
    settings: dict[str, Annotated[Any, AfterValidator(_setting)]] = Field(default_factory=dict)
    """Of the suite that `task` names, such as {manifest: secrets.json} for safety/leakage."""
    task_files: Annotated[Path, AfterValidator(folder_at)] | None = None
    """Folder of lm-eval task files. Without it, lm-eval's own tasks are searched."""
    data: RowsFile | None = None
    """Items to use in place of the task's own: rows in any form that training reads."""
    provisional: tuple[str, ...] = ()
    """Why every run is only a look, whatever it finds: a dry run, other items than the file's own."""
    answer_schema: Annotated[str, AfterValidator(_schema)] | None = None
    """What an answer must be: the file of a JSON schema, or a pydantic model as `package.module:Model`. Items get the
    figure `fits_schema`, and every target of our own rows must fit."""
    structured: bool = False
    """Ask for answers that are held to `answer_schema`, as a product does that sends `response_format`."""
    task_shots: int | None = Field(default=None, ge=0)
    """Few-shot examples that lm-eval itself puts into the question, where the task's own number (`num_fewshot`) is not
    wanted: for public tasks. Ours belong to the version."""
    apply_chat_template: bool | None = None
    """Of tasks by log-likelihood: whether versions without a prompt, shots or knowledge are asked through the chat
    template too (lm-eval's flag of this name) and not by text alone. Needed where arms with and without one meet."""
    fewshot_as_multiturn: bool = True
    """Whether the shots of lm-eval's tasks are turns of the conversation, where a version is sent one, or stand in the
    question (lm-eval's flag of this name, and its default)."""
    base: Annotated[str, AfterValidator(model_at)] | None = None
    """Base model of the inline recipes: a folder, a GGUF file, a hub id, or a version with whole weights (triage:3).
    Without it, that of the first version that an arm names."""
    template: Annotated[str | None, AfterValidator(_template)] = None
    """The base's chat template, in place of its own or of none: a file, or a name (`models/named_templates.py`). The
    service has it from `dabt serve --chat-template`."""
    metric: Annotated[str | None, AfterValidator(_decides)] = Field(default=None, validate_default=True)
    """Decides. It must give one number per item, higher is better, from 0 to 1. A task of lm-eval's needs one; others
    have one of their own."""
    scorers: tuple[Annotated[Any, AfterValidator(_scorer)], ...] = ()
    """Beside the task's own, of whatever kind it is: they say more of the same answers (`scorers/table.py`)."""
    safety: str | None = None
    """The safety figure, when the task has one; the policy's `safety` rule is held against it."""
    baseline: str = "base"
    """The arm that the others must beat."""
    arms: dict[str, Recipe] = Field(min_length=2)
    policy: File | None = None
    """Without one a run is a look: better than the baseline is what it is held to."""
    prices: File | None = None
    """What tokens, machines and training cost (`cost/prices.py`). Without it the report has tokens and seconds."""
    endpoint: str = Field(default=ENDPOINT, pattern=r"^https?://")
    concurrency: int = Field(default=8, ge=1, le=512)
    """Requests in flight. Latencies are only comparable at one concurrency, so it is part of the cache's key."""
    chunk: int = Field(default=32, ge=1)
    """Items that one arm answers before the next arm's turn; a busy moment of the machine then touches all arms."""
    limit: int | None = Field(default=None, ge=1)
    """Use a seeded sample of so many items."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """Answers to each item, sampled with seeds of their own; an arm that answers greedily is asked once."""
    noise_items: int = Field(default=50, ge=0)
    """Items that the baseline answers a second time, to see how far its answers change on their own."""
    examples: int = Field(default=8, ge=0)
    """Items shown side by side in the report."""
    language: Literal["en", "ar"] = "en"
    """Of the report's sentences (`report/words.py`)."""
    cluster: str | None = None
    """Field of an item that says which items belong together (one article, one patient): they count as one."""
    slices: tuple[str, ...] = ()
    """Fields of an item that part the items in the report, and for a policy's rules; language, length and label are
    worked out (`evals/slices.py`)."""
    seed: int = Field(default=17, ge=0, lt=2**32)

    def over_templated_base(self, bases: Path) -> EvalConfig:
        """The same over a base that has the template, made below `bases`, as `dabt serve --chat-template` makes it.

        Raises `NotFound` and `InvalidInput` for a template or a base that is none.
        """
        if not self.template or not self.base:
            return self
        return self.model_copy(update={"base": str(with_template(resolve_base(self.base), self.template, bases))})

    def of_suite(self, suite: str) -> EvalConfig:
        """The same arms over a suite that has its own items and figures: a look, by no policy."""
        fields = EvalConfig.model_fields.items()
        plain = {key: field.get_default(call_default_factory=True) for key, field in fields if key in _OF_THE_TASK}
        why = (*self.provisional, f"{suite} is asked in place of what the evaluation's file says")
        return self.model_copy(update=plain | {"task": suite, "provisional": why})

    @property
    def task_file(self) -> Path | None:
        """Of a short task."""
        return Path(self.task) if _is_file(self.task) else None

    @property
    def of_options(self) -> bool:
        """Whether there is no file: rows or suites, and arms, are all that was given (`of_rows`)."""
        return _OF_OPTIONS in self.provisional

    @property
    def title(self) -> str:
        """What people call the task."""
        file = self.task_file or (None if self.task else self.data)
        return file.name.partition(".")[0] if file else self.task

    @cached_property
    def schema_of_answers(self) -> AnswerSchema | None:
        return AnswerSchema.load(self.answer_schema) if self.answer_schema else None

    @property
    def response_format(self) -> dict[str, Any] | None:
        """What every request asks for, if anything."""
        return self.schema_of_answers.response_format if self.structured and self.schema_of_answers else None

    @model_validator(mode="before")
    @classmethod
    def _a_look_without_a_policy(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not raw.get("policy") and not raw.get("provisional"):
            return {**raw, "provisional": (_NO_POLICY,)}
        return raw

    @model_validator(mode="before")
    @classmethod
    def _prod_of_its_name(cls, raw: Any) -> Any:
        """An arm `prod: {}` is `prod` of the configuration's own name."""
        arms, name = (raw.get("arms"), raw.get("name")) if isinstance(raw, dict) else (None, None)
        if isinstance(arms, dict) and name and PROD in arms and not arms[PROD]:
            return {**raw, "arms": {**arms, PROD: {"version": f"{name}:{PROD}"}}}
        return raw

    @model_validator(mode="after")
    def _structured_by_a_schema(self) -> EvalConfig:
        if self.structured and not self.schema_of_answers:
            raise ValueError("structured needs an answer_schema to ask for")
        if self.structured and self.schema_of_answers and (wrong := self.schema_of_answers.unservable):
            raise ValueError(f"structured: no service holds answers to this schema: {'; '.join(map(str, wrong))}")
        return self

    @model_validator(mode="after")
    def _something_to_measure(self) -> EvalConfig:
        if not self.task and not self.data:
            raise ValueError("there is neither a task nor data: nothing to measure")
        if self.template and not self.base:
            raise ValueError("template is put into a base: name the base too")
        if self.settings and not _is_suite(self.task):
            raise ValueError("settings are a suite's, and the task is none: take them out")
        if not self.task or self.task_file:
            if self.task_files:
                raise ValueError("task_files holds tasks of lm-eval's, and the task is none: take it out")
            if self.apply_chat_template is not None:
                raise ValueError("apply_chat_template is for lm-eval's tasks: all others are asked through it")
            if not self.fewshot_as_multiturn:
                raise ValueError("fewshot_as_multiturn is for lm-eval's tasks: an arm's own shots are always turns")
            if self.task_shots:
                raise ValueError("task_shots is for lm-eval's tasks: an arm's prompt brings its own shots")
        return self

    @model_validator(mode="after")
    def _baseline_is_an_arm(self) -> EvalConfig:
        if self.baseline not in self.arms:
            raise ValueError(f"baseline '{self.baseline}' is none of the arms: {', '.join(self.arms)}")
        return self

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> EvalConfig:
        """Reads `path`; `overrides` (those that are not None) win over the file's keys. Other `data` makes it a look.
        `candidate`, a version, is what `NAME:newest` in an arm stands for.

        Raises `InvalidConfig` with every problem: unknown and missing keys, wrong values, files that are not there,
        bad lines of the shots (file:line), and the policy's own.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        raw = load_mapping(path)
        if (candidate := given.pop("candidate", None)) is not None:
            raw = _with_candidate(raw, candidate, path)
        if "data" in given and given["data"] != raw.get("data"):
            given["provisional"] = (*given.get("provisional", ()), f"other items ({given['data']})")
        config, wrong = checked(cls, raw | given, path.resolve().parent)
        if config is None:
            wrong = [replace(one, place=f"{path}: {one.place}" if one.place else str(path)) for one in wrong]
            for key, load in (("policy", load_policy), ("prices", load_prices)):
                named = raw.get(key)
                if isinstance(named, str) and (file := path.parent / named).is_file():
                    _collect(wrong, partial(load, file))
            raise InvalidConfig(f"{path} cannot be used", wrong)
        problems: list[Problem] = []
        for recipe in config.arms.values():
            _collect(problems, partial(read_prompt, recipe.prompt))
        _collect(problems, partial(load_policy, config.policy))
        _collect(problems, partial(load_prices, config.prices))
        if problems:
            raise InvalidConfig(f"{path} is no evaluation that can run", dict.fromkeys(problems))
        return config

    @classmethod
    def of_rows(cls, data: str | None, arms: str, **overrides: Any) -> EvalConfig:
        """Rows and arms are enough for a look: `base,triage:3`, the baseline first. `base` is the base as it is,
        anything else a version. Recipes become versions of the file's name.

        Raises `InvalidConfig` with every problem.
        """
        labels = [label.strip() for label in arms.split(",") if label.strip()]
        problems = [
            Problem(place, "is missing", cure)
            for place, given, cure in (
                ("--data", data or overrides.get("task"), "name a file of rows, or an evaluation's YAML"),
                ("--arms", labels, "such as base,triage:3"),
            )
            if not given
        ]
        problems += [Problem("--arms", f"{label} is there twice") for label in {*labels} if labels.count(label) > 1]
        if len(labels) == 1:
            cure = f"name two or more, the baseline first, such as {_BASE},triage:3"
            problems.append(Problem("--arms", f"{labels[0]} alone is compared with nothing", cure))
        names = {label.partition(":")[0] for label in labels if ":" in label}
        if PROD in labels and len(names) != 1:
            problems.append(Problem("--arms", f"{PROD} of which name?", f"write NAME:{PROD}, such as triage:prod"))
        if problems:
            raise InvalidConfig("there is no evaluation to run", problems)
        called = Path(data).name.partition(".")[0] if data else overrides["task"]
        name = re.sub(r"[^a-z0-9_-]+", "-", called.lower()).strip("-_") or "rows"
        raw: dict[str, Any] = {
            "name": name[:60],
            "data": data,
            "arms": {label: {} if label == _BASE else {"version": _named(label, names)} for label in labels},
            "baseline": labels[0],
            "provisional": (_OF_OPTIONS,),
        }
        given = {key: value for key, value in overrides.items() if value is not None}
        return validated(cls, raw | given, Path("the options"))


def load_policy(path: Path | None, baseline: str = "base") -> Policy:
    """The policy in the YAML file; without one, better than the baseline. Raises `InvalidConfig` with all problems."""
    if path is None:
        return Policy(name="better than the baseline", rules=(Beats(rule="beats", arm=baseline),))
    return validated(Policy, load_mapping(path), path)


def _with_candidate(raw: dict[str, Any], candidate: str, path: Path) -> dict[str, Any]:
    """Of arms with the newest of several names, those of the candidate's own."""
    arms = raw.get("arms")
    recipes = {label: recipe for label, recipe in (arms or {}).items() if isinstance(recipe, dict)}
    newest = {
        (label, key): str(recipe[key])
        for label, recipe in recipes.items()
        for key in ("version", "adapter")
        if str(recipe.get(key, "")).endswith(f":{NEWEST}")
    }
    own = f"{candidate.partition(':')[0]}:{NEWEST}"
    places = [place for place, ref in newest.items() if ref == own] or [*newest]
    if not places:
        fault = f"no arm is of the newest version, so none can be {candidate}"
        raise InvalidConfig(f"{path} cannot judge {candidate}", [Problem("arms", fault, f"write version: {own}")])
    changed = {
        label: {**recipes[label], **{key: candidate for at, key in places if at == label}} for label, _ in places
    }
    return {**raw, "arms": {**raw["arms"], **changed}}


def _named(label: str, names: set[str]) -> str:
    """`prod` among versions of one name is that name's."""
    return f"{min(names)}:{PROD}" if label == PROD else label


def _collect(problems: list[Problem], read: Callable[[], object]) -> None:
    try:
        read()
    except InvalidConfig as error:
        problems += error.problems
