"""Several processes that make one run: which of them this is, what the first alone does, and how all of them end.

`torchrun`, `accelerate launch` and Ray start them, and say so in the environment. All of them read the rows and train;
the first alone writes, publishes and speaks. Each takes an equal part of every batch, so a run is the same run, with
the same name, whatever their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from lifecycle.errors import DabtError, InvalidConfig, Problem, Unavailable

T = TypeVar("T")

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What every launcher sets. A number of processes alone, left over in an environment, starts nothing."""
_PATIENCE = timedelta(days=7)
"""For what the first process does alone, which may be golden prompts of a large base."""
ANOTHER_ENDED = "another process of this run ended, so all do; the same command goes on"
_RAYS_DEVICE = "ACCELERATE_TORCH_DEVICE"
"""Names a GPU where Ray has set one aside, though it is not to be used."""
_ENDING = timedelta(seconds=60)
"""A launcher ends the other processes well before."""


def count() -> int:
    """Of the processes that make this run together."""
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in _TOLD) else 1


def on_this_machine() -> int:
    """Those of them that share this machine's cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count() > 1 else 1


def is_first() -> bool:
    """Whether this one writes, publishes and speaks."""
    return count() == 1 or os.environ["RANK"] == "0"


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives in the first process, in all of them. It is called there alone."""
    if count() == 1:
        return make()
    import torch.distributed as dist

    answer = [make() if is_first() else None]
    dist.broadcast_object_list(answer, src=0, group=_talk())
    return answer[0]  # type: ignore[return-value]


def in_turn(make: Callable[[], T]) -> T:
    """What `make` gives in each: the first makes it before the others, so that they meet what it set up."""
    if is_first():
        made = make()
        wait()
        return made
    wait()
    return make()


def wait() -> None:
    """For all of them."""
    if count() > 1:
        import torch.distributed as dist

        dist.barrier(group=_talk())


def require_shares(batch_size: int) -> None:
    """Raises `InvalidConfig` where the processes cannot take equal parts of a batch."""
    if batch_size % count():
        fault = f"a batch of {batch_size} rows cannot be shared evenly by {count()} processes"
        cure = f"a multiple of {count()}, or another number of processes; batch_size counts the rows of all of them"
        raise InvalidConfig("the processes cannot share the work", [Problem("optimisation.batch_size", fault, cure)])


def missing(rows: int, batch_size: int) -> int:
    """Blank rows that fill the last batch up, so that every process has a part of it: none where there is one alone."""
    return -rows % batch_size if count() > 1 else 0


def share(rows: Sequence[T]) -> Sequence[T]:
    """Those of `rows` that this process takes: of each as many as of any other, so that some may be taken twice."""
    if count() == 1:
        return rows
    each = -(-len(rows) // count())
    return [rows[(at * count() + int(os.environ["RANK"])) % len(rows)] for at in range(each)]


def of_all(made: Sequence[T]) -> list[T]:
    """What every process made of its share, in the order of the rows; those that two took are last."""
    if count() == 1:
        return list(made)
    import torch.distributed as dist

    parts: list[Any] = [None] * count()
    dist.all_gather_object(parts, made, group=_talk())
    return [each for row in zip(*parts, strict=True) for each in row]


@contextmanager
def together() -> Iterator[None]:
    """Around all that a process of a run does: it meets the others, and of those that fail one alone says why.

    The launcher ends all of them as soon as one has failed. Raises `SystemExit` in those that are to be silent.
    """
    if os.environ.get("DABT_DEVICE") == "cpu":
        os.environ.pop(_RAYS_DEVICE, None)
    if count() == 1:
        yield
        return
    made_here = _meet()
    try:
        yield
    except BaseException as error:
        if not _speaks():
            _be_ended()
            raise SystemExit(1) from error
        if isinstance(error, RuntimeError) and not isinstance(error, DabtError) and _lost(error):
            raise Unavailable(ANOTHER_ENDED) from error
        raise
    wait()
    if made_here:
        _part()


def _meet() -> bool:
    """Whether the group was made here, and not by the launcher."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else each process warns of what is meant
    import torch.distributed as dist
    from accelerate import PartialState

    from training.device import device

    made_here = not dist.is_initialized()
    if made_here:
        PartialState(cpu=device() == "cpu", timeout=_PATIENCE)
    _talk()
    return made_here


@cache
def _talk() -> Any:
    """A group of its own for words: it needs no GPU, and waits as long as it must."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=_PATIENCE)


def _part() -> None:
    import torch.distributed as dist

    _talk.cache_clear()
    dist.destroy_process_group()


def _store() -> Any:
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def _speaks() -> bool:
    """Whether this is the first that fails."""
    try:
        return int(_store().add("dabt/failed", 1)) == 1
    except RuntimeError:  # the process that kept the store is gone
        return False


def _be_ended() -> None:
    """Leave the word to the process that has it: one that ends first would have the launcher end that too."""
    try:
        _store().wait(["dabt/never"], _ENDING)
    except RuntimeError:
        return


def _lost(error: RuntimeError) -> bool:
    """Whether it is what a collective raises when a process that takes part in it is gone."""
    said = str(error).lower()
    return "connection closed by peer" in said or "connection reset by peer" in said or "gloo" in said or "nccl" in said
