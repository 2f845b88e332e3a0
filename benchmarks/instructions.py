"""The checks of instructions beside those of the package if-verifiable (IFEval's, Apache-2.0), on made-up answers.

    pip install --no-deps --target checkers if-verifiable==0.1.2 langdetect immutabledict emoji syllapy six
    PYTHONPATH=checkers python -m benchmarks.instructions

Nothing of the package is kept. Its two checks of letters' case ask for English as well, which ours do not.
"""

from __future__ import annotations

import importlib
import random
from collections import Counter
from typing import Any

from evals.safety.instructions import CHECKS
from evals.safety.prompts import own
from lifecycle.errors import NotFound

_PIECES = (
    "The sea is salt and has a wave",
    "see you soon", "<<A title>>", "<< >>", "[name]", "[ ]", '{"name": "Lina", "age": 4}',
    "* one", "- two", "** bold", "water", "WAVE", "a, b", "\n", '"', "```json", "```", "Salt", "I drink tea.", "ALL",
)  # fmt: skip
_ANSWERS = 400


def answers(seed: int = 17) -> list[str]:
    draw = random.Random(seed)
    lengths = [draw.randint(1, 8) for _ in range(_ANSWERS)]
    texts = ["".join(draw.choice(_PIECES) + draw.choice((" ", "\n")) for _ in range(length)) for length in lengths]
    return [draw.choice((str, str.lower, str.upper))(text) for text in texts]


def main() -> None:
    try:
        theirs = importlib.import_module("if_verifiable.ifeval.instructions_registry").INSTRUCTION_DICT
    except ImportError as error:
        raise NotFound(f"{error}: pip install as `{__name__}` says") from error
    asked = {tuple(sorted(said.items(), key=str)): said for said in _instructions()}
    agreed: Counter[str] = Counter()
    asked_of: Counter[str] = Counter()
    for said in asked.values():
        checker = theirs[said["id"]](said["id"])
        checker.build_description(**{key: value for key, value in said.items() if key != "id"})
        for text in answers():
            asked_of[said["id"]] += 1
            agreed[said["id"]] += bool(checker.check_following(text)) == CHECKS[said["id"]](text, said)
    for kind, n in sorted(asked_of.items()):
        print(f"{kind:40} {agreed[kind]:4} of {n} alike")


def _instructions() -> list[dict[str, Any]]:
    rows = (row for row in own("instructions") if row["language"] == "en")
    return [
        {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
        for row in rows
        for said in row["instructions"]
    ]


if __name__ == "__main__":
    main()
