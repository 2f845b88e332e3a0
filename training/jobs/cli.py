"""`dabt worker`: options in, a worker until it is stopped."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def worker(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    base: Annotated[
        list[str],
        typer.Option(envvar="DABT_BASE", help="A base whose jobs it takes: folder or hub id; may be repeated."),
    ],
    max_rank: Annotated[int, typer.Option(min=1, help="The largest rank that the servers take.")] = 16,
    checkpoint_days: Annotated[
        int | None, typer.Option(min=1, help="How long checkpoints of jobs are kept; for ever by default.")
    ] = None,
    evals: Annotated[
        Path | None, typer.Option(envvar="DABT_EVALS", help="Folder of evaluations that jobs may ask for.")
    ] = None,
    endpoint: Annotated[str, typer.Option(help="Where evaluations ask, with /v1.")] = "http://127.0.0.1:8000/v1",
    devices: Annotated[
        int, typer.Option(min=1, help="That train each job together, by workers of Ray Train (RAY_ADDRESS).")
    ] = 1,
    each: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='What Ray sets aside for each: {"CPU": 4, "GPU": 1}; by default a GPU where it has some, else a core.',
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when no job waits any more.")] = False,
    nice: Annotated[int, typer.Option(min=0, max=19, help="Leave the processor to others so far.")] = 0,
    log_format: Annotated[
        str, typer.Option(envvar="DABT_LOG_FORMAT", help="logfmt, or json: one object a line.")
    ] = "logfmt",
    leave_with: Annotated[int | None, typer.Option(hidden=True, help="End with the process that started it.")] = None,
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Registry, artifacts and runs.")] = None,
) -> None:
    """Train what callers ask for over the fine-tuning API; `dabt serve` starts one, and any number may run anywhere.

    A signal makes it give back its job between two steps, and end.

    Example: `dabt worker --base examples/clinic/base_model --once`
    """
    import os
    import signal
    import threading

    from lifecycle import log_lines
    from lifecycle.home import Home
    from lifecycle.models.base import named_base, resolve_base
    from lifecycle.publishing import Shelf
    from training.by_ray import Group
    from training.jobs import by_devices
    from training.jobs.evaluating import Evaluations
    from training.jobs.worker import Worker, device_of

    log_lines.configure("json" if log_format == "json" else "logfmt")
    os.nice(nice)
    place = Home.at(home)
    group = Group.told(devices, each or "{}", "--devices") if devices > 1 or each is not None else None
    if group is not None and leave_with is None:  # else Ray has started it, on a node of its own
        by_devices.require_devices(group)
    first, *others = (resolve_base(named_base(word)[1]) for word in base)
    hand = Worker(
        place,
        Shelf.at(place, actor="worker", max_rank=max_rank),
        first,
        beside=tuple(others),
        elsewhere=partial(by_devices.train, group) if group else None,
        checkpoint_days=checkpoint_days,
        evaluations=Evaluations(evals.resolve() if evals else None, endpoint),
    )
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: hand.stop.set())

    def watch_parent() -> None:
        while os.getppid() == leave_with and not hand.stop.wait(1):
            pass
        hand.stop.set()

    if leave_with is not None:
        threading.Thread(target=watch_parent, name="parent", daemon=True).start()
    with device_of(place) if group is None else nullcontext():  # Ray knows who has which device
        hand.run(once=once)
