"""The parts of a question, by rules."""

from __future__ import annotations

import pytest

from retrieval.stages.multi_query import MultiQuery, parts_of
from retrieval.stages.stage import Search, Surroundings


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("When does the pharmacy open?", []),
        ("Who signs it and when?", ["Who signs it"]),
        ("When does it open, and who signs form QX-71?", ["When does it open", "who signs form QX-71?"]),
        ("I lost my card. Where is the desk?", ["I lost my card.", "Where is the desk?"]),
        ("bread and butter", []),
        ("متى تفتح الصيدلية وكم سعر الدواء؟", ["متى تفتح الصيدلية", "كم سعر الدواء؟"]),
        ("أين العيادة؟ متى تفتح؟", ["أين العيادة؟", "متى تفتح؟"]),
        ("الورد والياسمين", []),
        ("Parking; opening hours; Parking", ["Parking", "opening hours"]),
        ("", []),
    ],
)
def test_a_question_is_parted_where_it_asks_anew(question: str, parts: list[str]) -> None:
    assert parts_of(question) == parts


def test_no_more_parts_are_asked_than_are_said() -> None:
    question = " ".join(f"Where is room {n}?" for n in range(9))
    stage = MultiQuery(most=3).load(Surroundings(corpus=None))  # type: ignore[arg-type]
    assert stage(Search(question, 3)).queries == (question, *(f"Where is room {n}?" for n in range(3)))
