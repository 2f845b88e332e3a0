"""What a run says where the machine has no more memory or disk: one sentence with its cure, and nothing half done."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lifecycle.errors import DabtError, InvalidConfig, NoRoom, Problem
from training import processes, room
from training.device import device
from training.optimisation import OptimisationSettings
from training.records import was_trained

_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_SAID_OF_DISK = (
    "No space left", "Disk quota exceeded", "PytorchStreamWriter failed", "Read-only file system", "unexpected pos",
    "iostream error",
)  # fmt: skip
"""What libraries say that have errors of their own for a file that cannot be written. The last two are PyTorch's."""
_FULL = 1 << 20
"""Bytes on a disk below which a run has no place there, whatever words the error has."""


@contextmanager
def told(folder: Path, how: OptimisationSettings) -> Iterator[None]:
    """Around a run in `folder`. Raises `InvalidConfig` where training has no room in memory, and `NoRoom` where
    what comes after it has none, or a file cannot be written; any other error goes through.
    """
    try:
        yield
    except DabtError:
        raise
    except Exception as error:
        if room.out_of_memory(error):
            raise _memory(folder, how) from error
        if _of_disk(error) or _is_full(folder):
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
            cure = "free or allow some, and the same command goes on from the last whole checkpoint"
            raise NoRoom(f"a file of the run in {folder} cannot be written ({said}): {cure}") from error
        raise


def require_room(base: Path, held: float, *, shared: bool = False) -> None:
    """Raises `InvalidConfig` where a processor's memory is too small for what training begins with: `held` bytes for
    each weight of the model folder `base`, in each process, or `shared` out among them.

    Linux gives memory out that it does not have, and kills the process later without a word.
    """
    free = room.free_memory(swap=True)
    if free is None or device() == "cuda":
        return
    needed = held * room.parameters_of(base) * (1 if shared else processes.on_this_machine())
    if needed > free:
        fault = f"training holds at least {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
        cure = "free some, or take a smaller base, or method lora or qlora"
        raise InvalidConfig("the base cannot be trained in this machine's memory", [Problem("base", fault, cure)])


def _memory(folder: Path, how: OptimisationSettings) -> DabtError:
    if was_trained(folder):
        saved = "what was trained is saved: free some, and the same command goes on from there"
        return NoRoom(f"memory ran out after training; {saved}")
    rows = f"{how.batch_size} rows of up to {how.max_length} tokens at once have no room here"
    cures = ["halve it and double accumulation"] if how.batch_size > 1 else ["lower max_length"]
    cures += ["write gradient_checkpointing: true"] if not how.gradient_checkpointing else []
    cures += ["take method qlora or a smaller base"]
    return InvalidConfig("memory ran out in training", [Problem("optimisation.batch_size", rows, ", or ".join(cures))])


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL
    except OSError:
        return False


def _of_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _NO_DISK:
        return True
    return any(said in str(error) for said in _SAID_OF_DISK)
