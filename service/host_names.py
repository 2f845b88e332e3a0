"""Names of hosts and origins, as headers and options write them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@?#*,\s]+))(?::(?P<port>\d{0,5}))?")


def host_of(text: str) -> tuple[str, str]:
    """Name and port of `name`, `name:port` or `[IPv6]:port`, in lower case and without the dot of the root.

    Both are empty when `text` names no host, and the port when it names none.
    """
    parts = _HOST.fullmatch(text.strip())
    if parts is None:
        return "", ""
    name = parts["six"] or parts["name"].removesuffix(".")
    return name.lower(), parts["port"] or ""


def host_of_origin(origin: str) -> str:
    """`host:port` of `https://host:port`; empty for `null`, and for whatever else is no origin of a web page."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    whole = f"{parts.scheme}://{parts.netloc}" == origin and parts.scheme in ("http", "https")
    return parts.netloc if whole and host_of(parts.netloc)[0] else ""
