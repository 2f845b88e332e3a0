"""A chat template that writes the date is rendered with one fixed day; any other is left alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lifecycle.errors import InvalidInput, NotFound
from lifecycle.models.base import chat_template_of, fingerprint
from lifecycle.models.templates import FROZEN_AT, frozen_template, served_template, with_template
from lifecycle.version import digest_of

DATED = (
    "{%- if strftime_now is defined %}{%- set today = strftime_now('%d %b %Y') %}"
    "{%- else %}{%- set today = 'unknown' %}{%- endif %}\n"
    "{{- 'Today is ' + today + '\\n' }}"
    "{%- for m in messages %}{{- '<|' + m.role + '|>' + m.content + '<|end|>' }}{%- endfor %}"
)
MESSAGES = [{"role": "user", "content": "متى؟"}]


def rendered(template: str, now: datetime) -> str:
    """As transformers renders: its environment, with its clock."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["strftime_now"] = now.strftime
    return environment.from_string(template).render(messages=MESSAGES)


def test_a_year_later_the_prompt_is_the_same() -> None:
    first, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert rendered(DATED, first) != rendered(DATED, later), "or this test could not fail"
    frozen = frozen_template(DATED)
    assert rendered(frozen, first) == rendered(frozen, later) == rendered(DATED, FROZEN_AT)
    assert "Today is 26 Jul 2024\n" in rendered(frozen, first)


@pytest.mark.parametrize(
    "begin", ["", "\n", "\n\n", "  ", " {% if true %}{% endif %}", "\n  {% if true %}{% endif %}", "x"]
)
def test_nothing_else_of_the_prompt_moves(begin: str) -> None:
    template = begin + "{{ strftime_now('%Y') }}\n"
    assert rendered(frozen_template(template), datetime(2026, 1, 1, tzinfo=UTC)) == rendered(template, FROZEN_AT)


@pytest.mark.parametrize(
    "directive",
    ["%-d", "%-m", "%-H", "%-I", "%-M", "%-S", "%-j", "%-y"]
    + [f"%{letter}" for letter in "aAbBcCdDeFGgHhIjklmMpPrRsSTuUVwWxXyYZzf"]
    + ["%A, %-d %B %Y", "%Y-%m-%dT%H:%M:%S", "%d.%m.%y"],
)
def test_every_way_to_write_a_date_is_that_days(directive: str) -> None:
    template = f"{{{{ strftime_now('{directive}') }}}}"
    expected = rendered(template, FROZEN_AT.replace(tzinfo=None) if directive in ("%z", "%Z") else FROZEN_AT)
    assert rendered(frozen_template(template), datetime(2031, 11, 5, 3, tzinfo=UTC)) == expected


def test_a_format_that_the_template_puts_together_is_that_days_too() -> None:
    template = (
        "{% macro day(f) %}{{ strftime_now('%d' + f) }}{% endmacro %}{% for f in [' %b'] %}{{ day(f) }}{% endfor %}"
    )
    assert rendered(frozen_template(template), datetime(2031, 11, 5, tzinfo=UTC)) == "26 Jul"


def test_a_template_without_a_clock_is_left_alone(base: Path) -> None:
    text = (base / "chat_template.jinja").read_text()
    assert frozen_template(text) == text
    assert served_template(base) is None


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_the_template_that_is_served_is_the_frozen_one_wherever_it_stands(base: Path, place: str) -> None:
    (base / "chat_template.jinja").unlink()
    text = DATED if place.endswith("jinja") else json.dumps({"chat_template": DATED})
    (base / place).write_text(text)
    assert served_template(base) == frozen_template(DATED)


@pytest.mark.parametrize("clock", ["main", "extra", "config", "list"])
def test_several_templates_of_which_one_reads_the_clock_are_refused_with_the_cure(base: Path, clock: str) -> None:
    plain = (base / "chat_template.jinja").read_text()
    if clock in ("main", "extra"):
        (base / "additional_chat_templates").mkdir()
        (base / "additional_chat_templates" / "tool_use.jinja").write_text(DATED if clock == "extra" else plain)
        (base / "chat_template.jinja").write_text(DATED if clock == "main" else plain)
    else:
        (base / "chat_template.jinja").unlink()
        named = DATED if clock == "config" else [{"name": "default", "template": DATED}]
        (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
        if clock == "config":
            (base / "chat_template.json").write_text(json.dumps({"chat_template": plain}))
    with pytest.raises(InvalidInput, match=r"keep one template, in chat_template\.jinja"):
        served_template(base)


def test_an_old_template_that_is_hidden_by_another_is_no_matter(base: Path) -> None:
    (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": DATED}))
    assert served_template(base) is None


def test_the_frozen_template_does_not_change_between_releases() -> None:
    """Recipes name its digest: a change here makes the service refuse every version over such a base."""
    assert digest_of(frozen_template("{{ strftime_now('%d %b %Y') }}")) == (
        "sha256:e527cf3c728d0bcfd6967a1210edef15080bb3fec3ea8f0de00e347ea68e54bb"
    )


MINE = "{% for m in messages %}[{{ m.content }}]{% endfor %}"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.jinja").write_text(MINE, encoding="utf-8")
    return tmp_path / "mine.jinja"


def test_a_base_with_another_template_is_another_base_of_the_same_weights(
    base: Path, mine: Path, tmp_path: Path
) -> None:
    before = (base / "chat_template.jinja").read_text()
    folder = with_template(base, mine, tmp_path / "bases")
    assert chat_template_of(folder) == MINE
    assert folder.is_relative_to(tmp_path / "bases")
    assert folder.name == base.name
    assert {file.name for file in folder.iterdir()} == {file.name for file in base.iterdir() if file.is_file()}
    assert (folder / "model.safetensors").resolve() == (base / "model.safetensors").resolve()
    assert fingerprint(folder).digest != fingerprint(base).digest
    assert (base / "chat_template.jinja").read_text() == before, "the base that others serve stays as it is"


def test_the_same_template_gives_the_same_base_and_another_another(base: Path, mine: Path, tmp_path: Path) -> None:
    first = with_template(base, mine, tmp_path / "bases")
    known = fingerprint(first).digest
    assert with_template(base, mine, tmp_path / "bases") == first
    assert fingerprint(first).digest == known
    mine.write_text(MINE + "!", encoding="utf-8")
    assert with_template(base, mine, tmp_path / "bases") != first
    assert chat_template_of(first) == MINE


def test_a_template_stands_over_one_in_the_tokenizers_settings(base: Path, mine: Path, tmp_path: Path) -> None:
    (base / "chat_template.jinja").unlink()
    (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": DATED}))
    folder = with_template(base, mine, tmp_path / "bases")
    assert chat_template_of(folder) == MINE
    assert served_template(folder) is None


def test_a_link_whose_file_has_gone_is_made_anew(base: Path, mine: Path, tmp_path: Path) -> None:
    folder = with_template(base, mine, tmp_path / "bases")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "gone")
    assert (with_template(base, mine, tmp_path / "bases") / "model.safetensors").is_file()


def test_a_template_that_is_missing_or_no_text_is_refused_with_its_place(base: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no chat template .*none\.jinja; --chat-template takes"):
        with_template(base, tmp_path / "none.jinja", tmp_path / "bases")
    (tmp_path / "arabic.jinja").write_bytes("مرحبا".encode("cp1256"))
    with pytest.raises(InvalidInput, match=r"--chat-template: .*arabic\.jinja is not UTF-8 → save it as UTF-8"):
        with_template(base, tmp_path / "arabic.jinja", tmp_path / "bases")
    assert not (tmp_path / "bases").exists(), "nothing is half done"
