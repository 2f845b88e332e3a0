"""Keys, tokens and passwords, by the signs that their makers gave them. Each pattern is tried only where its sign is.

They are certain by their own form; a password behind the word is only possible, since examples have them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.data.personal.hits import Hit

_START, _END = r"(?<![A-Za-z0-9_-])", r"(?![A-Za-z0-9_-])"

_TOKENS: tuple[tuple[str, str], ...] = (
    ("AKIA", r"AKIA[A-Z0-9]{16}"),  # Amazon
    ("ASIA", r"ASIA[A-Z0-9]{16}"),
    ("AIza", r"AIza[A-Za-z0-9_-]{35}"),  # Google
    ("ya29.", r"ya29\.[A-Za-z0-9_-]{20,512}"),
    ("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    ("gh", r"gh[pousr]_[A-Za-z0-9]{36,255}"),  # GitHub
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    ("glpat-", r"glpat-[A-Za-z0-9_-]{20,64}"),  # GitLab
    ("xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),  # Slack
    ("sk-", r"sk-(?:ant-|proj-|svcacct-|or-)?[A-Za-z0-9_-]{20,250}"),  # OpenAI, Anthropic, OpenRouter
    ("sk_", r"sk_(?:live|test)_[A-Za-z0-9]{16,250}"),  # Stripe
    ("rk_", r"rk_(?:live|test)_[A-Za-z0-9]{16,250}"),
    ("whsec_", r"whsec_[A-Za-z0-9+/=]{24,100}"),
    ("hf_", r"hf_[A-Za-z0-9]{30,64}"),  # Hugging Face
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi-", r"pypi-[A-Za-z0-9_-]{50,500}"),
    ("SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),  # SendGrid
    ("AC", r"AC[0-9a-f]{32}"),  # Twilio
    ("SK", r"SK[0-9a-f]{32}"),
    (":AA", r"\d{8,10}:AA[A-Za-z0-9_-]{32,35}"),  # Telegram
    ("shp", r"shp(?:at|ca|pa|ss)_[a-f0-9]{32}"),  # Shopify
    ("_v1_", r"do[opr]_v1_[a-f0-9]{64}"),  # DigitalOcean
    ("dapi", r"dapi[0-9a-f]{32}"),  # Databricks
    ("key-", r"key-[0-9a-f]{32}"),  # Mailgun
    ("nvapi-", r"nvapi-[A-Za-z0-9_-]{60,80}"),
    ("gsk_", r"gsk_[A-Za-z0-9]{40,64}"),
    ("AGE-SECRET", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    ("eyJ", r"eyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{0,2048}"),  # RFC 7519
)
_TOKEN = tuple((sign, re.compile(f"{_START}(?:{form}){_END}")) for sign, form in _TOKENS)
_IN_A_TEXT = (
    ("hooks.slack.com/", re.compile(r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{20,200})")),
    ("AccountKey=", re.compile(r"AccountKey=([A-Za-z0-9+/]{40,100}={0,2})")),
    ("://", re.compile(r"://[^\s:/@]{0,64}:(?![*x•]+@|\$)([^\s/@]{1,100})@")),  # a password in a URL
    ("earer ", re.compile(r"[Bb]earer ([A-Za-z0-9_.~+/-]{20,4096}=*)")),
)
_BEGIN = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_KEY = 20_000

_NAMED = re.compile(
    r"(?<![A-Za-z])(?:pass(?:word|wd|phrase|code)|pwd|secret(?:[_ -]?key)?"
    r"|(?:api|access|auth|private)[_ -]?(?:key|token)|token"
    r"|كلم(?:ه|تي)? ?(?:ال)?(?:مرور|سر)|الرقم السري|رمز (?:ال)?(?:دخول|مرور|سري))"
    r"[\"']?(?: ?[:=] ?| is:? | هي:? | هو:? )[\"'`]?([^\s\"'`<>{}\[\](),;،]{6,128})",
    re.IGNORECASE,
)
_MADE_UP = re.compile(r"[*x•.…_-]+|(?:your|my|the)[_-].*|.*(?:environ|getenv|\$).*", re.IGNORECASE)


def credentials(text: str, key: str = "") -> Iterator[Hit]:
    for sign, pattern in (*_TOKEN, *_IN_A_TEXT):
        if sign in text:
            for match in pattern.finditer(text):
                group = match.re.groups
                yield Hit("SECRET", *match.span(group), True, match[group])
    if "-----BEGIN " in text:
        for begin in _BEGIN.finditer(text):
            stop = _KEY_ENDS.search(text, begin.end(), begin.end() + _LONGEST_KEY)
            end = stop.end() if stop else begin.end()
            yield Hit("SECRET", begin.start(), end, True, text[begin.start() : end])
    for match in _NAMED.finditer(text):
        if _is_password(match[1]):
            yield Hit("SECRET", *match.span(1), False, match[1])
    if _KEYS.search(key) and _is_password(text):
        yield Hit("SECRET", 0, len(text), False, text)


_KEYS = re.compile(
    r"(?:^|[_-]|[a-z](?=[A-Z]))(?:password|passwd|pwd|passphrase|secret|api_?key|token|apikey)$", re.IGNORECASE
)


def _is_password(value: str) -> bool:
    """Two kinds of characters, and none of the words that stand for a password in examples."""
    if not 6 <= len(value) <= 128 or " " in value or _MADE_UP.fullmatch(value):
        return False
    kinds = (any(map(str.isdigit, value)), any(map(str.isalpha, value)), any(not c.isalnum() for c in value))
    return kinds[0] and sum(kinds) > 1
