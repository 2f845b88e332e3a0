"""What is under deploy/ to look at a service with asks for series that there are, and the guide names all of them."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.engine.grammar.trial import GrammarTrials
from service.engine.interface import Tally
from service.observability.telemetry import Telemetry
from service.openai import http_errors
from service.request_context import RequestContext
from tests.service.conftest import fake_base, make_house

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
ALERT_TESTS = Path(__file__).with_name("alerts_test.yaml")
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
GUIDE = (ROOT / "docs" / "guides" / "observability.md").read_text(encoding="utf-8")

FROM_PROMETHEUS = {"job", "instance", "le"}
"""Labels that no program puts on its page."""
WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is absent (Debian: prometheus)")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return board


def shown() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of everything that deploy/ asks."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in shown():
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for note in dashboard()["annotations"]["list"]:
        if "expr" in note:
            yield note["name"], note["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            definition = variable["definition"]
            yield variable["name"], re.sub(r"label_values\((.*), (\w+)\)", r"group by (\2) (\1)", definition)


def selectors(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """The series that PromQL reads, each with the labels that it matches; and the labels that it groups by."""
    text = re.sub(r'"[^"]*"', '""', expression)
    read: dict[str, set[str]] = {}
    for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", text):
        read.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    grouped = {label for inside in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", text) for label in inside.split(", ")}
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without)\s*\([^)]*\)", " ", text)
    for name in re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w|\s*\()", text):
        if name not in WORDS:
            read.setdefault(name, set())
    return read, grouped


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a service shows that has had one request of each kind."""
    root = tmp_path_factory.mktemp("page")
    house = make_house(root / "home", fake_base(root / "tiny"))
    house.prod("triage")
    app = create_app(ServeConfig(base=house.base), FakeEngine(), house.registry, house.store)
    parts = app.state.parts
    parts.catalogue.refresh()
    telemetry: Telemetry = parts.telemetry
    measured = telemetry.request("triage:1", "chat")
    measured.handed_to_engine()
    with telemetry.retrieving("triage:1"), telemetry.leasing():
        measured.done(Tally(prompt_tokens=1, completion_tokens=1, queue=0.1, first_token=0.1, per_token=0.1))
    telemetry.answered(RequestContext(figures=measured), "/v1/chat/completions", 200)
    telemetry.answered(RequestContext(code="not_found"), "/v1/chat/completions", 404)
    telemetry.request("unknown", "chat").failed("not_found")
    telemetry.canary_rolled_back("triage:prod")
    telemetry.shadowed("answered")
    telemetry.look()
    text = (telemetry.page() + GrammarTrials(5.0).page()).decode()
    house.registry.close()
    return text


@pytest.fixture(scope="module")
def series(page: str) -> dict[str, set[str] | None]:
    """Every name that can be asked for on our page, with its labels; None where no label is known yet."""
    found: dict[str, set[str] | None] = {}
    for name, kind in kinds(page).items():
        names = [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]
        found |= dict.fromkeys(names)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found[sample.name] = set(sample.labels)
    return found


def kinds(page: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", page, re.MULTILINE))


def test_the_reader_of_promql_sees_series_and_labels() -> None:
    read, grouped = selectors(
        'histogram_quantile(0.95, sum by (le, job) (rate(a_bucket{x="a{b",y=~"c"}[5m]))) / b:c:d > 14.4 * 0.005 and d'
    )
    assert read == {"a_bucket": {"x", "y"}, "b:c:d": set(), "d": set()}
    assert grouped == {"le", "job"}
    assert selectors("increase(x_total[$__rate_interval]) == 0 or vector(0)")[0] == {"x_total": set()}


def test_every_series_that_is_asked_for_exists_and_has_the_labels(series: dict[str, set[str] | None]) -> None:
    known: dict[str, set[str] | None] = {**series, "up": set()}
    known |= {rule["record"]: None for rule in rules() if "record" in rule}
    wrong = []
    for where, expression in expressions():
        read, grouped = selectors(expression)
        assert read, f"{where} asks for nothing"
        ours = [name for name in read if not name.startswith("vllm:")]
        wrong += [f"{where}: there is no series {name}" for name in ours if name not in known]
        for name in ours:
            labels = known.get(name)
            if labels is not None:
                missing = (read[name] | grouped) - labels - FROM_PROMETHEUS
                wrong += [f"{where}: {name} has no label {label}" for label in missing]
    assert wrong == []


def test_every_series_of_vllm_that_is_asked_for_is_in_its_source() -> None:
    """Read as text: importing vLLM takes half a minute. The engine tests look at a real page."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    source = (Path(spec.submodule_search_locations[0]) / "v1" / "metrics" / "loggers.py").read_text(encoding="utf-8")
    asked = vllm_series()
    assert asked
    assert [name for name in asked if f'"{re.sub("_(total|bucket|sum|count)$", "", name)}"' not in source] == []


def vllm_series() -> set[str]:
    return {name for _, text in expressions() for name in selectors(text)[0] if name.startswith("vllm:")}


def test_alerts_hold_the_service_to_its_own_faults_and_not_to_its_callers() -> None:
    lists = set(re.findall(r'dabt_request_errors_total\{code=~"([^"]+)"', ALERTS.read_text(encoding="utf-8")))
    assert len(lists) == 1, "the expressions disagree about what a fault of the service is"
    named = set(lists.pop().split("|"))
    ours = {error.code for error in http_errors.STATUS if http_errors.STATUS[error][0] >= 500}
    callers = {error.code for error in http_errors.STATUS if http_errors.STATUS[error][0] < 500}
    assert named == ours | {"unexpected"}
    assert not named & callers


def test_every_alert_says_what_happened_what_to_do_and_how_bad_it_is() -> None:
    for name, alert in alerts().items():
        assert set(alert["annotations"]) == {"summary", "description"}, name
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        assert re.search(rf"^\| `{name}` \|", GUIDE, re.MULTILINE), f"docs/guides/observability.md lacks {name}"
    assert set(re.findall(r"^\| `(Dabt\w+)` \|", GUIDE, re.MULTILINE)) == set(alerts())


def test_commands_and_options_that_alerts_advise_exist() -> None:
    import dabt

    commands: Any = typer.main.get_command(dabt.app).commands  # type: ignore[attr-defined]
    text = " ".join(alert["annotations"]["description"] for alert in alerts().values())
    advised = re.findall(r"`dabt (\w+)([^`]*)`", text)
    bare = re.findall(r"--[a-z][a-z-]+", re.sub(r"`dabt [^`]*`", "", text))
    assert advised
    assert bare
    for command, rest in [*advised, *(("serve", option) for option in bare)]:
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z][a-z-]+", rest)) <= known, f"dabt {command}{rest}"


def test_every_alert_has_a_course_of_events_in_which_it_fires() -> None:
    tests = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case["exp_alerts"]}
    assert fired == set(alerts())


@promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(ALERTS)),
        ("check", "config", str(ROOT / "deploy" / "prometheus" / "prometheus.yaml")),
        ("test", "rules", str(ALERT_TESTS)),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [{"record": "x", "expr": text.replace("$__rate_interval", "5m")} for _, text in expressions()]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}))
    # Many rules of one name are a fault of lint, which is not the question.
    command = ["promtool", "check", "rules", "--lint=none", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_finds_no_fault_with_the_page(page: str) -> None:
    """Names, units and help texts by Prometheus' conventions."""
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_can_be_imported_by_any_grafana() -> None:
    board = dashboard()
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", board["uid"])
    assert board["id"] is None, "an id is one Grafana's own"
    assert isinstance(board["schemaVersion"], int)
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in shown():
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert references, panel["title"]
        assert len(set(references)) == len(references), panel["title"]
        assert {json.dumps(target["datasource"]) for target in panel["targets"]} == {json.dumps(panel["datasource"])}
    used = set(re.findall(r"\$(?!__)\{?(\w+)", json.dumps([panel["targets"] for panel in shown()])))
    assert used == set(variables), "a variable is asked for and not there, or the other way round"


def test_panels_stand_in_rows_without_gaps_or_overlaps() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    for name, at in places:
        assert at["x"] >= 0, name
        assert at["x"] + at["w"] <= 24, name
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"]
        assert apart or b["y"] + b["h"] <= a["y"], f"{one} lies over {other}"
    titles = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert titles == ["Now", "Traffic", "Latency", "Tokens and keys", "Adapters", "Engine", "Moves of traffic"]


def test_the_guide_lists_every_series_with_its_kind_and_labels(page: str, series: dict[str, set[str] | None]) -> None:
    rows = re.findall(r"^\| `(dabt_\w+)` \| (\w+) \| ([^|]*) \|", GUIDE, re.MULTILINE)
    listed = {name: kind for name, kind, _ in rows}
    assert listed == kinds(page), "docs/guides/observability.md and the page of metrics differ"
    for name, kind, labels in rows:
        known = series[f"{name}_count" if kind == "histogram" else name]
        if known is not None:
            assert set(re.findall(r"`(\w+)`", labels)) == known, name
