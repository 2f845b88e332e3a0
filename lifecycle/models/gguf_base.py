"""A GGUF file becomes a base: an ordinary folder of safetensors, made once and kept by the file's digest.

GGUF packs weights into blocks with a scale each; here every weight is unpacked to bfloat16, so that adapters can be
trained on it. It computes what the packed file does: what packing lost stays lost. `base.resolve_base` asks for it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lifecycle.commands.lines import working
from lifecycle.errors import Corrupt, InvalidInput, NotFound, Problem, Unavailable
from lifecycle.models.bars import no_bars

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_BYTES = 2
"""Of a weight in bfloat16."""
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_CARD = """\
---
license: {licence}
---
# {name}

Unpacked from a GGUF file; the weights are bfloat16.

- file: {file}
- SHA-256: {sha256}
"""


def gguf_file(place: Path) -> Path | None:
    """The GGUF file that `place` is written as, or the one that this folder holds; None for any other place.

    Raises `NotFound` for a file that is not there, and `InvalidInput` for a folder with several.
    """
    if place.is_dir():
        files = sorted(place.glob(f"*{SUFFIX}"))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise InvalidInput(f"{place} holds {len(files)} {SUFFIX} files ({names}); give the one that is meant")
        return files[0] if files else None
    if place.suffix.lower() == SUFFIX:
        if not place.is_file():
            raise NotFound(f"there is no file {place}")
        return place
    return None


def unpacked(file: Path, sha256: str, cache: Path) -> Path:
    """The model folder of `file`, whose digest is `sha256`, under `cache`: made now, or by an earlier or another run.

    Raises what `unpack` raises.
    """
    folder = cache / sha256[:16] / file.stem
    if folder.is_dir():
        return folder
    return unpack(file, sha256, folder)


def unpack(file: Path, sha256: str, folder: Path, licence: str = "") -> Path:
    """Write `file` as the model folder `folder`, whole or not at all. One process does it, and others wait for it.

    The card in the folder names the licence: `licence`, or the file's own word. Raises `Corrupt` for a file that is
    none, `InvalidInput` for one that is cut short or whose architecture or packing transformers cannot unpack, and
    `Unavailable` where there is no room.
    """
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise Corrupt(f"{file} is no GGUF file: it does not begin with {_MAGIC.decode()}")
    if _PART.search(file.stem):
        cure = "join the parts by llama.cpp's llama-gguf-split --merge"
        raise InvalidInput(f"{file} cannot be unpacked", [Problem(str(file), "is one part of several", cure)])
    with _place(folder.parent), (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        part = folder.parent / f".{folder.name}.part"
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        try:
            said, weights = _head(file)
            _require_room(part.parent, weights * _BYTES)
            with working(f"unpacking {file.name}, once"):
                _convert(file, part)
            licence = licence or said or "not stated"
            card = _CARD.format(licence=licence, name=folder.name, file=file.name, sha256=sha256)
            (part / "README.md").write_text(card, encoding="utf-8")
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


@contextmanager
def _place(folder: Path) -> Iterator[None]:
    """The folder, made. A full disk or a place that cannot be written is `Unavailable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error


def _unwritable(folder: Path, why: str) -> Unavailable:
    return Unavailable(f"the unpacked base cannot be written to {folder}: {why}")


def _head(file: Path) -> tuple[str, int]:
    """The licence that the file names, and how many weights it says that it has."""
    try:
        import gguf
    except ImportError as error:
        cure = "`make setup`, or pip install gguf"
        raise InvalidInput("a GGUF file cannot be read here", [Problem("gguf", "it is not installed", cure)]) from error
    try:
        reader = gguf.GGUFReader(file)
        licence = reader.get_field("general.license")
        weights = sum(int(tensor.n_elements) for tensor in reader.tensors)
        return str(licence.contents()) if licence else "", weights
    except Exception as error:  # a file can be wrong in as many ways as its reader can fail
        raise _refused(file, error) from error


def _require_room(folder: Path, wanted: int) -> None:
    if (free := shutil.disk_usage(folder).free) < wanted:
        raise _unwritable(folder, f"it takes {wanted / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free")


def _convert(file: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
            )
        except Exception as error:
            raise _refused(file, error) from error
        # What is saved is an ordinary model: neither the packing nor where it came from is part of it.
        model.hf_quantizer = None
        for key in ("quantization_config", "_model_name_or_path"):
            vars(model.config).pop(key, None)
        try:
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
        except Exception as error:  # safetensors has errors of its own for a full disk
            raise _unwritable(made.parent, _first_line(error)) from error


def _refused(file: Path, error: Exception) -> InvalidInput:
    cure = "a whole file of an architecture that transformers unpacks (Llama, Qwen2, Mistral, …)"
    return InvalidInput(f"{file} cannot be unpacked", [Problem(str(file), _first_line(error), cure)])


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no reason given')}"


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, also of the reader of GGUF, which has its own."""
    from unittest.mock import patch  # it brings asyncio with it, and few bases are GGUF

    from transformers import modeling_gguf_pytorch_utils as reader

    bar: Any = reader.tqdm
    with no_bars(), patch.object(reader, "tqdm", partial(bar, disable=True)):
        yield
