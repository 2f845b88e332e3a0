"""`dabt train` by two workers of Ray, of which the second is killed once.

python -m tests.training.losing_workers PLAN.json WORD…   the words of the command

PLAN.json has `steps`, in each of which a worker is to be lost, and `whole`, a home. Workers that nothing befalls make
the same run in `whole` too: what two of them make that were never stopped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

_PLAN = "DABT_TEST_PLAN"
"""Told to workers, as all variables that begin so."""


def work(told: Mapping[str, Any]) -> dict[str, Any]:
    """In each worker, in the place of `by_ray._work`."""
    from training import by_ray

    file = Path(os.environ[_PLAN])
    plan = json.loads(file.read_text(encoding="utf-8"))
    at = plan["steps"].pop(0) if plan["steps"] else None
    with _killed_in(at if os.environ["RANK"] == "1" else None, partial(file.write_text, json.dumps(plan))):
        made = by_ray._work(told)
    by_ray._work({"asked": replace(told["asked"], home=Path(plan["whole"]))})
    return made


@contextmanager
def _killed_in(step: int | None, before: Callable[[], object]) -> Iterator[None]:
    """This process ends in the step, by the signal that nothing can catch."""
    from transformers import TrainerCallback

    from training import supervised

    class Killed(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                before()
                os.kill(os.getpid(), signal.SIGKILL)

    ours = supervised.callbacks
    with patch.object(supervised, "callbacks", lambda *told: [*ours(*told), Killed()]):
        yield


def main() -> None:
    import dabt
    from tests.training import losing_workers
    from training import by_ray

    os.environ[_PLAN], *sys.argv[1:] = sys.argv[1:]
    by_ray._work = losing_workers.work
    dabt.main()


if __name__ == "__main__":
    main()
