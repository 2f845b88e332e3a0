"""A recipe's digest: each part changes it, nothing else does, and what was released stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lifecycle.version import AnswerSettings, Decoding, Knowledge, Prompt, Shot, VersionSpec, digest_of


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


FIRST, SECOND = Shot(user="متى؟", assistant="غدًا"), Shot(user="when?", assistant="today")
WHOLE = VersionSpec(
    base=digest("a"),
    adapter=digest("b"),
    prompt=Prompt(system="صنّف", shots=(FIRST, SECOND)),
    knowledge=Knowledge(
        index=digest("c"),
        top_k=5,
        template="P: {passages} Q: {question}",
        arabic_template="مقاطع: {passages} سؤال: {question}",
    ),
    decoding=Decoding(
        temperature=0.2,
        top_p=0.9,
        max_tokens=64,
        stop=("###",),
        top_k=20,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
    ),
    answers=AnswerSettings(
        tokenizer_config=digest("d"),
        stops=(2, 7),
        dtype="bfloat16",
        frozen_template=digest("e"),
        files={"tekken.json": digest("f")},
    ),
)


def test_the_digest_of_a_whole_recipe_is_what_it_was() -> None:
    """Verdicts name it: a change here makes every recorded verdict void, and needs a migration."""
    assert WHOLE.digest == "sha256:981a3c83333e0081b3f402639e0a8f096059d4f0a457f09ce5990199275d3236"
    old = WHOLE.model_dump(exclude={"answers"})
    new = ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
    old["decoding"] = {key: value for key, value in old["decoding"].items() if key not in new}
    assert (
        VersionSpec.model_validate(old).digest
        == "sha256:0e7ad0f51290214af0eaf1b2fcf5b0ad1f32c0e4cf0cd59534361864828c358d"
    ), "as release 0.1 wrote it"


def test_a_digest_is_computed_once_and_a_changed_copy_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = VersionSpec(base="sha256:" + "0" * 64)
    before = spec.digest
    changed = spec.model_copy(update={"prompt": Prompt(system="other")})
    assert changed.digest == VersionSpec(base=spec.base, prompt=Prompt(system="other")).digest != before
    assert spec == VersionSpec(base=spec.base)
    assert hash(spec) == hash(VersionSpec(base=spec.base))
    monkeypatch.setattr(VersionSpec, "model_dump", None)
    assert spec.digest == before


def test_switches_of_the_chat_template_are_part_of_the_recipe_and_none_are_as_before() -> None:
    base = "sha256:" + "0" * 64
    plain = VersionSpec(base=base, prompt=Prompt(system="S"))
    assert plain.digest == VersionSpec(base=base, prompt=Prompt(system="S", chat_template_kwargs={})).digest
    off, on = (
        VersionSpec(base=base, prompt=Prompt(system="S", chat_template_kwargs={"enable_thinking": value}))
        for value in (False, True)
    )
    assert len({plain.digest, off.digest, on.digest}) == 3
    assert VersionSpec.model_validate_json(off.model_dump_json()) == off
    assert hash(off) == hash(off.model_copy()) != hash(plain)


@pytest.mark.parametrize(
    "switches", [{"messages": "x"}, {"tools": ""}, {"add_generation_prompt": False}, {"a b": 1}, {"a": None}, {"a": []}]
)
def test_what_the_renderer_gives_the_template_is_no_switch(switches: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Prompt(chat_template_kwargs=switches)


def test_the_digest_follows_no_order_of_keys() -> None:
    assert digest_of({"b": 1, "a": {"d": 2, "c": 3}}) == digest_of({"a": {"c": 3, "d": 2}, "b": 1})
    assert digest_of({"a": 1}) == "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert digest_of("ضبط") == "sha256:9a37f9ae652fc7496b28f689fc315f658714d4a9844359308830049a0c9bb58f"
    with pytest.raises(ValueError, match="JSON"):
        digest_of(float("nan"))


def changed(path: str, value: Any) -> VersionSpec:
    """The whole recipe with one value put in another's place."""
    dump: Any = WHOLE.model_dump()
    *parents, key = path.split(".")
    part = dump
    for parent in parents:
        part = part[parent]
    assert part[key] != value
    part[key] = value
    if key in ("weights", "classifier"):  # in the adapter's place: a version is made of one artifact
        dump["adapter"] = None
    return VersionSpec.model_validate(dump)


CHANGES: list[tuple[str, Any]] = [
    ("base", digest("0")),
    ("adapter", digest("0")),
    ("adapter", None),
    ("weights", digest("0")),
    ("classifier", digest("0")),
    ("prompt.system", "صنف"),
    ("prompt.system", "صنّف "),
    ("prompt.shots", (SECOND.model_dump(), FIRST.model_dump())),
    ("prompt.shots", (FIRST.model_dump(),)),
    ("prompt.shots", ({"user": "متى؟", "assistant": "غدا"}, SECOND.model_dump())),
    ("prompt.shots", ({"user": "متى", "assistant": "غدًا"}, SECOND.model_dump())),
    ("prompt.chat_template_kwargs", {"enable_thinking": False}),
    ("knowledge", None),
    ("knowledge.index", digest("0")),
    ("knowledge.top_k", 6),
    ("knowledge.template", "P: {passages}\nQ: {question}"),
    ("knowledge.arabic_template", "مقاطع: {passages}\nسؤال: {question}"),
    ("knowledge.arabic_template", None),
    ("knowledge.stages", ({"type": "lexical", "fingerprint": digest("0")},)),
    ("knowledge.stages", ({"type": "lexical", "fingerprint": digest("1")},)),
    ("knowledge.stages", ({"type": "dense", "fingerprint": digest("0")},)),
    ("knowledge.stages", ({"type": "lexical", "settings": {"k": 5}, "fingerprint": digest("0")},)),
    ("decoding.temperature", 0.3),
    ("decoding.top_p", 0.8),
    ("decoding.max_tokens", 65),
    ("decoding.max_tokens", None),
    ("decoding.stop", ("###", "---")),
    ("decoding.stop", ()),
    ("decoding.top_k", 21),
    ("decoding.min_p", 0.06),
    ("decoding.repetition_penalty", 1.2),
    ("decoding.presence_penalty", -0.5),
    ("decoding.frequency_penalty", 0.5),
    ("answers", None),
    ("answers.tokenizer_config", digest("0")),
    ("answers.stops", (2,)),
    ("answers.dtype", "float16"),
    ("answers.frozen_template", None),
    ("answers.files", {}),
    ("answers.files", {"tekken.json": digest("0")}),
    ("answers.files", {"vocab.json": digest("f")}),
]


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_another_value_of_any_part_is_another_recipe(path: str, value: Any) -> None:
    assert changed(path, value).digest != WHOLE.digest


def test_no_part_of_the_recipe_is_left_out_above() -> None:
    def paths(model: Any, at: str = "") -> set[str]:
        inner = {key: getattr(model, key) for key in type(model).model_fields}
        below = [paths(value, f"{at}{key}.") for key, value in inner.items() if hasattr(value, "model_fields_set")]
        own = {at + key for key, value in inner.items() if not hasattr(value, "model_fields_set")}
        return own.union(*below)

    assert paths(WHOLE) <= {path for path, _ in CHANGES}
    assert len({changed(path, value).digest for path, value in CHANGES}) == len(CHANGES)


def test_defaults_once_released_never_change() -> None:
    """The digest leaves them out: another default would be another answer under the same digest."""
    assert VersionSpec(base=digest("a")).model_dump() == {
        "base": digest("a"),
        "adapter": None,
        "prompt": {"system": "", "shots": (), "chat_template_kwargs": {}},
        "knowledge": None,
        "decoding": {
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": None,
            "stop": (),
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        },
        "answers": None,
        "weights": None,
        "classifier": None,
    }
    assert Knowledge(index=digest("a")).model_dump() == {
        "index": digest("a"),
        "top_k": 3,
        "template": "Passages:\n{passages}\n\nQuestion: {question}",
        "arabic_template": None,
        "stages": (),
    }
    assert AnswerSettings(tokenizer_config=digest("a")).model_dump() == {
        "tokenizer_config": digest("a"),
        "stops": (),
        "dtype": "",
        "frozen_template": None,
        "files": {},
    }


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("temperature", (0.0, 2.0), (-0.01, 2.01)),
        ("top_p", (0.01, 1.0), (0.0, 1.01)),
        ("max_tokens", (1, None), (0, -1)),
        ("top_k", (0, 1), (-1, 0.5)),
        ("min_p", (0.0, 1.0), (-0.01, 1.01)),
        ("repetition_penalty", (0.01, 5.0), (0.0, -1.0)),
        ("presence_penalty", (-2.0, 2.0), (-2.01, 2.01)),
        ("frequency_penalty", (-2.0, 2.0), (-2.01, 2.01)),
    ],
)
def test_decoding_takes_its_bounds_and_nothing_beyond(key: str, good: tuple[Any, ...], bad: tuple[Any, ...]) -> None:
    for value in good:
        assert getattr(Decoding.model_validate({key: value}), key) == value
    for value in bad:
        with pytest.raises(ValidationError):
            Decoding.model_validate({key: value})


def test_knowledge_takes_one_to_fifty_passages_and_whole_templates() -> None:
    for count in (1, 50):
        assert Knowledge(index=digest("a"), top_k=count).top_k == count
    for count in (0, 51):
        with pytest.raises(ValidationError):
            Knowledge(index=digest("a"), top_k=count)
    for template, missing in (
        ("{question}", "{passages}"),
        ("{passages}", "{question}"),
        ("", "{passages} and {question}"),
    ):
        with pytest.raises(ValidationError, match=f"needs {missing}, or"):
            Knowledge(index=digest("a"), template=template)


@pytest.mark.parametrize("bad", ["sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha256:" + "a" * 65, "a" * 64, ""])
def test_what_is_no_digest_is_no_base(bad: str) -> None:
    with pytest.raises(ValidationError):
        VersionSpec(base=bad)


def test_records_are_frozen_and_know_their_keys() -> None:
    with pytest.raises(ValidationError):
        Decoding().temperature = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Decoding.model_validate({"temprature": 1.0})


def test_differences_are_named_in_words_and_order() -> None:
    assert WHOLE.answers is not None
    assert WHOLE.answers.differences(WHOLE.answers) == []
    other = AnswerSettings(tokenizer_config=digest("0"), files={"a.json": digest("f"), "tekken.json": digest("f")})
    assert (
        WHOLE.answers.differences(other)
        == other.differences(WHOLE.answers)
        == [
            "tokenizer_config.json",
            "the token ids that end an answer",
            "the checkpoint's number format",
            "the chat template's fixed date",
            "a.json",
        ]
    )


RENDERED = (
    "messages conversation tools documents chat_template tokenize tokenizer_kwargs add_generation_prompt "
    "continue_final_message padding truncation max_length return_tensors return_dict return_assistant_tokens_mask"
)


@pytest.mark.parametrize("name", RENDERED.split())
def test_what_the_renderer_gives_or_takes_is_no_switch_of_a_template(name):
    with pytest.raises(ValueError, match="is what the renderer gives the chat template"):
        Prompt(chat_template_kwargs={name: True})
