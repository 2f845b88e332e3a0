"""Live figures: what a listener is told, when, and no more than its key may see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from console.live import Figure, Hub, Source
from console.viewer import Preferences, Viewer
from lifecycle.access.keys import ApiKey, Role

Events = AsyncIterator[tuple[str, str, dict[str, Figure]]]
ANYBODY = Viewer(None, Preferences(), None, "")


class Shown:
    """A hub of one topic, `t`, whose figures are the test's."""

    def __init__(self, role: Role = Role.CALLER, **more: object) -> None:
        self.figures: dict[str, Figure] = {"t.a:x": 1}
        self.reads = 0
        self.hub = Hub(**more)  # type: ignore[arg-type]

        async def read() -> dict[str, Figure]:
            self.reads += 1
            return dict(self.figures)

        def name_of(key: str) -> str | None:
            return key.removeprefix("t.").partition(":")[0] or None

        self.hub.add(Source("t", role, read, name_of, every=3600))

    async def change(self, **changed: Figure) -> None:
        self.figures |= {f"t.{key}": value for key, value in changed.items()}
        await self.hub.look("t")

    async def listen(self, see: Callable[[], Viewer | None] = lambda: ANYBODY, after: str = "") -> Events:
        async with aclosing(self.hub.stream({"t"}, see, after)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                assert chunk.endswith(b"\n\n")
                lines = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if line)
                if lines.get("event") == "end":
                    yield "end", "", {}
                elif "event" in lines:
                    yield lines["event"], lines["id"], json.loads(lines["data"])


def viewer(role: Role = Role.CALLER, *models: str) -> Viewer:
    key = ApiKey(
        name="sami", role=role, models=models or ("*",), id="k1", hint="", digest="sha256:" + "0" * 64,
        created_at=datetime.now(UTC), created_by="test",
    )  # fmt: skip
    return Viewer(key, Preferences(), None, "")


def test_a_listener_gets_the_whole_state_and_then_what_changed_alone():
    async def scenario() -> None:
        shown = Shown()
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            kind, _, figures = await anext(events)
            assert (kind, figures) == ("state", {"t.a:x": 1})
            await shown.change(b=2)
            kind, _, figures = await anext(events)
            assert (kind, figures) == ("change", {"t.b": 2})
            del shown.figures["t.a:x"]
            await shown.change(b=True)
            assert (await anext(events))[2] == {"t.b": True, "t.a:x": None}

    asyncio.run(scenario())


def test_a_figure_that_is_no_number_is_told_as_none():
    async def scenario() -> None:
        shown = Shown()
        shown.figures = {"t.nan": float("nan"), "t.inf": float("inf")}
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            assert (await anext(events))[2] == {"t.nan": None, "t.inf": None}

    asyncio.run(scenario())


def test_who_comes_back_with_an_id_gets_what_changed_meanwhile():
    async def scenario() -> None:
        shown = Shown()
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            _, last, _ = await anext(events)
        await shown.change(b=2)
        await shown.change(b=3, c=4)
        async with aclosing(shown.listen(after=last)) as events:  # type: ignore[type-var]
            kind, newest, figures = await anext(events)
            assert (kind, figures) == ("change", {"t.b": 3, "t.c": 4})
        assert newest != last

    asyncio.run(scenario())


@pytest.mark.parametrize("after", ["", "x", "x.1.y", "..", "٣.٣.٣", "{life}.999.{mark}", "{life}.1.other"])
def test_an_id_that_is_of_no_use_here_gives_the_whole_state(after: str):
    async def scenario() -> None:
        shown = Shown()
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            life, _, mark = (await anext(events))[1].split(".")
        async with aclosing(shown.listen(after=after.format(life=life, mark=mark))) as events:  # type: ignore[type-var]
            kind, _, figures = await anext(events)
            assert (kind, figures) == ("state", {"t.a:x": 1})

    asyncio.run(scenario())


def test_changes_that_are_forgotten_are_made_good_by_the_whole_state(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.live._REMEMBERED", 3)

    async def scenario() -> None:
        shown = Shown()
        async with aclosing(shown.listen()) as slow, aclosing(shown.listen()) as other:  # type: ignore[type-var]
            await anext(slow)
            _, last, _ = await anext(other)
            for n in range(10):
                await shown.change(b=n)
            kind, _, figures = await anext(slow)
            assert (kind, figures) == ("state", {"t.a:x": 1, "t.b": 9})
        assert len(shown.hub._changes) <= 3
        async with aclosing(shown.listen(after=last)) as late:  # type: ignore[type-var]
            assert (await anext(late))[0] == "state"

    asyncio.run(scenario())


def test_a_topic_is_read_once_for_all_and_not_while_nobody_listens():
    async def scenario() -> None:
        shown = Shown()
        assert shown.reads == 0
        async with aclosing(shown.listen()) as first, aclosing(shown.listen()) as second:  # type: ignore[type-var]
            await anext(first)
            await anext(second)
            assert (shown.reads, shown.hub.streams) == (1, 2)
        assert shown.hub.streams == 0

    asyncio.run(scenario())


def test_a_topic_that_nobody_hears_any_more_stops_being_read():
    async def scenario() -> None:
        shown = Shown()
        shown.hub._sources["t"] = Source("t", Role.CALLER, shown.hub._sources["t"].read, every=0)
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            await anext(events)
            (reader,) = shown.hub._readers.values()
        await reader
        assert shown.hub._readers == {}
        shown.figures["t.b"] = 5
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            assert (await anext(events))[2] == {"t.a:x": 1, "t.b": 5}, "read anew before the state is told"

    asyncio.run(scenario())


def test_a_source_that_fails_leaves_what_was_known_and_is_asked_again():
    async def scenario() -> None:
        hub, answers = Hub(), iter([ValueError("away"), {"t.a": 1}, ValueError("away"), {"t.a": 2}])

        async def read() -> dict[str, Figure]:
            answer = next(answers, {"t.a": 2})
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]

        hub.add(Source("t", Role.CALLER, read, every=0))
        told: list[object] = []
        async with aclosing(hub.stream({"t", "unknown"}, lambda: ANYBODY)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                if b"data: " in chunk:
                    told.append(json.loads(chunk.partition(b"data: ")[2]))
                if len(told) == 2:
                    break
        assert told == [{"t.a": 1}, {"t.a": 2}]
        await hub.stop()

    asyncio.run(scenario())


def test_a_key_hears_of_its_own_names_alone_and_of_its_roles_topics():
    async def scenario() -> None:
        shown = Shown(Role.EVALUATOR)
        shown.figures = {"t.a:x": 1, "t.b:x": 2, "t.": 3}
        told = []
        for person in (ANYBODY, viewer(Role.EVALUATOR, "a", "a:*"), viewer(Role.CALLER)):
            async with aclosing(shown.listen(lambda person=person: person)) as events:  # type: ignore[misc,type-var]
                told.append((await anext(events))[2])
        assert told == [{"t.a:x": 1, "t.b:x": 2, "t.": 3}, {"t.a:x": 1, "t.": 3}, {}]

    asyncio.run(scenario())


def test_a_key_that_may_see_less_than_before_is_told_so_at_once():
    async def scenario() -> None:
        shown, people = Shown(), [viewer(Role.ADMIN)]
        shown.figures["t.b:x"] = 2
        async with aclosing(shown.listen(lambda: people[0])) as events:  # type: ignore[type-var]
            assert (await anext(events))[2] == {"t.a:x": 1, "t.b:x": 2}
            people[0] = viewer(Role.ADMIN, "a:*")
            await shown.change(**{"b:x": 3})
            kind, _, figures = await anext(events)
            assert (kind, figures) == ("state", {"t.a:x": 1})

    asyncio.run(scenario())


def test_a_stream_ends_with_its_session_and_says_so():
    async def scenario() -> None:
        shown, people = Shown(), [ANYBODY, None]
        async with aclosing(shown.listen(lambda: people.pop(0))) as events:  # type: ignore[type-var]
            await anext(events)
            await shown.change(b=2)
            assert [kind async for kind, _, _ in events] == ["end"]

    asyncio.run(scenario())


@pytest.mark.parametrize("end", ["drain", "stop", "cut"])
def test_streams_end_when_the_service_drains_or_stops(end: str):
    async def scenario() -> None:
        draining: list[bool] = []
        shown = Shown(draining=lambda: bool(draining))
        async with aclosing(shown.listen()) as events:  # type: ignore[type-var]
            await anext(events)
            if end == "drain":
                draining.append(True)
                await shown.change(b=2)
            elif end == "stop":
                await shown.hub.stop()
            else:
                shown.hub.end_streams()
            assert [kind async for kind, _, _ in events] == []
        assert shown.hub.streams == 0

    asyncio.run(scenario())


def test_a_silent_stream_says_a_comment_so_that_proxies_keep_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.live._LOOK", 0.001)

    async def scenario() -> None:
        shown = Shown(keep_alive=0.002)
        chunks = []
        async with aclosing(shown.hub.stream({"t"}, lambda: ANYBODY)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                chunks.append(chunk)
                if chunk.startswith(b":"):
                    break
        assert [chunk.split(b":")[0] for chunk in chunks] == [b"retry", b"id", b""]

    asyncio.run(scenario())
