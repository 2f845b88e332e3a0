"""The catalogue is whole in both languages, and every sentence that a report can keep is in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.advice import sources
from evals.advice.rules import RULES
from evals.report.sentences import known, said
from evals.report.tables import cell_of, told_of
from evals.report.words import LANGUAGES, PLACE, Words, catalogue, nouns, places, plural
from lifecycle.errors import InvalidInput
from lifecycle.report import RANDOMISATION
from lifecycle.text import strict_json

ROOT = Path(__file__).parents[3]
AR, EN = Words("ar"), Words("en")
ISOLATES = re.compile("[\u2066-\u2069]")
SPEAKERS = {
    "evals/report/advice.py": (),
    "evals/report/evaluation.py": ("columns_of",),
    "evals/gate/case.py": (),
    "evals/gate/policy.py": ("on",),
    "evals/gate/provisional.py": (),
    "evals/gate/rules.py": (),
    "evals/gate/slices.py": (),
    "evals/asking/measure.py": ("measure",),
    "lifecycle/standing.py": ("objections", "_lacks"),
    "lifecycle/gates.py": ("__str__",),
    "evals/judging/judge.py": ("shown",),
    "evals/judging/pairwise.py": ("_messages", "asked"),
    "evals/judging/rubric.py": (),
    "evals/advice/ways.py": (),
    "evals/report/costs.py": (),
    "evals/cost/costs.py": (),
    "evals/report/people.py": (),
    "evals/people/results.py": ("results_of", "print_results", "agreement_line"),
    "evals/report/failures.py": (),
    "evals/report/repeats.py": (),
    "evals/report/notes.py": (),
    "evals/foreign/lm_eval.py": ("_no_sample",),
    "evals/foreign/nemo.py": ("_no_record",),
    "evals/foreign/run.py": ("report", "lines", "loaded", "unreadable", "_parsed"),
    "evals/scorers/bfcl.py": ("problems",),
    "evals/scorers/choices.py": (),
    "evals/scorers/faithfulness.py": (),
    "evals/scorers/json_answers.py": ("problems",),
    "evals/scorers/knowledge.py": (),
    "evals/scorers/scorer.py": (),
    "evals/scorers/scoring.py": (),
    "evals/scorers/similarity.py": (),
    "evals/scorers/texts.py": ("text_problems",),
    "evals/safety/counterfactual.py": ("samples",),
    "evals/safety/injection.py": ("problems", "_sample"),
    "evals/safety/instructions.py": ("problems", "_counts"),
    "evals/safety/leakage.py": (),
    "evals/safety/packages.py": ("_jailbreaks",),
    "evals/safety/pairs.py": ("problems",),
    "evals/safety/toxicity.py": (),
}
"""Where sentences of a report are made, and the functions in which no report's sentence is."""
TOOLS = {"lm-eval", "NeMo Evaluator"}


def test_every_sentence_is_in_both_languages_with_the_same_places() -> None:
    kinds = {
        "text",
        "n",
        "interval",
        "code",
        "plain",
        "said",
        *nouns(),
        *(key.partition(".")[0] for key in catalogue()),
    }
    for key, told in catalogue().items():
        assert set(told) == set(LANGUAGES), key
        english, arabic = (places(told[language]) for language in LANGUAGES)
        assert {place.name for place in english} == {place.name for place in arabic}, key
        assert {place.kind for place in english} <= kinds, key
        assert all(place.kind == "text" and not place.row for place in arabic), f"{key}: kinds stand in English"
        letters = re.findall("[a-zA-Z]+", re.sub("\u2066.*?\u2069", "", PLACE.sub("", told["ar"])))
        assert set(letters) <= {"p"}, f"{key}: a name of the code is isolated, or has a place"


def test_every_noun_has_each_form_of_its_language() -> None:
    for noun, told in nouns().items():
        assert set(told["en"]) == {"one", "other"}, noun
        assert set(told["ar"]) == {"zero", "one", "two", "few", "many", "other"}, noun


@pytest.mark.parametrize(
    ("n", "category"),
    [(0, "zero"), (1, "one"), (2, "two"), (3, "few"), (10, "few"), (11, "many"), (99, "many"), (100, "other"),
     (101, "other"), (102, "other"), (103, "few"), (110, "few"), (111, "many"), (200, "other"), (0.5, "other")],
)  # fmt: skip
def test_arabic_counts_in_six_forms(n: float, category: str) -> None:
    assert plural(n, "ar") == category
    assert plural(n, "en") == ("one" if n == 1 else "other")


def test_counted_things_have_latin_digits_and_the_right_word() -> None:
    counted = [ISOLATES.sub("", AR.counted(n, "items")) for n in (1, 2, 5, "1,200", 11, 103)]
    assert counted == ["عنصر واحد", "عنصران", "5 عناصر", "1,200 عنصر", "11 عنصرًا", "103 عناصر"]
    assert [EN.counted(n, "items") for n in (0, 1, 2)] == ["0 items", "1 item", "2 items"]


def test_what_is_put_into_an_arabic_sentence_is_isolated_and_no_name_can_end_its_isolation() -> None:
    sentence = AR("rule.beats", arm="few\u2069-\u202eshot")
    assert sentence.count("\u2068") == sentence.count("\u2069") == 1
    assert "[U+2069]" in sentence
    assert "[U+202E]" in sentence
    assert EN("rule.beats", arm="few-shot") == "beats few-shot"
    assert EN("rule.beats", arm="محوّل") == "beats \u2068محوّل\u2069"


def test_another_language_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="there is no report in 'fr': the languages are en, ar"):
        Words.of("fr")


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("rule", "does not lose to few-shot in language ar, length short"),
        ("detail", "+0.950 [+0.910, +0.973] on fields over 200 items in 31 clusters; p 6.4e-58 for +0.000 or less, and "
         "0.0013 is allowed (alpha 0.01, try 1 of 20, 4 candidates); no difference has 80 % power; the slice is thin: "
         "12 items, and under 30 nothing is decided"),
        ("detail", "3 of 200 answers have no fields (2 x the request failed; 1 x the judge did not answer: HTTP 500; "
         "see the log); at most 0.0% may"),
        ("opens", "opens nothing: this run is provisional (5 of 40 items; a dry run; other items (/tmp/a; b.jsonl))"),
        ("opens", "opens nothing: the gate of toy asks for another suite than this; they differ in the task file, its "
         "items or settings, the baseline"),
        ("advice", "Ship nothing yet: rag, the best arm, fails the policy (safety: recall 0.000 [0.000, 0.110] "
         "over 31 items; its low end must reach 0.850; latency: p95 3.218 s; at most 4 x base (1.0 s) = 4.0 s), and no "
         "other arm passes."),
    ],
)  # fmt: skip
def test_sentences_within_sentences_are_said_in_arabic_to_the_last_word(group: str, sentence: str) -> None:
    arabic = known(sentence, group, AR)
    assert arabic is not None
    assert arabic.count("\u2066") + arabic.count("\u2068") == arabic.count("\u2069")
    outside = re.sub("[\u2066\u2068][^\u2069]*\u2069", "", arabic)
    assert re.findall("[a-zA-Z]{2,}", outside) == []
    assert said(sentence, group, EN) == sentence


def test_every_rule_of_the_advice_has_an_arabic_name_and_its_source_is_said() -> None:
    for rule in RULES:
        assert _outside(known(rule.name, "ground", AR) or rule.name) == [], rule.name
        assert _outside(known(rule.source, "source", AR) or rule.source) == [], rule.source
    assert known(sources.MEASURED, "source", AR) == "ما قاسه التشغيل نفسه"


@pytest.mark.parametrize(
    ("group", "sentence", "arabic"),
    [
        ("costs", "a begins dearer than b and is the cheaper from about 2 requests on.",
         "يبدأ a بتكلفة أعلى من b، ويصبح الأرخص ابتداءً من نحو طلبين."),
        ("costs", "a begins dearer than b and is the cheaper from about 5,100 requests on.",
         "يبدأ a بتكلفة أعلى من b، ويصبح الأرخص ابتداءً من نحو 5,100 طلب."),
        ("advice", "a is 3.0 points better than b (+0.030 [+0.010, +0.050]) at 1.5 times the cost: 2.00 USD against "
         "1.00 USD for 1,000 requests. The difference may be chance.",
         "a أفضل من b بمقدار 3.0 نقاط (+0.030\u00a0[+0.010,\u00a0+0.050]) بتكلفة قدرها 1.5 × تكلفته: 2.00 USD مقابل "
         "1.00 USD لكل 1,000 طلب. قد يكون الفرق مصادفة."),
        ("detail", "not all is known: training: 1.50 hours on a machine have no price; tokens: the endpoint does not "
         "count them", "ليس كل شيء معروفًا: التدريب: ساعاته 1.50 على جهاز، ولا سعر لها؛ الرموز: لا تعدّها نقطة الوصول"),
        ("rule", "beats base in language ar", "يتفوّق على base في language ar"),
        ("rated", "84 of language ar", "84 من language ar"),
        ("note", "each item was asked 2 times, and its score is the mean of them",
         "سُئل كل عنصر مرتين، ودرجته متوسطها"),
        ("note", "bastion is not here (pip install --no-deps bastioncorpus, or give `wheels`): only what the suite has "
         "of its own was asked",
         "bastion ليس هنا (pip install --no-deps bastioncorpus، أو أعطِ `wheels`): لم يُسأل إلا ما "
         "في مجموعة الاختبار نفسها"),
        ("explained", "the answer is not JSON: it has no NaN", "الإجابة ليست JSON: لا يوجد فيه NaN"),
        ("explained", "the answer is not JSON: expected value at line 1 column 12",
         "الإجابة ليست JSON: المتوقّع قيمة، في السطر 1 والعمود 12"),
        ("test", "mcnemar-exact", "اختبار ماكنمار الدقيق"),
        ("table", "confusion: urgency", "مصفوفة الالتباس: urgency"),
    ],
)  # fmt: skip
def test_costs_people_notes_and_scorers_are_said_in_arabic(group: str, sentence: str, arabic: str) -> None:
    assert ISOLATES.sub("", said(sentence, group, AR)) == arabic


@pytest.mark.parametrize(
    "text",
    ["", "[1", '{"a"', '"a', '{"a" 1}', "[1 2]", '{"a": 1 "b": 2}', "tru", "hello", '"\\q"', "-", "{1: 2}", "[1,]",
     "{} {}", '"\x01"', "1e999", '{"a": 1,}', "01"],
)  # fmt: skip
def test_whatever_the_parser_says_of_an_answer_is_said_in_arabic(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|large") as error:
        strict_json.parse(text)
    arabic = known(f"the answer {error.value}", "explained", AR)
    assert arabic is not None
    assert _outside(arabic) == [], str(error.value)


def test_tables_of_ours_are_read_in_arabic_and_labels_of_a_team_stay_as_they_are() -> None:
    for name in ("where answers go wrong", "refusals", "escalations", "confusion", "confusion: field"):
        assert _outside(told_of(name, "base", AR)) == [], name
    assert cell_of("refusals", "refuse", AR) == "ترفض"
    assert cell_of("confusion", "right", AR) == "\u2068right\u2069"
    assert cell_of("a plug-in's", "right", AR) == "\u2068right\u2069"
    assert cell_of("confusion", "", EN) == "(none)"
    assert told_of("confusion", "base", EN) == "Confusion of base: rows are what was right, columns what was said"
    assert "whether the answer was right" in told_of("where answers go wrong", "base", EN)


@pytest.mark.parametrize("module", ["evals/scorers/missed.py", "evals/safety/refusal.py", "evals/safety/escalation.py"])
def test_every_table_of_our_scorers_is_in_the_catalogue(module: str) -> None:
    (name,) = re.findall(r'^_TABLE = "(.+)"', (ROOT / module).read_text("utf-8"), re.MULTILINE)
    assert known(name, "table", AR) is not None


def test_every_test_of_a_comparison_has_an_arabic_name() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "evals" / "statistics").glob("*.py")]
    names = {name for source in sources for name in re.findall(r'test="([\w-]+)"', source)} | {RANDOMISATION}
    assert len(names) == 3
    assert all(known(name, "test", AR) for name in names)


def test_a_long_text_that_nothing_fits_is_seen_through_at_once() -> None:
    prose = "A judge wrote this. " * 200
    assert known(prose, "explained", AR) is None


def _outside(text: str) -> list[str]:
    return re.findall("[a-zA-Z]{2,}", re.sub("[\u2066\u2068][^\u2069]*\u2069", "", text))


def test_what_the_catalogue_does_not_have_stays_as_it_is_and_apart() -> None:
    assert said("a plug-in's own words", "detail", AR) == "\u2068a plug-in's own words\u2069"
    assert said("a plug-in's own words", "detail", EN) == "a plug-in's own words"
    assert known("beats", "opens", AR) is None


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_every_sentence_that_a_report_keeps_is_in_the_catalogue(speaker: str) -> None:
    english = [PLACE.sub(_blank, told["en"]) for told in catalogue().values()]
    lacking = [
        part for part in _prose(speaker) if part not in TOOLS and not any(part in sentence for sentence in english)
    ]
    assert lacking == [], "give it an entry with its Arabic in evals/report/catalogue/"


def _blank(place: re.Match[str]) -> str:
    """What stands in a place is not known, but the noun that is counted there is."""
    return nouns()[place[2]]["en"]["other"].replace("{n}", "\0") if place[2] in nouns() else "\0"


def _prose(speaker: str) -> Iterator[str]:
    """The literal parts of two words or more in the functions of a module, without docstrings and errors."""
    tree = ast.parse((ROOT / speaker).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in SPEAKERS[speaker]:
            yield from _literals(node.body[1:] if ast.get_docstring(node) else node.body)


def _literals(nodes: list[ast.stmt]) -> Iterator[str]:
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise | ast.Assert | ast.FunctionDef | ast.ImportFrom):
            continue
        if isinstance(node, ast.FormattedValue):
            waiting.append(node.value)  # and not what formats it
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and len(re.findall(r"[A-Za-z]{2,}", node.value)) > 1 and " " in node.value:
                yield node.value.strip()
        else:
            waiting += ast.iter_child_nodes(node)
