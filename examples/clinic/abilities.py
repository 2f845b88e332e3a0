"""Measures what the base model can do, on fresh samples, greedily; prints a table and writes abilities.json.

    python -m examples.clinic.abilities --items 200

Fresh means: drawn with seeds that training never used, and for frames also from keys, constants and
marks that no frame of training had. Exact match on the whole answer. Needs base_model/ (`pretrain.py`).
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from examples.clinic.corpus import (
    Conversation,
    Turn,
    frames,
    no_context,
    reading,
    repeat,
    summarise,
    translate,
)
from examples.clinic.lexicon import LANGS, Lang
from lifecycle.intervals import wilson

HERE = Path(__file__).parent
Draw = Callable[[random.Random], Conversation]


@dataclass(frozen=True)
class Ability:
    """What is measured, how an item is drawn (its last turn is the expected answer), and what is required."""

    name: str
    draw: Draw
    required: float | None = None
    at_most: bool = False


def _reading(lang: Lang, as_json: bool, unknown: bool) -> Draw:
    return lambda rng: reading(rng, lang, as_json, unknown_share=1.0 if unknown else 0.0, turns=1)


def _frames(as_json: bool, labelled: bool = False) -> Draw:
    return lambda rng: frames(rng, as_json, held_out=True, count=rng.choice((4, 5, 6)), labelled=labelled)


def _first(skill: Draw) -> Draw:
    """Only the first question and answer of a conversation."""
    return lambda rng: skill(rng)[:2]


def _no_context(rng: random.Random) -> Conversation:
    talk = no_context(rng)
    return talk[:3] if talk[0].role == "system" else talk[:2]


def handbook_closed_book(rng: random.Random) -> Conversation:
    """A question of the clinic's handbook with no passages."""
    from examples.clinic.handbook import facts

    chosen = rng.choice(facts())
    lang = rng.choice(LANGS)
    return [Turn("user", chosen.fact.ask(lang, rng)), Turn("assistant", chosen.fact.answer(lang))]


def abilities() -> list[Ability]:
    named = {"en": "English", "ar": "Arabic"}
    required = {"en": 0.90, "ar": 0.85}
    rows: list[Ability] = []
    for lang in LANGS:
        rows.append(Ability(f"reads passages, {named[lang]}", _reading(lang, False, False), required[lang]))
        rows.append(Ability(f"reads passages, {named[lang]}, JSON with source", _reading(lang, True, False)))
        rows.append(Ability(f"does not know, {named[lang]}", _reading(lang, False, True), 0.90))
        rows.append(Ability(f"does not know, {named[lang]}, JSON", _reading(lang, True, True)))
    return [
        *rows,
        Ability("does not know without passages", _no_context),
        Ability("imitates a new frame", _frames(False), 0.85),
        Ability("imitates a new JSON object", _frames(True), 0.85),
        Ability("judges a label from the examples, JSON", _frames(True, labelled=True)),
        Ability("knows the handbook closed-book", handbook_closed_book, 0.02, at_most=True),
        Ability("translates (both ways)", _first(translate)),
        Ability("summarises", _first(summarise)),
        Ability("repeats", _first(repeat)),
    ]


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], most: int = 96
) -> list[str]:
    """Greedy answers to templated prompts, batched by length."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    told = [""] * len(prompts)
    for start in range(0, len(order), 25):
        chosen = order[start : start + 25]
        batch = tokenizer(
            [prompts[index] for index in chosen],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        )
        with torch.inference_mode():
            out = model.generate(**batch, max_new_tokens=most, do_sample=False)
        for index, ids in zip(chosen, out[:, batch["input_ids"].shape[1] :], strict=True):
            told[index] = tokenizer.decode(ids, skip_special_tokens=True)
    return told


def as_messages(talk: Conversation) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in talk]


def measure(folder: Path, items: int, seed: int, show: int = 0, only: str = "") -> list[dict[str, Any]]:
    """One row an ability: hits, items, rate, Wilson interval, what is required and whether it holds."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows: list[dict[str, Any]] = []
    for number, ability in enumerate(abilities()):
        if not re.search(only, ability.name):
            continue
        rng = random.Random(f"{seed}-{number}")
        talks = [ability.draw(rng) for _ in range(items)]
        prompts = [
            tokenizer.apply_chat_template(as_messages(talk[:-1]), tokenize=False, add_generation_prompt=True)
            for talk in talks
        ]
        told = answers(model, tokenizer, [str(prompt) for prompt in prompts])
        hits = 0
        for talk, answer in zip(talks, told, strict=True):
            right = answer.strip().rstrip(".") == talk[-1].content.strip().rstrip(".")
            hits += right
            if show and not right:
                print(f"    wanted {talk[-1].content!r}\n    got    {answer!r}")
        share = wilson(hits, items)
        holds = (
            None
            if ability.required is None
            else (hits / items <= ability.required if ability.at_most else hits / items >= ability.required)
        )
        rows.append(
            {
                "ability": ability.name,
                "hits": hits,
                "items": items,
                "rate": hits / items,
                "low": share.low,
                "high": share.high,
                "required": ability.required,
                "at_most": ability.at_most,
                "holds": holds,
            }
        )
        sign = (
            ""
            if ability.required is None
            else f"  {'<=' if ability.at_most else '>='} {ability.required:.2f} {'holds' if holds else 'FALLS SHORT'}"
        )
        print(
            f"{ability.name:45s} {hits:4d}/{items}  {hits / items:.3f}  [{share.low:.3f}, {share.high:.3f}]{sign}",
            flush=True,
        )
    return rows


def write_card(card: Path, rows: list[dict[str, Any]]) -> None:
    """Puts the table between the marks of the model card."""
    lines = ["| Ability | Right | Rate | 95 % interval | Asked for |", "|---|---|---|---|---|"]
    for row in rows:
        asked = ""
        if row["required"] is not None:
            asked = (
                f"{'≤' if row['at_most'] else '≥'} {row['required']:.2f}: {'holds' if row['holds'] else 'falls short'}"
            )
        lines.append(
            f"| {row['ability']} | {row['hits']}/{row['items']} | {row['rate']:.3f} "
            f"| {row['low']:.3f} to {row['high']:.3f} | {asked} |"
        )
    text = card.read_text()
    before, rest = text.split("<!-- abilities -->")
    after = rest.split("<!-- /abilities -->")[1]
    card.write_text(before + "<!-- abilities -->\n" + "\n".join(lines) + "\n<!-- /abilities -->" + after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=HERE / "base_model")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20_000_003)
    parser.add_argument("--only", default="", help="a pattern of abilities' names")
    parser.add_argument("--show", action="store_true", help="print what went wrong")
    parser.add_argument("--out", type=Path, help="where to write abilities.json (default: in the model's folder)")
    args = parser.parse_args()
    rows = measure(args.model, args.items, args.seed, int(args.show), args.only)
    if args.only:
        return
    out = args.out or args.model / "abilities.json"
    facts = {"seed": args.seed, "decoding": "greedy, float32 on the CPU", "abilities": rows}
    out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    if (args.model / "README.md").exists():
        write_card(args.model / "README.md", rows)


if __name__ == "__main__":
    main()
