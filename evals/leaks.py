"""Items that an arm has seen: in the worked examples of its prompt, or in the rows that it was trained on.

What an arm makes of them proves nothing, so a run with such items decides nothing. They stay in every figure, counted
and named. Training looks at its own rows in more ways (`dabt data check`); here the question is the same to a reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.arms import Arm
from evals.sample import Sample
from lifecycle.conversation import texts_in
from lifecycle.errors import DabtError
from lifecycle.rows.files import Reading
from lifecycle.text.normaliser import LIGHT_1

if TYPE_CHECKING:
    from lifecycle.registry import Registry

_TOLD = 5
"""Items that are named."""


def leaks(samples: Sequence[Sample], arms: Sequence[Arm], registry: Registry) -> tuple[str, ...]:
    """In words, for each arm. Of training files, those that the artifact's record names and that are still there are
    read, row by row."""
    files = {arm.label: list(_trained_on(arm, registry)) for arm in arms}
    if not any(files[arm.label] or arm.version.spec.prompt.shots for arm in arms):
        return ()  # nothing to compare with: 100,000 texts would be kept for that
    items = {LIGHT_1.normal(_asked(sample)): sample.id for sample in samples}
    items.pop("", None)  # no word is asked in them
    reasons: list[str] = []
    read: dict[Path, set[str]] = {}
    for arm in arms:
        shots = dict.fromkeys(LIGHT_1.normal(shot.user) for shot in arm.version.spec.prompt.shots)
        reasons += _told(arm, [items[text] for text in shots if text in items], "the worked examples of")
        seen: set[str] = set()
        for path in files[arm.label]:
            if path not in read:
                read[path] = {text for text in _questions(path) if text in items}
            seen |= read[path]
        reasons += _told(arm, [items[text] for text in items if text in seen], "the rows that trained")
    return tuple(reasons)


def _told(arm: Arm, names: Sequence[str], where: str) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:_TOLD]) + (", …" if len(names) > _TOLD else "")
    items = "1 item is" if len(names) == 1 else f"{len(names)} items are"
    return [f"{items} among {where} {arm.label} ({shown}): take them out of one side"]


def _asked(sample: Sample) -> str:
    """All user turns, as rows are compared by."""
    return "\n".join(texts_in(turn.get("content")) for turn in sample.messages if turn["role"] == "user")


def _trained_on(arm: Arm, registry: Registry) -> Iterator[Path]:
    """The files of the artifact's training run, where this machine has them."""
    made = arm.version.spec.artifact
    config: Mapping[str, Any] = getattr(registry.artifact(made[1]), "config", {}) if made else {}
    given = (config.get("data") or {}).get("train") or ()
    for source in [given] if isinstance(given, str) else given:
        path = Path(source["path"] if isinstance(source, dict) else source)
        if path.is_file():
            yield path


def _questions(path: Path) -> Iterator[str]:
    """A file that was changed since may be unreadable now: then nothing is known of it."""
    with suppress(DabtError, OSError):
        for row in Reading(path):
            if question := getattr(row, "question", ""):
                yield LIGHT_1.normal(question)
