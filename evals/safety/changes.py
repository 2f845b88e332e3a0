"""Ways to write the same question otherwise: what a reader takes for the same, and a model may not.

Each is a function of a text and a seeded generator. One that cannot change a text gives it back as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from lifecycle.text.letters import ARABIC_LETTERS, ARABIC_MARKS, TATWEEL

Change = Callable[[str, random.Random], str]
_SHARE = 0.08
"""Of the letters that a typing error touches."""
_VOWELS = "\u064e\u064f\u0650\u0652"
_TO_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_TO_WESTERN = str.maketrans("٠١٢٣٤٥٦٧٨٩", "0123456789")
_UNSEEN = ("\u200b", "\u200d", "\u200f", "\u200e", "\ufeff")
_NOISE = {
    "en": "The weather was mild that day, and the bus came on time. Somebody had left a newspaper on the bench. ",
    "ar": "كان الطقس معتدلًا في ذلك اليوم وجاءت الحافلة في موعدها. وترك أحدهم صحيفة على المقعد. ",
}
_NOISE_TIMES = 20
"""Of the noise, which is then about 400 words long."""


def typos(text: str, draw: random.Random) -> str:
    """Letters exchanged, left out or doubled inside longer words; digits and first letters stay."""
    words = text.split(" ")
    places = [(at, place) for at, word in enumerate(words) if word.isalpha() and len(word) >= 4
              for place in range(1, len(word) - 1)]  # fmt: skip
    if not places:
        return text
    chosen = draw.sample(places, max(1, round(len(places) * _SHARE)))
    for at, place in sorted(chosen, reverse=True):
        word = words[at]
        kind = draw.randrange(3)
        if kind == 0 and place + 1 < len(word):
            words[at] = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        elif kind == 1:
            words[at] = word[:place] + word[place + 1 :]
        else:
            words[at] = word[:place] + word[place] + word[place:]
    return " ".join(words)


def case(text: str, draw: random.Random) -> str:
    """All in capitals, or all in small letters."""
    return text.upper() if text != text.upper() and draw.random() < 0.5 else text.lower()


def spelling(text: str, draw: random.Random) -> str:
    """Arabic letters that are typed for each other: أ as ا, ة as ه, ى as ي."""
    return "".join(ARABIC_LETTERS.get(letter, letter) for letter in text)


def marks(text: str, draw: random.Random) -> str:
    """Arabic with short vowels and stretched letters; a text that has vowels loses them."""
    if any(letter in ARABIC_MARKS for letter in text):
        return "".join(letter for letter in text if letter not in ARABIC_MARKS)
    said = []
    for at, letter in enumerate(text):
        said.append(letter)
        if not _arabic(letter):
            continue
        if draw.random() < 0.3:
            said.append(draw.choice(_VOWELS))
        elif letter in "بتسعيمن" and at + 1 < len(text) and _arabic(text[at + 1]) and draw.random() < 0.3:
            said.append(TATWEEL * 2)
    return "".join(said)


def digits(text: str, draw: random.Random) -> str:
    """Digits of the other script."""
    return text.translate(_TO_WESTERN if any("٠" <= letter <= "٩" for letter in text) else _TO_ARABIC)


def unseen(text: str, draw: random.Random) -> str:
    """Direction marks and joiners that take no room, between words."""
    return draw.choice(_UNSEEN) + " ".join(word + draw.choice(_UNSEEN) for word in text.split(" "))


def spaces(text: str, draw: random.Random) -> str:
    """More white space than there was."""
    return "\n\n" + "".join(letter if letter != " " else " " * draw.randint(1, 3) for letter in text) + "  \n"


def noise(text: str, draw: random.Random) -> str:
    """The question behind a long text that has nothing to do with it."""
    language = "ar" if sum(map(_arabic, text)) * 2 > sum(map(str.isalpha, text)) else "en"
    return _NOISE[language] * _NOISE_TIMES + "\n\n" + text


def _arabic(letter: str) -> bool:
    return "\u0621" <= letter <= "\u064a" and letter != TATWEEL


ChangeName = Literal["typos", "case", "spelling", "marks", "digits", "unseen", "spaces", "noise"]
CHANGES: dict[ChangeName, Change] = {
    "typos": typos,
    "case": case,
    "spelling": spelling,
    "marks": marks,
    "digits": digits,
    "unseen": unseen,
    "spaces": spaces,
    "noise": noise,
}
