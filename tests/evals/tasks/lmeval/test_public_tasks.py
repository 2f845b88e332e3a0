"""Tasks as lm-eval's public ones are written: generation with filters, multiple choice over log-likelihoods, groups."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from lifecycle.errors import InvalidConfig, NotAllowed
from lifecycle.home import Home
from lifecycle.registry import Registry

CHOICES = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_target: "{{{{gold}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
NUMBERS = """
task: numbers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[gold]}}}}"
generation_kwargs: {{until: ["STOP"], do_sample: false, max_gen_toks: 8}}
filter_list:
  - {{name: strict, filter: [{{function: regex, regex_pattern: "^is (\\\\w+)"}}, {{function: take_first}}]}}
  - {{name: loose, filter: [{{function: regex, regex_pattern: "(red|blue)"}}, {{function: take_first}}]}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
N_ITEMS = 12


@pytest.fixture
def public(workplace: Path, trained: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., EvalConfig]:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    rows = [{"question": f"Colour {n}?", "choices": ["red", "blue"], "gold": n % 2} for n in range(N_ITEMS)]
    data = workplace / "colours.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    (workplace / "tasks" / "colours.yaml").write_text(CHOICES.format(data=data))
    (workplace / "tasks" / "numbers.yaml").write_text(NUMBERS.format(data=data))
    (workplace / "tasks" / "both.yaml").write_text("group: both\ntask: [colours, numbers]\n")

    def load(task: str, metric: str) -> EvalConfig:
        lines = (workplace / "toy.yaml").read_text().splitlines()
        kept = [line for line in lines[: lines.index("arms:")] if not line.startswith(("task:", "metric:", "safety:"))]
        arms = ["arms:", "  base: {}", "  adapter: {version: toy:newest}"]
        text = "\n".join([*kept, f"task: {task}", f"metric: {metric}", *arms])
        (workplace / "public.yaml").write_text(text)
        return EvalConfig.load(workplace / "public.yaml")

    return load


class FakeCompletions:
    """Log-probabilities by word: one token per character, so that spans can be counted by hand."""

    def __init__(self, likes: Callable[[str, str, str], float], *, echo: bool = True) -> None:
        self.likes, self.echo = likes, echo
        self.prompts: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": []})
        if request.method == "GET":  # what our service says of its deployment, and another server does not
            return httpx.Response(404)
        body = json.loads(request.content)
        if request.url.path == "/tokenize":
            return httpx.Response(200, json={"tokens": [ord(character) for character in body["prompt"]]})
        prompt = body["prompt"]
        text = prompt if isinstance(prompt, str) else "".join(map(chr, prompt))
        self.prompts.append(text)
        if not self.echo:
            return self.reply([-0.5], [{"x": -0.5}])
        context, _, answer = text.rpartition("A:")
        if not context:  # the probe for echo
            return self.reply([None, -1.0, -1.0], [None, {"x": -1.0}, {"x": -1.0}])
        each = self.likes(body["model"], context, answer) / max(len(answer), 1)
        before = len(text) - len(answer)
        numbers = [None, *[-9.0] * (before - 1), *[each] * len(answer), -100.0]
        tops = [None if number is None else {"best": max(number, -0.3)} for number in numbers]
        return self.reply(numbers, tops)

    @staticmethod
    def reply(numbers: list[float | None], tops: list[dict[str, float] | None]) -> httpx.Response:
        logprobs = {"token_logprobs": numbers, "top_logprobs": tops}
        return httpx.Response(
            200, json={"choices": [{"text": "", "logprobs": logprobs}], "usage": {"prompt_tokens": 9}}
        )


def measured(config: EvalConfig, registry: Registry, home: Home, handler) -> dict[str, float]:
    endpoint = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
    evaluation = evaluate(config, registry, home, endpoint=endpoint, transport=httpx.MockTransport(handler))
    return {arm.arm: arm.metrics[config.metric].value for arm in evaluation.report.arms}


def prefers_right_with_adapter(model: str, context: str, answer: str) -> float:
    gold = ("red", "blue")[int(context.split("Colour ")[1].split("?", maxsplit=1)[0]) % 2]
    if model == "toy:1":
        return -1.0 if answer.strip() == gold else -2.0
    return -1.0 if answer.strip() == "red" else -2.0


def test_multiple_choice_is_scored_by_the_log_likelihood_of_the_choices_alone(public, registry, home) -> None:
    fake = FakeCompletions(prefers_right_with_adapter)
    assert measured(public("colours", "acc"), registry, home, fake) == {"base": 0.5, "adapter": 1.0}
    assert "Q: Colour 3?\nA: blue" in fake.prompts


def test_an_endpoint_that_ignores_echo_is_refused_and_not_scored(public, registry, home) -> None:
    fake = FakeCompletions(prefers_right_with_adapter, echo=False)
    with pytest.raises(NotAllowed, match="ignores `echo`"):
        measured(public("colours", "acc"), registry, home, fake)


def test_a_choice_that_failed_makes_its_item_wrong_even_where_lm_eval_would_guess_right(public, registry, home) -> None:
    fake = FakeCompletions(lambda *_: -math.inf)

    def handle(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        if isinstance(body.get("prompt"), list):
            text = "".join(map(chr, body["prompt"]))
            if "Colour 0?" in text or "Colour 1?" in text:
                return httpx.Response(400, json={"error": {"message": "no"}})
        return fake(request)

    fake.likes = prefers_right_with_adapter
    found = measured(public("colours", "acc"), registry, home, handle)
    # item 0's right choice is the first, which lm-eval takes when all choices are equally impossible
    assert found == {"base": 5 / 12, "adapter": 10 / 12}


def test_a_task_with_several_filters_has_a_figure_for_each(public, registry, home) -> None:
    sent: list[dict[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": []})
        if request.method == "GET":  # what our service says of its deployment, and another server does not
            return httpx.Response(404)
        body = json.loads(request.content)
        sent.append(body)
        question = body["messages"][0]["content"]
        number = int(question.split()[1].rstrip("?")) if "Colour" in question else 0
        colour = ("red", "blue")[number % 2]
        text = f"is {colour} STOP red blue" if body["model"] == "toy:1" else f"maybe {colour}"
        return httpx.Response(200, json={"choices": [{"message": {"content": text}}], "usage": {}})

    assert measured(public("numbers", "exact_match,strict"), registry, home, handle) == {"base": 0.0, "adapter": 1.0}
    assert measured(public("numbers", "exact_match,loose"), registry, home, handle) == {"base": 1.0, "adapter": 1.0}
    asked = [body for body in sent if body["messages"][0]["content"] != "Hello"]
    assert {(tuple(body["stop"]), body["temperature"], body["max_tokens"]) for body in asked} == {(("STOP",), 0.0, 8)}


def test_a_group_is_its_tasks_together(public, registry, home) -> None:
    from evals.tasks.lmeval.task import load

    task = load(public("both", "acc"), home.cache)
    assert len(task.samples) == 2 * N_ITEMS
    asked = [task.solver.instances[sample.key] for sample in task.samples]
    assert {request.request_type for requests in asked for request in requests} == {"generate_until", "loglikelihood"}
    assert [asked[0][0].task_name, asked[N_ITEMS][0].task_name] == ["colours", "numbers"]


def test_a_plain_figure_of_a_task_with_filters_is_refused_with_the_names(public, home) -> None:
    from evals.tasks.lmeval.task import load

    with pytest.raises(InvalidConfig, match="exact_match,strict, exact_match,loose"):
        load(public("numbers", "exact_match"), home.cache)


def test_items_cannot_be_replaced_in_a_task_that_reads_no_chat_rows(public, workplace, home) -> None:
    from evals.tasks.lmeval.task import load

    config = public("colours", "acc").model_copy(update={"data": workplace / "tasks" / "test.jsonl"})
    with pytest.raises(InvalidConfig, match="does not read chat rows"):
        load(config, home.cache)
