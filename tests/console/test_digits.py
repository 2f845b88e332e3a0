"""Whoever reads Arabic in Arabic-Indic digits reads every figure so: on every screen, with much on it, by its links."""

from __future__ import annotations

import re
from collections import Counter, deque
from types import ModuleType

import pytest
from bs4 import BeautifulSoup, NavigableString

from console import language
from tests.console import (
    test_keys,
    test_knowledge,
    test_overview,
    test_rate,
    test_reports,
    test_train,
    test_versions,
    test_watch,
)
from tests.console.conftest import Serve, Served

FULL: dict[ModuleType, tuple[str, ...]] = {
    test_keys: ("/ui/keys",),
    test_knowledge: ("/ui/knowledge",),
    test_overview: ("/ui/overview", "/ui"),
    test_rate: ("/ui/rate",),
    test_reports: ("/ui/reports",),
    test_train: ("/ui/train",),
    test_versions: ("/ui/versions", "/ui/versions/compare?a=triage:1&b=triage:2"),
    test_watch: ("/ui/watch", "/ui/settings"),
}
"""Whose house is looked at, and where one begins."""
KEPT = (
    ".name, .text, .said:not(.heard), [lang=en], "
    "code, pre, kbd, input, textarea, script, style, option[value], datalist"
)
"""Names, ids, commands, what is typed, and words of people and models."""
APART = re.compile("\\b[0-9a-f]{12}\\b|[\u2066\u2068][^\u2069]*\u2069|`[^`]*`|[^\\s`\u2066\u2068]*[A-Za-z][^\\s`]*")
PAGES = 30


def latin(page: str) -> list[str]:
    """Texts of the page in which a figure is not in the reader's digits."""
    soup = BeautifulSoup(page, "html.parser")
    for kept in soup.select(KEPT):
        kept.decompose()
    texts = [str(text) for text in soup.find_all(string=True) if type(text) is NavigableString]
    return [text.strip() for text in texts if re.search(r"[0-9]|[\u0660-\u0669]%", APART.sub("", text))]


def shape(address: str) -> str:
    """Pages of one kind are alike: a few of them are looked at."""
    return re.sub(r"\?.*", "?", re.sub(r"[0-9a-f]{8,}|\d+|(?<=items/)[^/?]+", "N", address))


@pytest.mark.parametrize("full", FULL, ids=lambda full: full.__name__.rpartition(".test_")[2])
def test_no_latin_digit_stands_in_a_page_outside_of_names_and_commands(serve: Serve, full: ModuleType):
    served: Served = serve(full.fill)
    served.house.key("everything", role="admin")
    served.app.state.parts.catalogue.refresh()
    waiting, seen, shapes = deque(FULL[full]), set[str](), Counter[str]()
    with served.client("everything") as client:
        for name, value in {"dabt_language": "ar", "dabt_digits": "arab"}.items():
            client.cookies.set(name, value, path="/ui")
        while waiting and len(seen) < PAGES:
            address = waiting.popleft()
            if address in seen or shapes[shape(address)] == 2:
                continue
            answer = client.get(address)
            if '<main id="main"' not in answer.text:  # a download
                continue
            seen.add(address)
            shapes[shape(address)] += 1
            assert latin(answer.text) == [], address
            links = re.findall(r'<a [^>]*href="(/ui[^"#]*)', answer.text)
            waiting += [link.replace("&amp;", "&") for link in links if link.startswith(FULL[full][0])]
    assert len(seen) >= len(FULL[full])


def test_a_sentence_with_a_figure_of_its_own_would_be_noticed(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    assert latin("<p>المئين 95</p><p>١٠٪ <bdi class='name'>triage:3</bdi> و`n 5`</p><p>١٠%</p>") == ["المئين 95", "١٠%"]
    monkeypatch.setattr(language, "in_digits", lambda text, digits: text)
    language.own_digits.cache_clear()
    with pytest.raises(AssertionError):
        test_no_latin_digit_stands_in_a_page_outside_of_names_and_commands(serve, test_watch)
    language.own_digits.cache_clear()
