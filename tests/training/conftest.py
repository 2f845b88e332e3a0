"""A base of some ten thousand random weights with a real tokenizer and chat template, and rows to train it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TAGGED = (
    "{%- for m in messages -%}"
    "{%- if m.role == 'assistant' -%}"
    "<|im_start|>assistant\n{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n"
    "{%- else -%}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
UNTAGGED = TAGGED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
UNENDED = TAGGED.replace("<|im_end|>{% endgeneration %}", "{% endgeneration %}<|im_end|>")
"""The end of the turn lies outside the tags, so it would not be learnt."""
THINKING = TAGGED.replace("assistant\n{% generation %}", "assistant\n<think></think>{% generation %}")
"""Answers are trained after something that the server does not render."""

FORGETFUL = UNTAGGED.replace("assistant\n{{", "assistant\n{% if loop.last %}<think></think>{% endif %}{{").replace(
    "assistant\n{% endif -%}", "assistant\n<think></think>{% endif -%}"
)
"""As a thinking model's: what precedes an answer is dropped once the answer is history."""

SWITCHED = UNTAGGED.replace(
    "assistant\n{{", "assistant\n{% if loop.last and not enable_thinking|default(true) %}<think></think>{% endif %}{{"
).replace(
    "assistant\n{% endif -%}",
    "assistant\n{% if not enable_thinking|default(true) %}<think></think>{% endif %}{% endif -%}",
)
"""As one that thinks unless it is told not to."""


def import_libraries() -> None:
    """All that a run imports: what a run imports by itself, and the rest at the first need of it."""
    import gc

    from training import libraries

    gc.disable()
    libraries.load()
    import matplotlib.figure  # noqa: F401
    from transformers import BertForSequenceClassification, LlamaForCausalLM  # noqa: F401
    from trl import DPOTrainer  # noqa: F401

    gc.freeze()
    gc.enable()


def make_base(folder: Path, template: str | None = TAGGED, *, pad: str = "<|pad|>") -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["what colour is the sky? it is blue", "ما لون السماء؟ أزرق", '{"colour": "red"}'], trainer
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token=pad)
    fast.chat_template = template
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def libraries() -> None:
    """What a run imports is there; for modules that train much."""
    import_libraries()


@pytest.fixture(scope="session")
def in_child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., int]]:
    """Runs Python code with arguments in a process of its own, which has its imports from the start. Returns its exit
    code: the negative signal where it was killed.
    """
    root = Path(__file__).parents[2]
    errors = tmp_path_factory.mktemp("warm") / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.warm"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as warm,
    ):

        def run(code: str, *arguments: object) -> int:
            assert warm.stdin is not None
            assert warm.stdout is not None
            print(json.dumps([code, [str(argument) for argument in arguments]]), file=warm.stdin, flush=True)
            answer = warm.stdout.readline()
            print(errors.read_text()[-3000:], file=sys.stderr)  # pytest shows it where the test fails
            return int(answer)

        yield run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave no pictures, which take longer than such a run: of them `test_curves` and `test_train` tell."""
    monkeypatch.setattr("training.curves.draw", lambda *_: None)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A base by kind: tagged, untagged, unended, thinking, forgetful, bare, or pad-is-eos. Each is made once."""
    root = tmp_path_factory.mktemp("bases")
    kinds: dict[str, tuple[str | None, str]] = {
        "tagged": (TAGGED, "<|pad|>"),
        "untagged": (UNTAGGED, "<|pad|>"),
        "unended": (UNENDED, "<|pad|>"),
        "thinking": (THINKING, "<|pad|>"),
        "forgetful": (FORGETFUL, "<|pad|>"),
        "switched": (SWITCHED, "<|pad|>"),
        "bare": (None, "<|pad|>"),
        "pad-is-eos": (TAGGED, "<|im_end|>"),
    }

    def base(kind: str = "tagged") -> Path:
        folder = root / kind
        if not folder.is_dir():
            template, pad = kinds[kind]
            make_base(folder, template, pad=pad)
        return folder

    return base


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


COLOURS = ("blue", "red", "green", "black", "white", "brown", "أزرق", "أحمر")


@pytest.fixture(scope="session")
def colours() -> Callable[..., list[dict[str, Any]]]:
    """Rows whose answer follows from the question, so that a loss can fall."""

    def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
        return [
            chat(f"what colour is thing {i}? {colour}", json.dumps({"colour": colour}, ensure_ascii=False))
            for i in range(start, start + count)
            for colour in [COLOURS[i % len(COLOURS)]]
        ]

    return rows
