"""A safetensors file read without torch: its header, and one tensor at a time as float32.

The format is https://huggingface.co/docs/safetensors: eight bytes of header length, a JSON header, the raw tensors.
numpy has no bfloat16, so the safetensors package cannot give it without torch; widening the 16 bits is all it takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lifecycle.errors import Corrupt

if TYPE_CHECKING:
    import numpy

DTYPE_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1},
    **{"U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8},
}
READABLE = frozenset({"F16", "BF16", "F32", "F64"})
"""The element types that `read` can widen to float32."""
_MAX_HEADER = 100_000_000
"""Bytes; the limit that the format's own reader sets."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies. `start` and `end` count from the beginning of the file, in bytes.

    No pydantic model: a server makes one for every tensor of every adapter that it loads, of numbers checked here.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Every tensor of the file by name. Raises `Corrupt` when the file is cut short or is no safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, _MAX_HEADER):
                raise Corrupt(f"{path} is no safetensors file, or is cut short ({size} bytes); copy it again")
            header: Any = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = {name: _info(name, entry, 8 + length) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{path} has a broken safetensors header ({error}); copy or save it again") from error
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error.strerror or error}") from error
    # The format allows no holes and no overlap; checking it here means that no later read can go out of bounds.
    expected = 8 + length
    for info in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if info.start != expected:
            raise Corrupt(f"{path}: tensor {info.name} does not begin where the one before it ends; save it again")
        expected = info.end
    if expected != size:
        raise Corrupt(f"{path} has {size} bytes where its header says {expected}; it is cut short, copy it again")
    return tensors


def read(path: Path, info: TensorInfo) -> numpy.ndarray[Any, Any]:
    """One tensor as float32, in the shape of `info`. The element type must be one of `READABLE`."""
    with path.open("rb") as file:
        return _values(file, info)


def read_each(path: Path, infos: Iterable[TensorInfo]) -> Iterator[numpy.ndarray[Any, Any]]:
    """`read` of each, one at a time, from a file that is opened once."""
    with path.open("rb") as file:
        for info in infos:
            yield _values(file, info)


def _values(file: BinaryIO, info: TensorInfo) -> numpy.ndarray[Any, Any]:
    import numpy

    stored = numpy.dtype({"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}[info.dtype])
    file.seek(info.start)
    flat = numpy.frombuffer(bytearray(file.read(info.parameters * stored.itemsize)), stored)
    if info.dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        flat = (flat.astype(numpy.uint32) << 16).view(numpy.float32)
    return flat.astype(numpy.float32, copy=False).reshape(info.shape)


def _info(name: str, entry: dict[str, Any], data_start: int) -> TensorInfo:
    shape = tuple(int(size) for size in entry["shape"])
    start, end = (int(offset) for offset in entry["data_offsets"])
    info = TensorInfo(name=name, dtype=entry["dtype"], shape=shape, start=data_start + start, end=data_start + end)
    wanted = info.parameters * DTYPE_BYTES.get(info.dtype, 0)
    if min(shape, default=0) < 0 or start < 0 or (info.dtype in DTYPE_BYTES and end - start != wanted):
        raise ValueError(f"{name}: {info.dtype}{list(shape)} does not fill bytes {start} to {end}")
    return info
