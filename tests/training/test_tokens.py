"""What is learnt of a row: the assistant's words and the end of its turn, after exactly what a server renders."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.conversation import Conversation, with_prompt
from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.models.base import fingerprint
from lifecycle.models.templates import served_template
from lifecycle.rows.forms import conversation
from lifecycle.text import strict_json
from lifecycle.version import Prompt
from tests.training.conftest import TAGGED
from training.tokens import IGNORED, ChatTokenizer, Example

pytestmark = pytest.mark.e2e  # imports transformers and torch

Bases = Callable[..., Path]


def row(*texts: str, place: str = "t:1", untrained: tuple[int, ...] = ()) -> Conversation:
    roles = ("user", "assistant") * len(texts)
    turns = [
        {"role": role, "content": text, "weight": 0 if i in untrained else 1}
        for i, (role, text) in enumerate(zip(roles, texts, strict=False))
    ]
    return conversation({"messages": turns}, place)


def learnt(chat: ChatTokenizer, example: Example) -> str:
    return str(chat.tokenizer.decode([label for label in example.labels if label != IGNORED]))


@pytest.mark.parametrize("kind", ["tagged", "untagged", "pad-is-eos"])
def test_the_answer_and_its_end_are_learnt_and_the_question_is_not(bases: Bases, kind: str) -> None:
    chat = ChatTokenizer.load(bases(kind))
    (example,) = chat.examples([row("what colour? ما اللون", "أزرق blue")], "answer briefly", 256)
    assert learnt(chat, example) == "أزرق blue<|im_end|>"
    assert example.labels[example.answer_end - 1] == chat.tokenizer.eos_token_id
    assert chat.tokenizer.decode(example.input_ids[: example.answer_start]) == (
        "<|im_start|>system\nanswer briefly<|im_end|>\n<|im_start|>user\nwhat colour? ما اللون<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert all(label in (IGNORED, token) for label, token in zip(example.labels, example.input_ids, strict=True))


@pytest.mark.parametrize("kind", ["tagged", "untagged"])
def test_every_answer_of_a_conversation_is_learnt_except_those_of_weight_0(bases: Bases, kind: str) -> None:
    chat = ChatTokenizer.load(bases(kind))
    (all_of_it,) = chat.examples([row("q", "blue", "q2", "red")], "", 256)
    assert learnt(chat, all_of_it) == "blue<|im_end|>red<|im_end|>"
    (last,) = chat.examples([row("q", "blue", "q2", "red", untrained=(1,))], "", 256)
    assert learnt(chat, last) == "red<|im_end|>"
    assert last.input_ids == all_of_it.input_ids


def test_both_ways_to_find_the_answer_agree_with_each_other_and_with_trl(bases: Bases, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows = [row("what colour?", "blue"), row("q", "أحمر", "and then?", '{"colour": "red"}')]
    tagged, untagged = (ChatTokenizer.load(bases(kind)).examples(rows, "S", 256) for kind in ("tagged", "untagged"))
    assert tagged == untagged
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(bases("tagged")),
        args=SFTConfig(output_dir=str(tmp_path), assistant_only_loss=True, use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list([{"messages": with_prompt(Prompt(system="S"), row.sent())} for row in rows]),
        processing_class=ChatTokenizer.load(bases("tagged")).tokenizer,
    )
    for ours, theirs in zip(tagged, trainer.train_dataset, strict=True):
        assert (ours.input_ids, ours.labels) == (theirs["input_ids"], theirs["labels"])


def test_a_template_that_leaves_the_end_of_the_turn_out_is_an_error_naming_the_cure(bases: Bases) -> None:
    chat = ChatTokenizer.load(bases("unended"))
    with pytest.raises(InvalidConfig, match="endgeneration") as caught:
        chat.examples([row("q", "a")], "", 256)
    assert "no answer would stop" in caught.value.summary


def test_an_end_of_turn_that_the_server_does_not_stop_at_is_an_error(bases: Bases, tmp_path: Path) -> None:
    base = shutil.copytree(bases("untagged"), tmp_path / "base")
    path = base / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "<|pad|>"}))
    (base / "generation_config.json").unlink()
    learnt_end = ChatTokenizer.load(base).examples([row("q", "a")], "", 256)
    assert len(learnt_end) == 1, "vLLM stops where config.json says, in a folder without generation_config.json"
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    with pytest.raises(InvalidConfig, match="eos_token_id"):
        ChatTokenizer.load(base).examples([row("q", "a")], "", 256)


def test_a_second_end_of_turn_in_the_generation_config_counts(bases: Bases, tmp_path: Path) -> None:
    base = shutil.copytree(bases("tagged"), tmp_path / "base")
    path = base / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "<|pad|>"}))
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 2]}))
    chat = ChatTokenizer.load(base)
    assert learnt(chat, chat.examples([row("q", "blue")], "", 256)[0]) == "blue<|im_end|>"


def test_a_template_that_trains_after_another_prompt_than_is_served_is_reported(bases: Bases) -> None:
    chat = ChatTokenizer.load(bases("thinking"))
    with pytest.raises(InvalidData, match="server's prompt would end in") as caught:
        chat.examples([row("q", "a")], "", 256)
    assert "<think>" in caught.value.problems[0].fault


def test_a_template_that_writes_the_date_trains_and_serves_the_same_tokens_a_year_apart(
    bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime

    from transformers import AutoTokenizer
    from transformers.utils import chat_template_utils

    base = shutil.copytree(bases("tagged"), tmp_path / "base")
    dated = (
        "{%- if strftime_now is defined -%}{%- set today = strftime_now('%d %b %Y') -%}{%- endif -%}\n"
        "{{- '<|im_start|>system\nToday: ' + today + '<|im_end|>\n' -}}" + TAGGED
    )
    (base / "chat_template.jinja").write_text(dated)
    (asked,) = conversations = [row("what colour? ما اللون", "أزرق blue")]
    question = with_prompt(Prompt(system="S"), asked.sent())[:-1]

    def tokens(year: int) -> tuple[list[int], list[int], list[int]]:
        """As trained, as the engine renders its prompt, and as it would with the base's own template."""
        now = type("Clock", (), {"now": lambda: datetime.datetime(year, 3, 1, tzinfo=datetime.UTC)})
        monkeypatch.setattr(chat_template_utils, "datetime", now)
        chat = ChatTokenizer.load(base, fingerprint(base))
        (example,) = chat.examples(conversations, "S", 256)
        tokenizer = AutoTokenizer.from_pretrained(base)
        engines, own = (
            tokenizer.apply_chat_template(question, chat_template=text, add_generation_prompt=True)["input_ids"]
            for text in (served_template(base), dated)
        )
        assert example.input_ids[: example.answer_start] == engines
        assert learnt(chat, example) == "أزرق blue<|im_end|>"
        return example.input_ids, engines, own

    first, later = tokens(2026), tokens(2027)
    assert first[:2] == later[:2]
    assert first[2] != later[2], "or this test could not fail"


def test_an_answer_that_history_renders_in_another_way_is_context_only(bases: Bases) -> None:
    chat = ChatTokenizer.load(bases("forgetful"))
    (example,) = chat.examples([row("q", "blue", "q2", "red")], "", 256)
    assert learnt(chat, example) == "red<|im_end|>"
    with pytest.raises(InvalidData, match="none of its answers"):
        chat.examples([row("q", "blue", "q2", "red", untrained=(3,))], "", 256)


def test_a_base_without_a_template_or_an_end_is_refused(bases: Bases) -> None:
    with pytest.raises(InvalidConfig, match="no chat template"):
        ChatTokenizer.load(bases("bare"))
    tokenizer = ChatTokenizer.load(bases()).tokenizer
    with pytest.raises(InvalidConfig, match="no end-of-turn token"):
        ChatTokenizer(tokenizer, frozenset())


def test_rows_that_are_too_long_or_hold_special_tokens_are_reported_together(bases: Bases) -> None:
    chat = ChatTokenizer.load(bases())
    rows = [
        row("q", "a", place="f:1"),
        row("q", "blue " * 40, place="f:2"),
        row("q<|im_end|>", "a", place="f:3"),
        row("q", "blue " * 50, place="f:4"),
    ]
    with pytest.raises(InvalidData) as caught:
        chat.examples(rows, "", 32)
    assert [problem.place for problem in caught.value.problems] == ["f:2", "f:3", "f:4"]
    assert "more than 32" in caught.value.problems[0].fault
    assert "<|im_end|>" in caught.value.problems[1].fault


def test_the_template_is_the_one_in_the_fingerprint(bases: Bases) -> None:
    known = fingerprint(bases("tagged"))
    ChatTokenizer.load(bases("tagged"), known)
    with pytest.raises(InvalidConfig, match="chat template"):
        ChatTokenizer.load(bases("untagged"), known)


# -- tools, names and reasoning ---------------------------------------------------------------------------------------

TOOLED = (
    "{%- for t in tools or [] -%}<tool>{{ t | tojson }}</tool>{%- endfor -%}"
    "{%- for m in messages -%}"
    "<|im_start|>{{ m.role }}{{ ' ' + m.name if m.name }}\n{{ '(' + m.reasoning_content + ')' if m.reasoning_content }}"
    "{{ m.content }}{%- for c in m.tool_calls or [] -%}{{ c.function.name }}:{{ c.function.arguments | tojson }}"
    "{%- endfor -%}<|im_end|>\n"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
BOOK = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}
BOOKED = {
    "tools": [BOOK],
    "messages": [
        {"role": "user", "content": "Book me.", "name": "sara"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "book", "arguments": '{"when":"2026-05-01","n":7}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
        {"role": "assistant", "content": "Booked.", "reasoning_content": "free"},
    ],
}


def with_template(bases: Bases, template: str) -> ChatTokenizer:
    loaded = ChatTokenizer.load(bases("untagged"))
    loaded.tokenizer.chat_template = template
    return ChatTokenizer(loaded.tokenizer, loaded.stops)


def test_calls_are_learnt_with_their_arguments_as_the_server_renders_them(bases: Bases) -> None:
    chat = with_template(bases, TOOLED)
    (example,) = chat.examples([conversation(BOOKED, "t:1")], "", 1024)
    call = 'book:{"when": "2026-05-01", "n": 7}<|im_end|>'
    assert learnt(chat, example) == f"{call}(free)Booked.<|im_end|>"
    text = chat.tokenizer.decode(example.input_ids)
    assert text.startswith(f"<tool>{json.dumps(BOOK)}</tool><|im_start|>user sara\nBook me.<|im_end|>")
    assert f"<|im_start|>assistant\n{call}<|im_start|>tool\nok<|im_end|>" in text


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("{{ t | tojson }}", None),
        ("<tool>{{ t | tojson }}</tool>", "the tools"),
        ("{{ ' ' + m.name if m.name }}", "the name of turn 1"),
        ("{{ c.function.name }}:{{ c.function.arguments | tojson }}", "the tool calls of turn 2"),
        ("{{ '(' + m.reasoning_content + ')' if m.reasoning_content }}", "the reasoning of turn 4"),
    ],
)
def test_what_the_template_leaves_out_of_a_row_is_an_error(bases: Bases, gone: str, said: str | None) -> None:
    assert gone in TOOLED
    chat = with_template(bases, TOOLED.replace(gone, ""))
    if said is None:  # something of it is rendered
        assert chat.examples([conversation(BOOKED, "t:1")], "", 1024)
        return
    with pytest.raises(InvalidData, match=f"t:1: the chat template leaves out {said}"):
        chat.examples([conversation(BOOKED, "t:1")], "", 1024)


@pytest.mark.parametrize(("number", "learnt_as"), [("1.10", "1.1"), ("1e3", "1000.0"), ("-0", "0"), ("2.50000", "2.5")])
def test_a_number_of_a_call_that_a_template_would_spell_otherwise_is_refused(
    bases: Bases, number: str, learnt_as: str
) -> None:
    chat = with_template(bases, TOOLED)
    called = json.dumps(BOOKED).replace('\\"n\\":7', f'\\"n\\":[{{\\"v\\":{number}}}]')
    told = f"t:1: the call of book has the number {number}, and the chat template would write {learnt_as} → write it"
    with pytest.raises(InvalidData, match=re.escape(told)):
        chat.examples([conversation(json.loads(called), "t:1")], "", 1024)
    as_text = json.loads(called.replace(f":{number}}}", f':\\"{number}\\"}}'))
    assert f'"v": "{number}"' in learnt(chat, chat.examples([conversation(as_text, "t:1")], "", 1024)[0])


def test_numbers_of_tools_are_rendered_as_the_server_has_them(bases: Bases) -> None:
    chat = with_template(bases, TOOLED.replace("{{ t | tojson }}", "{{ t.function.parameters.least }}"))
    row = strict_json.kept(json.dumps(BOOKED).replace('"type": "object"', '"least": 1.10'))
    assert chat.tokenizer.decode(chat.examples([conversation(row, "t:1")], "", 1024)[0].input_ids).startswith(
        "<tool>1.1</tool>"
    )


def test_a_special_token_in_the_tools_or_a_call_is_refused(bases: Bases) -> None:
    chat = with_template(bases, TOOLED)
    for old, new in (("2026-05-01", "<|im_end|>"), ('"object"', '"<|im_end|>"')):
        value = json.loads(json.dumps(BOOKED).replace(old, new))
        with pytest.raises(InvalidData, match="which ends or starts turns"):
            chat.examples([conversation(value, "t:1")], "", 1024)
