"""A Llama with random weights, adapters with large random deltas, and what transformers and PEFT compute with them.

Random text means nothing, but greedy decoding of it is sensitive to every fault of the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = (
    "The clinic opens at eight in the morning.",
    "العيادة تفتح الساعة الثامنة صباحاً، أهلاً وسهلاً بكم.",
    '{"intent": "appointment", "department": "dentistry", "urgency": "low"}',
)
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """One random adapter. They differ in rank, scale and modules, so that padding and slices are all met."""

    rank: int
    targets: tuple[str, ...] = ALL_LINEAR
    use_rslora: bool = False
    ranks: dict[str, int] = field(default_factory=dict)
    alphas: dict[str, int] = field(default_factory=dict)
    """Of some modules, in place of what holds for all."""


RECIPES = {
    "red": Recipe(4),
    "green": Recipe(8, ("q_proj", "v_proj", "down_proj")),
    "blue": Recipe(
        8,
        use_rslora=True,
        ranks={"q_proj": 4, "layers.1.mlp.down_proj": 16},
        alphas={"v_proj": 48, "model.layers.0.mlp.up_proj": 4},
    ),
    "grey": Recipe(8, ("k_proj", "gate_proj")),
}


def make_base(folder: Path, seed: int = 0) -> None:
    """About 0.3M parameters in float32; heads of 32, the smallest that vLLM's CPU attention takes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_level.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def make_adapter(base: Path, folder: Path, recipe: Recipe, seed: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        target_modules=list(recipe.targets),
        use_rslora=recipe.use_rslora,
        rank_pattern=recipe.ranks,
        alpha_pattern=recipe.alphas,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)


@dataclass(frozen=True)
class Continuation:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass
class Reference:
    """Base and adapters in transformers and PEFT, float32, one request at a time."""

    base: Path
    adapters: dict[str, Path]
    _models: dict[str | None, Any] = field(default_factory=dict)

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.base)

    def logprobs(self, adapter: str | None, ids: list[int]) -> Any:
        """[len(ids), vocabulary]: row t is the distribution of the token after ids[:t + 1]."""
        import torch

        with torch.no_grad():
            logits = self._model(adapter)(input_ids=torch.tensor([ids])).logits[0]
        return torch.log_softmax(logits.double(), dim=-1)

    def greedy(self, adapter: str | None, prompt: list[int], count: int) -> Continuation:
        ids, logprobs = list(prompt), []
        for _ in range(count):
            row = self.logprobs(adapter, ids)[-1]
            ids.append(int(row.argmax()))
            logprobs.append(float(row.max()))
        return Continuation(tuple(ids[len(prompt) :]), tuple(logprobs))

    def score(self, adapter: str | None, prompt: list[int], completion: list[int]) -> list[float]:
        rows = self.logprobs(adapter, [*prompt, *completion])
        return [float(rows[len(prompt) + at - 1, token]) for at, token in enumerate(completion)]

    def _model(self, adapter: str | None) -> Any:
        if adapter not in self._models:
            import torch
            from peft import PeftModel
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32)
            if adapter is not None:
                model = PeftModel.from_pretrained(model, self.adapters[adapter])
            self._models[adapter] = model.eval()
        return self._models[adapter]
