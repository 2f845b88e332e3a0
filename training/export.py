"""A version's artifact as a folder for others: plain PEFT, or the whole model with the adapter merged into it.

It holds the model card beside the weights, and loads without this product.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lifecycle.errors import InvalidInput, Problem, Unavailable
from lifecycle.manifests import Manifest
from lifecycle.model_card import FILE, licence_of, model_card
from lifecycle.models.bars import no_bars
from lifecycle.models.base import fingerprint, weight_files
from lifecycle.models.preflight import WEIGHTS_FILE
from lifecycle.publishing import Shelf
from lifecycle.version import Ref


def export(ref: str, out: Path, shelf: Shelf, *, base: Path | None = None, merged: bool = False) -> Path:
    """Write what `ref` names (a version, or an alias with one target) to the new folder `out`.

    `base` is the model folder that it was trained from: an adapter that is to be `merged` needs it, and the card has
    its licence from there. Raises `NotFound`, `Corrupt`, `Unavailable`, and `InvalidInput` for a version that was not
    trained, a folder that is not empty and another base; then nothing is left in `out`.
    """
    version = shelf.registry.version(Ref.parse(ref))
    if version.spec.artifact is None:
        raise InvalidInput(f"{version.ref} was not trained: it is a prompt over its base, and has no weights to export")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} is there already; name a new folder")
    _, digest = version.spec.artifact
    manifest = shelf.registry.artifact(digest)
    if merged:
        base = _mergeable(manifest, base)
    stored = shelf.store.get(digest)
    licence = "" if base is None else licence_of(base)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".dabt-export-", dir=out.parent) as scratch:
            folder = Path(scratch) / "model"
            if merged and base is not None:
                with no_bars():
                    _merge(stored, base, folder)
            else:
                shutil.copytree(stored, folder)
            card = model_card(version, manifest, licence, merged=merged)
            (folder / FILE).write_text(card, encoding="utf-8")
            if out.is_dir():
                out.rmdir()
            folder.rename(out)
    except OSError as error:
        raise Unavailable(f"{out} cannot be written: {error.strerror or error}") from error
    return out


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload an exported folder to a model hub, and return its address. Raises `Unavailable` with the hub's reason."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    hub = HfApi()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=folder))
    except HFValidationError as error:
        raise InvalidInput(f"{repository} is no name of a repository: {error}") from error
    except Exception as error:  # no network, no token, no right, offline: each has a class of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Unavailable(f"{folder} is written, and the hub does not take it: {reason}; is HF_TOKEN set?") from error


def _mergeable(manifest: Manifest, base: Path | None) -> Path:
    if manifest.kind != "adapter":
        raise InvalidInput(f"{manifest.kind} has nothing to merge; leave --merged out")
    if base is None:
        raise InvalidInput(f"name the base that it is merged into ({manifest.base_name}) with --base")
    here = fingerprint(base)
    if here.digest != manifest.base:
        fault = f"is {here.digest}, and the adapter was trained on {manifest.base} ({manifest.base_name})"
        raise InvalidInput("an adapter merges into its own base alone", [Problem(str(base), fault, "name that one")])
    return base


def _merge(adapter: Path, base: Path, folder: Path) -> None:
    """The sum is made in float32 and written in the base's own type; tokenizer and templates are copied as they are."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    dtype = AutoConfig.from_pretrained(base).dtype or torch.float32
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    whole = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    whole.to(dtype).save_pretrained(folder)
    weights = {file.name for file in weight_files(base)}
    for file in base.iterdir():
        known = file.name in weights or file.name in (FILE, WEIGHTS_FILE) or ".index.json" in file.name
        if file.is_file() and not known and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
