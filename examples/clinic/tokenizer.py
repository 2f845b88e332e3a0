"""The base model's tokenizer: byte-level BPE in which every copyable word is one token.

Each word of `lexicon.COPYABLE` is a token twice, bare and with the space before it (`bare_and_spaced`
pairs them), so that a tiny model copies a name in one step; so are passages' ids, and a mark written several
times over, which to copy sign by sign would take counting. Other digits stand alone. Run by `pretrain.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from examples.clinic.lexicon import COPYABLE, MARK_RUNS, PASSAGE_IDS, Lang

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
MERGED_TOKENS = 1920
MAX_LENGTH = 1024

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _byte_level(word: str) -> str:
    """`word` in the alphabet of byte-level BPE."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)[0][0]


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learns merges from `texts`, then adds the copyable words as whole tokens."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = _pre_tokenizer()
    known = re.compile(rf" ?(?<!\w)(?:{'|'.join(COPYABLE)})(?!\w)")
    learner.train_from_iterator(
        (known.sub("", text) for text in texts),
        trainers.BpeTrainer(
            vocab_size=MERGED_TOKENS,
            special_tokens=[PAD, START, END],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    learnt = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = learnt["vocab"]
    for word in COPYABLE:
        for form in (word, " " + word):
            vocabulary.setdefault(_byte_level(form), len(vocabulary))
    merges = [tuple(merge) for merge in learnt["merges"]]
    # `ignore_merges` takes a word that is in the vocabulary whole, without needing merges to reach it.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([PAD, START, END])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    add_whole_tokens(fast)
    return fast


def add_whole_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    """Adds what is copied as one token though BPE would take it apart; those that are there stay as they are."""
    tokenizer.add_tokens([AddedToken(run, normalized=False) for run in MARK_RUNS])
    tokenizer.add_tokens([AddedToken(name, normalized=False, single_word=True) for name in PASSAGE_IDS])


def pieces(tokenizer: PreTrainedTokenizerFast) -> dict[Lang, list[str]]:
    """The learnt tokens that are letters, to make up words from: a token that is never copied cannot be later."""
    texts = {tokenizer.decode([index]).strip() for index in range(len(tokenizer))}
    letters = sorted(text for text in texts - set(COPYABLE) if text.isalpha())
    return {
        "en": [text for text in letters if text.isascii() and text == text.lower()],
        "ar": [text for text in letters if "\u0621" <= text[0] <= "\u064a"],
    }


def bare_and_spaced(tokenizer: PreTrainedTokenizerFast) -> list[tuple[int, int]]:
    """The two ids of every copyable word."""
    ids = tokenizer.convert_tokens_to_ids
    return [(ids(_byte_level(word)), ids(_byte_level(" " + word))) for word in COPYABLE]


def save_tokenizer(texts: Iterable[str], folder: Path) -> PreTrainedTokenizerFast:
    """Trains the tokenizer and writes it to `folder`."""
    tokenizer = train_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    return tokenizer
