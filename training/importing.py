"""An adapter that was trained elsewhere: preflight → golden prompts → the registry, as a draft.

Whoever trained it left no golden prompts, so a few texts of ours are recorded with the base and the adapter as PEFT
computes them: a service that computes something else refuses it. Which texts they are does not matter for that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import AdapterRefused, DabtError, InvalidInput
from lifecycle.manifests import GoldenPrompt
from lifecycle.models import beside_adapter, templates
from lifecycle.models.bars import no_bars
from lifecycle.models.preflight import preflight
from lifecycle.models.tokenizer import load_tokenizer
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.version import Prompt, Version
from training import golden, room
from training.tokens import IGNORED, ChatTokenizer, Example

_NEEDED = ("torch", "transformers", "peft")
_TALKS = (
    ("What should I do when I have a fever?", "Rest, drink water, and see a doctor when it lasts three days."),
    ("اكتب جملة عن الطقس اليوم.", "الجو اليوم معتدل والسماء صافية."),
    ("Translate to Arabic: the pharmacy is open until nine.", "الصيدلية مفتوحة حتى التاسعة."),
    ("Answer in JSON: the name and the city of Amal from Amman.", '{"name": "Amal", "city": "Amman"}'),
)


@dataclass(frozen=True)
class TakenIn:
    """The draft, and why it has no golden prompts; empty when it has."""

    version: Version
    unproved: str
    template: Path | None = None
    """The chat template that came with it and is part of its base now."""


def take_in(
    folder: Path,
    *,
    name: str,
    base: Path,
    prompt: Prompt,
    note: str,
    shelf: Shelf,
    tell: Callable[[str], None],
    bases: Path | None = None,
) -> TakenIn:
    """Publish the PEFT folder as a draft `name:N` over the model folder `base`. `tell` is told what takes time.

    A chat template that was saved beside it and is not the base's makes another base of it, below the folder `bases`.
    Raises `AdapterRefused` for what the base cannot serve, for an adapter that changes nothing, for a tokenizer beside
    it that is not the base's, and without `bases` for such a template; then nothing is stored. Where PEFT cannot
    compute it here, it is published without golden prompts.
    """
    template = beside_adapter.other_template(folder, base)
    problems = beside_adapter.tokenizer_problems(folder, base)
    if template is not None and bases is None:
        problems.append(beside_adapter.template_problem())
    if problems:
        raise AdapterRefused(f"{folder} was trained on other tokens than {base.name} gives:", problems)
    kept = None
    if template is not None and bases is not None:
        base, kept = templates.with_own_template(base, template, bases)
    preflight(folder, base, max_rank=shelf.max_rank)
    unproved = _missing(base)
    recorded: tuple[GoldenPrompt, ...] = ()
    if not unproved:
        tell("recording golden prompts with the base on the CPU")
        unproved, recorded = _recorded(folder, base, prompt)
    provenance = Provenance(source="import", note=note, golden=recorded)
    version = publish(folder, name=name, base=base, prompt=prompt, provenance=provenance, shelf=shelf)
    return TakenIn(version, unproved, kept)


def _missing(base: Path) -> str:
    """What is missing to compute the base here in float32; empty when nothing is."""
    if lacking := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        return f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not installed"
    needed, free = 4 * room.parameters_of(base), room.free_memory()
    if free is not None and needed > 0.9 * free:
        return f"the base takes {needed / 2**30:.1f} GiB in float32, and {free / 2**30:.1f} GiB are free"
    return ""


def _recorded(folder: Path, base: Path, prompt: Prompt) -> tuple[str, tuple[GoldenPrompt, ...]]:
    """Why nothing could be recorded, and what was."""
    try:
        with no_bars():
            recorded = golden.compute(base, folder, _examples(base, prompt), spot=room.CPU_FLOAT32)
    except DabtError:
        raise
    except Exception as error:  # a model's own code may raise anything, and vLLM may serve it all the same
        return f"PEFT cannot compute it here ({(str(error) or type(error).__name__).splitlines()[0]})", ()
    if not golden.has_effect(recorded):
        raise AdapterRefused(
            f"{folder} changes nothing over {base}: no log-probability of {len(recorded)} texts moved by "
            f"{golden.EFFECT}. It was trained too little, or for another base"
        )
    return "", recorded


def _examples(base: Path, prompt: Prompt) -> list[Example]:
    """Our texts, behind the system text and in the base's chat template; as plain text where that refuses them."""
    rows = [
        Conversation(f"golden:{place}", "", (Message("user", asked), Message("assistant", said)), {})
        for place, (asked, said) in enumerate(_TALKS, start=1)
    ]
    try:
        return ChatTokenizer.load(base, prompt=prompt).examples(rows, prompt.system, max_length=10**6)
    except InvalidInput:
        return [_plain(base, f"{prompt.system}\n\n{asked}\n", said) for asked, said in _TALKS]


def _plain(base: Path, asked: str, said: str) -> Example:
    tokenizer = load_tokenizer(base)
    before, answer = (
        tokenizer.encode(text, add_special_tokens=special) for text, special in ((asked, True), (said, False))
    )
    return Example("golden", [*before, *answer], [IGNORED] * len(before) + answer, len(before))
