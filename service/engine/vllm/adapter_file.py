"""An adapter's file by one read, in place of one for each tensor; and of the next one trained alike, no name parsed.

vLLM 0.32 opens the file as a mapping and asks torch for a slice of it for every tensor. That was 2/5 of a load, during
which no stream gets a token: the engine loads between two steps. Most of what is left then is Python that depends on
the configuration and on the names, shapes and places of the tensors, and on no number. Adapters that were trained alike
have these in common, byte for byte: their form. The first of a form is made by vLLM, and what it made of which tensor
is remembered. The next is a read, a cast and views.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from vllm.lora.lora_model import LoRAModel
from vllm.lora.lora_weights import LoRALayerWeights, PackedLoRALayerWeights
from vllm.lora.utils import parse_fine_tuned_lora_name

from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import WEIGHTS_FILE

_FORMATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_LONGEST_HEADER = 1 << 20
"""Bytes. A longer one is read as any adapter's is, and not remembered."""


class LoRAOfOneRead(LoRAModel):  # type: ignore[misc]
    """In the place of vLLM's class, where only the reading differs."""

    @classmethod
    def from_local_checkpoint(
        cls, lora_dir: str, expected_lora_modules: set[str], peft_helper: Any, **options: Any
    ) -> LoRAModel:
        """Raises `ValueError` for a module that is not expected, as vLLM's does. What is no plain LoRA of dense layers
        in one safetensors file of one format is left to vLLM.
        """
        mapper = options.get("weights_mapper")
        data = AdapterData.of(Path(lora_dir))
        places = {} if data is None else places_in(data.header)
        special = options.get("moe_ep_spec") is not None or options.get("skip_prefixes")
        if data is None or special or not data.holds(places) or any(".experts" in name for name in places):
            return super().from_local_checkpoint(lora_dir, expected_lora_modules, peft_helper, **options)
        modules = {parse_fine_tuned_lora_name(name, mapper)[0] for name in places}
        if unexpected := sorted(name for name in modules if name.rpartition(".")[2] not in expected_lora_modules):
            raise ValueError(f"{lora_dir} adapts {', '.join(unexpected)}, which the engine does not adapt")
        options.pop("moe_ep_spec", None)
        tensors = data.tensors(places, options.get("dtype"))
        model = cls.from_lora_tensors(tensors=tensors, peft_helper=peft_helper, **options)
        names = {id(tensor): name for name, tensor in tensors.items()}
        scaled = [(names.get(id(layer.lora_b), ""), layer.scaling) for layer in model.loras.values()]
        model.read = Reading(data, places, tensors, tuple((name, by) for name, by in scaled if name and by != 1))
        return model


class Place(NamedTuple):
    """Of a tensor among the numbers of a file."""

    format: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int
    """Numbers before it."""


class AdapterData(NamedTuple):
    """An adapter's files as bytes."""

    config: bytes
    header: bytes
    file: bytearray

    @classmethod
    def of(cls, folder: Path) -> AdapterData | None:
        """None where there is no such file, or none that begins as safetensors do."""
        try:
            config = (folder / CONFIG_FILE).read_bytes()
            with (folder / WEIGHTS_FILE).open("rb") as weights:
                file = bytearray(os.fstat(weights.fileno()).st_size)
                weights.readinto(file)
        except OSError:
            return None
        length = int.from_bytes(file[:8], "little")
        return cls(config, bytes(file[8 : 8 + length]), file) if len(file) >= 8 + length else None

    def holds(self, places: dict[str, Place]) -> bool:
        """Whether these are all of its numbers."""
        numbers = sum(math.prod(place.shape) * _FORMATS[place.format].itemsize for place in places.values())
        return bool(places) and len(self.file) == 8 + len(self.header) + numbers

    def tensors(self, places: dict[str, Place], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        """Of this adapter alone: nothing else has their memory."""
        stored = _FORMATS[next(iter(places.values())).format]
        numbers = torch.frombuffer(self.file, dtype=stored, offset=8 + len(self.header)).to(dtype or stored)
        return {name: numbers.as_strided(*place[1:]) for name, place in places.items()}


def places_in(header: bytes) -> dict[str, Place]:
    """Of all tensors; empty where they have several formats, or are no numbers that are served, or leave holes.

    Preflight has looked at the file before; what is not understood here is left to vLLM.
    """
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        formats = {entry["dtype"] for entry in entries.values()}
        if len(formats) != 1 or not formats <= _FORMATS.keys():
            return {}
        (kept,) = formats
        width, found, expected = _FORMATS[kept].itemsize, {}, 0
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = entry["data_offsets"]
            shape = tuple(map(int, entry["shape"]))
            if begin != expected or end - begin != math.prod(shape) * width or begin % width:
                return {}
            found[name] = Place(kept, shape, _strides(shape), begin // width)
            expected = end
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: found[name] for name in entries}


class Reading(NamedTuple):
    """What vLLM was given of an adapter's files, and what it was going to scale."""

    data: AdapterData
    places: dict[str, Place]
    tensors: dict[str, torch.Tensor]
    scaled: tuple[tuple[str, float], ...]
    """Names of tensors that vLLM multiplies with a number, once they are in its memory."""


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    like: LoRALayerWeights
    """Without tensors."""
    packed: bool
    a: tuple[str | None, ...]
    """Names of tensors: of a packed layer one of each slice, None where the adapter leaves it out."""
    b: tuple[str | None, ...]

    def of(self, tensors: dict[str, torch.Tensor]) -> LoRALayerWeights:
        layer = copy.copy(self.like)
        a, b = ([None if name is None else tensors[name] for name in names] for names in (self.a, self.b))
        layer.lora_a, layer.lora_b = (a, b) if self.packed else (a[0], b[0])
        return layer


@dataclass(frozen=True, slots=True)
class Form:
    """What vLLM makes of adapters that have the same configuration and the same header."""

    rank: int
    dtype: torch.dtype
    places: dict[str, Place]
    scaled: tuple[tuple[str, float], ...]
    layers: tuple[_Layer, ...]

    @classmethod
    def of(cls, model: LoRAOfOneRead, read: Reading) -> Form | None:
        """Of an adapter that vLLM has taken into its memory. None where a layer is of a kind, or has numbers, of which
        nothing is known here.
        """
        names = {id(tensor): name for name, tensor in read.tensors.items()}
        layers = []
        for module, layer in model.loras.items():
            packed = type(layer) is PackedLoRALayerWeights
            sides = [side if packed else [side] for side in (layer.lora_a, layer.lora_b)]
            known = all(tensor is None or id(tensor) in names for side in sides for tensor in side)
            if not known or not (packed or type(layer) is LoRALayerWeights):
                return None
            like = copy.copy(layer)
            like.lora_a = like.lora_b = None
            layers.append(_Layer(module, like, packed, *(tuple(names.get(id(t)) for t in side) for side in sides)))
        dtype = next(iter(read.tensors.values())).dtype
        return cls(model.rank, dtype, read.places, read.scaled, tuple(layers))

    def make(self, number: int, data: AdapterData) -> LoRAModel:
        tensors = data.tensors(self.places, self.dtype)
        for name, scaling in self.scaled:
            tensors[name] *= scaling  # the operation of vLLM itself: others round 16 bits otherwise
        return LoRAModel(number, self.rank, {layer.name: layer.of(tensors) for layer in self.layers})


class Forms:
    """Those of the adapters that one worker has loaded; the least recently used are forgotten."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._known: OrderedDict[tuple[bytes, bytes], Form | None] = OrderedDict()

    def made(self, request: Any) -> LoRAModel | None:
        """The adapter, as vLLM has it once it is in memory. None where its form is not known: vLLM then loads it."""
        folder = Path(request.lora_path)
        key = None if request.is_3d_lora_weight else _key(folder)
        form = None if key is None else self._known.get(key)
        data = None if form is None else AdapterData.of(folder)
        if form is None or data is None or (data.config, data.header) != key or not data.holds(form.places):
            return None
        self._known.move_to_end(key)
        return form.make(request.lora_int_id, data)

    def learn(self, request: Any, loaded: LoRAModel) -> None:
        """`loaded` is what vLLM made, and took into memory. Its form is kept when it gives the same numbers."""
        read: Reading | None = loaded.__dict__.pop("read", None)
        if read is None or len(read.data.header) > _LONGEST_HEADER or request.is_3d_lora_weight:
            return
        key = read.data.config, read.data.header
        if key in self._known or loaded.modules_to_save:
            return
        self._known[key] = Form.of(loaded, read)
        again = self.made(request)
        if again is None or not _same(again, loaded):
            self._known[key] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def _key(folder: Path) -> tuple[bytes, bytes] | None:
    try:
        with (folder / WEIGHTS_FILE).open("rb") as weights:
            length = int.from_bytes(weights.read(8), "little")
            header = weights.read(length) if length <= _LONGEST_HEADER else b""
        return ((folder / CONFIG_FILE).read_bytes(), header) if header else None
    except OSError:
        return None


def _same(one: LoRAModel, other: LoRAModel) -> bool:
    if (one.id, one.rank, [*one.loras]) != (other.id, other.rank, [*other.loras]):
        return False
    pairs = zip(_numbers(one), _numbers(other), strict=True)
    return all(
        mine is theirs if mine is None or theirs is None else mine.dtype == theirs.dtype and torch.equal(mine, theirs)
        for mine, theirs in pairs
    )


def _numbers(model: LoRAModel) -> list[torch.Tensor | None]:
    sides = [side for layer in model.loras.values() for side in (layer.lora_a, layer.lora_b)]
    return [tensor for side in sides for tensor in (side if isinstance(side, list) else [side])]


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[at + 1 :]) for at in range(len(shape)))
