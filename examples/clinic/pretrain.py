"""Trains the clinic's base model from scratch on the generated corpus, on the CPU, in about 80 minutes.

    python -m examples.clinic.pretrain --minutes 80

Story: tokenizer → model → for each step, a batch of conversations of like length, the loss on the
assistant's words only → a checkpoint every two minutes (`--resume` goes on from it, `--init` from
published weights alone) → bf16 weights in base_model/. `corpus.py` says what is learnt, `abilities.py` measures it.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import (
    AttentionInterface,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from examples.clinic.batches import Encoder, batches, pack
from examples.clinic.corpus import sample
from examples.clinic.frames import PIECES
from examples.clinic.induction import CONSTANT, EMBEDDING_STD, carry_passage_ids, start_with_induction
from examples.clinic.lexicon import PASSAGE_IDS
from examples.clinic.muon import IN_BF16, Muon
from examples.clinic.tokenizer import MAX_LENGTH, add_whole_tokens, bare_and_spaced, pieces, save_tokenizer

HERE = Path(__file__).parent
GATE, COPYING = "answerable_reading", 0.4  # the mix moves on once this skill's loss is under this
MOVE_ON_BY = 0.3  # or after this share of the time
PACE = 1 / 250  # how far the mix moves on in a step
MUON_LR, ADAM_LR = 0.01, 3e-3
ROPE_THETA = 1e7  # so that half of each head compares contents over a whole prompt
LOG_EVERY, SAVE_EVERY = 60, 120  # seconds


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention in fp32 under autocast: the CPU's bf16 backward takes several times as long."""
    with torch.autocast("cpu", enabled=False):
        out = scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=True, scale=scaling)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register("causal_fp32", attend)


def build(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The untrained model: Llama, heads of 32, tied embeddings; `induction.py` sets its first weights."""
    config = LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        attn_implementation="causal_fp32",
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
    )
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    start_with_induction(model, ROPE_THETA, generator)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        # A bare word is its spaced form plus one shift that all words share: "the same, bare" is one thing to learn.
        shift = torch.randn(config.hidden_size, generator=generator) * EMBEDDING_STD
        for bare, spaced in bare_and_spaced(tokenizer):
            embedding[bare] = 0.95 * embedding[spaced] + 0.2 * embedding[bare] + shift
            embedding[bare, 0] = CONSTANT
        # And the ids of passages share one that says what they are.
        ids = torch.tensor(tokenizer.convert_tokens_to_ids(PASSAGE_IDS))
        embedding[ids] += torch.randn(config.hidden_size, generator=generator) * EMBEDDING_STD
        embedding[ids, 0] = CONSTANT
    return model


def take_weights(model: LlamaForCausalLM, folder: Path) -> None:
    """Sets the weights of a published model in place; tokens that its tokenizer lacks keep their first rows."""
    state = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    known = len(PreTrainedTokenizerFast.from_pretrained(folder))
    for name, fresh in model.state_dict().items():
        if fresh.shape != state[name].shape:
            state[name] = torch.cat([state[name][:known], fresh[known:]])
    model.load_state_dict(state)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes bf16 weights, tokenizer and generation config, as a server wants them."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16)
    copy.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=128,
    )
    copy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def learning_rate(done: float, step: int) -> float:
    """Warm up, hold, then fall to zero over the last 40 %: a fraction of the full rate."""
    return min(1.0, (step + 1) / 40) * min(1.0, max(0.02, (1 - done) / 0.4))


@dataclass
class Progress:
    """How far training has come; saved with every checkpoint."""

    spent: float = 0.0
    step: int = 0
    tokens: int = 0
    moved_on: float = 0.0  # 0: the early mix, 1: the main mix
    copying: float = 5.0  # running loss of the skill that decides when to move on


class Trainer:
    """One of the data-parallel processes: a thread each, gradients averaged once a step.

    Two processes of one thread beat one of two threads here: the threads would wait for each other
    after every small operation, the processes once a step.
    """

    def __init__(self, rank: int, options: argparse.Namespace) -> None:
        self.rank, self.processes, self.work = rank, int(options.processes), Path(options.work)
        self.seconds, self.rate = float(options.minutes) * 60, float(options.rate)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(self.work / "latest")
        self.model = build(self.tokenizer, options.seed)
        if options.init:
            take_weights(self.model, options.init)
        if options.carry_ids:
            drawn = batches(Encoder(self.tokenizer), options.seed, [1.0], 1)
            some, _ = pack([example for _ in range(8) for example in next(drawn)], self.tokenizer.pad_token_id)
            names = torch.tensor(self.tokenizer.convert_tokens_to_ids(PASSAGE_IDS))
            carry_passage_ids(self.model, some, torch.isin(some, names))
        PIECES.update(pieces(self.tokenizer))
        named = list(self.model.named_parameters())
        self.hidden = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        self.others = [p for name, p in named if p.ndim != 2 or "embed" in name]
        self.muon = Muon(self.hidden, MUON_LR)
        self.adam = torch.optim.AdamW(self.others, lr=ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.now = self._resumed() if options.resume else Progress(moved_on=1.0 if options.init else 0.0)
        self.late = [self.now.moved_on]
        seed = options.seed + 1 + self.now.step * self.processes + rank
        self.stream = batches(Encoder(self.tokenizer), seed, self.late, self.processes)
        self.losses: dict[str, list[float]] = defaultdict(list)
        self.started = time.time() - self.now.spent
        self.logged = self.saved = time.time()

    def run(self) -> None:
        done = 0.0
        while done < 1:
            tokens = self.forward_and_backward()
            done = self.share(tokens)
            self.update(done)
            if self.rank == 0:
                self.log()
                self.checkpoint(last=done >= 1)

    def forward_and_backward(self) -> int:
        """One batch of this process; leaves the gradients and says how many tokens it was."""
        ids, taught = pack(batch := next(self.stream), self.tokenizer.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16, enabled=IN_BF16):
            states = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
            aimed = taught[:, 1:]
            logits = self.model.lm_head(states[:, :-1][aimed]).float()
        each = cross_entropy(logits, ids[:, 1:][aimed], reduction="none")
        each.mean().backward()
        rows = aimed.nonzero()[:, 0]
        for row, example in enumerate(batch):
            loss = each.detach()[rows == row].mean().item()
            self.losses[example.skill].append(loss)
            if example.skill == GATE:
                self.now.copying += 0.02 * (loss - self.now.copying)
        return int(ids.numel())

    def share(self, tokens: int) -> float:
        """Averages gradients, and what decides about the schedule, over the processes; says how much is done."""
        parameters = self.hidden + self.others
        mine = torch.tensor([(time.time() - self.started) / self.seconds, self.now.copying, float(tokens)])
        flat = torch.cat([mine, *(p.grad.flatten() for p in parameters if p.grad is not None)])
        dist.all_reduce(flat)
        flat /= self.processes
        for parameter, gradient in zip(parameters, flat[3:].split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter)
        self.now.copying = flat[1].item()
        self.now.step += 1
        self.now.tokens += round(flat[2].item() * self.processes)
        return float(flat[0].item())

    def update(self, done: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.others, 1.0)
        rate = self.rate * learning_rate(done, self.now.step)
        self.muon.lr = MUON_LR * rate
        for group in self.adam.param_groups:
            group["lr"] = ADAM_LR * rate
        self.muon.step(self.rank, self.processes)
        self.adam.step()
        self.model.zero_grad()
        if self.now.copying < COPYING or done > MOVE_ON_BY or self.late[0] > 0:
            self.late[0] = self.now.moved_on = min(1.0, self.late[0] + PACE)

    def log(self) -> None:
        if time.time() - self.logged < LOG_EVERY:
            return
        self.logged = time.time()
        spent = self.logged - self.started
        told = " ".join(f"{skill}={sum(v) / len(v):.3f}" for skill, v in sorted(self.losses.items()))
        speed = f"{self.now.tokens / 1e6:.2f}M tokens {self.now.tokens / spent:.0f}/s"
        print(f"{spent / 60:.1f} min step {self.now.step} {speed} late {self.late[0]:.2f} {told}", flush=True)
        self.losses.clear()

    def checkpoint(self, last: bool) -> None:
        if not last and time.time() - self.saved < SAVE_EVERY:
            return
        self.saved = time.time()
        self.now.spent = self.saved - self.started
        save(self.model, self.tokenizer, self.work / "latest")
        parts = {"model": self.model, "muon": self.muon, "adam": self.adam}
        torch.save({name: part.state_dict() for name, part in parts.items()} | vars(self.now), self.work / "new.pt")
        (self.work / "new.pt").replace(self.work / "state.pt")
        if last:
            save(self.model, self.tokenizer, HERE / "base_model")
            print(
                f"done: {self.now.step} steps, {self.now.tokens / 1e6:.2f}M tokens, {self.now.spent / 60:.1f} minutes"
            )

    def _resumed(self) -> Progress:
        state = torch.load(self.work / "state.pt")
        self.model.load_state_dict(state["model"])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        return Progress(**{field: state[field] for field in vars(Progress()) if field in state})


def worker(rank: int, options: argparse.Namespace) -> None:
    """What each spawned process runs."""
    os.setsid()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    meeting = f"file://{options.work}/meet-{os.getppid()}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=options.processes)
    Trainer(rank, options).run()
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--work", type=Path, default=Path("build/clinic_pretrain"), help="checkpoints")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --work; --minutes is then the whole time"
    )
    parser.add_argument(
        "--init", type=Path, help="go on from the weights and tokenizer in this folder, with a fresh optimiser"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="share of the full learning rate, to go on gently")
    parser.add_argument(
        "--carry-ids", action="store_true", help="first give the model a head that carries passages' ids (once)"
    )
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.init and not options.resume:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.init)
        add_whole_tokens(tokenizer)
        tokenizer.save_pretrained(options.work / "latest")
    elif not options.resume:
        rng = random.Random(options.seed)
        save_tokenizer(
            (" ".join(turn.content for turn in sample(rng, late=0.8)[1]) for _ in range(20_000)),
            options.work / "latest",
        )
    torch.multiprocessing.spawn(worker, args=(options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
