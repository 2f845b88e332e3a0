"""Trains the clinic's base model from scratch on the generated corpus, on the CPU, in about 80 minutes.

    python -m examples.clinic.pretrain --minutes 80

Story: tokenizer → model → for each step, a batch of conversations of like length, the loss on the
assistant's words only → a checkpoint every few minutes (`--resume` goes on from it) → bf16 weights
in base_model/. `corpus.py` says what is learnt, `abilities.py` measures it.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.clinic.corpus import Conversation, sample
from examples.clinic.induction import CONSTANT, EMBEDDING_STD, start_with_induction
from examples.clinic.muon import Muon
from examples.clinic.tokenizer import END, MAX_LENGTH, bare_and_spaced, save_tokenizer

HERE = Path(__file__).parent
TOKENS_A_STEP, TOKENS_A_STEP_EARLY = 4096, 3072
COPYING = (
    0.4  # the loss of `answerable_reading` under which the mix moves on, for copying is what all else is built from
)
MOVE_ON_BY = 0.3  # or after this share of the time
PACE = 1 / 250  # how far the mix moves on in a step
LONGEST = 800
BUFFER = 256
MUON_LR, ADAM_LR = 0.01, 3e-3
ROPE_THETA = 100_000.0


@dataclass
class Example:
    """One encoded conversation: token ids, and which of them the loss falls on."""

    skill: str
    ids: list[int]
    taught: list[bool]


class Encoder:
    """Turns conversations into ids exactly as the chat template does (a test compares the two)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def __call__(self, skill: str, talk: Conversation) -> Example:
        pieces: list[str] = []
        for turn in talk:
            pieces += [f"<|im_start|>{turn.role}\n", turn.content + END, "\n"]
        encoded = self.tokenizer(pieces, add_special_tokens=False)["input_ids"]
        ids: list[int] = []
        taught: list[bool] = []
        for index, piece in enumerate(encoded):
            ids += piece
            taught += [index % 3 == 1 and talk[index // 3].taught] * len(piece)
        return Example(skill, ids, taught)


def batches(encoder: Encoder, seed: int, late: list[float], processes: int) -> Iterator[list[Example]]:
    """Endless batches of about equally many tokens; each holds conversations of like length."""
    rng = random.Random(seed)
    waiting: list[list[Example]] = []
    while True:
        if not waiting:
            longest = LONGEST if late[0] >= 0.3 else 320
            budget = (TOKENS_A_STEP if late[0] >= 0.3 else TOKENS_A_STEP_EARLY) // processes
            drawn: list[Example] = []
            while len(drawn) < BUFFER:
                example = encoder(*sample(rng, late[0]))
                if len(example.ids) <= longest:
                    drawn.append(example)
            drawn.sort(key=lambda example: len(example.ids))
            batch: list[Example] = []
            for example in drawn:
                if batch and (len(batch) + 1) * len(example.ids) > budget:
                    waiting.append(batch)
                    batch = []
                batch.append(example)
            waiting.append(batch)
            rng.shuffle(waiting)
        yield waiting.pop()


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
        attn_implementation="sdpa",
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
    return model


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


def pack(batch: list[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids, and which of them the loss falls on; both [rows, width]."""
    width = math.ceil(max(len(example.ids) for example in batch) / 16) * 16
    ids = torch.full((len(batch), width), pad)
    taught = torch.zeros((len(batch), width), dtype=torch.bool)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        taught[row, : len(example.ids)] = torch.tensor(example.taught)
    return ids, taught


def worker(rank: int, options: argparse.Namespace) -> None:
    """One of the data-parallel processes: a thread each, gradients averaged once a step.

    Two processes of one thread beat one of two threads here: the threads would wait for each other
    after every small operation, the processes once a step.
    """
    os.setsid()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    work: Path = options.work
    dist.init_process_group(
        "gloo", init_method=f"file://{work}/meet-{os.getppid()}", rank=rank, world_size=options.processes
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "latest")
    model = build(tokenizer, options.seed)
    hidden = [
        p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    others = [p for p in model.parameters() if all(p is not q for q in hidden)]
    muon = Muon(hidden, MUON_LR)
    adam = torch.optim.AdamW(others, lr=ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    now = Progress()
    if options.resume:
        state = torch.load(work / "state.pt")
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        now = Progress(state["spent"], state["step"], state["tokens"], state["moved_on"], state.get("copying", 5.0))
    late = [now.moved_on]
    stream = batches(
        Encoder(tokenizer), options.seed + 1 + now.step * options.processes + rank, late, options.processes
    )
    losses: dict[str, list[float]] = defaultdict(list)
    started, logged, saved = time.time() - now.spent, time.time(), time.time()
    parameters = hidden + others
    if rank == 0:
        print(f"{sum(p.numel() for p in parameters) / 1e6:.2f}M parameters, vocabulary {len(tokenizer)}", flush=True)
    while True:
        ids, taught = pack(batch := next(stream), tokenizer.pad_token_id)
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state
        targets = ids[:, 1:][taught[:, 1:]]
        each = cross_entropy(model.lm_head(states[:, :-1][taught[:, 1:]]), targets, reduction="none")
        each.mean().backward()
        rows = taught[:, 1:].nonzero()[:, 0]
        for row, example in enumerate(batch):
            losses[example.skill].append(each.detach()[rows == row].mean().item())
            if example.skill == "answerable_reading":
                now.copying += 0.02 * (losses[example.skill][-1] - now.copying)
        shared = torch.tensor([(time.time() - started) / (options.minutes * 60), now.copying, float(ids.numel())])
        flat = torch.cat([shared, *(p.grad.flatten() for p in parameters if p.grad is not None)])
        dist.all_reduce(flat)
        flat /= options.processes
        done, now.copying = flat[0].item(), flat[1].item()
        now.step, now.tokens = now.step + 1, now.tokens + round(flat[2].item() * options.processes)
        for parameter, gradient in zip(parameters, flat[3:].split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter)
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        rate = learning_rate(done, now.step)
        muon.lr = MUON_LR * rate
        for group in adam.param_groups:
            group["lr"] = ADAM_LR * rate
        muon.step(rank, options.processes)
        adam.step()
        model.zero_grad()
        if now.copying < COPYING or done > MOVE_ON_BY or late[0] > 0:
            late[0] = now.moved_on = min(1.0, late[0] + PACE)
        if rank == 0 and time.time() - logged > 60:
            logged = time.time()
            told = " ".join(f"{skill}={sum(v) / len(v):.3f}" for skill, v in sorted(losses.items()))
            print(
                f"{(logged - started) / 60:.1f} min step {now.step} {now.tokens / 1e6:.2f}M tokens {now.tokens / (logged - started):.0f}/s late {late[0]:.2f} {told}",
                flush=True,
            )
            losses.clear()
        if rank == 0 and (done >= 1 or time.time() - saved > 120):
            saved = time.time()
            now.spent = time.time() - started
            save(model, tokenizer, work / "latest")
            torch.save(
                {"model": model.state_dict(), "muon": muon.state_dict(), "adam": adam.state_dict(), **vars(now)},
                work / "new.pt",
            )
            (work / "new.pt").replace(work / "state.pt")
        if done >= 1:
            break
    if rank == 0:
        save(model, tokenizer, HERE / "base_model")
        print(f"done: {now.step} steps, {now.tokens / 1e6:.2f}M tokens, {now.spent / 60:.1f} minutes", flush=True)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--work", type=Path, default=Path("/tmp/clinic_pretrain"), help="checkpoints")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint in --work; --minutes is then the whole time"
    )
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.resume:
        rng = random.Random(options.seed)
        save_tokenizer(
            (" ".join(turn.content for turn in sample(rng, late=0.8)[1]) for _ in range(20_000)),
            options.work / "latest",
        )
    torch.multiprocessing.spawn(worker, args=(options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
