"""Whether the tokenizer that a trainer saved gives the tokens that a server of the base gives.

transformers 5 writes a tokenizer anew from the class of its kind when it saves: tokenizer.json of Qwen2 and Llama 2 has
other settings then, and the same tokens. So what differs in the files is tried: pieces, merges and named tokens must be
equal, and every text of `PROBES`, which has what tokenizers part differently, must have equal tokens.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from lifecycle.models.base import chat_template_of, tokenizer_config_of
from lifecycle.models.tokenizer import load_tokenizer

TOKENIZER = "tokenizer.json"
PROBES = (
    "",
    " ",
    "\n",
    "a",
    " leading and trailing  ",
    "two  spaces   three\tтаб\n\nlines\r\n  indented\n\n\n",
    "It's 8:05; we'll pay $1,234,567.89 (VAT 15%), don't WE'RE I’m",
    "12345678901234567890 0123 A1B2 3.14e-10 ½ ² Ⅳ",
    "snake_case camelCase UPPER a+b==c != d/e\\f ....!!??--",
    "https://example.com/a?b=c&d=%20#e user@example.com",
    '{"a": [1, 2.50, null], "b": {"c": "d"}}',
    "السَّلامُ عليكم، كم الساعة؟ ١٢٣٤٥ ـ لا إله ﷺ",
    "e\u0301 é ﬁ ｆｕｌｌ ß İ ı Straße",
    "你好，世界。こんにちは 안녕하세요 नमस्ते ประเทศไทย Привет",
    "👩‍👩‍👧 🇸🇦 ❤️ ☺ \u200b\u200f\u00a0\u2028\ufeff",
    "<b>x</b> <|x|> </s> <0x0A> ▁ Ġ [INST] <<SYS>>",
)
"""Spaces, lines, digits, contractions, signs, scripts, marks, compatibility forms, what looks like a named token."""

_OF_A_CALL = ("padding", "truncation", "version")
"""Parts of tokenizer.json that say how it was called last, and not which tokens a text has."""
_OF_AN_ANSWER = "decoder"
"""It makes text of tokens, which the server does with the base's own."""
_SPECIAL = ("bos_token", "eos_token", "unk_token", "cls_token", "sep_token", "mask_token")


def differing(folder: Path, base: Path) -> list[str]:
    """The parts by which tokenizer.json in `folder` gives other tokens than the base's; none where it gives the same.

    The base's is taken as its file has it, and then as transformers makes it, for servers and trainers alike. A token
    that only pads may be in one of them alone: no text and no template has it.
    """
    own, theirs = _read(folder / TOKENIZER), _read(base / TOKENIZER)
    if own is None or theirs is None:
        left, right = _parts(folder, own), _parts(base, theirs)
        return [_told(part, left, right) for part in _unequal(left, right)]
    differ = _between(own, folder, theirs, base)
    if differ and (served := _as_served(base)) is not None and not _between(own, folder, served, base):
        return []
    return differ


def _between(own: Any, folder: Path, other: Any, base: Path) -> list[str]:
    left, right = _parts(folder, own), _parts(base, other)
    for mine, theirs, place in ((left, right, folder), (right, left, base)):
        if (padding := _padding(place)) not in theirs["added_tokens"]:
            mine["added_tokens"].pop(padding, None)
    differ = [part for part in _unequal(left, right) if part != _OF_AN_ANSWER]
    same = "added_tokens" not in differ and _pieces(left) == _pieces(right) and _same(own, other, left["added_tokens"])
    return [] if same else [_told(part, left, right) for part in differ]


def _unequal(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    return sorted(part for part in left.keys() | right.keys() if left.get(part) != right.get(part))


def _parts(folder: Path, tokenizer: Any | None) -> dict[str, Any]:
    """As the library writes it today, whatever release saved it; as it stands, where the library cannot read it.

    `added_tokens` is by name: the token's number, and what decides where it is found.
    """
    parts = json.loads((folder / TOKENIZER).read_text(encoding="utf-8") if tokenizer is None else tokenizer.to_str())
    if not isinstance(parts, dict):
        return {}
    keys = ("id", "single_word", "lstrip", "rstrip", "normalized")
    tokens = parts.get("added_tokens") or []
    named = {token["content"]: tuple(token.get(key) for key in keys) for token in tokens}
    return {key: value for key, value in parts.items() if key not in _OF_A_CALL} | {"added_tokens": named}


def _read(file: Path) -> Any | None:
    from tokenizers import Tokenizer

    with suppress(Exception):  # the library raises no other
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    return None


def _as_served(base: Path) -> Any | None:
    with suppress(Exception):  # a folder may name a class of its own code, and transformers may be missing
        return getattr(load_tokenizer(base), "backend_tokenizer", None)
    return None


def _padding(folder: Path) -> str:
    """The token that pads and does nothing else; empty where there is none."""
    names = tokenizer_config_of(folder)
    pad = _content(names.get("pad_token"))
    template = chat_template_of(folder)
    used = [_content(names.get(name)) for name in _SPECIAL]
    return "" if pad in used or not isinstance(template, str) or pad in template else pad


def _content(token: Any) -> str:
    return str((token.get("content") if isinstance(token, dict) else token) or "")


def _pieces(parts: dict[str, Any]) -> list[Any]:
    model = parts.get("model") or {}
    return [model.get(key) for key in ("type", "vocab", "merges")]


def _same(own: Any, theirs: Any, names: dict[str, Any]) -> bool:
    """Whether both give equal tokens for every probe, and for every name inside of a text."""
    texts = [*PROBES, *(f"a {name}b {name} {name}\n" for name in names)]
    for special in (False, True):
        encoded = [tokenizer.encode_batch(texts, add_special_tokens=special) for tokenizer in (own, theirs)]
        if any(mine.ids != other.ids for mine, other in zip(*encoded, strict=True)):
            return False
    return True


def _told(part: str, own: dict[str, Any], theirs: dict[str, Any]) -> str:
    if part != "added_tokens":
        return part
    ways = (("with", own[part].keys() - theirs[part].keys()), ("without", theirs[part].keys() - own[part].keys()))
    said = [f"{way} {', '.join(sorted(those)[:3])}" for way, those in ways if those]
    return f"added_tokens {' and '.join(said)}".strip()
