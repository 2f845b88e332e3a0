"""How lm-eval's tasks ask: each of an item's requests, with the task's decoding and the version's for the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from evals.asking.answers import Answer
from evals.asking.asker import Asker
from evals.asking.together import together
from evals.chat_rows import messages_before
from evals.sample import Sample
from evals.solvers.chat import text_alone
from evals.solvers.solver import Attempt, Solver
from lifecycle.errors import NotAllowed
from lifecycle.version import Version, digest_of


class LmEvalSolver(Solver):
    """`instances` are lm-eval's requests by the sample's key, each as often as the task repeats it."""

    type: Literal["lm-eval"] = "lm-eval"
    instances: Mapping[str, Sequence[Any]]

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

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        seen: Counter[int] = Counter()
        work = []
        for request in self.instances[sample.key]:
            seen[id(request)] += 1  # lm-eval repeats the same object for tasks that sample several answers
            item = digest_of([request.task_name, request.doc, request.idx, seen[id(request)]])
            work.append(_ask(sample, request, item, asker))
        answers = await together(work)
        return Attempt(tuple(answers), _shown(answers))


async def _ask(sample: Sample, request: Any, item: str, asker: Asker) -> Answer:
    if request.request_type == "generate_until":
        if asker.classifies:
            return await asker.classify(item, text_alone(sample))
        question, settings = request.args
        messages = [*messages_before(request.doc), {"role": "user", "content": question}]
        return await asker.chat(item, messages, decoding=decoding(settings))
    if request.request_type == "loglikelihood":
        return await asker.likelihood(item, *request.args)
    raise NotAllowed("perplexity tasks give no score per item to compare arms by; choose a task that has one")


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
