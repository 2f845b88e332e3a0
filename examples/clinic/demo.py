"""The whole loop on the embedded default: data → adapters → evaluation → gate → promotion → answers.

`clinic` reads as the story. `examples/loop.py` has the steps that
all examples share.
"""

from __future__ import annotations

from pathlib import Path

from examples.loop import ACTOR, Loop
from examples.service_process import ServiceProcess
from lifecycle.home import Home

HERE = Path(__file__).parent
TASKS = ("triage", "handbook", "digest")


def clinic(home: Home, *, base: str = "", limit: int | None = None, keep_serving: bool = False) -> int:
    """One run in one home. 0 when all of it held, 1 otherwise; what did not is printed last."""
    loop = Loop(HERE, TASKS, home, base or str(HERE / "base_model"), limit)
    with loop.chapter("1. Data: look before training"):
        loop.check_data()
    with loop.service() as service:
        with loop.chapter("2. Three adapters over one base (the service starts meanwhile)"):
            _train(loop, service)
        with loop.chapter("3. The handbook, indexed for retrieval"):
            _index(loop)
        with loop.chapter("4. The service: one base, adapters swapped per request"):
            service.wait_until_ready()
        with loop.chapter("5. Five arms of each task, on the same items, before the gate of its name"):
            loop.set_gates("the clinic's policy on its own test items")
            evaluations = loop.evaluate(service)
        with loop.chapter("6. The gate: only what passed is promoted"):
            loop.promote(evaluations)
        with loop.chapter("7. One concurrent batch through the OpenAI client"):
            loop.ask(service)
        then = "make serve · .venv/bin/dabt versions"
        return loop.close(evaluations, service if keep_serving else None, then)


def _train(loop: Loop, service: ServiceProcess) -> None:
    from examples.clinic.adapters import train_adapters

    results = train_adapters(TASKS, loop.base, loop.home, ACTOR, loop.console, core_is_free=service.start)
    loop.print_trained(results)


def _index(loop: Loop) -> None:
    from retrieval.config import IndexConfig
    from retrieval.publish import publish_index

    digest, new = publish_index(HERE / "handbook", "handbook", IndexConfig(), store=loop.store, registry=loop.registry)
    passages = loop.registry.index("handbook").facts["passages"]
    loop.console.print(f"  {passages} passages {'indexed' if new else 'reused'}: {digest[:19]}…", highlight=False)
