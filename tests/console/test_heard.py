"""What the service says in English is said in Arabic to the last word: findings, refusals, errors, settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from console.headlines import HEADLINES
from console.heard import PLACE, heard, sentences, shown
from console.language import LANGUAGES, language
from console.screens.settings.table import words
from evals.report.likely import Likely
from evals.report.words import PLACE as BRACES
from evals.report.words import catalogue
from lifecycle import errors
from service.openai.http_errors import STATUS

ROOT = Path(__file__).parents[2]
OTHERS = [code for code in LANGUAGES if code != "en"]
AR, DIGITS = language("ar"), language("ar", "arab")
ISOLATES = re.compile("[\u2066\u2068\u2069]")

SPEAKERS: dict[str, tuple[str, ...]] = {
    "console/whole_answers.py": (),
    "evals/archive/diff.py": (),
    "evals/archive/item_index.py": (),
    "evals/archive/items.py": (),
    "evals/archive/library.py": (),
    "evals/archive/report_index.py": (),
    "evals/alias_arms.py": (),
    "evals/arms.py": (),
    "evals/asking/asker.py": (),
    "evals/asking/endpoint.py": (),
    "evals/asking/measure.py": (),
    "evals/asking/sampled.py": (),
    "evals/asking/services.py": (),
    "evals/chat_rows.py": (),
    "evals/config.py": ("of_rows", "of_suite"),
    "evals/gate/policy.py": (),
    "evals/gate/suites.py": (),
    "evals/knowledge.py": (),
    "evals/safety/counterfactual.py": ("notes",),
    "evals/safety/escalation.py": (),
    "evals/safety/injection.py": (),
    "evals/safety/instructions.py": (),
    "evals/safety/leakage.py": (),
    "evals/safety/pairs.py": (),
    "evals/safety/planted_secrets.py": ("plant", "_planted"),
    "evals/safety/refusal.py": (),
    "evals/scorers/bfcl.py": (),
    "evals/scorers/json_answers.py": (),
    "evals/scorers/labels.py": (),
    "evals/scorers/overlap.py": (),
    "evals/scorers/texts.py": (),
    "evals/scorers/tool_calls.py": (),
    "evals/slices.py": (),
    "evals/solvers/chat.py": (),
    "evals/solvers/choices.py": (),
    "evals/solvers/oracle.py": (),
    "evals/solvers/tools.py": (),
    "evals/solvers/turns.py": (),
    "evals/statistics/arms_together.py": (),
    "evals/statistics/clusters.py": (),
    "evals/statistics/comparison.py": (),
    "evals/statistics/evidence.py": (),
    "evals/statistics/exact.py": (),
    "evals/statistics/intervals.py": (),
    "evals/statistics/labels.py": (),
    "evals/statistics/repeats.py": (),
    "evals/statistics/tango.py": (),
    "evals/statistics/together.py": (),
    "evals/tasks/beside.py": (),
    "evals/tasks/bfcl.py": ("notes",),
    "evals/tasks/building.py": (),
    "evals/tasks/choice_rows.py": (),
    "evals/tasks/lmeval/metrics.py": (),
    "evals/tasks/lmeval/solver.py": (),
    "evals/tasks/lmeval/task.py": (),
    "evals/tasks/loading.py": (),
    "evals/tasks/rows.py": (),
    "evals/tasks/suite.py": (),
    "evals/tasks/task_file.py": (),
    "evals/report/stored.py": (),
    "lifecycle/access/usage.py": (),
    "lifecycle/answer_schema.py": (),
    "lifecycle/config_file.py": (),
    "lifecycle/models/adapter_source.py": (),
    "lifecycle/models/answers.py": (),
    "lifecycle/models/base.py": (),
    "lifecycle/models/beside_adapter.py": (),
    "lifecycle/models/generation.py": (),
    "lifecycle/models/gguf_base.py": (),
    "lifecycle/models/hub.py": (),
    "lifecycle/models/named_templates.py": (),
    "lifecycle/models/packed.py": (),
    "lifecycle/models/peft_config.py": (),
    "lifecycle/models/preflight.py": (),
    "lifecycle/models/same_tokens.py": (),
    "lifecycle/models/templates.py": (),
    "lifecycle/models/tensors.py": (),
    "lifecycle/models/whole_models.py": (),
    "lifecycle/registry/artifact_book.py": (),
    "lifecycle/registry/database.py": (),
    "lifecycle/registry/file_book.py": (),
    "lifecycle/registry/judging.py": (),
    "lifecycle/registry/keyring.py": (),
    "lifecycle/registry/rating_checks.py": (),
    "lifecycle/registry/readable.py": (),
    "lifecycle/registry/records.py": (),
    "lifecycle/registry/registry.py": (),
    "lifecycle/registry/upload_book.py": (),
    "lifecycle/report.py": (),
    "lifecycle/rows/json_records.py": (),
    "lifecycle/rows/prompt_files.py": (),
    "lifecycle/rows/table_records.py": (),
    "lifecycle/schema_limits.py": (),
    "lifecycle/store/artifacts.py": (),
    "lifecycle/store/object_store.py": (),
    "lifecycle/text/normaliser.py": (),
    "retrieval/dense.py": (),
    "retrieval/index.py": (),
    "retrieval/prompting.py": (),
    "retrieval/stages/multi_query.py": (),
    "retrieval/stages/rankings.py": (),
    "retrieval/stages/rerank.py": (),
    "retrieval/stages/stage.py": (),
    "retrieval/stages/table.py": (),
    "retrieval/stages/token_budget.py": (),
    "retrieval/stages/trial.py": (),
    "retrieval/tokens.py": (),
    "service/classification/request.py": (),
    "service/cluster/fleet.py": (),
    "service/cluster/here.py": (),
    "service/cluster/ray_line.py": (),
    "service/cluster/room.py": (),
    "service/engine/grammar/worker.py": (),
    "service/engine/vllm/likelihood.py": (),
    "service/engine/vllm/submission.py": (),
    "service/engine/vllm/tools.py": (),
    "service/openai/allowed_fields.py": (),
    "service/openai/amounts.py": (),
    "service/openai/embedder.py": (),
    "service/openai/embeddings.py": (),
    "service/openai/fields.py": (),
    "service/openai/http_errors.py": (),
    "service/openai/likelihoods.py": (),
    "service/openai/messages.py": (),
    "service/openai/prefix_cache.py": (),
    "service/openai/prompting.py": (),
    "service/openai/prompts.py": (),
    "service/openai/response_request.py": (),
    "service/openai/responses.py": (),
    "service/openai/routes_openai.py": (),
    "service/openai/structured.py": (),
    "service/whole_weights.py": (),
    "training/adapter_method.py": (),
    "training/again.py": (),
    "training/best_by.py": (),
    "training/completions.py": (),
    "training/config.py": (),
    "training/data/answers.py": (),
    "training/data/run_checks.py": (),
    "training/device.py": (),
    "training/fit.py": (),
    "training/golden.py": (),
    "training/jobs/by_devices.py": (),
    "training/jobs/cli.py": (),
    "training/jobs/evaluating.py": (),
    "training/jobs/files.py": (),
    "training/jobs/housekeeping.py": (),
    "training/jobs/keeping.py": (),
    "training/jobs/plan.py": (),
    "training/lora_shape.py": (),
    "training/methods.py": (),
    "training/mixture.py": (),
    "training/packing.py": (),
    "training/processes.py": (),
    "training/recipes/classification.py": (),
    "training/recipes/dpo.py": (),
    "training/recipes/full.py": (),
    "training/recipes/last_layers.py": (),
    "training/recipes/lora.py": (),
    "training/recipes/merged_lora.py": (),
    "training/recipes/qlora.py": (),
    "training/recipes/text.py": (),
    "training/refused.py": (),
    "training/room.py": (),
    "training/run.py": (),
    "training/shortage.py": (),
    "training/starting.py": (),
    "training/supervised.py": (),
    "training/tokens.py": (),
    "training/whole_weights.py": (),
    "lifecycle/registry/cursor.py": (),
    "lifecycle/rows/files.py": (),
    "lifecycle/rows/questions.py": (),
    "lifecycle/store/asking.py": (),
    "lifecycle/traffic.py": (),
    "lifecycle/version.py": (),
    "service/access/routes_keys.py": (),
    "service/catalogue.py": (),
    "service/classification/classifier.py": (),
    "service/connection.py": (),
    "service/engine/fake_engine.py": (),
    "service/engine/grammar/trial.py": (),
    "service/openai/models.py": (),
    "service/openai/text_inputs.py": (),
    "service/routes_gates.py": (),
    "service/routes_ops.py": (),
    "service/serving.py": (),
    "console/screens/compare.py": (),
    "training/data/checks.py": (),
    "training/data/looking.py": ("data_of",),
    "training/data/advice.py": (),
    "training/data/leaks.py": (),
    "training/data/repeats.py": (),
    "training/data/toxicity.py": (),
    "training/data/findings.py": (),
    "lifecycle/rows/answers.py": (),
    "lifecycle/rows/conversations.py": (),
    "lifecycle/rows/conversions.py": (),
    "lifecycle/rows/forms.py": ("conversation",),
    "lifecycle/rows/turns.py": (),
    "lifecycle/rows/faults.py": (),
    "lifecycle/standing.py": ("opens", "_not_asked_for", "_not_enough"),
    "lifecycle/aliases.py": (),
    "lifecycle/states.py": (),
    "lifecycle/jobs/states.py": (),
    "lifecycle/registry/moves.py": (),
    "lifecycle/registry/alias_stack.py": (),
    "lifecycle/registry/pin_book.py": (),
    "lifecycle/registry/rating_book.py": (),
    "lifecycle/registry/job_book.py": (),
    "lifecycle/registry/job_leases.py": (),
    "service/engine/supervise.py": (),
    "service/engine/pulse.py": (),
    "service/engine/vllm/errors.py": ("last_line",),
    "service/engine/vllm/engine.py": (),
    "service/adapters/golden.py": (),
    "service/adapters/pin_limit.py": (),
    "service/adapters/residency.py": (),
    "service/adapters/warming.py": (),
    "service/adapters/admission_gate.py": (),
    "service/classification/golden.py": (),
    "service/classification/residents.py": (),
    "service/classification/batches.py": (),
    "service/access/authentication.py": ("check_address",),
    "service/base_folder.py": (),
    "service/access/accounts.py": (),
    "service/access/ledger.py": (),
    "service/access/limiter.py": (),
    "service/access/redis_windows.py": ("__init__",),
    "service/access/hosts.py": (),
    "service/concurrency.py": ("in_thread",),
    "service/under_way.py": (),
    "service/resolution.py": (),
    "lifecycle/validation.py": (),
    "service/openai/http_input.py": (),
    "service/openai/fine_tuning/form.py": (),
    "service/openai/fine_tuning/routes_files.py": (),
    "service/openai/fine_tuning/routes_jobs.py": (),
    "service/openai/fine_tuning/routes_uploads.py": (),
    "service/openai/fine_tuning/asked.py": (),
    "service/routes_ratings.py": (),
    "service/traffic/routes_traffic.py": (),
    "training/jobs/watching.py": (),
    "training/jobs/leaving.py": (),
    "training/jobs/worker.py": (),
    "console/app.py": ("static",),
    "console/door.py": (),
    "console/forms.py": (),
    "console/live.py": (),
    "console/checking.py": (),
    "console/rendering.py": (),
    "console/screens/settings/health.py": (),
    "console/screens/keys.py": (),
    "console/screens/knowledge.py": (),
    "console/screens/overview/moving.py": (),
    "console/screens/overview/plan.py": (),
    "console/screens/versions/page.py": (),
    "console/screens/versions/comparing.py": ("_artifact",),
    "console/screens/reports/listing.py": (),
    "console/screens/reports/over_time.py": (),
    "console/screens/reports/reading.py": (),
    "console/screens/reports/rows.py": (),
}
"""Where sentences are made that a page shows, and the functions in which none is."""
ROOMS = ("lifecycle", "training", "service", "retrieval", "console", "evals")
"""Whose modules are `SPEAKERS` as soon as they say a sentence, or stand in `TERMINAL`."""
TERMINAL = (
    "lifecycle/commands/", "lifecycle/upkeep/", "lifecycle/registry/copying.py", "lifecycle/registry/migrations/",
    "lifecycle/registry/postgres.py",
    "lifecycle/store/stock.py", "lifecycle/rows/hub.py", "lifecycle/rows/sources.py", "lifecycle/rows/writing.py",
    "lifecycle/publishing.py", "lifecycle/plugins.py", "lifecycle/text/scores.py", "lifecycle/intervals.py",
    "retrieval/cli.py", "retrieval/documents.py", "retrieval/pages.py", "retrieval/chunks.py",
    "training/cli.py", "training/data/commands/", "training/data/distill/", "training/data/split", "training/export",
    "training/foreign/", "training/importing.py", "training/sweep", "training/tracking/", "training/by_ray.py",
    "training/sharding.py", "training/data/personal/", "training/container",
    "service/cli.py", "service/config.py", "service/first_answers.py", "service/traffic/shadow_cli.py",
    "service/cluster/command.py", "service/cluster/settings.py", "service/engine_side.py",
    "service/engine/vllm/options.py", "service/engine/vllm/flags.py", "service/engine/vllm/facts.py",
    "service/engine/vllm/gpu_memory.py", "service/engine/sharing.py", "service/served_bases.py",
    "evals/advice/", "evals/ci/", "evals/cli.py", "evals/foreign/", "evals/freshness.py", "evals/page_command.py",
    "evals/people/",
    "evals/report/words.py", "evals/retrieval/", "evals/safety/command.py", "evals/safety/planted_documents.py",
    "evals/safety/table.py",
)  # fmt: skip
"""Beginnings of the paths of modules whose sentences only a terminal shows: commands, and the start of the service."""
NO_SENTENCE = re.compile(
    r"\{\{|\{% (if|for|el)|\[DONE\]|^data: |at character|at line |Value error,|can't allocate|connection "
    r"|[Tt]he (telephone number|access code) (in|of) file"
    r"|the saved weights|(adapter_)?config\.json: |base: chat|Fri Jul 26|\(format\)|Unpacked from a GGUF"
)
"""What modules say to machines and to models: templates, words of other packages, places, and a model card."""
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
SAYING = {*ERRORS, "Problem", "Fault", "Finding", "finding", "JobEvent", "JobFault", "Health", "unreadable"}
NAMES = re.compile(r"fault|cure|why|said|says|message|text|told|words|_[A-Z]+|[A-Z_]*CURE|[A-Z]*SPELLING")
"""Of variables that hold a part of a sentence until it is said."""
KEYS = ("split", "compile", "N_", "_talk", "_form")
"""Calls whose words are names, patterns or the page's own (`test_language.py`)."""


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_every_sentence_that_a_page_may_show_has_its_arabic(speaker: str):
    english = [PLACE.sub("\0", said).replace("%%", "%") for said, _ in sentences("ar")]
    english += [BRACES.sub("\0", said["en"]) for said in catalogue().values()]
    known = "\n".join(english)
    lacking = [part for part in dict.fromkeys(_prose(speaker)) if part not in known]
    assert lacking == [], "give it an entry with its Arabic in console/translations/ar/service/"


def test_no_module_that_says_a_sentence_is_left_out():
    modules = [path.relative_to(ROOT).as_posix() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    rest = [path for path in modules if path not in SPEAKERS and not path.startswith(TERMINAL)]
    assert [path for path in rest if list(_called_prose(path))] == [], "name it in SPEAKERS, or in TERMINAL"
    assert all((ROOT / path).exists() or list(ROOT.glob(f"{path}*")) for path in (*SPEAKERS, *TERMINAL))


def test_every_stage_of_a_run_is_an_event_that_is_said_in_arabic():
    """As `training/jobs/watching.py` writes it, with a capital letter."""
    stages = set()
    for path in (ROOT / "training").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node) == "stage" and path.name != "progress.py":
                stages |= {
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "checkpoint-10" for part in said)
                    for said in _said_by(node.args[0])
                }
    assert len(stages) > 8
    assert [said for said in stages if heard(f"{said[:1].upper()}{said[1:]}", AR) is None] == []


def test_a_sentence_that_is_not_there_would_be_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.console.test_heard.sentences", lambda code: iter(()))
    with pytest.raises(AssertionError, match="give it an entry"):
        test_every_sentence_that_a_page_may_show_has_its_arabic("training/data/repeats.py")


@pytest.mark.parametrize("code", OTHERS)
def test_every_explanation_of_a_setting_is_translated(code: str):
    assert len(words()) > 40
    assert [name for name, said in words().items() if heard(said, language(code)) is None] == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_places_of_its_sentence_and_names_stand_apart(code: str):
    seen = set()
    for english, said in sentences(code):
        assert english not in seen, english
        seen.add(english)
        assert set(PLACE.findall(english)) == set(PLACE.findall(said)), english
        assert said.count("\u2066") == said.count("\u2069"), english
        outside = re.sub("\u2066[^\u2069]*\u2069", "", PLACE.sub("", said))
        assert re.findall(r"[A-Za-z]{2,}", outside) == [], english


def test_every_error_of_the_tree_has_a_sentence_for_people():
    assert {kind.code for kind in STATUS} <= set(HEADLINES)


@pytest.mark.parametrize(
    ("said", "arabic"),
    [
        ("1 row with an email", "صفوف فيها عنوان بريد: ١"),
        ("1,234 rows with a card, by its look", "صفوف فيها ما يشبه رقم بطاقة: ١٬٢٣٤"),
        ("my rows.jsonl:3: label is empty → give every text its label, or none",
         "my rows.jsonl:3: label فارغ ← أعطِ كل نص تصنيفه، أو لا تعطِ أيًّا منها"),
        ("The request is not valid:\n  seed: must be a whole number, or null",
         "الطلب غير صالح:\n  seed: المطلوب عدد صحيح أو null"),
        ("the engine could not load triage: vLLM did not take triage",
         "تعذّر على المحرّك تحميل triage: لم يقبل vLLM المكيّف triage"),
        ("triage:2 was not moved: triage:2 is retired; make a new version of its recipe",
         "لم يُنقل triage:2: سُحب triage:2 من الخدمة؛ اصنع إصدارًا جديدًا من وصفته"),
        ("latency: p95 3.218 s; at most 4 x base (1.0 s) = 4.0 s",
         "latency: المئين ٩٥ هو ٣٫٢١٨ ث؛ والحدّ الأعلى ٤ × base (١٫٠ ث) = ٤٫٠ ث"),
        ("there is no verdict: `dabt eval` ended with 1: triage.yaml cannot judge triage:9\n"
         "  arms: no arm is of the newest version, so none can be triage:9 → write version: triage:newest",
         "لا حكم: انتهى `dabt eval` بالرمز ١: لا يمكن لـ triage.yaml أن يحكم على triage:9\n"
         "  arms: ليس أي بديل من أحدث إصدار، فلا يمكن أن يكون أحدها triage:9 ← اكتب version: triage:newest"),
        ("rows.jsonl:4: is not JSON: expected ident at character 2 [not_json]",
         "rows.jsonl:4: ليس JSON: المتوقّع ident عند الحرف ٢ [not_json]"),
        ("there is no verdict: `dabt eval` ended with 1: the targets cannot be scored by this task\n"
         "  triage:4 target: 'perhaps' is none of urgent, routine → one of the task's labels",
         "لا حكم: انتهى `dabt eval` بالرمز ١: لا يمكن لهذه المهمة أن تقيّم الأهداف\n"
         "  triage:4 target: perhaps ليس من urgent, routine ← أحد تصنيفات المهمة"),
        ("no task 'triag' in lm-eval's own tasks; there is triage, triage_ar",
         "لا مهمة باسم triag في مهام lm-eval نفسها؛ يوجد triage, triage_ar"),
        ("no answer of few-shot has the deciding figure bfcl: no item bears on it",
         "لا إجابة من few-shot فيها المقياس الحاسم bfcl: لا عنصر له صلة به"),
        ("paired samples differ in length: 200 and 199", "العينتان المقترنتان مختلفتا الطول: ٢٠٠ و١٩٩"),
        ("a model wrote this, and so it stays", None),
    ],
)  # fmt: skip
def test_a_sentence_with_others_in_it_is_said_to_the_last_word(said: str, arabic: str | None):
    told = heard(said, DIGITS)
    assert (told and ISOLATES.sub("", told)) == (arabic and ISOLATES.sub("", arabic))
    assert heard(said, language("en")) is None


def test_what_stands_in_a_place_can_neither_run_nor_turn_what_follows():
    page = str(shown("the file <b>\u202e</b> of ftjob-1 is gone", AR))
    assert "<b>" not in page
    assert "\u202e" not in page
    assert str(shown("<script>", AR)) == '<span class="heard said" lang="en" dir="auto">&lt;script&gt;</span>'


def test_marks_of_code_are_code_on_a_page_and_what_stands_between_them_is_escaped():
    assert "<code>dabt gc</code> first" in str(shown("run `dabt gc` first", language("en")))
    assert "<code>&lt;b&gt;</code>" in str(shown("`<b>`", AR))
    arabic = str(shown(words()["worker"], AR))
    assert "<code>dabt serve</code>" in arabic
    assert "`" not in arabic


@pytest.mark.parametrize("code", OTHERS)
def test_a_bracket_opens_to_where_the_sentence_is_read(code: str):
    """One that stands apart with the direction of code opens the other way."""
    assert [said for _, said in sentences(code) if re.search("\u2066[()\\[\\]]\u2069", said)] == []


def test_a_long_text_that_nothing_fits_is_given_up_at_once():
    assert heard("is : and ; , " * 4000, AR) is None


@pytest.mark.parametrize(
    "row", ["is : and ; , ", "a. b: c; d, ", "take it out; ", "take it out: 1 row with an email. "]
)
def test_what_a_hostile_line_costs_has_a_bound(row: str, monkeypatch: pytest.MonkeyPatch):
    tried: list[str] = []

    def of(self: Likely[object], text: str) -> Sequence[object]:
        tried.append(text)
        return plain(self, text)

    plain = Likely.of
    monkeypatch.setattr(Likely, "of", of)
    costs = []
    for longest in (100, 590):
        tried.clear()
        heard((row * 60)[:longest] + "\x01", AR)
        costs.append(len(tried))
    assert costs[1] < 2_000, "each is a look for the words of a text, of some microseconds"


def _said_by(node: ast.expr) -> Iterator[Sequence[ast.expr]]:
    """The parts of each text that it may be."""
    if isinstance(node, ast.IfExp):
        yield from _said_by(node.body)
        yield from _said_by(node.orelse)
    elif isinstance(node, ast.Constant | ast.JoinedStr):
        yield node.values if isinstance(node, ast.JoinedStr) else [node]


def _prose(speaker: str) -> Iterator[str]:
    """The literal parts of two words or more of what a module says or returns, without commands."""
    tree = ast.parse((ROOT / speaker).read_text(encoding="utf-8"))
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in SPEAKERS[speaker]:
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Call) and _called(node) in SAYING:
            yield from _literals([*node.args, *(keyword.value for keyword in node.keywords)])
        elif isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            yield from _literals([node.value])
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            if any(NAMES.fullmatch(name) for name in names):
                yield from _literals([node.value])


def _called_prose(speaker: str) -> Iterator[str]:
    """Of an error or a finding alone."""
    for node in ast.walk(ast.parse((ROOT / speaker).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _called(node) in SAYING:
            yield from _literals([*node.args, *(keyword.value for keyword in node.keywords)])


def _literals(nodes: Sequence[ast.AST]) -> Iterator[str]:
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and _called(node) in KEYS:
            continue
        if isinstance(node, ast.FormattedValue):
            waiting.append(node.value)  # and not what formats it
        elif not isinstance(node, ast.Constant):
            waiting += ast.iter_child_nodes(node)
        elif isinstance(node.value, str) and "<" not in node.value:
            for part in re.split(r"`[^`]*(?:`|$)|\{\w+\}", node.value):
                if len(re.findall(r"[A-Za-z]{2,}", part)) > 1 and " " in part.strip() and not NO_SENTENCE.search(part):
                    yield part.strip()


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
