"""A BERT with random weights and a vocabulary of words: trained in seconds, and saved as encoders are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

WORDS = ("good", "great", "fine", "bad", "poor", "awful", "so", "film", "was", "the", "it", "and", "حسن", "سيئ")
_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_KINDS = {"good": ("good", "great", "fine", "حسن"), "bad": ("bad", "poor", "awful", "سيئ")}
_FILL = ("so", "film", "was", "the", "it", "and")


def make_encoder(folder: Path, *, pooler: bool = False) -> Path:
    """Without the pooler, as many encoders are shared: what is put above it is drawn by chance."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate((*_MARKS, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    # As sentence-transformers saves them: a short cut and padding that nobody asked for.
    tokenizer.enable_truncation(max_length=6)
    tokenizer.enable_padding(length=6)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.1,  # or all texts look alike to a body that is not trained
    )
    BertModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def sentences(count: int, start: int = 0, labels: tuple[str, ...] = ("good", "bad")) -> list[dict[str, Any]]:
    """Rows whose label follows from one word of the text."""
    rows = []
    for number in range(start, start + count):
        chance = random.Random(number)
        label = labels[number % len(labels)]
        words = [*chance.choices(_FILL, k=chance.randint(1, 8)), chance.choice(_KINDS[label])]
        chance.shuffle(words)
        rows.append({"text": " ".join(words), "label": label, "id": str(number)})
    return rows
