"""Chat templates by name, for a base that has none: what stands between the turns, and how a turn ends.

A template is part of a base (`templates.with_template`). Who trains and who serves by the same name have the same base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidInput, NotFound, Problem
from lifecycle.models.base import read_object, tokenizer_config_of

_TURNS = "{% for message in messages %}"
_NAMED: Mapping[str, str] = {
    "chatml": _TURNS
    + "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "zephyr": _TURNS
    + "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}{% endfor %}"
    + "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "alpaca": _TURNS
    + "{% if message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}"
    + "{% elif message['role'] == 'assistant' %}{{ '### Response:\n' + message['content'] + eos_token + '\n\n' }}"
    + "{% else %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
    + "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}",
}
"""ChatML's turns end in a token of their own, which the base must have; the others' in the tokenizer's end of text."""
_NEEDED = {"chatml": ("<|im_start|>", "<|im_end|>")}

NAMES = tuple(_NAMED)


def template_text(wanted: str | Path, base: Path) -> str:
    """The template in a file, or the one of this name, for the model folder `base`.

    A named one begins with the token that the base's tokenizer puts before every text, since a chat template has to
    write that itself. Raises `NotFound`, and `InvalidInput` for a file that is no text, and for a base without the
    tokens of a named one.
    """
    if Path(wanted).is_file():
        try:
            return Path(wanted).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            problem = Problem("--chat-template", f"{wanted} is not UTF-8", "save it as UTF-8")
            raise InvalidInput("The chat template cannot be read:", [problem]) from error
    name = str(wanted)
    if name not in _NAMED:
        raise NotFound(
            f"there is no chat template {wanted}; --chat-template takes a file in Jinja's language or one of "
            f"{', '.join(NAMES)}, and so does template: in a run's configuration"
        )
    described = _tokenizer(base)
    known = {token.get("content") for token in described.get("added_tokens") or []}
    if lacking := [token for token in _NEEDED.get(name, ()) if token not in known]:
        others = " or ".join(other for other in NAMES if other not in _NEEDED)
        fault = f"its tokenizer has no {' and no '.join(lacking)}, so no answer could end"
        raise InvalidInput(
            f"{base.name} cannot take the template {name}", [Problem("template", fault, f"take {others}, or a file")]
        )
    return ("{{ bos_token }}" if _begins(base, described) else "") + _NAMED[name]


def _tokenizer(base: Path) -> dict[str, Any]:
    file = base / "tokenizer.json"
    return read_object(file) if file.is_file() else {}


def _begins(base: Path, described: dict[str, Any]) -> bool:
    """Whether the tokenizer puts its first token before every text."""
    said = tokenizer_config_of(base)
    bos = said.get("bos_token")
    token = bos.get("content") if isinstance(bos, dict) else bos
    if not token:
        return False
    if isinstance(said.get("add_bos_token"), bool):
        return bool(said["add_bos_token"])
    return token in str(described.get("post_processor"))
