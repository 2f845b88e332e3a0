"""The whole loop on real small models and real sentences: fetch → train → evaluate → gate → promote → ask.

`reviews` reads as the story. `examples/loop.py` has the steps that all examples share, `data.py` the sentences and
`base.py` the models: one that writes, and an encoder that labels.
"""

from __future__ import annotations

from pathlib import Path

from examples.loop import ACTOR, Loop
from examples.reviews import base as bases
from examples.reviews import data
from lifecycle.home import Home
from lifecycle.version import Ref

HERE = Path(__file__).parent
TASKS = (data.TASK,)
CLASSIFIERS = ("sentiment-classifier", "sentiment-classifier-lora")
"""Their names in the registry, and their files in training/."""
ANSWER = 8
"""Tokens, at most: an answer is one word."""


def reviews(home: Home, *, base: str = "", limit: int | None = None, keep_serving: bool = False) -> int:
    """One run in one home. 0 when all of it held, 1 otherwise; what did not is printed last."""
    loop = Loop(HERE, TASKS, home, base, limit)
    with loop.chapter("1. The sentences and the models, fetched once; the data, looked at"):
        loop.console.print(f"  {data.prepare().summary}", highlight=False)
        loop.base = str(bases.prepare(base))
        loop.console.print(f"  base: {loop.base}", highlight=False, soft_wrap=True)
        encoder = str(bases.encoder())
        loop.console.print(f"  encoder: {encoder}", highlight=False, soft_wrap=True)
        loop.check_data()
    with loop.chapter("2. An adapter over the base, and two classifiers: all weights, and LoRA"):
        _train(loop, {data.TASK: loop.base, **dict.fromkeys(CLASSIFIERS, encoder)})
    with loop.service() as service:
        with loop.chapter("3. The service"):
            service.start()
            service.wait_until_ready()
        with loop.chapter("4. Base, few-shot, adapter and classifiers on the same sentences, before the gate"):
            loop.set_gates("the example's policy on its own test sentences")
            evaluations = loop.evaluate(service)
        with loop.chapter("5. The gate: only what passed is promoted"):
            loop.promote(evaluations)
        with loop.chapter("6. One concurrent batch through the OpenAI client"):
            passed = {verdict.ref for one in evaluations.values() for verdict in one.verdicts if verdict.passed}
            classifiers = [ref for ref in passed if Ref.parse(ref).name in CLASSIFIERS]
            loop.ask(service, max_tokens=ANSWER, also=dict.fromkeys(sorted(classifiers), data.TASK))
        then = f".venv/bin/dabt serve --base {loop.base} · .venv/bin/dabt versions"
        return loop.close(evaluations, service if keep_serving else None, then)


def _train(loop: Loop, configurations: dict[str, str]) -> None:
    """Each file of training/, over its base."""
    from lifecycle.publishing import Shelf
    from training.config import TrainJob
    from training.progress import watcher

    results = []
    for name, base in configurations.items():
        job = TrainJob.load(HERE / "training" / f"{name}.yaml", base=base)
        with watcher(name, loop.console) as watch:
            from training.run import train  # this takes a moment

            results.append(train(job, loop.home, Shelf.at(loop.home, actor=ACTOR), watch=watch))
    loop.print_trained(results)
