"""Whose prefix cache a request uses."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.openai.prefix_cache import PrefixCache

OWN = PrefixCache(shared=False)


def salt_of(house: Any, name: str, version: Any = None, **body: Any) -> str:
    if name not in (key.name for key in house.registry.keys.all()):
        house.key(name)
    (key,) = (key for key in house.registry.keys.all() if key.name == name)
    salt: str = OWN.salted(body, key, version)["cache_salt"]
    return salt


def test_a_key_has_one_cache_and_no_two_keys_have_the_same(house: Any) -> None:
    assert salt_of(house, "amal") == salt_of(house, "amal", temperature=1)
    assert salt_of(house, "amal") != salt_of(house, "badr")


def test_a_recipe_cannot_be_guessed_under_the_bases_own_name(house: Any) -> None:
    bare, one, other = house.version("bare"), *(house.version(name, prompt={"system": "S"}) for name in ("a", "b"))
    assert salt_of(house, "amal", bare) == salt_of(house, "amal")
    assert len({salt_of(house, "amal", made) for made in (bare, one, other)}) == 3
    assert salt_of(house, "amal", one) == salt_of(house, "amal", one)


def test_a_callers_own_salt_divides_its_cache_and_reaches_no_other_keys(house: Any) -> None:
    mine, other = salt_of(house, "amal"), salt_of(house, "badr")
    chosen = [salt_of(house, "amal", cache_salt=text) for text in ("x", "y", other, f"\n{other}")]
    assert len({mine, other, *chosen}) == 6
    for wrong in ("", 5, ["x"], "x" * 129):
        with pytest.raises(InvalidInput) as caught:
            salt_of(house, "amal", cache_salt=wrong)
        assert [problem.place for problem in caught.value.problems] == ["cache_salt"]


def test_without_keys_or_with_a_shared_cache_nothing_is_added(house: Any) -> None:
    house.key("amal")
    (key,) = house.registry.keys.all()
    for cache, asking in ((OWN, None), (PrefixCache(shared=True), key)):
        for body in ({"n": 1}, {"cache_salt": "mine"}):
            assert cache.salted(dict(body), asking, None) == body


@pytest.mark.parametrize("prefix_cache", ["per-key", "shared"])
async def test_the_engine_is_given_the_salt_of_the_key_that_asked(house: Any, start: Any, prefix_cache: str) -> None:
    house.prod("triage", prompt={"system": "S"})
    keys = [house.key("amal"), house.key("badr")]
    async with start(house, prefix_cache=prefix_cache) as running:
        asked = []
        generate = running.engine.generate

        async def seen(call: Any) -> Any:
            asked.append(call.body.get("cache_salt"))
            return await generate(call)

        running.engine.generate = seen
        for headers in (*keys, keys[0]):
            for model in ("triage", "tiny"):
                assert (await running.chat(model, headers=headers)).status_code == 200
    if prefix_cache == "shared":
        assert asked == [None] * 6
    else:
        assert len(set(asked[:4])) == 4
        assert asked[4:] == asked[:2]
