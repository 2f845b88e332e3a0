"""The words before a number that say what it is: "phone", "رقم الهوية", "MRN". The nearest decides.

They are looked for in the spelling of `spelling.py`, and as the key of a JSON value.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import Literal, cast

from lifecycle.text.letters import one_spelling

Cue = Literal["phone", "call", "id", "number", "card", "iban", "ip", "record", "version", ""]
"""`phone` and `id` name the thing; `call` and `number` only speak of it. `record` numbers things and not persons."""

_REACH = 48
"""Characters before a number in which a word can speak of it."""

_NUMBERED = (
    "record|file|invoice|receipt|ticket|tracking|shipment|parcel|lot|batch|reference|ref|transaction|accession|chart"
)
_NAMED = (
    "order|case|sample|specimen|policy|claim|booking|confirmation|sequence|row|user|customer|patient|session|request"
    "|product|device|employee|student|trace|job|message|event|item|account|prescription|study|visit|member|hospital"
)
"""Things that have numbers of their own. "Call the patient: …" tells of no number of his, "patient no. …" does."""

_WORDS: tuple[tuple[Cue, str], ...] = (
    (
        "record",
        rf"(?:{_NUMBERED}|(?:{_NAMED})(?= ?(?:id|no|nr|num|code|ref|#)))(?: ?(?:id|ids|no|nr|num|number|code|ref))?"
        r"|mrn|barcode|serial(?: (?:no|number))?|sku|isbn|issn|imei|dose|doi|pmid|timestamp|epoch|hash|build|dated?"
        r"|gtin|ean|upc|vin|iccid|uuid|(?:ال)?(?:رقم )?(?:ال)?(?:ملف|سجل|فاتوره|مرجع|باركود)(?:ه|ها|ي|ك|كم)?"
        r"(?: (?:ال)?(?:طبي|مريض))?|(?:ال)?تاريخ|(?:ال)?جرعه"
        r"|رقم (?:ال)?(?:طلب|معامله|حجز|شحنه|تتبع|تذكره|عينه|وصفه|تشغيله|دفعه|مرجعي|تسلسلي)(?:ه|ها|ي|ك|كم)?",
    ),
    (
        "version",
        r"version|ver|v|release|section|sec|chapter|clause|paragraph|figure|table"
        r"|(?:ال)?(?:اصدار|نسخه|ماده|قسم|فقره|فصل|جدول|شكل)",
    ),
    (
        "id",
        r"(?:national|civil|personal|emirates|identity|resident|iqama|qatar|cpr|citizen|residence)"
        r"(?: ?(?:id|identity|identification))?(?: ?(?:no|num|number|card))?|(?:identity|id) (?:card|document)|iqamah?"
        r"|qid|cpr|eid|ssn|social security|passport|nhs|nino|tckn|cpf|pesel|aadhaar|dni|nie|cnic|bsn"
        r"|(?:رقم )?(?:ال)?(?:هويه|اقامه)(?: الوطنيه)?|(?:هويت|اقامت)(?:ي|ه|ها|ك|كم)"
        r"|(?:ال)?رقم(?:ي|ه|ها|ك|كم)? (?:ال)?(?:قومي|مدني|وطني|شخصي)"
        r"|(?:ال)?بطاق(?:ه|ته|تي|تها|تك) (?:ال)?(?:هويه|شخصيه|مدنيه)"
        r"|الضمان الاجتماعي|جواز(?:ي|ه|ها)?(?: (?:ال)?سفر(?:ي|ه|ها|ك)?)?",
    ),
    (
        "phone",
        r"(?:tele|cell|mobile ?)?phone(?: ?(?:no|num|number))?|mobile(?: ?(?:no|num|number))?|cell|tel|fax|whats ?app"
        r"|msisdn|contact (?:no|number)|wa\.me/|phone="
        r"|(?:ال|و)?(?:رقم )?(?:ال)?(?:هاتف|جوال|موبايل|محمول|تليفون|تلفون|واتس ?اب|واتس|فاكس|نقال)(?:ي|ه|ها|ك|كم|نا)?",
    ),
    (
        "card",
        r"(?:credit|debit|bank|payment)? ?card(?: ?(?:no|number))?|visa|mastercard|mada|amex|pan"
        r"|(?:ال)?(?:بطاق(?:ه|تي|ته|تها|تك)|فيزا|مدي|ماستركارد)(?: (?:ال)?(?:ائتمان(?:يه)?|بنكيه|بنك|مدي|فيزا))?",
    ),
    ("iban", r"iban|(?:ال)?(?:ايبان|اي بان|حساب)(?:ي|ه|ها|ك|كم)?|bank account"),
    ("ip", r"ip(?:v[46])?(?: address)?|host|server|client|(?:ال)?(?:اي بي|خادم)|عنوان (?:ال)?شبكه"),
    (
        "call",
        r"call(?:ed|ing)?|dial|ring|text|sms|reach|contact"
        r"|(?:اتصل|كلم|راسل|تواصل|اتواصل)(?:وا|و)?(?:ني|نا)?|(?:لل|ال)(?:تواصل|اتصال|استفسار|حجز)|اتصال",
    ),
    ("number", r"(?:my|his|her|their|your|our) (?:number|no|id)|id(?: (?:no|number))?|رقم(?:ي|ه|ها|ك|كم)"),
)  # fmt: skip


_SAID = "|".join(f"(?P<{name}>{one_spelling(words)})" for name, words in _WORDS)
_UNGLUED = r"(?![a-zء-ي])"
# Arabic writes "and", "by", "for" and "so" with the word behind them.
_CUE = re.compile(rf"(?<![a-zء-ي0-9])(?:[وبلف]|لل)?(?:{_SAID}){_UNGLUED}")
_BEHIND = re.compile(
    rf"[\s,)]{{0,3}}(?:is|was|هو|هي|=) (?:(?:my|his|her|the|our) )?(?:[وبلف]|لل)?(?:{_SAID}){_UNGLUED}"
)
_LETTER = re.compile(r"[^\W\d_]")
_SENTENCE = re.compile(r"[.!?؟;](?=\s)|\n")
_BARE_NUMBER = re.compile(r"\W*number\W*")


def cue_of(text: str, start: int, end: int, key: str) -> Cue:
    """What the words before `text[start:end]` say of it, or else the JSON key, or else the words behind it."""
    before = text[max(0, start - _REACH) : start].casefold()
    if start <= _REACH and _BARE_NUMBER.fullmatch(before):
        return "number"
    if _LETTER.search(before):
        last = _last_cue(before)
        # A stop right behind the word belongs to it: "Tel."
        if last and not _SENTENCE.search(before, last.end() + 1):
            return _named(last)
    if cue := _of_key(key):
        return cue
    behind = _BEHIND.match(text[end : end + _REACH].casefold())
    return _named(behind) if behind else ""


@lru_cache(1024)
def _of_key(key: str) -> Cue:
    """The key of a value in JSON or of a cell: `nationalId`, `phone_number`. Verbs and things are keys of texts too."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", key[-_REACH:]).casefold().strip()
    last = _last_cue(words)
    cue: Cue = _named(last) if last else ""
    if _RECORD_KEY.search(words) and cue in ("", "record", "number"):
        return "record"
    return cue if cue in ("phone", "id", "card", "iban", "ip") else ""


_RECORD_KEY = re.compile(r"(?:^| )(?:id|ids|no|nr|num|code|ref|reference|mrn|sku|isbn|date|time|timestamp|hash|uuid)$")


def _last_cue(words: str) -> re.Match[str] | None:
    return next(iter(deque(_CUE.finditer(words), maxlen=1)), None)


def _named(match: re.Match[str]) -> Cue:
    return cast("Cue", match.lastgroup)
