"""A template and its values → a page in the viewer's language.

`show` is what routes end with. Templates know `viewer`, `screens`, `screen`, `static`, gettext's `_`,
`texts` for what is counted, and the filters below; what the service says in English goes through `heard`. Everything is
escaped, and marks that turn the order of letters around are shown by their number, whoever wrote them.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from console.api import Refused
from console.headlines import HEADLINES
from console.heard import coded, heard, shown
from console.language import LANGUAGES, Language, language
from console.navigation import SCREENS, screen_of
from console.viewer import viewer_of
from evals.report.sentences import said
from evals.report.words import Words, in_digits
from lifecycle.errors import DabtError
from service.openai import http_errors

_FIGURE = re.compile(r"[+\-−]?\d+(\.\d+)?(e[+\-]?\d+)?")
_TWISTS = re.compile("[\u202a-\u202e]")
_HALVES = re.compile("[\ud800-\udfff]")
"""Of letters: no page can be sent that holds one."""
HERE = Path(__file__).parent


def language_of(request: Request) -> Language:
    preferences = viewer_of(request).preferences
    return language(preferences.language, preferences.digits)


def show(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The page that `template` makes of `values`. Raises `jinja2.UndefinedError` for a value that it lacks."""
    viewer = viewer_of(request)
    preferences = viewer.preferences
    page = _environment(preferences.language, preferences.digits).get_template(template)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    screens = [screen for screen in SCREENS if viewer.may(screen.role)]
    known = {"viewer": viewer, "screens": screens, "screen": screen_of(request.url.path), "here": here}
    return HTMLResponse(page.render({**known, **values}), status)


def error_page(request: Request, error: Exception) -> Response:
    """Whatever went wrong, as a page with its sentence; the status is the one that the API gives."""
    if isinstance(error, Refused):
        status, code, message = error.status, error.code, error.message
    elif isinstance(error, DabtError):
        told = http_errors.body_of(error)["error"]
        status, code, message = http_errors.status_of(error), str(told["code"]), str(told["message"])
    else:
        status, code, message = 500, "unexpected", "a fault in the service; the log has more under the request's id"
    headline = HEADLINES.get(code, HEADLINES["error"])
    return show(request, "error.html", status, code=code, headline=headline, message=message, status_code=status)


@cache
def static_path(name: str) -> str:
    """Where a page finds the file: its digest is in the address, so that a browser keeps it for ever."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/ui/static/{digest}/{name}"


@cache
def _environment(code: str, digits: Any) -> Environment:
    spoken = language(code, digits)
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=lambda value: untwisted(value) if isinstance(value, str) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install: Any = made
    ours = partial(_ours, spoken)
    install.install_gettext_callables(ours, spoken.catalogue.ngettext, newstyle=True)
    made.globals |= {
        "language": spoken, "languages": LANGUAGES, "static": static_path, "texts": spoken.texts,
        "gettext": lambda sentence, **values: _said(spoken, sentence, values),
    }  # fmt: skip
    made.filters |= {
        "number": spoken.number,
        "figures": spoken.figures,
        "signed": spoken.signed,
        "percent": spoken.percent,
        "share": spoken.share,
        "span": spoken.span,
        "figure": lambda value: _figure(spoken, value),
        "day": spoken.day,
        "moment": lambda at: _moment(spoken, at),
        "instant": lambda at: _moment(spoken, at, to="second"),
        "name": as_name,
        "rule": lambda text: said(str(text), "rule", Words.of(code, digits)),
        "actor": lambda text: _actor(spoken, str(text)),
        "heard": lambda text: shown(str(text), spoken),
    }
    return made


def untwisted(text: str) -> str:
    """`text` in the order in which its letters stand: `gpj.exe` behind U+202E would be read as `exe.jpg`. The marks
    that only set a part apart from what is around it stay, for sentences of ours have them too.

    What a page wrote already, a `Markup`, is one still: these marks are no part of its HTML.
    """
    if text.isascii():
        return text
    whole = _TWISTS.sub(lambda mark: f"[U+{ord(mark[0]):04X}]", _HALVES.sub("\ufffd", text))
    return Markup(whole) if isinstance(text, Markup) else whole  # noqa: S704


def _said(spoken: Language, sentence: str, values: dict[str, Any]) -> Markup:
    """What `_` of a template says: escaped values in a sentence of ours."""
    return Markup(_ours(spoken, sentence)) % spoken.values(values)  # noqa: S704


def _ours(spoken: Language, sentence: str) -> str:
    """A sentence of our own in the reader's language, digits and marks of code; its places are filled in by others."""
    return coded(Markup(spoken.text(sentence)))  # noqa: S704


def _moment(spoken: Language, at: datetime | None, to: Literal["minute", "second"] = "minute") -> Markup:
    """In UTC as the server knows it; the page's script writes it in the reader's own zone."""
    if at is None:
        return Markup("—")
    written = Markup('<time datetime="{}" data-zone="{}">{}</time>')
    return written.format(at.isoformat(timespec="seconds"), to, spoken.moment(at, to))


def _actor(spoken: Language, text: str) -> Markup:
    """Whoever did it, by name; a key's with what it called itself."""
    told = heard(text, spoken)
    return Markup('<bdi dir="{}">{}</bdi>').format("auto" if told is None else spoken.direction, told or text)


def _figure(spoken: Language, value: object) -> str:
    """A value of any kind, in the reader's digits where it is a number and no more."""
    text = str(value)
    return in_digits(text, spoken.digits) if _FIGURE.fullmatch(text) else text


def as_name(text: object) -> Markup:
    """A name, an id or a digest: written from left to right wherever it stands, and apart from what is around it."""
    return Markup('<bdi dir="ltr" class="name">{}</bdi>').format(escape(str(text)))
