"""The whole loop on a real small model and real sentences: fetch → train → evaluate → gate → promote → ask.

`reviews` reads as the story. `examples/loop.py` has the steps that all examples share, `data.py` the sentences and
`base.py` the model.
"""

from __future__ import annotations

from pathlib import Path

from examples.loop import ACTOR, Loop
from examples.reviews import base as bases
from examples.reviews import data
from lifecycle.home import Home

HERE = Path(__file__).parent
TASKS = (data.TASK,)
ANSWER = 8
"""Tokens, at most: an answer is one word."""


def reviews(home: Home, *, base: str = "", limit: int | None = None, keep_serving: bool = False) -> int:
    """One run in one home. 0 when all of it held, 1 otherwise; what did not is printed last."""
    loop = Loop(HERE, TASKS, home, base, limit)
    with loop.chapter("1. The sentences and the base, fetched once; the data, looked at"):
        loop.console.print(f"  {data.prepare().summary}", highlight=False)
        loop.base = str(bases.prepare(base))
        loop.console.print(f"  base: {loop.base}", highlight=False, soft_wrap=True)
        loop.check_data()
    with loop.chapter("2. An adapter over the base"):
        _train(loop)
    with loop.service() as service:
        with loop.chapter("3. The service"):
            service.start()
            service.wait_until_ready()
        with loop.chapter("4. Base, few-shot and adapter on the same sentences, before the gate of the name"):
            loop.set_gates("the example's policy on its own test sentences")
            evaluations = loop.evaluate(service)
        with loop.chapter("5. The gate: only what passed is promoted"):
            loop.promote(evaluations)
        with loop.chapter("6. One concurrent batch through the OpenAI client"):
            loop.ask(service, max_tokens=ANSWER)
        then = f".venv/bin/dabt serve --base {loop.base} · .venv/bin/dabt versions"
        return loop.close(evaluations, service if keep_serving else None, then)


def _train(loop: Loop) -> None:
    from lifecycle.publishing import Shelf
    from training.config import TrainJob
    from training.progress import watcher

    results = []
    for task in loop.tasks:
        job = TrainJob.load(HERE / "training" / f"{task}.yaml", base=loop.base)
        with watcher(task, loop.console) as watch:
            from training.run import train  # this takes a moment

            results.append(train(job, loop.home, Shelf.at(loop.home, actor=ACTOR), watch=watch))
    loop.print_trained(results)
