"""Whose prefix cache a request uses. A prompt that is in the cache is answered sooner, and that can be measured.

So callers with one cache could tell what others asked, and read a version's prompt by guessing it a block at a time
under the base's own name. Where there are keys each has a cache of its own, and each version with a recipe another:
vLLM finds a cached block only under the salt that it was computed with. docs/guides/access.md says what that costs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from lifecycle.access.keys import ApiKey
from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Version
from service.openai.allowed_fields import has_recipe

_FIELD = "cache_salt"
_LONGEST = 128
"""Characters of a caller's own salt, as vLLM has it."""


@dataclass(frozen=True, slots=True)
class PrefixCache:
    """`shared` is one cache for all keys."""

    shared: bool

    def salted(self, body: dict[str, Any], key: ApiKey | None, version: Version | None) -> dict[str, Any]:
        """`body` with the salt of this key and version; as it is where there are no keys, or the cache is shared.

        A caller's own salt divides the key's cache further, and reaches no other's. Raises `InvalidInput` for one that
        is no text.
        """
        if key is None or self.shared:
            return body
        own = body.get(_FIELD)
        if own is not None and not (isinstance(own, str) and 0 < len(own) <= _LONGEST):
            fault = f"must be a text of 1 to {_LONGEST} characters"
            raise InvalidInput("The request is not valid:", [Problem(_FIELD, fault)])
        recipe = version.ref if version is not None and has_recipe(version) else ""
        # No part but the last, which is the caller's, can have a line's end in it.
        parts = "\n".join([key.id, recipe, own or ""])
        return {**body, _FIELD: hashlib.sha256(parts.encode()).hexdigest()}
