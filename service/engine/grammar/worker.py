"""A process that compiles what answers are to keep to, on trial: each in a child of its own that can be ended.

xgrammar has no deadline, no cancellation and no bound of memory, and in the engine's core it has one thread for
everybody's. This process imports it once and is forked for each trial; a child that takes too much is killed, and
nobody waits for it. It is a program by itself (`python worker.py`): `trial.py` starts it and speaks
with it, and it ends when that side closes.

In: frames of four bytes of length and JSON. The first says what tokens there are, `{"tokens", "whitespace"}`; then
`{"id", "kind", "spec", "seconds", "patience"}` asks for a trial, and `{"cancel"}` ends one. Out: a line of JSON each,
first `{"ready"}`, then `{"id", "outcome", "message", "seconds"}`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import selectors
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, BinaryIO, NoReturn

_MEMORY = 2**30
"""Bytes that one trial may take."""
_STEPS = 64
_STEP_SECONDS = 0.01
"""Of the processor's time for a token, on average: it is taken from everybody's step while an answer is made."""
_NICE = 5

DEAR = {
    signal.SIGPROF: "it takes too long to compile",
    signal.SIGKILL: "it takes too much to compile",
}
"""A child's end by a signal → what is said of its grammar."""


@dataclass
class _Trial:
    id: int
    pid: int
    pipe: int
    deadline: float
    said: bytes = b""
    late: bool = False


def main() -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = _frame(sys.stdin.buffer)
    _without_transformers()
    import xgrammar

    info = xgrammar.TokenizerInfo.deserialize_json(asked["tokens"])
    print(json.dumps({"ready": True}), file=out)
    _Worker(info, asked["whitespace"], out).run(sys.stdin.fileno())


def _without_transformers() -> None:
    """xgrammar imports transformers for three of its types, which takes almost as long as all else that it imports.
    It is given nothing of these types here, but what it makes of a tokenizer elsewhere.
    """
    stands_in = ModuleType("transformers")
    names = ("PreTrainedTokenizerBase", "PreTrainedTokenizerFast", "LogitsProcessor")
    vars(stands_in).update({name: type(name, (), {}) for name in names})
    sys.modules["transformers"] = stands_in


class _Worker:
    def __init__(self, info: Any, whitespace: bool, out: Any) -> None:
        self._info = info
        self._whitespace = whitespace
        self._out = out
        self._trials: dict[int, _Trial] = {}
        self._selector = selectors.DefaultSelector()
        self._input = b""

    def run(self, source: int) -> None:
        self._selector.register(source, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            for trial in self._trials.values():
                if not trial.late and trial.deadline <= now:
                    trial.late = True
                    os.kill(trial.pid, signal.SIGKILL)
            nearest = min((trial.deadline for trial in self._trials.values() if not trial.late), default=None)
            for key, _ in self._selector.select(None if nearest is None else max(0.0, nearest - now)):
                if key.fd != source:
                    self._read(key.data)
                elif not self._take(os.read(source, 2**16)):
                    for trial in self._trials.values():
                        os.kill(trial.pid, signal.SIGKILL)
                    return

    def _take(self, piece: bytes) -> bool:
        """Do what was asked. False when nothing will be any more."""
        self._input += piece
        while len(self._input) >= 4:
            (size,) = struct.unpack(">I", self._input[:4])
            if len(self._input) < 4 + size:
                break
            asked = json.loads(self._input[4 : 4 + size])
            self._input = self._input[4 + size :]
            if "cancel" in asked:
                for trial in self._trials.values():
                    if trial.id == asked["cancel"]:
                        os.kill(trial.pid, signal.SIGKILL)
            else:
                self._begin(asked)
        return bool(piece)

    def _begin(self, asked: dict[str, Any]) -> None:
        reads, writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reads)
            _child(self._info, asked, self._whitespace, writes)
        os.close(writes)
        trial = _Trial(asked["id"], pid, reads, time.monotonic() + asked["patience"])
        self._trials[reads] = trial
        self._selector.register(reads, selectors.EVENT_READ, trial)

    def _read(self, trial: _Trial) -> None:
        piece = os.read(trial.pipe, 2**16)
        if piece:
            trial.said += piece
            return
        self._selector.unregister(trial.pipe)
        os.close(trial.pipe)
        del self._trials[trial.pipe]
        _, status, used = os.wait4(trial.pid, 0)
        answer: dict[str, Any] = {"outcome": "late", "message": ""}
        if trial.said:
            answer = json.loads(trial.said)
        elif not trial.late:
            why = DEAR.get(signal.Signals(os.WTERMSIG(status))) if os.WIFSIGNALED(status) else None
            answer = {"outcome": "refused", "message": why or "the compiler breaks down at it"}
        seconds = used.ru_utime + used.ru_stime
        print(json.dumps({"id": trial.id, **answer, "seconds": seconds}), file=self._out)


def _child(info: Any, asked: dict[str, Any], whitespace: bool, writes: int) -> NoReturn:
    """Try it, and say what came."""
    os.nice(_NICE)
    with open("/proc/self/statm", encoding="ascii") as statm:
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_PROF, asked["seconds"])
    try:
        said = {"outcome": "passed", "message": ""}
        if fault := trial(info, asked["kind"], asked["spec"], whitespace=whitespace):
            said = {"outcome": "refused", "message": fault}
    except MemoryError:
        said = {"outcome": "refused", "message": "it takes too much memory to compile"}
    except Exception as error:
        said = {"outcome": "refused", "message": _words(error)}
    os.write(writes, json.dumps(said).encode())
    os._exit(0)


def trial(info: Any, kind: str, spec: str, *, whitespace: bool) -> str:
    """Compile as vLLM's core does, and take some tokens. Returns what is wrong; raises what the compiler raises."""
    import xgrammar

    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    if kind == "json":
        separators = None if whitespace else (",", ":")
        compiled = compiler.compile_json_schema(spec, any_whitespace=whitespace, separators=separators)
    elif kind == "regex":
        compiled = compiler.compile_regex(spec)
    elif kind == "lark":
        compiled = compiler.compile_lark(spec)
    elif kind == "structural_tag":
        compiled = _compiled_tag(compiler, spec)
    else:
        compiled = compiler.compile_grammar(spec)
    return _walk(xgrammar, info, compiled)


def _compiled_tag(compiler: Any, spec: str) -> Any:
    import xgrammar

    tag = json.loads(spec)
    if "structures" not in tag:
        return compiler.compile_structural_tag(spec)
    items = [
        xgrammar.StructuralTagItem(begin=part["begin"], schema=json.dumps(part["schema"]), end=part["end"])
        for part in tag["structures"]
    ]
    return compiler.compile_structural_tag(items, tag["triggers"])


def _walk(xgrammar: Any, info: Any, compiled: Any) -> str:
    """Take tokens that are allowed: some must be at every step, and finding them must not take long.

    Once the same again and again, which is the worst for what can be read in many ways, and once any.
    """
    chance, stops = random.Random(0), set(info.stop_token_ids)
    mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
    begun = time.process_time()
    for pick in (min, chance.choice):
        matcher, steps = xgrammar.GrammarMatcher(compiled), 0
        while steps < _STEPS and not matcher.is_terminated():
            matcher.fill_next_token_bitmask(mask, 0)
            words = [(at * 32, word) for at, word in enumerate(mask[0].tolist()) if word]
            if not words:
                return "no text can keep to it" if steps == 0 else "some of its texts can never end"
            allowed = [at + bit for at, word in _some(words, pick) for bit in range(32) if word >> bit & 1]
            going_on = [token for token in allowed if token < info.vocab_size and token not in stops]
            if not going_on:
                break  # it may end, and is not looked at further
            if not matcher.accept_token(pick(going_on)):
                return "some of its texts can never end"
            steps += 1
            if time.process_time() - begun > 2 * _STEPS * _STEP_SECONDS:
                return "each token takes too long to find"
    return ""


def _some(words: list[tuple[int, int]], pick: Callable[[Any], Any]) -> list[tuple[int, int]]:
    """Few of many: the first ones, and one that is picked. Each has 32 tokens."""
    return [*words[:2], pick(words)] if pick is min else [pick(words), words[-1]]


def _words(error: Exception) -> str:
    """The compiler's message, without the places and conditions in its own source."""
    text = " ".join(str(error).split())
    said = text.rpartition(".cc:")[2].partition(": ")[2]
    return said[:300] if said and "::" not in said else "it is not of the form that it must have"


def _frame(source: BinaryIO) -> dict[str, Any]:
    (size,) = struct.unpack(">I", source.read(4))
    asked: dict[str, Any] = json.loads(source.read(size))
    return asked


if __name__ == "__main__":
    main()
