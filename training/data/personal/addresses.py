"""E-mail and IP addresses. Both are looked for from their signs (`@`, `.`, `:`) in time linear in the text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from training.data.personal.cues import cue_of
from training.data.personal.hits import Hit

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{1,8}}")
_ANY_LABEL = r"\w[\w-]{0,62}"
_ANY_DOMAIN = re.compile(rf"{_ANY_LABEL}(?:\.{_ANY_LABEL}){{1,8}}")
_ENDING = re.compile(r"[^\W\d_]{2,63}|xn--[a-z0-9-]{2,59}", re.IGNORECASE)
_FILES = {"png", "jpg", "jpeg", "gif", "webp", "svg", "js", "css", "json", "html", "py", "local"}
"""What ends the name of a file or of a host at home, and no address: `logo@2x.png`."""
_ASCII_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+%~'-")
_RESERVED = re.compile(r"(?:^|\.)(?:example|test|invalid|localhost|example\.(?:com|net|org))$")


def emails(text: str) -> Iterator[Hit]:
    """Certain, but at a domain that RFC 2606 keeps for examples: nobody's, as a rule, and no test can tell."""
    for sign in re.finditer("@", text):
        at = sign.start()
        start, end = _name_start(text, at), _domain_end(text, at + 1)
        name, domain = text[start:at], text[at + 1 : end].casefold()
        ending = domain.rpartition(".")[2]
        is_git = name == "git" and text[end : end + 1] == ":"
        if name and _ENDING.fullmatch(ending) and ending not in _FILES and not is_git:
            yield Hit("EMAIL", start, end, not _RESERVED.search(domain), text[start:end].casefold())


def _name_start(text: str, at: int) -> int:
    """Where the name before `@` begins. Letters that are glued to an ASCII name are none of it."""
    start = at
    while start and text[start - 1] in _ASCII_NAME:
        start -= 1
    if not any(map(str.isalpha, text[start:at])):
        while start and (text[start - 1].isalnum() or text[start - 1] in "._-"):
            start -= 1
    while text[start] in ".'-%~":
        start += 1
    return start


def _domain_end(text: str, start: int) -> int:
    """Where the domain ends, or `start` where there is none."""
    glued = text[start : start + 1].isascii()
    match = (_DOMAIN if glued else _ANY_DOMAIN).match(text, start)
    return start + len(match[0].rstrip("-_")) if match else start


_IPV4 = re.compile(r"(?<![0-9A-Za-z_.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?[0-9A-Za-z_])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z_.:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?!\.?[0-9A-Za-z_:])")


def ips(text: str, key: str) -> Iterator[Hit]:
    """Four small numbers may be a version, and few groups with colons may be code: certain with a word that says so."""
    for pattern, sign in ((_IPV4, "."), (_IPV6, ":")):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            cue = cue_of(text, match.start(), match.end(), key)
            groups = sum(map(bool, match[0].split(sign)))
            if address.is_loopback or address.is_unspecified or cue == "version" or groups < 3:
                continue
            sure = cue == "ip" or (address.version == 6 and groups > 3)
            yield Hit("IP", match.start(), match.end(), sure, str(address))
