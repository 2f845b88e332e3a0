"""How lm-eval's tasks ask: each of an item's requests, with the task's decoding and the version's for the rest.

The choices of an item are scored together. A version without a prompt continues the task's text, as lm-eval's own
models do; one with system text, shots or knowledge is sent the turns that lm-eval sends with a chat template, and its
answer is scored. `chat` says the second of all versions. What generates is always sent turns (`requests.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from evals.asking.answers import Answer
from evals.asking.asker import Asker
from evals.asking.together import together
from evals.chat_rows import messages_before
from evals.sample import Sample, Turn
from evals.solvers.chat import text_alone
from evals.solvers.solver import Attempt, Solver
from evals.tasks.lmeval.requests import BLANK_LINE, Turns, turns_of
from lifecycle.errors import InvalidConfig, NotAllowed, Problem
from lifecycle.version import Version, digest_of


class LmEvalSolver(Solver):
    """`instances` are lm-eval's requests by the sample's key, each as often as the task repeats it."""

    type: Literal["lm-eval"] = "lm-eval"
    instances: Mapping[str, Sequence[Any]]
    chat: bool | None = None
    in_turns: Callable[[], Mapping[str, Sequence[Any]]] = dict
    """The same requests as a chat is asked them, where `instances` are texts. Made when a version first needs them."""
    delimiters: Mapping[str, str] = Field(default_factory=dict)
    """Each task's `fewshot_delimiter`, where it is no blank line."""
    begun: tuple[str, ...] = ()
    """The tasks that begin the answer: no chat over the API is scored from its middle."""

    def check(self, versions: Sequence[Version]) -> None:
        """Raises `InvalidConfig` when the versions would be asked for likelihoods in two ways that nobody chose, or
        cannot be."""
        writers = [version for version in versions if version.spec.classifier is None]
        chosen = [row for row in self.instances.values() if any(one.request_type == "loglikelihood" for one in row)]
        behind = [version.ref for version in writers if self.chat or version.spec.has_recipe]
        if not chosen or not behind:
            return
        plain = [version.ref for version in writers if version.ref not in behind]
        if plain and self.chat is None:
            others, plainly = ", ".join(behind), ", ".join(plain)
            fault = f"is not said, and {others} would be asked through the chat template, {plainly} by text alone"
            cure = "true asks all through the template, which compares them alike; false asks each in its own way"
            problem = Problem("apply_chat_template", fault, cure)
            raise InvalidConfig("the arms' likelihoods cannot be compared", [problem])
        if begun := sorted({row[0].task_name for row in chosen} & set(self.begun)):
            fault = f"{', '.join(begun)} begins the answer itself (gen_prefix), which no request for likelihoods can"
            cure = "a task without gen_prefix, or versions without a prompt and no apply_chat_template"
            raise InvalidConfig("choices cannot be scored behind a chat", [Problem("task", fault, cure)])
        if not self.chat:
            _ = self._behind  # made now: it takes seconds, and nothing is waiting yet

    @cached_property
    def _behind(self) -> Mapping[str, Sequence[Any]]:
        return self.in_turns()

    def requests(self, sample: Sample) -> int:
        return len(self.instances[sample.key])

    def greedy(self, version: Version) -> bool:
        """Likelihoods are computed and not drawn; a generating task may set the temperature."""
        own = version.spec.decoding.temperature
        asked = {
            decoding(request.args[1]).get("temperature", own) if request.request_type == "generate_until" else 0.0
            for requests in self.instances.values()
            for request in requests[:1]
        }
        return version.spec.classifier is not None or not any(asked)

    def sampled_by(self) -> str:
        writes = any(row[0].request_type == "generate_until" for row in self.instances.values())
        return "write `temperature: 0.7` under the task's `generation_kwargs`" if writes else ""

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        seen: dict[int, int] = {}
        groups: dict[Any, list[tuple[int, Any, str]]] = {}
        for at, request in enumerate(self._requests(sample, asker)):
            # lm-eval repeats the same object for tasks that sample several answers
            seen[id(request)] = seen.get(id(request), 0) + 1
            item = digest_of([request.task_name, request.doc, request.idx, seen[id(request)]])
            together_with = request.args[0] if request.request_type == "loglikelihood" else at
            groups.setdefault(together_with, []).append((at, request, item))
        given = await together([self._ask(sample, group, asker) for group in groups.values()])
        placed = {
            at: answer
            for group, answers in zip(groups.values(), given, strict=True)
            for (at, _, _), answer in zip(group, answers, strict=True)
        }
        answers = [placed[at] for at in range(len(placed))]
        return Attempt(tuple(answers), _shown(answers))

    def _requests(self, sample: Sample, asker: Asker) -> Sequence[Any]:
        """As this version is asked them."""
        requests = self.instances[sample.key]
        texts = requests[0].request_type == "loglikelihood" and not self.chat
        return self._behind[sample.key] if texts and asker.version.spec.has_recipe else requests

    async def _ask(self, sample: Sample, group: Sequence[tuple[int, Any, str]], asker: Asker) -> list[Answer]:
        """One request, or likelihoods behind one text."""
        _, request, item = group[0]
        if request.request_type == "generate_until":
            if asker.classifies:
                return [await asker.classify(item, _text_alone(sample, request))]
            return [await asker.chat(item, self._turns(request, asker), decoding=decoding(request.args[1]))]
        if request.request_type != "loglikelihood":
            raise NotAllowed("perplexity tasks give no score per item to compare arms by; choose a task that has one")
        items, context = [item for _, _, item in group], request.args[0]
        continuations = [request.args[1] for _, request, _ in group]
        # A task may ask for a text beside its chats: a choice behind nothing, to see how likely it is anyhow.
        if not isinstance(context, Turns) and not asker.version.spec.has_recipe:
            return await asker.likelihoods(items, str(context), continuations)
        return await asker.likelihoods(items, self._turns(request, asker), continuations, from_last_word=True)

    def _turns(self, request: Any, asker: Asker) -> list[Turn]:
        delimiter = self.delimiters.get(request.task_name, BLANK_LINE)
        return turns_of(request, asker.version.spec.prompt.system, delimiter)


def _text_alone(sample: Sample, request: Any) -> str:
    """A classifier was not made to read the task's shots."""
    own = [*messages_before(request.doc), {"role": "user", "content": sample.question}]
    return text_alone(replace(sample, messages=tuple(own)))


def decoding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's generation settings as OpenAI's. What the task does not set is left to the version."""
    sent: dict[str, Any] = {}
    length = settings.get("max_gen_toks", settings.get("max_tokens"))
    if length is not None:
        sent["max_tokens"] = int(length)
    if stops := stop_strings(settings):
        sent["stop"] = stops[:4]  # OpenAI takes no more; the scorer sees to the rest
    if settings.get("temperature") is not None or settings.get("do_sample") is False:
        sent["temperature"] = float(settings.get("temperature") or 0.0)
    if settings.get("top_p") is not None:
        sent["top_p"] = float(settings["top_p"])
    return sent


def stop_strings(settings: Mapping[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else [stop for stop in until if stop]


def _shown(answers: Sequence[Answer]) -> str:
    """The answer as a reader sees it; for log-likelihoods, the choices' numbers."""
    if any(answer.logprob is not None for answer in answers):
        return "  ".join("–" if answer.logprob is None else f"{answer.logprob:.2f}" for answer in answers)
    return answers[0].text
