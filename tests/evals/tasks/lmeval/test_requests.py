"""What is sent for a task is what `lm_eval --apply_chat_template` sends: its own client says what that is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.recipes import PromptFiles, Recipe
from evals.run import evaluate
from evals.tasks.lmeval.requests import Turns, turns_of
from evals.tasks.lmeval.solver import _text_alone
from evals.tasks.lmeval.task import load
from lifecycle.conversation import with_prompt
from lifecycle.errors import InvalidConfig
from lifecycle.version import Prompt

ITEMS = 6
SYSTEM = "You answer shortly. أجب باختصار."
SEED = 1234
"""lm-eval's own for the choice of shots."""
SHOTS = {"num_fewshot": 2, "fewshot_split": "train"}
SHARED = {"test_split": "test", "doc_to_text": "Q: {{question}}\nA:", "doc_to_target": "{{choices[gold]}}"}
WRITTEN = {"output_type": "generate_until", "generation_kwargs": {"until": ["\n"], "do_sample": False}}
TASKS: dict[str, dict[str, Any]] = {
    "plain": WRITTEN,
    "shots": WRITTEN | SHOTS,
    "described": WRITTEN | SHOTS | {"description": "Name the colour. سمِّ اللون.\n\n"},
    "indented": WRITTEN | {"description": "\n  Name the colour."},
    "delimited": WRITTEN | {"description": "Name the colour.", "fewshot_delimiter": "\n"},
    "unspaced": WRITTEN | {"description": "Name the colour.", "fewshot_delimiter": "###"},
    "begun": WRITTEN | SHOTS | {"gen_prefix": "The colour is"},
    "choose": {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": "{{gold}}"} | SHOTS,
}


@pytest.fixture
def tasks(workplace: Path, trained: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., EvalConfig]:
    """An evaluation of one of `TASKS`; `more` are keys of it."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    files = {}
    for split, count in (("test", ITEMS), ("train", 5)):
        rows = [{"question": f"{split} {n}? لون", "choices": ["red", "dark blue"], "gold": n % 2} for n in range(count)]
        files[split] = str(workplace / f"{split}-colours.jsonl")
        Path(files[split]).write_text("\n".join(map(json.dumps, rows)))
    for name, task in TASKS.items():
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
        whole = {"task": name, **data, **SHARED, "metric_list": [{"metric": "acc"}], **task}
        if task["output_type"] == "generate_until":
            whole["metric_list"] = [{"metric": "exact_match"}]
        (workplace / "tasks" / f"{name}.yaml").write_text(yaml.safe_dump(whole))

    def config(name: str, **more: Any) -> EvalConfig:
        whole = EvalConfig.load(workplace / "toy.yaml")
        asked = {"task": name, "metric": "acc" if name == "choose" else "exact_match", "safety": None}
        return whole.model_copy(update=asked | {"seed": SEED, "limit": None, "noise_items": 0} | more)

    return config


def theirs(config: EvalConfig, monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[Any]:
    """The messages that lm-eval's `local-chat-completions` posts."""
    from lm_eval import simple_evaluate
    from lm_eval.models.openai_completions import LocalChatCompletion
    from lm_eval.tasks import TaskManager

    sent: list[Any] = []

    class Said:
        ok = True

        def raise_for_status(self) -> None: ...

        def json(self) -> Any:
            return {"choices": [{"index": 0, "message": {"content": "red"}}]}

    def post(url: str, json: Any, **_: Any) -> Said:
        sent.append(json["messages"])
        return Said()

    monkeypatch.setattr("lm_eval.models.api_models.requests.post", post)
    simple_evaluate(
        model=LocalChatCompletion(base_url="http://models.test/v1/chat/completions", model="m"),
        tasks=[config.task],
        task_manager=TaskManager(include_path=str(config.task_files), include_defaults=False),
        bootstrap_iters=0,
        apply_chat_template=True,
        **more,
    )
    return sent


@pytest.mark.parametrize("name", ["plain", "shots", "described", "begun"])
@pytest.mark.parametrize("multiturn", [None, True, False], ids=["as it is", "turns", "one message"])
def test_the_messages_are_those_of_lm_evals_own_client(
    tasks: Any,
    registry: Any,
    home: Any,
    models: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    multiturn: bool | None,
) -> None:
    said = {} if multiturn is None else {"fewshot_as_multiturn": multiturn}
    config = tasks(name, **said)
    models.speaks = dict.fromkeys(models.speaks, lambda _: "red")
    evaluate(config, registry, home, transport=models.transport, endpoint=Endpoint(url="http://models.test/v1"))
    ours = [body["messages"] for body in models.bodies if body["model"] == models.bodies[0]["model"]]
    wanted = theirs(config, monkeypatch, **said)
    assert sorted(map(json.dumps, ours)) == sorted(map(json.dumps, wanted))
    assert len(ours) == ITEMS
    turns = [turn["role"] for turn in ours[0] if turn["role"] != "system"]
    assert len(turns) == (1 if name == "plain" or multiturn is False else 5) + (name == "begun")


@pytest.mark.parametrize("name", ["plain", "described", "indented", "delimited", "unspaced"])
def test_behind_a_system_text_the_version_reads_what_lm_evals_system_instruction_makes(
    tasks: Any, home: Any, models: Any, registry: Any, monkeypatch: pytest.MonkeyPatch, name: str, workplace: Path
) -> None:
    (workplace / "short.txt").write_text(SYSTEM)
    prompted = Recipe(prompt=PromptFiles(system=workplace / "short.txt"))
    config = tasks(name, arms={"base": prompted, "plain": Recipe()})
    models.speaks = dict.fromkeys(models.speaks, lambda _: "red")
    evaluate(config, registry, home, transport=models.transport, endpoint=Endpoint(url="http://models.test/v1"))
    prompts = [(registry.version(body["model"]).spec.prompt, body["messages"]) for body in models.bodies]
    read = [with_prompt(prompt, messages) for prompt, messages in prompts if prompt.system]
    wanted = theirs(config, monkeypatch, system_instruction=SYSTEM)
    assert sorted(map(json.dumps, read)) == sorted(map(json.dumps, wanted))
    assert {turns[0]["content"].endswith("\n\n") for turns in read} == {name == "described"}


@pytest.mark.parametrize(
    ("delimiter", "system", "read"),
    [("###", SYSTEM, f"{SYSTEM}###Name the colour."), ("###", "Answer", "Answer###Name the colour."),
     ("", SYSTEM, f"{SYSTEM}Name the colour."), ("x", "Answer", "Answer\n\nName the colour.")],
)  # fmt: skip
def test_a_delimiter_that_ends_a_word_is_kept_and_one_that_goes_on_with_it_is_a_blank_line(
    tasks: Any, home: Any, delimiter: str, system: str, read: str
) -> None:
    suite = load(tasks("unspaced"), home.cache)
    (request,) = suite.solver.instances[suite.samples[0].key]
    assert suite.solver.delimiters["unspaced"] == "###"
    sent = turns_of(request, system, delimiter)
    assert with_prompt(Prompt(system=system), sent)[0]["content"] == read


def test_choices_behind_a_template_are_asked_behind_the_same_turns(tasks: Any, home: Any) -> None:
    text, chat = load(tasks("choose"), home.cache), load(tasks("choose", apply_chat_template=True), home.cache)
    for sample in text.samples:
        plain, turned = text.solver.instances[sample.key], chat.solver.instances[sample.key]
        assert [request.args[1] for request in plain] == [" red", " dark blue"]
        assert [request.args[1] for request in turned] == ["red", "dark blue"], "an answer begins without the delimiter"
        assert not isinstance(plain[0].args[0], Turns)
        turns = turns_of(turned[0])
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
        assert plain[0].args[0] == "".join(
            turn["content"] + ("\n\n" if turn["role"] == "assistant" else " ") for turn in turns
        ).removesuffix(" "), "the shots are the same ones"


def test_both_ways_in_one_run_and_the_way_is_in_the_suites_digest(
    tasks: Any, registry: Any, home: Any, models: Any
) -> None:
    arms = {name: arm for name, arm in tasks("choose").arms.items() if name in ("base", "adapter")}
    config = tasks("choose", apply_chat_template=False, arms=arms)
    evaluate(config, registry, home, transport=models.transport, endpoint=Endpoint(url="http://models.test/v1"))
    asked = {"prompt" in body: body for body in models.bodies}
    assert len(models.bodies) == 2 * ITEMS
    assert asked[True]["continuations"] == [" red", " dark blue"]
    assert asked[False]["continuations"] == ["red", "dark blue"]
    assert [turn["role"] for turn in asked[False]["messages"]] == ["user", "assistant"] * 2 + ["user"]
    digests = [load(tasks("shots", fewshot_as_multiturn=way), home.cache).digest for way in (True, False)]
    assert digests[0] != digests[1]


def test_a_classifier_reads_the_question_alone(tasks: Any, home: Any) -> None:
    suite = load(tasks("described"), home.cache)
    sample = suite.samples[0]
    (request,) = suite.solver.instances[sample.key]
    assert _text_alone(sample, request) == sample.question == f"Q: {request.doc['question']}\nA:"


def test_turns_of_our_own_rows_stand_before_their_question_and_behind_the_shots() -> None:
    before = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    shots = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user", "assistant")]
    request = SimpleNamespace(doc={"messages_before": json.dumps(before)}, args=(Turns(json.dumps(shots)), {}))
    assert [turn["content"] for turn in turns_of(request)] == [
        *("system", "s", "user", "assistant", "u", "a", "user", "assistant")
    ]


def test_choices_of_a_task_that_begins_the_answer_are_refused_behind_a_chat(
    tasks: Any, registry: Any, home: Any, models: Any
) -> None:
    config = tasks("choose", apply_chat_template=True)
    file = config.task_files / "choose.yaml"
    file.write_text(file.read_text() + "gen_prefix: The colour is\n")
    with pytest.raises(InvalidConfig, match="gen_prefix"):
        evaluate(config, registry, home, transport=models.transport, endpoint=Endpoint(url="http://models.test/v1"))
    assert not models.bodies
