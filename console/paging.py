"""A long list in pages: the address says which, and a page that is not there is the nearest that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import URL

T = TypeVar("T")

SIZE = 50


@dataclass(frozen=True, slots=True)
class Paging:
    page: int
    """From 1."""
    count: int
    """Rows of all pages together."""
    url: URL
    size: int = SIZE

    @classmethod
    def of(cls, page: str, count: int, url: URL, size: int = SIZE) -> Paging:
        """`page` is what the address says."""
        asked = int(page[:9]) if page.isascii() and page.isdigit() else 1
        return cls(max(1, min(asked, -(-count // size))), count, url, size)

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // self.size))

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.size

    def of_all(self, rows: Sequence[T]) -> Sequence[T]:
        return rows[self.offset : self.offset + self.size]

    def at(self, page: int) -> str:
        """The address of another page of this list."""
        url = self.url.include_query_params(page=page)
        return f"{url.path}?{url.query}"
