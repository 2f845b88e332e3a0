"""The chat template as it is rendered: the base's own, with the clock stopped where it asks for the date.

Llama 3's template, for one, writes today's date into every prompt, so a version would be trained on one prompt,
evaluated on another and served with a third. Such a template is given one fixed day, in training, evaluation and
service alike.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from lifecycle.errors import InvalidInput, Problem
from lifecycle.models.base import chat_template_of, tokenizer_config_of
from lifecycle.models.named_templates import template_text
from lifecycle.version import digest_of

FROZEN_AT = datetime(2024, 7, 26, 12, tzinfo=UTC)
"""The day that these templates themselves fall back to where nobody tells them the date. It never changes: what was
evaluated before would answer another prompt."""

_TEMPLATE = "chat_template.jinja"
_CLOCK = "strftime_now"
"""The one thing in a template's reach that differs from day to day."""
_MARKS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""What transformers adds to Jinja: the tags around what the assistant says."""
_NUMBERS = "dejHkIlMmSfyYCGgVUWuwDFTRs"
_UNPADDED = "dejHIMmSUWy"
_WORDS = {
    **{"%a": "Fri", "%A": "Friday", "%b": "Jul", "%h": "Jul", "%B": "July", "%p": "PM", "%P": "pm", "%z": "", "%Z": ""},
    **{"%c": "Fri Jul 26 12:00:00 2024", "%x": "07/26/24", "%X": "12:00:00", "%r": "12:00:00 PM"},
}
"""Written down, because `strftime` takes them from the process's locale."""


def reads_clock(template: str) -> bool:
    """Whether two renderings of one conversation could differ by the day."""
    return _CLOCK in template


def names_read(template: str) -> frozenset[str]:
    """What the text of the template can depend on: its variables that it does not set itself.

    Raises `InvalidInput` for a template that is none.
    """
    from jinja2 import TemplateError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        return frozenset(meta.find_undeclared_variables(environment.parse(_MARKS.sub("", template))))
    except TemplateError as error:
        raise InvalidInput(f"the chat template is none: {error}") from error


def frozen_template(template: str) -> str:
    """The template with `FROZEN_AT` for the present time; itself when it reads no clock.

    A macro of the function's name stands in front of it and hides the function. transformers trims the line break
    after the macro, so nothing is added to what is rendered.
    """
    if not reads_clock(template):
        return template
    said = {f"%-{letter}": str(int(FROZEN_AT.strftime(f"%{letter}"))) for letter in _UNPADDED}
    said |= {f"%{letter}": FROZEN_AT.strftime(f"%{letter}") for letter in _NUMBERS} | _WORDS
    spelled = "".join(f"|replace('{directive}','{text}')" for directive, text in said.items())
    return f"{{% macro {_CLOCK}(format) %}}{{{{ format{spelled} }}}}{{% endmacro %}}\n{template}"


def served_template(base: Path) -> str | None:
    """What an engine must be given in place of the base's own template; None when that may stay.

    Raises `InvalidInput` for a base with several templates of which one reads the clock: an engine takes one.
    """
    own = chat_template_of(base)
    named = tokenizer_config_of(base).get("chat_template")
    others = [path.read_text(encoding="utf-8") for path in sorted((base / "additional_chat_templates").glob("*.jinja"))]
    if named and named != own and not (base / "chat_template.jinja").is_file():
        others.append(str(named))  # which of the two is taken depends on who reads
    if not reads_clock("\n".join([str(own), *others])):
        return None
    if others or not isinstance(own, str):
        fault = f"one of its chat templates writes the present date ({_CLOCK}), which has to be fixed"
        problem = Problem("chat template", fault, "keep one template, in chat_template.jinja")
        raise InvalidInput(f"{base} has several chat templates", [problem])
    return frozen_template(own)


def with_template(base: Path, template: str | Path, folders: Path) -> Path:
    """A base of its own: the files of `base`, linked, with another chat template. It lies below `folders`.

    `template` is a file, or a name of `named_templates.py`. A template decides answers as weights do, so it is part of
    a base: versions made over this folder are served over it, and no others. Raises `NotFound` when there is no such
    template, and `InvalidInput` when it is no text or the base lacks its tokens.
    """
    return with_own_template(base, template_text(template, base), folders)[0]


def with_own_template(base: Path, text: str, folders: Path) -> tuple[Path, Path]:
    """(the same for a template's text, the file that it is in)."""
    folder = folders / digest_of([str(base), text]).removeprefix("sha256:")[:16] / base.name
    folder.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        link = folder / file.name
        if file.is_file() and file.name != _TEMPLATE and not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())
    (folder / _TEMPLATE).write_text(text, encoding="utf-8")
    return folder, folder / _TEMPLATE
