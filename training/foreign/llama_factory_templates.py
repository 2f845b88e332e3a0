"""LLaMA-Factory's templates whose tokens may be those of the base's own chat template, and whether they are.

What stands around a turn is read in `data/template.py` of its sources. Whether that is what a base renders is not
looked up: probes are put into tokens in both ways, with the base's own tokenizer, and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import DabtError
from lifecycle.models.generation import stop_ids
from lifecycle.models.named_templates import NAMES, template_text

if TYPE_CHECKING:
    from training.tokens import ChatTokenizer

_BOS, _EOS = "\0bos", "\0eos"
"""The tokenizer's own tokens, in place of a text."""


@dataclass(frozen=True)
class Around:
    """The texts around `{}`, which is what a turn says. Each piece is put into tokens alone, as it is there."""

    user: tuple[str, ...]
    assistant: tuple[str, ...] = ("{}", _EOS)
    system: tuple[str, ...] = ("{}",)
    first: tuple[str, ...] = ()
    default: str = ""
    """The system text of rows that have none."""

    def ids(self, tokenizer: Any, turns: tuple[Message, ...]) -> tuple[list[int], int]:
        """The tokens of a row, and where its last answer starts."""
        said = [(turn.role, str(turn.content)) for turn in turns]
        if said[0][0] != "system" and self.default:
            said = [("system", self.default), *said]
        ids, start = self._of(tokenizer, self.first, ""), 0
        for role, content in said:
            start = len(ids)
            ids += self._of(tokenizer, getattr(self, role), content)
        return ids, start

    @staticmethod
    def _of(tokenizer: Any, pieces: tuple[str, ...], content: str) -> list[int]:
        own = {_BOS: tokenizer.bos_token_id, _EOS: tokenizer.eos_token_id}
        ids: list[int] = []
        for piece in pieces:
            if piece in own:
                ids += [own[piece]] * (own[piece] is not None)
            else:
                ids += tokenizer.encode(piece.replace("{}", content), add_special_tokens=False)
        return ids


def _chatml(default: str = "", first: tuple[str, ...] = ()) -> Around:
    return Around(
        ("<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",),
        ("{}<|im_end|>\n",),
        ("<|im_start|>system\n{}<|im_end|>\n",),
        first,
        default,
    )


AROUND: Mapping[str, Around] = {
    "chatml": _chatml(),
    "smollm": _chatml(),
    "yi": _chatml(),
    "qwen3_nothink": _chatml(),
    "qwen": _chatml("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "smollm2": _chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face."),
    "llama3": Around(
        ("<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",),
        ("{}<|eot_id|>",),
        ("<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",),
        (_BOS,),
    ),
    "phi": Around(("<|user|>\n{}<|end|>\n<|assistant|>\n",), ("{}<|end|>\n",), ("<|system|>\n{}<|end|>\n",)),
    "phi4": Around(
        ("<|im_start|>user<|im_sep|>{}<|im_end|><|im_start|>assistant<|im_sep|>",),
        ("{}<|im_end|>",),
        ("<|im_start|>system<|im_sep|>{}<|im_end|>",),
    ),
    "granite3": Around(
        ("<|start_of_role|>user<|end_of_role|>{}<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",),
        ("{}<|end_of_text|>\n",),
        ("<|start_of_role|>system<|end_of_role|>{}<|end_of_text|>\n",),
    ),
    "zephyr": Around(
        ("<|user|>\n{}", _EOS, "<|assistant|>\n"),
        system=("<|system|>\n{}", _EOS),
        default="You are Zephyr, a helpful assistant.",
    ),
}
"""Those of the most common bases that say the same of every turn."""

_TALKS = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
)
_SAID = ("Which ward is it?", "إلى أي قسم يذهب المريض؟", "{'id': 7}\n\n- one\n- two", "It's  12.5 % – a 🩺.", "x")


def renders_as(name: str, base: Path, *, has_system: bool = False) -> str | None:
    """What gives the tokens of the template `name` here: "" is the base's own chat template, else a named one.

    None where neither does, or where that cannot be found out, as without the base's files. `has_system` says that no
    row is without a system text, so that the template's own does not count.
    """
    around = AROUND.get(name)
    if around is None or not (base / "tokenizer_config.json").is_file():
        return None
    from transformers import AutoTokenizer

    from training.tokens import ChatTokenizer

    probes = _probes(has_system)
    try:
        if _same(ChatTokenizer.load(base), around, probes):
            return ""
    except DabtError:  # it has none, or one that cannot be trained by
        pass
    if name in NAMES:
        try:
            tokenizer = AutoTokenizer.from_pretrained(base)
            tokenizer.chat_template = template_text(name, base)
            ends = frozenset(filter(None, (*stop_ids(base), tokenizer.eos_token_id)))
            if _same(ChatTokenizer(tokenizer, ends), around, probes):
                return name
        except DabtError:
            pass
    return None


def _probes(has_system: bool) -> list[Conversation]:
    made = []
    for at, roles in enumerate(_TALKS):
        turns = tuple(Message(role=role, content=_SAID[(at + n) % len(_SAID)]) for n, role in enumerate(roles))
        if roles[0] == "system" or not has_system:
            made.append(Conversation(f"probe:{at}", "", turns))
    return made


def _same(chat: ChatTokenizer, around: Around, probes: list[Conversation]) -> bool:
    """Up to the end of the last answer: a line break behind it is learnt there and not here, and nobody asks for it."""
    for probe, example in zip(probes, chat.examples(probes, "", 1 << 20), strict=True):
        ids, start = around.ids(chat.tokenizer, probe.messages)
        end = example.answer_end
        if (ids[:end], start) != (list(example.input_ids[:end]), example.answer_start):
            return False
    return True
