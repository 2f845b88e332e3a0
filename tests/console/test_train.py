"""Train: from rows on a person's disk to a job whose losses are watched, by the fine-tuning API alone."""

from __future__ import annotations

import asyncio
import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from console import checking
from console.screens.train.drawing import ticks
from console.screens.train.jobs import _evaluation
from lifecycle.jobs.nouns import Job, JobEvaluation, JobEvent, JobFault, JobProgress, JobResult, UploadedFile
from lifecycle.jobs.states import JobState
from tests.console.conftest import PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits
from tests.lifecycle.conftest import report_on, verdict_on
from tests.service.conftest import House

CLINIC = Path(__file__).parents[2] / "examples" / "clinic" / "base_model"


def rows(count: int = 30) -> bytes:
    said = [(f"سؤال رقم {n}", str(n)) for n in range(count)] + [("Call Amal at +962 79 123 4567 <b>", "ok")]
    talks = ([{"role": "user", "content": asked}, {"role": "assistant", "content": answer}] for asked, answer in said)
    return b"".join(json.dumps({"messages": talk}, ensure_ascii=False).encode() + b"\n" for talk in talks)


def fill(house: House) -> None:
    for name, role in (("tara", "trainer"), ("other", "trainer"), ("eva", "evaluator")):
        house.key(name, role=role)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill, base=CLINIC)


@pytest.fixture(scope="module")
def quick(served: Served) -> Served:
    """The same, where the checks are not a process of their own, which loads a tokenizer for each file."""
    console: Any = served.app.state.console

    async def look_here(file: Path, name: str, out: Path) -> None:
        checking._write(out, await asyncio.to_thread(checking.look, file, name, CLINIC))

    console.checks._look = look_here
    return served


def sent(served: Served, content: bytes | None = None, name: str = "rows.jsonl") -> str:
    """A file from the form of a page without scripts; its id."""
    with served.client("tara") as client:
        file = {"file": (name, rows() if content is None else content)}
        answer = client.post("/ui/train/files", data={"purpose": "fine-tune"}, files=file)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"].rpartition("/")[2]


def asked(served: Served, **fields: str) -> Any:
    with served.client("tara") as client:
        form = {"model": "base_model", "training_file": sent(served), "suffix": "triage", **fields}
        return client.post("/ui/train/jobs", data=form)


def taken(served: Served, id_: str) -> Job:
    leases = served.house.registry.leases
    assert leases.validated(id_, None, "w")
    job = leases.take("w", [served.house.registry.jobs.get(id_, None).base], {})
    assert job is not None
    return job


def checked(served: Served, client: Any, id_: str) -> str:
    """The page of the file once the checks have looked at it."""
    text = client.get(f"/ui/train/files/{id_}").text
    while "hx-trigger" in text:
        text = client.get(f"/ui/train/files/{id_}").text
    return str(text)


def test_a_file_is_looked_at_and_its_personal_data_is_shown_with_placeholders_alone(served: Served):
    id_ = sent(served)
    with served.client("tara") as client:
        page = checked(served, client, id_)
    assert "31 rows" in page
    assert "[PHONE_1] &lt;b&gt;" in page
    assert "79 123 4567" not in page
    assert "rows.jsonl:31" in page
    assert "What a run takes" in page


def test_what_cannot_be_read_is_told_with_its_place(quick: Served):
    served = quick
    with served.client("tara") as client:
        broken = checked(served, client, sent(served, b'{"messages": 3}\n{"a": \n'))
        assert "rows.jsonl:1" in broken
        assert "rows.jsonl:2" in broken


def test_a_file_and_a_job_are_its_owners_alone(served: Served):
    id_ = sent(served)
    job = asked(served).headers["location"]
    with served.client("other") as client:
        for place in (f"/ui/train/files/{id_}", job, f"{job}/curve"):
            assert client.get(place).status_code == 404
        assert client.post(f"{job}/cancel").status_code == 404
        assert id_ not in client.get("/ui/train").text
    with served.client("eva") as client:
        assert client.get("/ui/train").status_code == 403


def test_a_deleted_file_is_gone(served: Served):
    id_ = sent(served)
    with served.client("tara") as client:
        assert client.post(f"/ui/train/files/{id_}/delete").status_code == 303
        assert client.get(f"/ui/train/files/{id_}").status_code == 404


def test_a_form_becomes_the_job_that_the_api_would_make(served: Served):
    made = asked(served, method="dpo", n_epochs="3", learning_rate_multiplier="0.5", beta="", seed="7")
    job = served.house.registry.jobs.get(made.headers["location"].rpartition("/")[2], None)
    told = job.request
    assert (told.method, told.seed, told.suffix, told.model) == ("dpo", 7, "triage", "base_model")
    assert told.hyperparameters.model_dump() == {
        "n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.5, "beta": "auto",
    }  # fmt: skip


def test_a_form_asks_for_a_rate_and_a_rank_and_says_what_they_are_otherwise(served: Served):
    made = asked(served, learning_rate="1e-3", lora_rank="8")
    told = served.house.registry.jobs.get(made.headers["location"].rpartition("/")[2], None).request.hyperparameters
    assert (told.learning_rate_multiplier, told.lora_rank) == (5, 8)
    with served.client("tara") as client:
        page = client.get("/ui/train/new").text
    assert "Left empty: 0.0002" in page
    assert "Left empty: 16" in page


def test_yaml_goes_to_the_api_as_it_is(served: Served):
    file = sent(served)
    text = f"model: base_model\ntraining_file: {file}\nseed: 9\nmetadata: {{team: عيادة}}\n"
    made = asked(served, yaml=text)
    job = served.house.registry.jobs.get(made.headers["location"].rpartition("/")[2], None)
    assert (job.request.seed, job.request.metadata) == (9, {"team": "عيادة"})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n_epochs": "many"}, "n_epochs"), ({"training_file": "file-none"}, "there is no file file-none"),
        ({"yaml": "a: [b"}, "is no YAML"), ({"yaml": "- a"}, "is not a mapping"),
        ({"model": "nobody"}, "nobody"), ({"yaml": "[" * 5000}, "is no YAML"), ({"seed": "-1"}, "seed"),
        ({"yaml": "seed: 1\nseed: 2\n"}, "the key seed stands in line 1 already"),
        ({"lora_rank": "12"}, "one of the ranks 1, 8, 16"), ({"lora_rank": "32"}, "32 is more than 16"),
        ({"learning_rate": "1"}, "learning_rate_multiplier"),
    ],
)  # fmt: skip
def test_a_refused_job_leaves_the_form_as_it_was(served: Served, fields: dict[str, str], told: str):
    answer = asked(served, **fields)
    assert answer.status_code in (400, 404)
    assert told in answer.text
    assert 'value="triage"' in answer.text


def test_the_curve_has_the_bases_own_line_and_a_gap_where_a_loss_is_no_number(served: Served):
    made = asked(served).headers["location"]
    job = taken(served, made.rpartition("/")[2])
    figures = [{"base_valid_loss": 2.5}, {"step": 1, "train_loss": 2.0}, {"step": 2, "train_loss": math.nan},
               {"step": 3, "train_loss": 1.0}, {"step": 3, "valid_loss": 1.5}]  # fmt: skip
    events = [JobEvent(message="told", data=told) for told in figures]
    served.house.registry.leases.tell(job.id, "w", events)
    with served.client("tara") as client:
        assert client.get(f"{made}/curve").json() == {
            "steps": [1, 2, 3], "train_loss": [2.0, None, 1.0], "valid_loss": [None, None, 1.5],
            "base_valid_loss": 2.5, "events": 9, "status": "running", "progress": None,
        }  # fmt: skip
        page = client.get(made).text
        assert "own validation loss is 2.500" in page
        assert 'class="run5"' in page, "the base's own line, in the picture of a page without scripts"
        assert client.post(f"{made}/pause").status_code == 303
        assert "Go on" in client.get(made).text
        assert client.post(f"{made}/resume").status_code == 303
        assert client.post(f"{made}/cancel").status_code == 303
        refused = client.post(f"{made}/pause")
        assert refused.status_code == 400
        assert "is cancelled" in refused.text


def test_more_events_than_one_page_of_the_api_are_all_in_the_curve(served: Served):
    made = asked(served).headers["location"]
    job = taken(served, made.rpartition("/")[2])
    events = [JobEvent(message="", data={"step": n, "train_loss": 1.0}) for n in range(1, 251)]
    served.house.registry.leases.tell(job.id, "w", events)
    with served.client("tara") as client:
        assert client.get(f"{made}/curve").json()["steps"] == list(range(1, 251))


def test_a_failed_job_says_why(served: Served):
    made = asked(served).headers["location"]
    job = taken(served, made.rpartition("/")[2])
    served.house.registry.leases.failed(job.id, "w", JobFault(code="invalid_training_file", message="rows.jsonl:3 <i>"))
    with served.client("tara") as client:
        assert "rows.jsonl:3 &lt;i&gt;" in client.get(made).text


def test_a_finished_job_leads_to_the_evaluation_that_its_verdict_rests_on(served: Served):
    class AtRegistry:
        async def run(self, look: Any, *given: object) -> Any:
            return look(*given)

    registry = served.house.registry
    version = served.house.version("finished", prompt={"system": "x"})
    reports = [report_on(version), report_on(version, items=100)]
    for report in reports:
        registry.record_report(report)
    verdicts = [verdict_on(version, report) for report in reports]
    for verdict in verdicts:
        registry.record_verdict(verdict)
    state = SimpleNamespace(registry=registry, parts=SimpleNamespace(at_registry=AtRegistry()))
    request: Any = SimpleNamespace(app=SimpleNamespace(state=state))

    def leads_to(verdict: str | None) -> str | None:
        told = {"version": version.ref, "evaluation": {"verdict": verdict}}
        return asyncio.run(_evaluation(request, told))

    assert [leads_to(verdict.digest) for verdict in verdicts] == [report.digest for report in reports]
    assert leads_to(None) is None
    assert asyncio.run(_evaluation(request, {"version": version.ref, "evaluation": None})) is None


def measured(served: Served, *losses: float) -> str:
    """A job with such losses in validation; its id."""
    id_ = asked(served).headers["location"].rpartition("/")[2]
    job = taken(served, id_)
    events = [JobEvent(message="", data={"step": n, "valid_loss": loss}) for n, loss in enumerate(losses, 1)]
    served.house.registry.leases.tell(job.id, "w", events)
    return str(job.id)


def test_losses_of_several_runs_are_drawn_over_each_other(served: Served):
    first, second = measured(served, 2.0, 1.0, 1.5), measured(served, 3.0, math.nan, 2.5, 2.0)
    place = f"/ui/train/losses?name=triage&job={first}&job={second}"
    with served.client("tara") as client:
        page = client.get(place).text
        picture = page.partition('class="losses"')[2].partition("</svg>")[0]
        assert re.findall(r'<(polyline|circle)[^>]*class="(?:dot )?(run\d)"', picture) == [
            ("polyline", "run0"), ("circle", "run1"), ("polyline", "run1"),
        ]  # fmt: skip
        assert "1.000 at step 2" in page
        assert page.count(" checked") == 2
        assert 'class="losses"' not in client.get("/ui/train/losses?figure=none").text
        assert "None of them has such a figure yet" in client.get(f"{place}&figure=train_loss").text
    with served.client("other") as client:
        assert client.get(place).status_code == 404


@pytest.mark.parametrize(
    ("low", "high", "there"),
    [(0.3, 1.9, [0, 0.5, 1, 1.5, 2]), (2.0, 2.0, [2, 4]), (0.0, 0.0, [0, 1]),
     (0.01, 0.02, [0.01, 0.012, 0.014, 0.016, 0.018, 0.02])],
)  # fmt: skip
def test_the_lines_of_a_picture_are_at_round_numbers(low: float, high: float, there: list[float]):
    assert ticks(low, high) == there


def test_where_the_page_reads_from_the_right_so_do_the_steps(served: Served):
    place = f"/ui/train/losses?job={measured(served, 2.0, 1.0)}"

    def across(language: str) -> list[float]:
        with served.client("tara") as client:
            client.cookies.set("dabt_language", language, path="/ui")
            points = client.get(place).text.partition('<polyline points="')[2].partition('"')[0]
        return [float(point.partition(",")[0]) for point in points.split()]

    left, right = across("en"), across("ar")
    assert left[0] < left[1]
    assert right[0] > right[1]


@pytest.mark.e2e
def test_a_person_follows_a_job_to_its_evaluation_and_cancels_another(served: Served):
    registry = served.house.registry
    made = asked(served).headers["location"]
    job = taken(served, made.rpartition("/")[2])
    with served.person("ar", theme="dark", width=PHONE, key="tara") as page:
        page.goto(made)
        bar = page.locator("#steps progress")
        assert bar.count() == 0
        for step in (10, 30):
            finish = datetime.now(UTC) + timedelta(minutes=10)
            registry.leases.beat(job.id, "w", JobProgress(step=step, total_steps=40, estimated_finish=finish))
            page.locator(f"#steps progress[value='{step}'][max='40']").wait_for()
            assert f"الخطوة {step} من 40" in page.locator("#steps").inner_text()
            assert "بقي نحو 10 دقائق" in page.locator("#steps").inner_text()
        version = served.house.version("followed", prompt={"system": "x"})
        report = report_on(version)
        verdict = verdict_on(version, report)
        registry.record_report(report)
        registry.record_verdict(verdict)
        told = JobEvaluation(name="triage", ruling="passed", verdict=verdict.digest, opens="prod")
        registry.leases.seal(job.id, "w")
        result = JobResult(model=f"ft:{job.id}", version=version.ref, evaluation=told)
        figures = UploadedFile(
            id=f"file-{job.tail}", owner=job.owner, purpose="fine-tune-results", filename="step_metrics.csv", bytes=1,
            digest=job.base, created_at=datetime.now(UTC),
        )  # fmt: skip
        registry.leases.succeeded(job, "w", result, [], [], figures)
        page.locator(".card.well a.button.main").click()
        page.wait_for_url("**/ui/reports/*")
        assert page.locator("h1").is_visible()

        other = asked(served).headers["location"]
        page.goto(other)
        page.locator("#state summary").click()
        page.locator("#state button.danger").click()
        page.wait_for_function("() => !document.querySelector('#state form')")
        assert page.url.endswith(other)
    assert registry.jobs.get(other.rpartition("/")[2], None).state is JobState.CANCELLED


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", 1200), ("ar", "dark", PHONE)])
def test_a_person_sends_rows_in_parts_reads_the_checks_and_starts_a_job(
    quick: Served, tmp_path: Path, language: str, theme: str, width: int
):
    served = quick
    file = tmp_path / "صفوف.jsonl"
    file.write_bytes(rows(1000))
    with served.person(language, theme=theme, width=width, key="tara", watched=False) as page:
        # Parts that are small, and a connection that breaks at the second one.
        served_script = page.request.get("/ui/train").text().split("train.js")[0].rpartition('"')[2] + "train.js"
        script = page.request.get(served_script).text().replace("8 * 2 ** 20", "2 ** 15")
        page.route("**/train.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
        sent_parts: list[str] = []

        def part(route: Any) -> None:
            sent_parts.append(route.request.url)
            if len(sent_parts) == 2:
                route.abort()
            else:
                route.continue_()

        page.route("**/parts", part)
        page.goto("/ui/train")
        assert_accessible(page)
        assert_fits(page)
        page.locator("#file").set_input_files(file)
        page.locator("#send button").click()
        failed = page.locator("#send").get_attribute("data-failed")
        page.get_by_text(failed).wait_for()
        page.reload()
        page.locator("#file").set_input_files(file)
        page.locator("#send button").click()
        page.wait_for_url("**/ui/train/files/**")
        upload = {url.split("/uploads/")[1] for url in sent_parts}
        assert len(upload) == 1
        page.wait_for_selector(".finding")
        assert page.locator("h1").inner_text() == "صفوف.jsonl"
        assert_accessible(page)
        assert_fits(page)
        page.locator("header .button").click()
        page.locator("#suffix").fill("triage")
        assert_accessible(page)
        assert_fits(page)
        page.locator("form.card .main").click()
        page.wait_for_url("**/ui/train/jobs/**")
        job = taken(served, page.url.rpartition("/")[2])
        tell = served.house.registry.leases.tell
        tell(job.id, "w", [JobEvent(message="Step 1", data={"step": 1, "train_loss": 2.0, "valid_loss": 2.1})])
        page.wait_for_selector("#curve[data-points='1'] canvas")
        page.locator("#state form[action$=pause]").wait_for()  # it has begun since the page was made
        page.locator("#events li").nth(4).wait_for()
        assert_accessible(page)
        assert_fits(page)
        served.house.registry.leases.failed(job.id, "w", JobFault(code="stopped", message="the disk is full"))
        page.wait_for_selector(".card.refused")
        page.wait_for_selector("#curve[data-ended=yes]")  # it is made again once the curve has its last point
