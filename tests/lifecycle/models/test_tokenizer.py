"""A tokenizer that is loaded without what finds its class is the one that `AutoTokenizer` finds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.models.tokenizer import load_tokenizer, names_its_class

ROOT = Path(__file__).parents[3]
BASE = ROOT / "examples" / "clinic" / "base_model"


def test_it_is_the_one_that_transformers_finds() -> None:
    from transformers import AutoTokenizer

    ours, theirs = load_tokenizer(BASE), AutoTokenizer.from_pretrained(BASE)
    assert names_its_class(BASE)
    assert type(ours) is type(theirs)
    assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert (ours.chat_template, ours.model_max_length) == (theirs.chat_template, theirs.model_max_length)
    talk = [{"role": "user", "content": "متى يبدأ الدوام؟"}, {"role": "assistant", "content": "At 8:30."}]
    assert ours.apply_chat_template(talk)["input_ids"] == theirs.apply_chat_template(talk)["input_ids"]


def changed(file: str, **keys: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        read = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps(read | keys), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("config.json", model_type="qwen2"),
        changed("config.json", auto_map={"AutoConfig": "theirs.Config"}),
        changed("tokenizer_config.json", tokenizer_class="LlamaTokenizer"),
        changed("tokenizer_config.json", tokenizer_class=None),
        changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["theirs.Slow", "theirs.Fast"]}),
        lambda folder: (folder / "tokenizer.json").unlink(),
        changed("tokenizer_config.json", tokenizer_class=["PreTrainedTokenizerFast"]),
        changed("config.json", model_type={}),
        lambda folder: (folder / "tokenizer_config.json").unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "tokenizer_config.json").write_bytes(b"\xff"),
    ],
)
def test_any_other_is_found_by_transformers(change: Callable[[Path], Any], tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(BASE / name, folder)
    assert names_its_class(folder), "until it is changed"
    change(folder)
    assert not names_its_class(folder)


@pytest.mark.parametrize("kind", ["LlamaTokenizer", "PreTrainedTokenizerFast"])
def test_a_class_that_is_named_otherwise_gives_what_transformers_gives(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "base"
    folder.mkdir()
    for file in BASE.glob("*.json*"):
        shutil.copy(file, folder)
    changed("tokenizer_config.json", tokenizer_class=kind)(folder)
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert type(ours) is type(theirs)
    assert ours("Call at 8:30, متى؟")["input_ids"] == theirs("Call at 8:30, متى؟")["input_ids"]


def test_rows_are_looked_at_without_torch(tmp_path: Path) -> None:
    """Else the check of a small file would wait many times as long for an import as for its rows."""
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}) + "\n"
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom training.data import looking\n"
        "report = looking.look(looking.Task((Path(sys.argv[1]),), base=sys.argv[2]))\n"
        "assert report.tokens, report\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "rows.jsonl"), str(BASE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
