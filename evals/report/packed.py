"""The items as a page carries them: one compact line each, compressed, so that 10,000 of five arms stay quick to open.

`templates/items.js` unpacks them in the background and knows the places of a line. Base64 has no letter that means
anything in HTML, so nothing that an item or an answer holds can end the block. Read `html.py` next.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from evals.archive.items import Item, ItemAnswer, disagrees
from evals.report.sentences import known
from evals.report.words import Words, seen
from lifecycle.text.scores import parse_object

MOST = 20_000
"""Items that one page carries; the rest is in items.jsonl, and the page says so."""
FIRST = 10
"""Items that can be read without JavaScript."""
_GZIP = 31
"""What zlib calls a window of 32 KiB with gzip's head: browsers unpack that."""


@dataclass(frozen=True)
class PackedItems:
    block: str
    """Gzip, in base64: a line of JSON for each item."""
    packed: int
    whole: int
    first: tuple[Item, ...]


def pack(
    items: Iterable[Item],
    arms: Sequence[str],
    figures: Sequence[str],
    words: Words = Words(),  # noqa: B008 - frozen
) -> PackedItems | None:
    """One at a time, so that memory stays flat. `figures`: those of a line's scores, the deciding one first. What
    scorers say is said in the words' language. None without items."""
    press, parts, first, whole = zlib.compressobj(wbits=_GZIP), [], [], 0
    for item in items:
        whole += 1
        if whole > MOST:
            continue
        if whole <= FIRST:
            first.append(item)
        parts.append(press.compress(_line(item, arms, figures, words)))
    if not whole:
        return None
    parts.append(press.flush())
    return PackedItems(b64encode(b"".join(parts)).decode("ascii"), min(whole, MOST), whole, tuple(first))


def readable(text: str) -> list[tuple[str, str]]:
    """A JSON object as (key, value) pairs, so that Arabic values stand in lines of their own; other text as it is."""
    value = parse_object(text)
    if not value:
        return [("", seen(text))]
    return [
        (seen(key), seen(told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)))
        for key, told in value.items()
    ]


def _line(item: Item, arms: Sequence[str], figures: Sequence[str], words: Words) -> bytes:
    row = [
        item.anchor,
        seen(item.key),
        seen(item.name),
        seen(item.question),
        _shown(item.target),
        seen(item.cluster or ""),
        {seen(field): seen(value) for field, value in item.slices.items()},
        int(disagrees(item, figures[0])),
        [_answer(item.arms[arm], figures, words) if arm in item.arms else None for arm in arms],
    ]
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _answer(answer: ItemAnswer, figures: Sequence[str], words: Words) -> list[Any]:
    return [
        _shown(answer.answer),
        [answer.scores.get(name) for name in figures],
        {seen(name): _of_scorer(why, "unscored", words) for name, why in answer.unscored.items()},
        seen(answer.error),
        int(answer.cut),
        [seen(passage) for passage in answer.passages],
        "\n".join(_of_scorer(line, "explained", words) for line in answer.explanation.split("\n")),
    ]


@lru_cache(maxsize=4096)
def _of_scorer(text: str, group: str, words: Words) -> str:
    """Few texts, said of many answers. What no sentence of the group fits is a judge's, or an answer's: as it is."""
    return (known(text, group, words) if words.language != "en" else None) or seen(text)


def _shown(text: str) -> str | list[tuple[str, str]]:
    parts = readable(text)
    return parts[0][1] if parts[0][0] == "" and len(parts) == 1 else parts
