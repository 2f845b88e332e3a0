"""What `dabt data check` finds, and that it finds nothing where nothing is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lifecycle.conversation import Conversation, Message, ToolCall
from lifecycle.errors import InvalidInput
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.text.script import language
from training.data import personal
from training.data.balance import balance, lengths
from training.data.checks import DataReport, check


def row(question: str, answer: str = "a", place: str = "train:1", system: str = "") -> Conversation:
    first = (Message("system", system),) if system else ()
    return Conversation(place, "", (*first, Message("user", question), Message("assistant", answer)))


def rows(*questions: str, file: str = "train") -> list[Conversation]:
    return [row(question, place=f"{file}:{number}") for number, question in enumerate(questions, 1)]


def found(report: DataReport, check: str) -> tuple[str, ...]:
    """The places of the one finding of a check, or nothing."""
    return next((finding.places for finding in report.findings if finding.check == check), ())


# -- duplicates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("أُرِيدُ مَوْعِداً", "اريد موعدا"),  # diacritics and hamza
        ("العيـــادة مفتوحة؟", "العياده مفتوحه"),  # tatweel, ta marbuta, punctuation
        ("في ٢٠٢٦", "في 2026"),  # Arabic-Indic digits
        ("Ｗhat  TIME?", "what time"),  # width, case, spaces
        ("مستشفى", "مستشفي"),  # alef maqsura
    ],
)
def test_spellings_of_one_question_are_the_same(left: str, right: str) -> None:
    assert LIGHT_1.normal(left) == LIGHT_1.normal(right)
    report = check(rows(left, "something else", right))
    assert found(report, "duplicates") == ("train:1 = train:3",)


@pytest.mark.parametrize(("left", "right"), [("كتب", "كلب"), ("10 mg", "100 mg"), ("?", "!"), ("हिन्दी", "हिन्दू")])
def test_different_questions_stay_different(left: str, right: str) -> None:
    assert LIGHT_1.normal(left) != LIGHT_1.normal(right)


def test_near_duplicates_are_found_in_arabic_with_diacritics() -> None:
    first = "أشعر بألم شديد في أسفل الظهر منذ ثلاثة أيام ولا أستطيع النوم"
    near = "أَشْعُرُ بألمٍ شديدٍ في أسفل الظهر منذ أربعة أيام ولا أستطيع النوم"
    report = check(rows(first, near, "متى تفتح الصيدلية أبوابها يوم الجمعة"), similarity=0.6)
    (place,) = found(report, "near duplicates")
    assert place.startswith("train:1 ≈ train:2")


def test_one_question_with_two_answers_is_a_contradiction_and_not_a_duplicate() -> None:
    report = check([row("when?", "at nine", "t:1"), row("When", "at ten", "t:2")])
    assert found(report, "contradictions") == ("t:1 ≠ t:2",)
    assert found(report, "duplicates") == ()


# -- leakage ----------------------------------------------------------------------------------------------------------


def test_a_test_row_that_was_trained_on_is_an_error_naming_both_places() -> None:
    train = rows("What are your hours?", "متى تفتحون؟")
    report = check(train, {"test.jsonl": rows("Where is it?", "مَتَى تَفْتَحُون", file="test")})
    assert found(report, "leakage") == ("test:2 = train:2",)
    assert [finding.check for finding in report.of("error")] == ["leakage"]


def test_a_nearly_equal_test_row_is_a_warning() -> None:
    asked = "I have had a strong headache since Monday and cannot sleep at night"
    report = check(rows(asked), {"test": rows(asked.replace("Monday", "Sunday"), file="test")}, similarity=0.7)
    (place,) = found(report, "near leakage")
    assert place.startswith("test:1 ≈ train:1")
    assert not report.of("error")


def test_disjoint_sets_do_not_leak() -> None:
    report = check(rows("one thing", "two things"), {"test": rows("a third matter", file="test")})
    assert not found(report, "leakage")
    assert not found(report, "near leakage")


# -- personal data ----------------------------------------------------------------------------------------------------

PERSONAL = [
    ("write to salma.haddad@gmail.com please", "EMAIL", "salma.haddad@gmail.com", True),
    ("my IBAN is GB82 WEST 1234 5698 7654 32.", "IBAN", "GB82 WEST 1234 5698 7654 32", True),
    ("الآيبان SA0380000000608010167519 للدفع", "IBAN", "SA0380000000608010167519", True),
    ("card 4111 1111 1111 1111 expires", "CARD", "4111 1111 1111 1111", True),
    ("رقمي ٠٥٠١٢٣٤٥٦٧ اتصلوا بي", "PHONE", "٠٥٠١٢٣٤٥٦٧", False),
    ("call +966 50 123 4567 now", "PHONE", "+966 50 123 4567", True),
    ("call (555) 010-4477", "PHONE", "(555) 010-4477", False),
    ("Emirates ID 784-1980-1234567-2?", "NATIONAL_ID", None, True),
    ("SSN 123-45-6789", "NATIONAL_ID", "123-45-6789", True),
    ("from 82.10.4.77 at night", "IP", "82.10.4.77", False),
    ("from 2001:db8:85a3::8a2e:370:7334 today", "IP", "2001:db8:85a3::8a2e:370:7334", True),
]


def _luhn(body: str) -> str:
    """`body` with its ISO/IEC 7812 check digit."""
    total = sum(sum(divmod(2 * int(d), 10)) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


@pytest.mark.parametrize(("text", "kind", "value", "sure"), PERSONAL)
def test_personal_data_is_found_and_redacted(text: str, kind: str, value: str | None, sure: bool) -> None:
    if value is None:  # built here so that the check digit is right by its definition
        number = _luhn("78419801234567")
        value = f"{number[:3]}-{number[3:7]}-{number[7:14]}-{number[14]}"
        text = f"Emirates ID {value}?"
    (hit,) = personal.find(text)
    assert (hit.kind, text[hit.start : hit.end], hit.sure) == (kind, value, sure)
    (clean,), count = personal.redact([text])
    assert clean == text.replace(value, f"[{kind}_1]")
    assert count == 1
    assert personal.find(clean) == ()


@pytest.mark.parametrize(
    "text",
    [
        "version 3.11 with 1,200 rows",
        "on 2026-11-21 at 10:30",
        "on 21/11/2026",
        "card 4111 1111 1111 1112",  # fails the check digit
        "GB82WEST12345698765433",  # fails modulo 97
        "take 500 mg twice, 10-14 days",
        "تناول ٥٠٠ ملغ مرتين في اليوم لمدة ٧ أيام",
        "127.0.0.1",
        "room 204, floor 3",
    ],
)
def test_what_is_not_personal_is_left_alone(text: str) -> None:
    assert personal.find(text) == ()
    assert personal.redact([text]) == ((text,), 0)


def test_one_value_keeps_one_placeholder_through_a_row_and_another_gets_its_own() -> None:
    texts = ["call 0501234567 or 0559876543", "I shall call ٠٥٠ ١٢٣ ٤٥٦٧"]
    clean, count = personal.redact(texts)
    assert clean == ("call [PHONE_1] or [PHONE_2]", "I shall call [PHONE_1]")
    assert count == 3


def test_ids_meta_tools_names_reasoning_and_calls_are_looked_at() -> None:
    call = ToolCall("c", "send", '{"to":"a@b.org"}')
    plain = (Message("user", "q"), Message("assistant", "a"))
    tools = ({"type": "function", "function": {"name": "send", "description": "mail a@b.org"}},)
    rows = [
        Conversation("t:1", "a@b.org", plain),
        Conversation("t:2", "", plain, {"from": {"mail": ["a@b.org"]}}),
        Conversation("t:3", "", (Message("user", "q", name="a@b.org"), plain[1])),
        Conversation("t:4", "", (plain[0], Message("assistant", "a", reasoning="a@b.org"))),
        Conversation(
            "t:5", "", (plain[0], Message("assistant", "", tool_calls=(call,)), Message("tool", "ok"), plain[1])
        ),
        Conversation("t:6", "", plain, {}, tools),
        Conversation("t:7", "", plain, {"phone": 966501234567}),
        Conversation("t:8", "", plain),
    ]
    assert [finding.places for finding in check(rows).findings if finding.check == "personal data"] == [
        tuple(f"t:{number}" for number in range(1, 7)), ("t:7",)
    ]  # fmt: skip


def test_rows_that_differ_in_their_calls_alone_are_no_duplicates() -> None:
    def asked(number: int) -> Conversation:
        call = ToolCall("c", "book", f'{{"day": {number}}}')
        turns = (
            Message("user", "q"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "ok", tool_call_id="c"),
        )
        return Conversation(f"t:{number}", "", (*turns, Message("assistant", "a")))

    assert found(check([asked(1), asked(2)]), "duplicates") == ()
    assert found(check([asked(1), asked(1)]), "duplicates") == ("t:1 = t:1",)


# -- balance, size, system text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Where is it?", "latin"), ("أين هي؟", "arabic"), ("موعد appointment يوم", "mixed"), ("123", "none")],
)
def test_language_is_told_by_script(text: str, expected: str) -> None:
    assert language(text) == expected


def test_label_fields_are_counted_and_free_text_is_not() -> None:
    answers = [f'{{"urgency": "{"high" if i == 0 else "low"}", "reply": "text {i}"}}' for i in range(40)]
    report = check([row(f"q{i} {'x' * i}", answer, f"t:{i}") for i, answer in enumerate(answers)])
    assert report.balance is not None
    assert report.balance.fields == {"urgency": {"low": 39, "high": 1}}
    said = [finding.message for finding in report.findings if finding.check == "balance"]
    assert any("98% of the rows are low" in text for text in said)
    assert any("few rows for high (1)" in text for text in said)


def test_balanced_data_is_not_called_unbalanced() -> None:
    data = [row(f"{random.Random(i).random()}", f'{{"u": "{"ab"[i % 2]}"}}', f"t:{i}") for i in range(100)]
    assert [finding for finding in check(data).findings if finding.check == "balance"] == []


@pytest.mark.parametrize(("count", "advised"), [(999, True), (1000, False)])
def test_fewer_than_a_thousand_rows_are_advised_against(count: int, advised: bool) -> None:
    generator = random.Random(1)
    data = rows(*("".join(generator.choices("abcdefghij ", k=30)) for _ in range(count)))
    assert any(finding.check == "size" for finding in check(data).findings) is advised


def test_a_system_text_in_every_row_is_noted() -> None:
    report = check([row("a", place="t:1", system="S"), row("b", place="t:2", system="S")])
    assert [finding.check for finding in report.of("note")] == ["system text"]


def test_lengths_are_order_statistics() -> None:
    figures = lengths("tokens", list(range(1, 101)))
    assert (figures.shortest, figures.median, figures.p95, figures.longest, figures.total) == (1, 50.5, 95, 100, 5050)


def test_no_rows_have_no_balance() -> None:
    with pytest.raises(ValueError, match="no rows"):
        balance([])


# -- the command ------------------------------------------------------------------------------------------------------


def run(*args: object) -> tuple[int, str]:
    import typer
    from typer.testing import CliRunner

    from training.data.commands.check import check as data_check

    app = typer.Typer()
    app.command()(data_check)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("questions", "options", "code"),
    [
        (["fine", "also good"], [], 0),
        (["fine", "also good"], ["--strict"], 1),  # too few rows is a warning
        (["mail a@b.org"], [], 1),
    ],
)
def test_the_exit_code_says_whether_there_is_an_error(
    jsonl: Callable[..., Path], questions: Sequence[str], options: Sequence[str], code: int
) -> None:
    path = jsonl("train.jsonl", [{"prompt": q, "completion": "a"} for q in questions])
    assert run(path, *options)[0] == code


def test_the_command_says_which_form_it_took_and_how_sure_it_is_in_eighty_columns(
    jsonl: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COLUMNS", "80"), ("FORCE_COLOR", "1"), ("TERM", "dumb")):  # a terminal, in plain letters
        monkeypatch.setenv(name, value)
    path = jsonl("t.jsonl", [{"patient": "q", "chatbot": "a"}, *["{"] * 30])
    monkeypatch.chdir(path.parent)
    code, output = run(path.name)
    assert code == 1
    assert "t.jsonl (JSON): 1 row\n" in output
    assert "  form: pair (patient, chatbot): 1 row, likely, by the words of its keys\n" in output
    for said in ("30 faults in rows", "[not_json]", "t.jsonl:21", "and 10 more"):
        assert said in output
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("row", "method"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "DPO"),
        ({"prompt": "q", "completion": "a", "label": False}, "KTO, which `dabt train` does not have,"),
        ({"text": "t", "label": "NA"}, "sequence classification"),
        ({"text": "t"}, "continued pre-training"),
    ],
)
def test_rows_of_another_kind_are_no_error_and_the_command_says_what_they_are_for(
    jsonl: Callable[..., Path], row: dict[str, str], method: str
) -> None:
    code, output = run(jsonl("t.jsonl", [row]), "--json")
    report = DataReport.model_validate_json(output)
    assert (code, report.rows, len(report.forms)) == (0, 1, 1)
    (note,) = (finding for finding in report.findings if finding.check == "form")
    assert (note.level, note.check) == ("note", "form")
    assert f"{method} learns from them" in note.message


def test_a_redacted_copy_that_cannot_be_written_is_one_clear_error(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    from training.data.commands.check import check as data_check

    path = jsonl("train.jsonl", [{"prompt": "q", "completion": "a"}])
    with pytest.raises(InvalidInput, match="cannot be written: it is a folder"):
        data_check(path, against=None, redact=tmp_path, base=None, similarity=0.85, strict=False, as_json=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["train.jsonl"]


def test_the_command_writes_a_redacted_copy_and_json(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    path = jsonl("train.jsonl", [{"prompt": "أنا a@b.org", "completion": "أهلا"}])
    test = jsonl("test.jsonl", [{"prompt": "أنا a@b.org!", "completion": "أهلا"}, "{"])
    code, output = run(path, "--against", test, "--redact", tmp_path / "clean.jsonl", "--json")
    report = DataReport.model_validate_json(output)
    assert code == 1
    assert {finding.check for finding in report.of("error")} == {"readable", "leakage", "personal data"}
    assert report.against == {"test.jsonl": 1}
    text = (tmp_path / "clean.jsonl").read_text(encoding="utf-8")
    assert "أنا [EMAIL_1]" in text
    assert text.count("\n") == 1


def test_the_command_writes_no_redacted_copy_of_a_part_of_the_rows(
    jsonl: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, copy = jsonl("train.jsonl", [{"prompt": "أنا a@b.org", "completion": "أهلا"}, "{"]), tmp_path / "clean.jsonl"
    before = sorted(tmp_path.iterdir())
    code, output = run(path, "--redact", copy, "--json")
    assert code == 1
    assert "readable" in {finding.check for finding in DataReport.model_validate_json(output).of("error")}
    assert sorted(tmp_path.iterdir()) == before
