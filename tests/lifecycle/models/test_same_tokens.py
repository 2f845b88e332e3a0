"""A tokenizer that a trainer saved is the base's where it gives the same tokens, however its file is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lifecycle.models import same_tokens
from lifecycle.models.same_tokens import TOKENIZER, differing

TEXTS = ["hello world السَّلامُ عليكم what is it?", "12345678901234567890", "don't WE'RE", "the sky is blue"] * 3
"""Pieces are learnt over whole lines, so that it shows where a text is parted."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
THREES = WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
MARKS = WORDS.replace(r"\p{L}+", r"[\p{L}\p{M}]+")


def split(words: str, trim_offsets: bool) -> Any:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trim_offsets, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), level])


def qwen2(folder: Path) -> None:
    """As Qwen's own tokenizer.json is written."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder, tokenizer.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    trained = trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trained)
    tokenizer.pre_tokenizer = split(WORDS, trim_offsets=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    save(folder, tokenizer, tokenizer_class="Qwen2Tokenizer", eos_token="<|im_end|>", pad_token="<|endoftext|>")


def llama2(folder: Path) -> None:
    """As it was converted from sentencepiece: spaces are the normaliser's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = trainers.BpeTrainer(vocab_size=330, special_tokens=pieces, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trained)
    parts = json.loads(tokenizer.to_str())
    parts["added_tokens"] = [token for token in parts["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    save(folder, tokenizer, tokenizer_class="LlamaTokenizer", add_bos_token=True, legacy=False, **names)
    (folder / "config.json").write_text('{"model_type": "llama"}')


def save(folder: Path, tokenizer: Any, **config: Any) -> None:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(autouse=True)
def no_transformers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for what the files alone do not settle."""
    if "e2e" not in request.keywords:
        monkeypatch.setattr(same_tokens, "_as_served", lambda base: None)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    qwen2(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def saved(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """The base's tokenizer with changes, as a trainer saves it beside its adapter."""

    def made(change: Callable[[Any], object], **config: Any) -> Path:
        tokenizer = Tokenizer.from_file(str(base / TOKENIZER))
        change(tokenizer)
        named = json.loads((base / "tokenizer_config.json").read_text())
        save(tmp_path / "adapter", tokenizer, **named | config)
        return tmp_path / "adapter"

    return made


def as_transformers_5_saves_it(tokenizer: Any) -> None:
    """It makes Qwen2's anew: `trim_offsets` and an empty prefix, which no text's tokens hang on."""
    tokenizer.pre_tokenizer = split(WORDS, trim_offsets=True)
    tokenizer.model.continuing_subword_prefix = ""
    tokenizer.post_processor, tokenizer.decoder = processors.ByteLevel(trim_offsets=True), decoders.Fuse()


def test_what_transformers_5_writes_anew_is_the_bases_tokenizer(base: Path, saved: Callable[..., Path]) -> None:
    folder = saved(as_transformers_5_saves_it)
    assert (folder / TOKENIZER).read_text() != (base / TOKENIZER).read_text()
    assert differing(folder, base) == []


def test_a_token_that_only_pads_is_no_other_tokenizer(base: Path, saved: Callable[..., Path]) -> None:
    """Unsloth adds `<|PAD_TOKEN|>` where a base has none, and `special_tokens` of Axolotl what is written there."""

    def padded(tokenizer: Any) -> None:
        tokenizer.add_special_tokens(["<|PAD_TOKEN|>"])

    assert differing(saved(padded, pad_token="<|PAD_TOKEN|>"), base) == []
    assert differing(saved(padded, pad_token={"content": "<|PAD_TOKEN|>", "__type": "AddedToken"}), base) == []
    other = ["added_tokens with <|PAD_TOKEN|>"]
    assert differing(saved(padded), base) == other, "nothing says that it pads"
    assert differing(saved(padded, pad_token="<|PAD_TOKEN|>", eos_token="<|PAD_TOKEN|>"), base) == other
    template = "{{ messages[0].content }}<|PAD_TOKEN|>"
    assert differing(saved(padded, pad_token="<|PAD_TOKEN|>", chat_template=template), base) == other


def begun(own: Any) -> None:
    named = [("<|im_start|>", own.token_to_id("<|im_start|>"))]
    own.post_processor = processors.TemplateProcessing(single="<|im_start|> $A", special_tokens=named)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda own: setattr(own, "normalizer", normalizers.NFKC()), "normalizer"),
        (lambda own: setattr(own, "normalizer", None), "normalizer"),
        (lambda own: setattr(own, "pre_tokenizer", split(THREES, False)), "pre_tokenizer"),
        (lambda own: setattr(own, "pre_tokenizer", split(MARKS, False)), "pre_tokenizer"),
        (lambda own: setattr(own, "pre_tokenizer", pre_tokenizers.ByteLevel()), "pre_tokenizer"),
        (begun, "post_processor"),
        (lambda own: own.add_special_tokens(["<|extra|>"]), "added_tokens with <|extra|>"),
        (lambda own: own.add_special_tokens([AddedToken("<|im_end|>", lstrip=True)]), "added_tokens"),
    ],
)
def test_what_gives_other_tokens_is_named(base: Path, saved: Callable[..., Path], change: Any, part: str) -> None:
    """Marks, digits, compatibility forms, spaces: each is in some probe."""
    (named,) = differing(saved(change), base)
    assert named.startswith(part)


def test_other_pieces_are_another_tokenizer_even_where_no_probe_has_them(base: Path, tmp_path: Path) -> None:
    parts = json.loads((base / TOKENIZER).read_text())
    vocabulary = parts["model"]["vocab"]
    rare = sorted(piece for piece in vocabulary if len(piece) == 1)[-2:]
    vocabulary[rare[0]], vocabulary[rare[1]] = vocabulary[rare[1]], vocabulary[rare[0]]
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / TOKENIZER).write_text(json.dumps(parts))
    assert differing(tmp_path / "adapter", base) == ["model"]


@pytest.mark.e2e
@pytest.mark.parametrize("make", [qwen2, llama2])
def test_what_transformers_saves_of_a_base_is_the_bases(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Llama 2's file and class part spaces differently: what counts is what transformers makes of the base."""
    from transformers import AutoTokenizer

    base, adapter = tmp_path / "base", tmp_path / "adapter"
    make(base)
    AutoTokenizer.from_pretrained(base).save_pretrained(adapter)
    left, right = (json.loads((folder / TOKENIZER).read_text()) for folder in (base, adapter))
    assert left["pre_tokenizer"] != right["pre_tokenizer"]
    assert differing(adapter, base) == []
