"""E-mail and IP addresses: where they begin and end, what only looks like one, and how sure that is."""

from __future__ import annotations

import pytest

from training.data.personal.addresses import emails, ips

FILES = ["png", "jpg", "jpeg", "gif", "webp", "svg", "js", "css", "json", "html", "py", "local"]


def mails(text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in emails(text)]


@pytest.mark.parametrize("ending", FILES)
def test_the_name_of_a_file_is_no_address(ending: str) -> None:
    assert mails(f"see logo@2x.{ending}, logo@2x.{ending.upper()}") == []
    assert mails(f"see logo@{ending}.org") == [f"logo@{ending}.org"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("to a@b.org now", "a@b.org"),
        ("a@b.org", "a@b.org"),
        ("(a@b.org).", "a@b.org"),
        ("'a@b.org'", "a@b.org"),
        (".-%~'a.b'c+d_e%f~g-h@b.org", "a.b'c+d_e%f~g-h@b.org"),
        ("_a@b.org", "_a@b.org"),
        ("+a@b.org", "+a@b.org"),
        ("راسلa@b.orgشكرا", "a@b.org"),  # letters that are glued to an ASCII name or domain are none of it
        ("راسلa1@b.org", "a1@b.org"),
        ("a@b.org راسل", "a@b.org"),
        ("to سلمى.علي-1_@مثال.مصر now", "سلمى.علي-1_@مثال.مصر"),
        ("to .سلمى@b.org", "سلمى@b.org"),
        ("سلمى@مثال.مصر", "سلمى@مثال.مصر"),
        ("سلمى@b.orgشكرا", "سلمى@b.org"),
        ("a@xn--mgbh0fb.xn--wgbh1c now", "a@xn--mgbh0fb.xn--wgbh1c"),
        ("a@b.org-", "a@b.org"),
        ("a@b.org_ x", "a@b.org"),
        ("a@b-c.d_e.org.", "a@b-c.d_e.org"),
        ("git@b.org", "git@b.org"),
        ("git: git@b.org, see", "git@b.org"),
        ("root@b.org:dabt", "root@b.org"),
    ],
)
def test_an_address_begins_and_ends_where_its_name_and_its_domain_do(text: str, address: str) -> None:
    assert mails(text) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@b.org",
        "a @b.org",
        "a@b",
        "a@ b.org",
        "a@.org",
        "a@b.c",
        "a@b.12",
        "a@bم.org",
        "'@b.org",
        "git@b.org:dabt",
    ],
)
def test_without_a_name_or_a_domain_with_an_ending_there_is_no_address(text: str) -> None:
    assert mails(text) == []


def test_addresses_are_given_in_order_and_small_letters_are_their_value() -> None:
    hits = list(emails("Big@B.ORG, a@@c.org d@e.com@f.net"))
    assert [(hit.kind, hit.start, hit.end, hit.sure, hit.value) for hit in hits] == [
        ("EMAIL", 0, 9, True, "big@b.org"), ("EMAIL", 20, 27, True, "d@e.com"), ("EMAIL", 22, 33, True, "e.com@f.net")
    ]  # fmt: skip


# -- IP ---------------------------------------------------------------------------------------------------------------


def hosts(text: str, key: str = "") -> list[tuple[str, bool]]:
    return [(hit.value, hit.sure) for hit in ips(text, key)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 82.10.4.77 at night", [("82.10.4.77", False)]),
        ("server 82.10.4.77", [("82.10.4.77", True)]),
        ("82.10.4.77 is my host", [("82.10.4.77", True)]),
        ("version 82.10.4.77", []),
        ("from 256.10.4.77", []),
        ("from 127.0.0.9 or 0.0.0.0", []),
        ("from ::1 or ::", []),
        ("from 127.0.0.1, 256.1.1.1, 82.10.4.77", [("82.10.4.77", False)]),
        ("from a::b", []),  # two groups
        ("from fe80::1:b", [("fe80::1:b", False)]),  # three
        ("from fe80::1:2:b", [("fe80::1:2:b", True)]),  # four
        ("from 1:2:3", []),
        ("ip fe80::1:b", [("fe80::1:b", True)]),
        ("version fe80::1:2:b", []),
        ("from FE80:0:0:0:0:1:2:B", [("fe80::1:2:b", True)]),
        ("1.2.3.4 2001:db8::1:2:3 5.6.7.8", [("1.2.3.4", False), ("5.6.7.8", False), ("2001:db8::1:2:3", True)]),
    ],
)
def test_an_ip_address_is_certain_by_its_groups_or_by_a_word(text: str, expected: list[tuple[str, bool]]) -> None:
    assert hosts(text) == expected


def test_the_key_of_an_ip_address_says_what_it_is() -> None:
    assert hosts("82.10.4.77", "client_ip") == [("82.10.4.77", True)]
    assert hosts("82.10.4.77", "name") == [("82.10.4.77", False)]


def test_an_ip_address_is_hit_where_it_stands() -> None:
    (hit,) = ips("from 82.10.4.77!", "")
    assert (hit.kind, hit.start, hit.end) == ("IP", 5, 15)
