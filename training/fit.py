"""Does a configuration fit its base and the servers? Asked before anything is trained.

Preflight would find the same after the run; this finds it before, by preflight's own rules.
"""

from __future__ import annotations

import json
from pathlib import Path

from lifecycle.conversation import Conversation
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import chat_template_of
from lifecycle.models.templates import names_read
from lifecycle.rows.kinds import Preference
from lifecycle.version import Prompt
from training.config import TrainConfig


def require_fit(config: TrainConfig, base: Path, prompt: Prompt, max_rank: int) -> None:
    """Raises `InvalidConfig` with everything about `config` that model folder `base` or the servers cannot follow.

    `max_rank` is the servers' `--max-lora-rank`.
    """
    problems = [
        *config.method.problems(base, prompt, config.optimisation, max_rank),
        *_length(config, base),
        *_switches(config, base, prompt),
        *_best_by(config),
    ]
    problems += [problem for tracker in config.tracking for problem in tracker.problems()]
    if problems:
        raise InvalidConfig(f"the configuration does not fit {config.base}", problems)


def _switches(config: TrainConfig, base: Path, prompt: Prompt) -> list[Problem]:
    """The switches that no chat template would read: they would change nothing, in silence."""
    template = chat_template_of(base)
    if not {Conversation, Preference} & set(config.method.rows):
        read, fault = frozenset[str](), f"{config.method.type} renders nothing by a chat template"
    elif not isinstance(template, str):
        read, fault = frozenset(), "the base has no chat template of its own"
    else:
        read, fault = names_read(template), "the base's chat template never reads it"
    unread = (name for name in prompt.chat_template_kwargs if name not in read)
    return [Problem(f"prompt.chat_template_kwargs.{name}", fault, "leave it out") for name in unread]


def _length(config: TrainConfig, base: Path) -> list[Problem]:
    described = json.loads((base / "config.json").read_text(encoding="utf-8"))
    window = described.get("text_config", described).get("max_position_embeddings")
    if not isinstance(window, int) or config.optimisation.max_length <= window:
        return []
    fault = f"{config.optimisation.max_length} is more than the {window} positions of the base"
    return [Problem("optimisation.max_length", fault, f"at most {window}")]


def _best_by(config: TrainConfig) -> list[Problem]:
    wanted, measures = config.optimisation.best_by, config.method.measures
    if wanted is None or wanted in measures:
        return []
    fault = f"{wanted!r} is no figure that the validation of method {config.method.type} has"
    return [Problem("optimisation.best_by", fault, f"one of {', '.join(measures)}")]
