"""The border to an object store behind an fsspec URL: how it is opened, what is tried again, and whose an error is."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lifecycle.errors import DabtError, InvalidConfig, Unavailable

T = TypeVar("T")

FULL = (errno.ENOSPC, errno.EDQUOT)
_TRIES, _FIRST_PAUSE = 3, 0.2
"""A read is tried so often, with pauses in seconds that double."""


def open_url(url: str) -> tuple[Any, str]:
    """The fsspec filesystem, and the path in it. Raises `InvalidConfig` when there is no such kind of store."""
    import fsspec

    try:
        filesystem, prefix = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InvalidConfig(f"the artifact store {url} cannot be opened: {error}") from error
    return filesystem, str(prefix).rstrip("/")


@contextmanager
def border(url: str) -> Iterator[None]:
    """Errors of the object store's client become `Unavailable` here, and nowhere else."""
    try:
        yield
    except DabtError:
        raise
    except Exception as error:
        if disk_is_full(error):
            raise  # ours, not the store's
        if isinstance(error, PermissionError):
            raise Unavailable(
                f"the artifact store {url} refuses these credentials: {error}; they must be allowed to read, write, "
                "list and delete there",
                5,
            ) from error
        if isinstance(error, FileNotFoundError) and error.filename is None:  # of no file of this machine
            raise Unavailable(f"the artifact store {url} has no such bucket: {error}; make it first", 5) from error
        raise Unavailable(f"the artifact store {url} cannot be reached: {type(error).__name__}: {error}", 5) from error


def retrying(read: Callable[[], T]) -> T:
    """The result of `read`, tried again after errors that may pass. Raises the last one as it is."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    return Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential(multiplier=_FIRST_PAUSE),
        reraise=True,
    )(read)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | NotImplementedError) or disk_is_full(error):
        return False
    return isinstance(error, Exception)


def disk_is_full(error: BaseException) -> bool:
    """This machine's own."""
    return isinstance(error, OSError) and error.errno in FULL
