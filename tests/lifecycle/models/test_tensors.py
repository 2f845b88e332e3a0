"""A safetensors file at the bounds of its format: sizes of every element type, holes, cuts, and values as float32."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy
import pytest

from lifecycle.errors import Corrupt
from lifecycle.models.tensors import DTYPE_BYTES, READABLE, TensorInfo, read, read_header

SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


def write(path: Path, header: Any, body: bytes = b"") -> Path:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", SIZES)
def test_every_element_type_has_its_size(file, dtype):
    size = 3 * SIZES[dtype]
    (info,) = read_header(write(file, {"w": entry(dtype, [3], 0, size)}, bytes(size))).values()
    assert info.end - info.start == size
    for wrong in (size - 1, size + 1):
        with pytest.raises(Corrupt, match="does not fill bytes"):
            read_header(write(file, {"w": entry(dtype, [3], 0, wrong)}, bytes(wrong)))
    assert DTYPE_BYTES.keys() == SIZES.keys()


def test_an_element_type_of_a_later_format_is_not_measured(file):
    (info,) = read_header(write(file, {"w": entry("F4", [3], 0, 2)}, bytes(2))).values()
    assert (info.dtype, info.parameters) == ("F4", 3)


def test_places_count_from_the_beginning_of_the_file_and_metadata_is_no_tensor(file):
    header = {
        "__metadata__": {"a": "b"},
        "a": entry("U8", [2], 3, 5),
        "b": entry("U8", [], 0, 1),
        "c": entry("U8", [2], 1, 3),
    }
    tensors = read_header(write(file, header, bytes(5)))
    start = file.stat().st_size - 5
    assert list(tensors) == ["a", "b", "c"]
    assert tensors["a"] == TensorInfo(name="a", dtype="U8", shape=(2,), start=start + 3, end=start + 5)
    assert tensors["b"].parameters == 1  # a scalar
    assert tensors["b"].start == start


def test_a_tensor_of_no_elements_stands_between_others(file):
    header = {"a": entry("U8", [2], 0, 2), "b": entry("U8", [0, 7], 2, 2), "c": entry("U8", [1], 2, 3)}
    assert read_header(write(file, header, bytes(3)))["b"].parameters == 0


def test_a_file_of_no_tensors_is_one(file):
    assert read_header(write(file, {})) == {}
    assert file.stat().st_size == 10


@pytest.mark.parametrize(
    ("header", "body", "says"),
    [
        ({"a": entry("U8", [2], 1, 3)}, 3, "does not begin where the one before it ends"),  # a hole
        ({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, 3, "does not begin"),  # an overlap
        ({"a": entry("U8", [2], 0, 2), "b": entry("U8", [1], 3, 4)}, 4, "b does not begin"),
        ({"a": entry("U8", [2], 0, 2)}, 3, "bytes where its header says"),  # more than it says
        ({"a": entry("U8", [2], 0, 2)}, 1, "cut short"),
        ({"a": entry("U8", [-1], 0, 0)}, 0, "does not fill"),
        ({"a": entry("U8", [-1, -2], 0, 2)}, 2, "does not fill"),
        ({"a": entry("F4", [-1], 0, 0)}, 0, "does not fill"),
        ({"a": entry("U8", [2], -2, 0)}, 0, "does not fill"),
        ({"a": entry("F4", [2], -1, 0)}, 0, "does not fill"),
        ({"a": {"dtype": "U8", "shape": [1]}}, 1, "broken safetensors header"),
        ({"a": {"dtype": "U8", "shape": 1, "data_offsets": [0, 1]}}, 1, "broken safetensors header"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}}, 1, "broken safetensors header"),
        ({"a": []}, 0, "broken safetensors header"),
        ([], 0, "broken safetensors header"),
        (b"{]", 0, "broken safetensors header"),
        (b"\xff\xff", 0, "broken safetensors header"),
        (b"{", 0, "no safetensors file"),  # two bytes are the least
    ],
)
def test_a_file_that_is_not_whole_is_refused(file, header, body, says):
    write(file, header, bytes(body))
    with pytest.raises(Corrupt, match=says):
        read_header(file)


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0", struct.pack("<Q", 3) + b"{}"])
def test_a_header_that_reaches_beyond_the_file_is_refused(file, content):
    file.write_bytes(content)
    with pytest.raises(Corrupt, match=rf"no safetensors file, or is cut short \({len(content)} bytes\)"):
        read_header(file)


@pytest.mark.parametrize(("length", "says"), [(100_000_001, "no safetensors file"), (100_000_000, "broken")])
def test_a_header_is_at_most_as_long_as_the_formats_own_reader_takes(file, length, says):
    with file.open("wb") as out:
        out.write(struct.pack("<Q", length))
        out.truncate(8 + length)  # sparse
    with pytest.raises(Corrupt, match=says):
        read_header(file)


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(Corrupt, match="cannot be read: No such file"):
        read_header(tmp_path / "none.safetensors")


VALUES = [1.5, -2.0, 0.0, 65504.0]


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_values_are_read_as_float32_in_their_shape_and_place(file, dtype):
    wide = numpy.array(VALUES, "<f4")
    raw = {
        "F16": wide.astype("<f2").tobytes(),
        "BF16": (wide.view("<u4") >> 16).astype("<u2").tobytes(),
        "F32": wide.tobytes(),
        "F64": wide.astype("<f8").tobytes(),
    }[dtype]
    ahead = bytes(range(1, 9))
    header = {
        "a": entry("U8", [8], 0, 8),
        "w": entry(dtype, [2, 2], 8, 8 + len(raw)),
        "z": entry("U8", [8], 8 + len(raw), 16 + len(raw)),
    }
    info = read_header(write(file, header, ahead + raw + ahead))["w"]
    values = read(file, info)
    assert values.dtype == numpy.float32
    expected = numpy.array(VALUES).reshape(2, 2)
    if dtype == "BF16":
        expected[1, 1] = 65280.0  # truncated, as it is stored
    assert values.tolist() == expected.tolist()
    assert frozenset(READABLE) == {"F16", "BF16", "F32", "F64"}


def test_a_tensor_of_no_elements_stands_where_the_next_begins_in_whatever_order_they_are_named(file):
    header = {"c": entry("U8", [1], 2, 3), "b": entry("U8", [0, 7], 2, 2), "a": entry("U8", [2], 0, 2)}
    assert list(read_header(write(file, header, bytes(3)))) == ["c", "b", "a"]
