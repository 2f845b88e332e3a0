"""The screen Keys and usage: a secret is seen once, keys are found among many, and everybody sees their own alone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.datastructures import URL

from console.paging import Paging
from console.screens.keys import LIMITS, chosen_keys, days_of
from lifecycle.access.keys import ApiKey, KeyLimits, Role
from lifecycle.access.usage import Usage
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits
from tests.service.conftest import House


def id_of(served: Served, name: str) -> str:
    return next(key.id for key in served.house.registry.keys.all() if key.name == name)


def fill(house: House) -> None:
    house.key("adam", role="admin")
    house.key("sami", role="caller", models=("triage",), limits={"tokens_per_day": 1000})
    house.key("lena", role="publisher")
    for place in range(60):
        house.key(f"bulk-{place}", models=("*",) if place else ("rare-model:prod",))
    sami = next(key for key in house.registry.keys.all() if key.name == "sami")
    today = datetime.now(UTC).date()
    uses = [
        Usage(day=today - timedelta(days=back), key=sami.id, version="triage:1", requests=back + 1, prompt_tokens=100)
        for back in (0, 1, 40)
    ]
    house.registry.usage.add(uses, today)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def page(served: Served, key: str | None, path: str, status: int = 200) -> str:
    with served.client(key) as client:
        answer = client.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def test_the_table_of_limits_has_every_limit_of_a_key():
    assert LIMITS.keys() == KeyLimits.model_fields.keys()


def test_an_admin_finds_keys_by_name_id_model_and_state_in_pages(served: Served):
    assert len(re.findall(r'<td><a href="/ui/keys/key-', page(served, "adam", "/ui/keys"))) == 50
    for query in ("q=BULK-17", f"q={id_of(served, 'bulk-17')}"):
        text = page(served, "adam", f"/ui/keys?{query}")
        assert re.findall(r'<a href="/ui/keys/key-\w+"><bdi[^>]*>([\w-]+)', text) == ["bulk-17"]
    assert "bulk-0<" in page(served, "adam", "/ui/keys?q=rare-model")
    assert ">lena<" in page(served, "adam", "/ui/keys?role=publisher")
    assert ">lena<" not in page(served, "adam", "/ui/keys?state=revoked")


def test_everybody_else_sees_their_own_key_alone(served: Served):
    own = page(served, "sami", "/ui/keys")
    assert "sami" in own
    assert "100 of 1,000 today" in own
    assert "lena" not in own
    assert "/revoke" not in own
    page(served, "sami", f"/ui/keys/{id_of(served, 'sami')}")
    for path in (f"/ui/keys/{id_of(served, 'lena')}", f"/ui/keys/{id_of(served, 'lena')}/usage.csv"):
        page(served, "sami", path, 404)
    for path in ("/ui/keys/new", f"/ui/keys/{id_of(served, 'sami')}/revoke"):
        page(served, "sami", path, 403)
    with served.client("lena") as client:
        assert client.post("/ui/keys/new", data={"name": "mine", "role": "admin"}).status_code == 403
        assert client.post(f"/ui/keys/{id_of(served, 'lena')}/revoke", data={"reason": "x"}).status_code == 403
    assert not any(key.name == "mine" for key in served.house.registry.keys.all())


def test_use_is_told_by_day_and_version_within_the_days_that_are_asked_for(served: Served):
    text = page(served, "adam", f"/ui/keys/{id_of(served, 'sami')}?days=7")
    assert len(re.findall(r"<tr><td><bdi[^>]*>\d{4}-", text)) == 7
    assert 'href="/ui/versions/triage/1"' in text
    csv = page(served, "sami", f"/ui/keys/{id_of(served, 'sami')}/usage.csv")
    assert [line.rpartition(",triage:1,")[2] for line in csv.splitlines()[1:]] == ["41,100,0", "2,100,0", "1,100,0"]


def test_a_secret_is_in_one_answer_and_opens_the_service_as_it_was_asked_for(served: Served):
    form = {"name": "fresh", "role": "evaluator", "models": "triage\nbilling:prod", "days": "30", "tokens_per_day": "9"}
    with served.client("adam") as client:
        made = client.post("/ui/keys/new", data=form)
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        (secret,) = set(re.findall(r"dabt-[A-Za-z0-9_-]{43}", made.text))
        key = next(key for key in served.house.registry.keys.all() if key.name == "fresh")
        assert (key.role, key.models, key.limits.tokens_per_day) == (Role.EVALUATOR, ("triage", "billing:prod"), 9)
        assert key.expires_at is not None
        assert 29 <= (key.expires_at - datetime.now(UTC)).days <= 30
        for path in ("/ui/keys", f"/ui/keys/{key.id}"):
            text = client.get(path).text
            assert secret not in text
            assert secret[-4:] in text
        again = client.post("/ui/keys/new", data=form)
        assert again.status_code == 400
        assert "has this name" in again.text
        assert 'value="fresh"' in again.text
    with served.client() as client:
        metrics = client.get("/metrics", headers={"authorization": f"Bearer {secret}"})
        assert metrics.status_code == 200


def test_every_fault_of_a_form_is_said_and_what_was_written_stays(served: Served):
    form = {"name": "Not A Name", "models": "m", "days": "soon", "requests_per_minute": "many"}
    with served.client("adam") as client:
        answer = client.post("/ui/keys/new", data=form)
    assert answer.status_code == 400
    assert all(place in answer.text for place in ("name", "expires_at", "limits.requests_per_minute"))
    assert all(f'value="{form[name]}"' in answer.text for name in ("name", "days", "requests_per_minute"))


def test_a_key_is_revoked_with_a_reason_and_the_choice_to_cancel_its_jobs(served: Served):
    id_ = id_of(served, "bulk-3")
    with served.client("adam") as client:
        asked = client.get(f"/ui/keys/{id_}/revoke").text
        assert 'name="cancel_jobs"' in asked
        done = client.post(f"/ui/keys/{id_}/revoke", data={"reason": "leaked", "cancel_jobs": "yes"})
        assert (done.status_code, done.headers["location"]) == (303, f"/ui/keys/{id_}")
        assert "revoked" in client.get(f"/ui/keys/{id_}").text
        assert ">bulk-3<" in client.get("/ui/keys?state=revoked").text
    entry = served.house.registry.audit(limit=1)[0]
    assert (entry.action, entry.subject, entry.reason) == ("key.revoke", id_, "leaked")


def test_without_keys_the_first_is_made_on_the_machine(serve: Serve):
    served = serve()
    assert "dabt keys create" in page(served, None, "/ui/keys")
    with served.client() as client:
        answer = client.post("/ui/keys/new", data={"name": "first", "models": "*"})
    assert answer.status_code == 403
    assert served.house.registry.keys.all() == []


def test_a_stretch_of_days_has_those_without_use_too():
    uses = [Usage(day=date(2026, 1, 2), key="k", version=v, requests=1, prompt_tokens=5) for v in ("a:1", "b:1")]
    days = days_of(uses, date(2026, 1, 1), date(2026, 1, 3))
    assert [(day.day.day, day.requests, day.tokens, day.share) for day in days] == [
        (3, 0, 0, 0.0), (2, 2, 10, 1.0), (1, 0, 0, 0.0),
    ]  # fmt: skip


def test_ten_thousand_keys_are_looked_through_from_memory_and_paged():
    made = datetime(2026, 1, 1, tzinfo=UTC)
    known = {
        place: ApiKey.model_construct(
            id=f"key-{place:05}",
            name=f"n{place}",
            role=Role.CALLER,
            models=("*",),
            hint="abcd",
            created_at=made,
            limits=KeyLimits(),
            expires_at=None,
            revoked_at=None,
        )
        for place in range(10_000)
    }
    every = chosen_keys(known, {}, made)
    paged = Paging.of("200", len(every), URL("/ui/keys"))
    here = paged.of_all(every)
    assert (paged.count, paged.pages, len(here), here[-1].id) == (10_000, 200, 50, "key-00000")
    assert len(chosen_keys(known, {"q": "key-00077"}, made)) == 1


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_makes_a_key_and_revokes_it(served: Served, language: str, theme: str, width: int):
    name = f"made-{language}"
    with served.person(language, theme=theme, width=width, key="adam") as person:
        person.goto("/ui/keys")
        assert_accessible(person)
        assert_fits(person)
        person.goto("/ui/keys/new")
        assert_accessible(person)
        assert_fits(person)
        person.locator("#name").fill(name)
        person.locator("button.main").click()
        person.wait_for_selector("#secret")
        assert_accessible(person)
        assert_fits(person)
        person.locator("a.button").click()
        person.wait_for_selector("dl.facts")
        assert_accessible(person)
        assert_fits(person)
        person.locator('a[href$="/revoke"]').click()
        person.locator("#reason").fill("a try")
        assert_accessible(person)
        person.locator("button.danger").click()
        person.wait_for_selector(".pill.down")
    assert next(key for key in served.house.registry.keys.all() if key.name == name).revoked_at is not None
