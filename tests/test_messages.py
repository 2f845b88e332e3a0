"""Trained = evaluated = served, token by token: each form of row goes through all three.

Trained: the tokens before the last answer. Evaluated: an evaluation of a file with the row, over HTTP, against the
service. Served: a caller sends the same conversation. What the service hands to its engine in the last two is rendered
by the clinic base's own chat template and tokenizer, as vLLM does it. Each must be what is written out here by hand.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from evals.config import EvalConfig
from evals.run import evaluate
from lifecycle.errors import InvalidData
from lifecycle.home import Home
from lifecycle.models.templates import with_template
from lifecycle.registry import Registry
from lifecycle.rows.forms import conversation
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Prompt
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.engine.interface import Call, EngineAnswer
from training.tokens import ChatTokenizer

pytestmark = pytest.mark.e2e  # imports transformers and torch

BASE = Path(__file__).parents[1] / "examples" / "clinic" / "base_model"
SYSTEM = "صنّف الرسالة.\n\nReply with JSON."
SHOTS = [{"user": "رأسي يؤلمني", "assistant": '{"a": "head"}'}, {"user": "my eye", "assistant": '{"a": "eye"}'}]
ANSWER = '{"a": "x"}'
RLM, LRM = "\u200f", "\u200e"

Messages = list[dict[str, Any]]


def turns(*said: str) -> Messages:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]


def system(text: Any, role: str = "system") -> dict[str, Any]:
    return {"role": role, "content": text}


def parts(*texts: str) -> Messages:
    return [{"type": "text", "text": text} for text in texts]


@dataclass(frozen=True)
class Case:
    """A row; what a caller with the same conversation sends; what must stand before the answer."""

    row: dict[str, Any] | Messages
    asked: Messages
    """By the caller, in the OpenAI API's own words."""
    turns: Messages
    """All but system texts, as they must be rendered."""
    own: tuple[str, ...] = ()
    """System texts behind the version's."""
    bare: tuple[str, ...] | None = None
    """System texts where the version has none; `own` unless given."""


def chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*messages, {"role": "assistant", "content": ANSWER}]}


def same(asked: Messages, **expected: Any) -> Case:
    """A row in the form in which the caller asks."""
    said = [turn for turn in asked if turn["role"] not in ("system", "developer")]
    return Case(chat(*asked), asked, **{"turns": said, **expected})


CASES: dict[str, Case] = {
    "a question alone": same(turns("my knee 0")),
    "a system text of the row's own": same([system("Be brief."), *turns("my knee 1")], own=("Be brief.",)),
    "one that repeats the version's": same([system(SYSTEM), *turns("my knee 2")], bare=(SYSTEM,)),
    "one that repeats it with white space": same(
        [system(f"\n{SYSTEM} "), *turns("my knee 3")], bare=(f"\n{SYSTEM} ",)
    ),
    "one that repeats it and goes on": same(
        [system(f"{SYSTEM}\n\nBe brief."), *turns("my knee 4")], own=("Be brief.",), bare=(f"{SYSTEM}\n\nBe brief.",)
    ),
    "several, one of which repeats it": same(
        [system("Be brief."), system(SYSTEM), system("بالعربية", "developer"), *turns("my knee 5")],
        own=("Be brief.", "بالعربية"),
        bare=("Be brief.", SYSTEM, "بالعربية"),
    ),
    "a developer text": same([system("Be brief.", "developer"), *turns("my knee 6")], own=("Be brief.",)),
    "lists of text parts": same(
        [system(parts("Be brief.", "بالعربية")), {"role": "user", "content": parts("my knee", "منذ يومين 7")}],
        own=("Be brief.\nبالعربية",),
        turns=turns("my knee\nمنذ يومين 7"),
    ),
    "several turns": same(
        [system("Be brief."), *turns("my knee", '{"a": "knee"}', "and now?", '{"a": "hip"}', "my toe 8")],
        own=("Be brief.",),
    ),
    "Arabic with direction marks": same(
        [system(f"{RLM}أجب بإيجاز.{RLM}"), *turns(f"{RLM}ركبتي{RLM} {LRM}(knee){LRM} ـــ ٣ أيّام 9\u00a0")],
        own=(f"{RLM}أجب بإيجاز.{RLM}",),
    ),
    "white space around the question": same(turns("  my knee 10\n")),
    "prompt and completion": Case(
        {"prompt": "my knee 11", "completion": ANSWER}, turns("my knee 11"), turns("my knee 11")
    ),
    "conversational prompt and completion": Case(
        {"prompt": [system("Be brief."), *turns("my knee 12")], "completion": [system(ANSWER, "assistant")]},
        [system("Be brief."), *turns("my knee 12")],
        turns("my knee 12"),
        own=("Be brief.",),
    ),
    "alpaca with input, system and history": Case(
        {
            "instruction": "Sort this.", "input": "ركبتي 13", "output": ANSWER,
            "system": "Be brief.", "history": [["my toe", '{"a": "toe"}']],
        },
        [system("Be brief."), *turns("my toe", '{"a": "toe"}', "Sort this.\n\nركبتي 13")],
        turns("my toe", '{"a": "toe"}', "Sort this.\n\nركبتي 13"),
        own=("Be brief.",),
    ),
    "sharegpt with its system text beside it": Case(
        {
            "system": SYSTEM,
            "conversations": [{"from": "human", "value": "my knee 14"}, {"from": "gpt", "value": ANSWER}],
        },
        [system(SYSTEM), *turns("my knee 14")],
        turns("my knee 14"),
        bare=(SYSTEM,),
    ),
    "sharegpt with its system text in it": Case(
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "my knee 15"}, {"from": "gpt", "value": ANSWER},
            ],
        },
        [system("Be brief."), *turns("my knee 15")],
        turns("my knee 15"),
        own=("Be brief.",),
    ),
    "dolly with its context": Case(
        {"instruction": "Sort this.", "context": "ركبتي 17", "response": ANSWER, "category": "sorting"},
        turns("Sort this.\n\nركبتي 17"),
        turns("Sort this.\n\nركبتي 17"),
    ),
    "patient and chatbot": Case({"patient": "my knee 18", "chatbot": ANSWER}, turns("my knee 18"), turns("my knee 18")),
    "a list of pairs": Case(
        [{"patient": "my knee", "chatbot": '{"a": "knee"}'}, {"patient": "وقدمي 19", "chatbot": ANSWER}],
        turns("my knee", '{"a": "knee"}', "وقدمي 19"),
        turns("my knee", '{"a": "knee"}', "وقدمي 19"),
    ),
    "a list of turns": Case(
        [system("Be brief."), *turns("my knee 20", ANSWER)],
        [system("Be brief."), *turns("my knee 20")],
        turns("my knee 20"),
        own=("Be brief.",),
    ),
    "sharegpt in roles and pairs": Case(
        {"conversation": [{"human": "my knee", "assistant": '{"a": "knee"}'}, *turns("my toe 21", ANSWER)]},
        turns("my knee", '{"a": "knee"}', "my toe 21"),
        turns("my knee", '{"a": "knee"}', "my toe 21"),
    ),
    "a separator of lines that ends no line": Case(
        {"prompt": "my\u2028knee\u0085 22", "completion": ANSWER},
        turns("my\u2028knee\u0085 22"),
        turns("my\u2028knee\u0085 22"),
    ),
    "question and answer": Case({"user": "my knee 16", "assistant": ANSWER}, turns("my knee 16"), turns("my knee 16")),
}  # fmt: skip

ARMS: dict[str, tuple[str, Messages]] = {
    # the recipe, the version's system text, its shots as turns
    "prompted": (SYSTEM, []),
    "bare": ("", []),
    "with shots": (SYSTEM, SHOTS),
    "shots alone": ("", SHOTS),
}
RECIPES = {
    "prompted": "{prompt: {system: system.txt}}",
    "bare": "{}",
    "with shots": "{prompt: {system: system.txt, shots: shots.jsonl}}",
    "shots alone": "{prompt: {shots: shots.jsonl}}",
}


def expected(case: Case, arm: str) -> Messages:
    """By hand: what must be rendered, without any of the code under test."""
    said, shots = ARMS[arm]
    if said:
        first = [system("\n\n".join([said, *case.own]))]
    else:
        first = [system(text) for text in (case.own if case.bare is None else case.bare)]
    worked = [turn for shot in shots for turn in turns(shot["user"], shot["assistant"])]
    return [*first, *worked, *case.turns]


class Listening(FakeEngine):
    """Keeps the messages that it is asked to answer, by version and last question."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[tuple[str, str], list[Messages]] = {}
        self.switches: dict[tuple[str, str], list[dict[str, Any]]] = {}

    async def generate(self, call: Call) -> EngineAnswer:
        messages = call.body["messages"]
        asked = call.model, messages[-1]["content"]
        self.heard.setdefault(asked, []).append(messages)
        self.switches.setdefault(asked, []).append(call.body.get("chat_template_kwargs", {}))
        return await super().generate(call)


@dataclass(frozen=True)
class Run:
    """One evaluation of all rows by all arms, and then one call of a caller for each."""

    heard: dict[tuple[str, str], list[Messages]]
    refs: dict[str, str]
    """Arm → version."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("messages")
    config = write_evaluation(folder)
    home = Home(
        root=folder / "home", registry_url=f"sqlite:///{folder / 'r.db'}", artifacts_url=str(folder / "artifacts")
    )
    engine = Listening()
    with Registry.open(home.registry_url) as registry:
        app = create_app(ServeConfig(base=BASE), engine, registry, ArtifactStore(home.artifacts_url, home.cache))
        with serving(app) as url:
            arms = evaluate(EvalConfig.load(config, endpoint=f"{url}/v1"), registry, home).report.arms
            refs = {arm.arm: arm.ref for arm in arms}
            assert {len(heard) for heard in engine.heard.values() if heard[0][-1]["content"] != "Hello"} == {1}
            for ref in refs.values():
                for case in CASES.values():
                    ask(url, ref, case.asked)
    return Run(engine.heard, refs)


def write_evaluation(
    folder: Path,
    recipes: dict[str, str] = RECIPES,
    rows: Sequence[Any] = tuple(case.row for case in CASES.values()),
    base: Path = BASE,
) -> Path:
    (folder / "tasks").mkdir()
    (folder / "tasks" / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "tasks" / "t.yaml").write_text(
        "task: t\ncustom_dataset: !function evals.chat_rows.dataset\ndataset_kwargs: {data: test.json}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: question\ndoc_to_target: target\n"
        "generation_kwargs: {until: [], max_gen_toks: 8}\nmetric_list: [{metric: valid_json, required: [a]}]\n"
    )
    (folder / "policy.yaml").write_text("name: p\nrules: [{rule: beats, arm: bare}]\n")
    (folder / "system.txt").write_text(f"{SYSTEM}\n", encoding="utf-8")
    (folder / "shots.jsonl").write_text("\n".join(json.dumps(shot) for shot in SHOTS))
    arms = "\n".join(f"  {label}: {recipe}" for label, recipe in recipes.items())
    path = folder / "e.yaml"
    path.write_text(
        f"name: t\ntask: t\ntask_files: tasks\nbase: {base}\nmetric: valid_json\nbaseline: bare\npolicy: policy.yaml\n"
        f"noise_items: 0\nconcurrency: 4\narms:\n{arms}\n"
    )
    return path


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The service's own app on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    while httpx.get(f"{url}/ready", timeout=60).status_code != 200:  # the backlog holds it until it accepts
        assert thread.is_alive()
    yield url
    server.should_exit = True
    thread.join()


def ask(url: str, ref: str, messages: Messages, code: int = 200, **more: Any) -> None:
    """As a caller; the header only lets a draft answer."""
    body = {"model": ref, "messages": messages, "max_tokens": 8, **more}
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"x-dabt-purpose": "evaluation"}, timeout=60)
    assert reply.status_code == code, reply.text


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer.load(BASE)


def rendered(tokenizer: ChatTokenizer, messages: Messages, **switches: Any) -> list[int]:
    encoded = tokenizer.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, **switches
    )
    return list(encoded["input_ids"])


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_evaluated_is_what_is_served_token_by_token(
    run: Run, tokenizer: ChatTokenizer, name: str, arm: str
) -> None:
    case = CASES[name]
    evaluated, served = run.heard[run.refs[arm], case.turns[-1]["content"]]
    by_hand = rendered(tokenizer, expected(case, arm))
    assert rendered(tokenizer, evaluated) == by_hand
    assert rendered(tokenizer, served) == by_hand


@pytest.mark.parametrize("arm", ["prompted", "bare"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_trained_is_what_is_served_token_by_token(tokenizer: ChatTokenizer, name: str, arm: str) -> None:
    """With the test above, all three are the same."""
    case = CASES[name]
    (example,) = tokenizer.examples([conversation(case.row, "row:1")], ARMS[arm][0], 4096)
    assert example.input_ids[: example.answer_start] == rendered(tokenizer, expected(case, arm))
    answer = [
        example.input_ids[at] for at, label in enumerate(example.labels) if label >= 0 and at >= example.answer_start
    ]
    assert tokenizer.tokenizer.decode(answer) == f"{ANSWER}<|im_end|>"


# -- switches of the chat template, and reasoning ----------------------------------------------------------------------

THINKING = (
    "{%- for m in messages -%}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last and (m.reasoning_content or not enable_thinking|default(true)) -%}"
    "<think>{{ m.reasoning_content or '' }}</think>{%- endif -%}{{ m.content }}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n"
    "{% if not enable_thinking|default(true) -%}<think></think>{%- endif -%}{%- endif -%}"
)
"""As Qwen 3's: without thinking, an empty thought stands before the answer, in a prompt and in what is learnt."""

SWITCHES: dict[str, dict[str, Any]] = {"as it is": {}, "without": {"enable_thinking": False}}
ASKED: dict[str, dict[str, Any]] = {"nothing": {}, "on": {"enable_thinking": True}, "off": {"enable_thinking": False}}


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thinking")
    (folder / "thinking.jinja").write_text(THINKING, encoding="utf-8")
    return with_template(BASE, folder / "thinking.jinja", folder)


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory, thinking: Path) -> tuple[Listening, dict[str, str]]:
    """The engine, and the version of each arm, after an evaluation and calls that ask for the switch or do not."""
    folder = tmp_path_factory.mktemp("switches")
    recipes = {
        "bare": "{}",
        **{arm: f"{{prompt: {{system: system.txt, chat_template_kwargs: {json.dumps(said)}}}}}"
           for arm, said in SWITCHES.items()},
    }  # fmt: skip
    config = write_evaluation(folder, recipes, [chat(*turns("my knee"))], thinking)
    home = Home(
        root=folder / "home", registry_url=f"sqlite:///{folder / 'r.db'}", artifacts_url=str(folder / "artifacts")
    )
    engine = Listening()
    with Registry.open(home.registry_url) as registry:
        app = create_app(ServeConfig(base=thinking), engine, registry, ArtifactStore(home.artifacts_url, home.cache))
        with serving(app) as url:
            arms = evaluate(EvalConfig.load(config, endpoint=f"{url}/v1"), registry, home).report.arms
            refs = {arm.arm: arm.ref for arm in arms}
            for arm in SWITCHES:
                for asked in ASKED.values():
                    ask(url, refs[arm], turns("my knee"), **({"chat_template_kwargs": asked} if asked else {}))
                ask(url, refs[arm], turns("my knee"), 400, chat_template_kwargs={"documents": [], "tools": []})
                ask(url, refs[arm], turns("my knee"), 400, chat_template_kwargs={"messages": turns("ignore it")})
    return engine, refs


@pytest.mark.parametrize("arm", SWITCHES)
def test_a_versions_switches_are_trained_evaluated_and_served_alike_and_a_request_may_turn_one(
    thinking: Path, switched: tuple[Listening, dict[str, str]], arm: str
) -> None:
    engine, refs = switched
    tokenizer = ChatTokenizer.load(thinking, prompt=Prompt(chat_template_kwargs=SWITCHES[arm]))
    (example,) = tokenizer.examples([conversation(chat(*turns("my knee")), "row:1")], SYSTEM, 4096)
    asked = [system(SYSTEM), *turns("my knee")]
    key = refs[arm], "my knee"
    heard = [
        rendered(tokenizer, messages, **switches)
        for messages, switches in zip(engine.heard[key], engine.switches[key], strict=True)
    ]
    end = {True: "assistant\n", False: "<think></think>"}
    by_hand = {on: rendered(tokenizer, asked, enable_thinking=on) for on in end}
    assert all(tokenizer.tokenizer.decode(ids).endswith(end[on]) for on, ids in by_hand.items())  # so that it can fail
    own = by_hand[not SWITCHES[arm]]
    assert example.input_ids[: example.answer_start] == own
    # an evaluation, a caller that asks for nothing, and two that turn the switch
    assert heard == [own, own, by_hand[True], by_hand[False]]


def test_reasoning_is_learnt_where_the_template_renders_it_and_refused_where_it_does_not(
    thinking: Path, tokenizer: ChatTokenizer
) -> None:
    row = chat(*turns("my knee"))
    row["messages"][-1]["reasoning_content"] = "a joint"
    said = [conversation(row, "row:1")]
    reading = ChatTokenizer.load(thinking)
    (example,) = reading.examples(said, SYSTEM, 4096)
    learnt = [token for token, label in zip(example.input_ids, example.labels, strict=True) if label >= 0]
    assert reading.tokenizer.decode(learnt) == f"<think>a joint</think>{ANSWER}<|im_end|>"
    assert example.input_ids[: example.answer_start] == rendered(reading, [system(SYSTEM), *turns("my knee")])
    with pytest.raises(InvalidData, match="the chat template leaves out the reasoning"):
        tokenizer.examples(said, SYSTEM, 4096)
    quiet = ChatTokenizer.load(thinking, prompt=Prompt(chat_template_kwargs={"enable_thinking": False}))
    with pytest.raises(InvalidData, match="this answer is trained after"):
        quiet.examples(said, SYSTEM, 4096)
