"""The screen Watch, and the history behind it: ticks and their sums, gaps where nothing was, bounded memory."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any

import pytest
from playwright.sync_api import expect

from console.history import COARSE_STEP, GAUGES, MOST_VERSIONS, REST, STEP, History, Tick, joined, series
from service.observability.counted import SECONDS, Counted
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits
from tests.service.conftest import House

FAST = (0, 0, 4, *([0] * (len(SECONDS) - 2)))
SLOW = (*([0] * 8), 4, *([0] * (len(SECONDS) - 8)))
CALM = {"engine_up": 1.0, "requests_in_flight": 0.0, "registry_age_seconds": 0.1}


def history_of(*readings: dict[str, Counted], step: float = STEP) -> History:
    """One reading every `step` seconds, the first of them of nothing."""
    history, whole = History(), dict[str, Counted]()
    history.take({}, CALM, 1000.0, 0.0)
    for place, come in enumerate(readings, start=1):
        whole = {v: whole.get(v, Counted()) + come.get(v, Counted()) for v in whole.keys() | come.keys()}
        history.take(dict(whole), CALM, 1000.0 + place * step, place * step)
    return history


def test_the_first_reading_is_no_tick_and_each_later_one_has_what_came_since():
    history = History()
    history.take({"a:1": Counted(requests=500)}, CALM, 0.0, 0.0)
    assert history.ticks("15m") == []
    history.take({"a:1": Counted(requests=530)}, CALM, 10.0, 10.0)
    (tick,) = history.ticks("15m")
    assert tick.versions == {"a:1": Counted(requests=30)}
    assert series([tick])["requests"] == [3.0]


def test_where_nothing_was_measured_there_is_no_number():
    history = history_of(
        {"a:1": Counted(requests=4, first_token=FAST)}, {}, {"a:1": Counted(requests=4, first_token=FAST)}
    )
    columns = series(history.ticks("15m"))
    assert columns["requests"] == [0.4, 0.0, 0.4]
    assert [value is None for value in columns["ttft_p95"]] == [False, True, False]
    json.dumps(columns, allow_nan=False)


def test_a_pause_in_which_nobody_looked_is_a_gap_in_every_line():
    history = history_of({"a:1": Counted(requests=1)})
    history.take({"a:1": Counted(requests=2)}, CALM, 1000.0 + 900, 900.0)
    columns = series(history.ticks("1h"))
    assert len(columns["at"]) == 3
    assert columns["at"] == sorted(columns["at"])
    assert [columns[name][1] for name in columns if name != "at"] == [None] * (len(columns) - 1)


def test_a_quantile_of_two_minutes_is_of_all_their_values_together():
    readings = [{"a:1": Counted(requests=4, first_token=FAST)} for _ in range(11)]
    readings.append({"a:1": Counted(requests=4, first_token=SLOW)})
    (coarse,) = history_of(*readings).ticks("24h")
    assert coarse.seconds == COARSE_STEP
    assert coarse.of("a:1").requests == 48
    told = coarse.of("").quantile("first_token", 0.95)
    assert told is not None
    assert told > 1.0
    assert coarse.of("").quantile("first_token", 0.5) < 0.03  # type: ignore[operator]


def test_what_has_not_filled_two_minutes_yet_is_in_the_long_windows_too():
    ticks = history_of(*[{"a:1": Counted(requests=1)} for _ in range(15)]).ticks("6h")
    assert [tick.of("a:1").requests for tick in ticks] == [12, 3]


def test_an_engine_that_was_down_for_a_moment_is_down_in_the_sum():
    ticks = [Tick(10.0, 10.0, {}, {"engine_up": up, "slots_taken": slots}) for up, slots in ((1, 2), (0, 0), (1, 4))]
    assert joined(ticks).gauges == {"engine_up": 0, "slots_taken": 2.0}


def test_the_busiest_versions_are_told_apart_and_the_rest_is_summed_up():
    many = {f"v:{place}": Counted(requests=place) for place in range(1, 101)}
    (tick,) = history_of(many).ticks("15m")
    assert len(tick.versions) == MOST_VERSIONS + 1
    assert tick.total.requests == sum(range(1, 101))
    assert tick.of(REST).requests == sum(range(1, 101 - MOST_VERSIONS))


def test_a_day_of_a_thousand_busy_versions_takes_less_than_forty_mebibytes():
    full = tuple(range(1000, 1000 + len(SECONDS) + 1))

    def size(tick: Tick) -> int:
        seen: set[int] = set()

        def of(value: Any) -> int:
            if id(value) in seen:
                return 0
            seen.add(id(value))
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
            slots = [getattr(value, name) for name in getattr(type(value), "__slots__", ())]
            return sys.getsizeof(value) + sum(map(of, [*inner, *slots]))

        return of(tick)

    busy = {
        f"v:{place}": Counted(1000 + place, 7, 10**6, 10**6, *([tuple(n + place for n in full)] * 2))
        for place in range(1000)
    }
    (tick,) = history_of(busy).ticks("15m")
    assert size(tick) * (360 + 720) < 40 * 2**20


# -- the screen -------------------------------------------------------------------------------------------------------


def fill(house: House) -> None:
    house.prod("triage", adapter=house.adapter("triage"))
    house.prod("billing", prompt={"system": "money"})
    house.key("eva", role="evaluator")
    house.key("only", role="evaluator", models=("billing",))
    house.key("sami", role="caller")


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    """With two hours behind it, in which triage answered, and one request that has loaded its adapter."""
    served = serve(fill, grafana_url="https://grafana.example/d/dabt")
    key = served.house.key("asks")
    served.app.state.parts.catalogue.refresh()
    with served.client() as client:
        body = {"model": "triage", "messages": [{"role": "user", "content": "hi"}]}
        assert client.post("/v1/chat/completions", json=body, headers=key).status_code == 200
    history = served.app.state.console.pages.state.history = History()
    whole, begun = Counted(), time.time() - 7200
    history.take({}, CALM, begun, 0.0)
    for place in range(1, 721):
        whole = whole + Counted(20, 1, 0, 50, FAST, (), FAST) if place % 50 > 10 else whole
        history.take({"triage:1": whole, "tiny": Counted(requests=2)}, CALM, begun + place * STEP, place * STEP)
    return served


def page(served: Served, key: str, path: str) -> str:
    with served.client(key) as client:
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def test_the_screen_is_for_those_who_may_read_metrics(served: Served):
    with served.client("sami") as client:
        assert client.get("/ui/watch").status_code == 403
        assert client.get("/ui/watch/series").status_code == 403


def test_the_tables_say_all_that_is_drawn(served: Served):
    text = page(served, "eva", "/ui/watch?window=1h")
    assert 'href="/ui/versions/triage/1"' in text
    assert 'href="https://grafana.example/d/dabt"' in text
    assert len(re.findall(r"<tr><td><time", text)) == 12
    assert str(served.house.adapters["triage"])[7:19] in text
    assert "answers" in text


def test_a_window_and_a_version_choose_what_is_drawn(served: Served):
    with served.client("eva") as client:
        hour = client.get("/ui/watch/series?window=1h").json()
        day = client.get("/ui/watch/series?window=24h&version=triage:1").json()
        odd = client.get("/ui/watch/series?window=x&version=none:1").json()
    assert len(hour["at"]) > len(day["at"]) > 50
    assert set(GAUGES) < hour.keys()
    with served.client("eva") as client:
        more = client.get("/ui/watch/series", params={"window": "1h", "after": hour["at"][-3]}).json()
    assert more["at"] == hour["at"][-2:]
    assert more["requests"] == hour["requests"][-2:]
    assert max(value for value in day["requests"] if value is not None) <= 2.0
    assert {value for value in odd["requests"] if value} == set()


def test_a_key_sees_the_versions_that_it_covers(served: Served):
    text = page(served, "only", "/ui/watch?window=6h")
    assert "triage:1" not in text
    with served.client("only") as client:
        alone = client.get("/ui/watch/series?window=6h&version=triage:1").json()
        both = client.get("/ui/watch/series?window=6h").json()
    assert alone["requests"] == both["requests"]


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_sees_lines_and_their_numbers(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width, key="eva") as person:
        person.goto("/ui/watch")
        expect(person.locator(".plot canvas")).to_have_count(6)
        history = served.app.state.console.pages.state.history
        more = history.counted["triage:1"] + Counted(4321)
        history.take({"triage:1": more}, CALM, history.newest + STEP, history._before[0] + STEP)
        asked = sum(tick.of("triage:1").requests for tick in history.ticks("15m"))
        person.locator("#tables").get_by_role("cell", name=f"{asked:,}", exact=True).first.wait_for()
        times = person.locator("#tables tbody").first.locator("time").all_inner_texts()
        assert len(set(times)) == len(times), "each step of ten seconds has a time of its own"
        person.locator("#window").select_option("6h")
        person.wait_for_url("**window=6h*")
        person.wait_for_selector(".plot canvas")
        assert_accessible(person)
        assert_fits(person)
