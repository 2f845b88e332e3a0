"""Bytes of an adapter that are damaged, cut short or gone: found at the next load, told to who wants it, never served.

The adapters here have no golden prompts, so that nothing but the bytes themselves can tell.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.store.artifacts import ArtifactStore

pytestmark = pytest.mark.timeout(300)


def truncate(folder: Path) -> None:
    file = writable(folder)
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(folder: Path) -> None:
    file = writable(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(folder: Path) -> None:
    writable(folder).write_bytes(b"")


def remove(folder: Path) -> None:
    writable(folder).unlink()


def vanish(folder: Path) -> None:
    shutil.rmtree(folder)


def writable(folder: Path) -> Path:
    file = folder / "adapter_model.safetensors"
    file.chmod(0o644)
    return file


Damage = Callable[[Path], None]
DAMAGES = pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, remove, vanish])


def two(house: Any) -> None:
    for name in ("a", "b"):
        folder = house.home.root / f"made-{name}"
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(name.encode() * 5000)
        house.adapter(name, folder, ())
        house.prod(name, adapter=name)


async def is_refused(running: Any, name: str) -> None:
    reply = await running.chat(name)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "adapter_unloadable")
    assert int(reply.headers["retry-after"]) > 0


@DAMAGES
async def test_what_is_damaged_before_its_first_load_is_refused_and_others_go_on(
    house: Any, start: Any, damage: Damage
) -> None:
    two(house)
    damage(house.store._folder(house.adapters["a"]))
    async with start(house) as running:
        await is_refused(running, "a")
        assert (await running.chat("b")).status_code == 200
        assert [handle.path.name for handle in running.engine.loads] == [house.adapters["b"].removeprefix("sha256:")]


@DAMAGES
async def test_what_is_damaged_after_it_was_served_once_is_found_when_it_is_loaded_again(
    house: Any, start: Any, damage: Damage
) -> None:
    two(house)
    async with start(house, max_loras=1, max_cpu_loras=1) as running:
        before = (await running.chat("a")).json()["choices"]
        damage(house.store._folder(house.adapters["a"]))
        assert (await running.chat("a")).json()["choices"] == before, "what is in memory is whole"
        assert (await running.chat("b")).status_code == 200  # takes its place
        await is_refused(running, "a")
        assert (await running.chat("b")).status_code == 200


@DAMAGES
async def test_a_damaged_local_copy_is_fetched_again(house: Any, start: Any, tmp_path: Path, damage: Damage) -> None:
    house.store = ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path / "copies")
    two(house)
    async with start(house, max_loras=1, max_cpu_loras=1) as running:
        before = (await running.chat("a")).json()["choices"]
        assert (await running.chat("b")).status_code == 200
        damage(house.store._folder(house.adapters["a"]))
        assert (await running.chat("a")).json()["choices"] == before
        house.store.verify(house.adapters["a"])


async def test_what_is_damaged_in_the_remote_store_is_refused_until_it_is_put_right(
    house: Any, start: Any, tmp_path: Path, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.residency._FIRST_PAUSE", 0.05)
    house.store = ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path / "copies")
    two(house)
    where = house.store._at(house.adapters["a"], "adapter_model.safetensors")
    whole = house.store._remote.cat_file(where)
    house.store._remote.pipe_file(where, whole[:-1])
    async with start(house) as running:
        await is_refused(running, "a")
        assert (await running.chat("b")).status_code == 200
        house.store._remote.pipe_file(where, whole)

        async def served() -> bool:
            return bool((await running.chat("a")).status_code == 200)

        await until(served)
