"""A model card (Mitchell et al. 2019, arXiv 1810.03993) of what was trained: data, method, figures, licence, loading.

It is written from the registry and the base's folder alone, so that it says nothing that is not on record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lifecycle.manifests import Manifest
from lifecycle.version import Version

FILE = "README.md"
_LICENCES = ("LICENSE", "LICENCE", "LICENSE.txt", "LICENSE.md", "COPYING")

_LOADING = {
    "adapter": """\
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base})  # or where your copy of it lies
model = PeftModel.from_pretrained(base, "this-folder")
""",
    "weights": """\
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("this-folder")
""",
    "classifier": """\
from transformers import pipeline

classify = pipeline("text-classification", model="this-folder")
""",
}


def licence_of(base: Path) -> str:
    """What a model folder says of its licence: the `license` of its card, or its licence's first line; else nothing."""
    card = base / FILE
    if card.is_file():
        head = card.read_text(encoding="utf-8", errors="replace").split("---")
        for line in head[1].splitlines() if len(head) > 2 and not head[0].strip() else ():
            key, _, value = line.partition(":")
            if key.strip() == "license":
                return value.strip().strip("\"'")
    for name in _LICENCES:
        if (base / name).is_file():
            lines = (base / name).read_text(encoding="utf-8", errors="replace").splitlines()
            return next((line.strip() for line in lines if line.strip()), "")
    return ""


def model_card(version: Version, manifest: Manifest, licence: str, *, merged: bool = False) -> str:
    """The card in Markdown, with the front matter that model hubs read.

    `merged` is for an adapter that is written as a whole model. An empty `licence` is told as one that is not stated.
    """
    kind = "weights" if merged else manifest.kind
    front = {
        "base_model": manifest.base_name,
        "library_name": "peft" if kind == "adapter" else "transformers",
        "license": licence or "unknown",
        "tags": ["dabt", _method(manifest)],
    }
    head = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items())
    lineage = version.lineage
    told = {
        "Version": f"`{version.ref}`, {version.state}, made by {version.created_by} on {version.created_at:%Y-%m-%d}",
        "Base": f"{manifest.base_name} (`{manifest.base}`)",
        "Licence of the base": licence or "not stated in its folder; look where it comes from before you hand this on",
        "Method": _method(manifest),
        "Data": f"`{lineage.data_digest}`" if lineage.data_digest else "not on record",
        "Run": f"{lineage.source} {lineage.run}".strip(),
        "Code": lineage.code_revision or "not on record",
        "Artifact": f"`{manifest.digest}`, {manifest.parameters:,} parameters",
        "Notes": lineage.note or "none",
    }
    lines = [f"---\n{head}\n---\n", f"# {version.ref}\n", *(f"- **{key}**: {value}" for key, value in told.items())]
    if version.spec.prompt.system:
        lines += ["\nIt was trained behind this system text, and is served behind it:\n"]
        lines += [f"> {line}" if line else ">" for line in version.spec.prompt.system.splitlines()]
    if switches := version.spec.prompt.chat_template_kwargs:
        lines += [f"\nThe chat template is told `{json.dumps(switches, ensure_ascii=False)}` (`chat_template_kwargs`)."]
    lines += ["\n## Figures of the training\n", "None of them is a test figure: evaluate before you deploy.\n"]
    lines += ["| | |\n|---|---|", *(f"| {name} | {value:.6g} |" for name, value in manifest.metrics.items())]
    lines += [
        "\n## Load it without Dabt\n",
        "```python",
        _LOADING[kind].format(base=json.dumps(manifest.base_name)) + "```",
    ]
    if manifest.config:
        lines += ["\n## Configuration\n", "```json", json.dumps(manifest.config, indent=2, ensure_ascii=False), "```"]
    return "\n".join(lines) + "\n"


def _method(manifest: Manifest) -> str:
    method: Any = manifest.config.get("method")
    return str(method.get("type", manifest.kind)) if isinstance(method, dict) else manifest.kind
