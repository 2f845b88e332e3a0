"""Any text as text of XML 1.0, which no control character but three, no half of a surrogate pair and no U+FFFE may be
in, whether they are escaped or not (https://www.w3.org/TR/xml/#charsets)."""

from __future__ import annotations

import re

_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def xml_text(text: str) -> str:
    """With the replacement character for each that XML forbids. It is not escaped: who writes the XML does that."""
    return _FORBIDDEN.sub("\ufffd", text)
