"""What the service asks of an engine: an OpenAI-shaped request and an adapter in, a response or chunks out.

Nothing here knows vLLM. `vllm/engine.py` holds vLLM in the process, `fake_engine.py` is deterministic and needs
nothing; the same tests run on both (tests/service/engine_contract.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from lifecycle.version import Digest, Frozen

Kind = Literal["chat", "completion", "likelihood", "classification"]
"""What a request asks for. No engine is asked for a classification: `service/classification` answers it."""


@dataclass(frozen=True, slots=True)
class AdapterHandle:
    """One load of an adapter. Name and path follow from the bytes' digest; the id is new at every load, never reused.

    An engine keys its weights by id and its prefix cache by name and path, so neither can ever be stale.
    """

    name: str
    id: int
    path: Path


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the engine."""

    kind: Kind
    body: dict[str, Any]
    """As the OpenAI API has it; the engine ignores `model` and `stream`."""
    model: str
    """What the answer says in `model`."""
    adapter: AdapterHandle | None
    request_id: str
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C trace context (`traceparent`), for an engine that makes spans of its own; empty when nobody traces."""
    caller: str = ""
    """Who asked: callers take turns where their requests have to be prepared one after the other."""
    base: Digest = ""
    """Whose engine is meant, where there are several; empty for the only one."""


def count_prompts(prompt: Any) -> int:
    """Of a completion's `prompt`: a text, a list of texts, or tokens, of which a list may be one prompt or several."""
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1


class Tally(Frozen):
    """What one request cost. Times in seconds; None where it cannot be known (several choices, no token)."""

    prompt_tokens: int
    completion_tokens: int
    queue: float | None = None
    """From the engine's door to the first step."""
    first_token: float | None = None
    """From the engine's door to the first token."""
    per_token: float | None = None
    """Mean time between tokens after the first."""


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    body: dict[str, Any]
    tally: Tally


class EngineDetail(Frozen):
    """What decides answers besides the request, as JSON has it (see `lifecycle.deployment.Deployment`).

    The same at every start of the same set-up. No path, address, process id or secret: every caller may read it.
    """

    kernels: tuple[str, ...] = ()
    device: dict[str, Any] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    arguments: dict[str, Any] = Field(default_factory=dict)


class EngineFacts(Frozen):
    """What is running: for the log and /ready, and with `detail` for the deployment's digest."""

    engine: str
    version: str
    dtype: str
    max_model_len: int
    lora_kernel: str
    max_queue: int = 512
    """Requests that it takes at once, waiting ones among them."""
    detail: EngineDetail = EngineDetail()
    beside: dict[Digest, EngineFacts] = Field(default_factory=dict)
    """Of the engines of other bases, by base."""

    def of(self, base: Digest) -> EngineFacts:
        return self.beside.get(base, self)

    def brief(self) -> dict[str, Any]:
        beside = {"beside": {base: facts.brief() for base, facts in self.beside.items()}} if self.beside else {}
        return {**self.model_dump(exclude={"detail", "beside"}), **beside}


class Engine(Protocol):
    """All methods belong to one event loop. Errors are the project's own (lifecycle/errors.py).

    `InvalidInput` for a request that is wrong, `EngineDead` once the engine has stopped, `Overloaded` when its queue
    is full, `AdapterUnloadable` from `load`.
    """

    async def start(self) -> EngineFacts:
        """Return when requests can be answered. May be called again after `stop`; nothing is loaded then."""

    async def stop(self) -> None:
        """Every request under way ends with `EngineDead`."""

    async def check(self) -> None:
        """Raise `EngineDead` when the engine cannot answer."""

    async def ping(self) -> None:
        """Return when the engine's own loop has answered, which may take a step; never when it hangs."""

    async def load(self, adapter: AdapterHandle) -> None:
        """Make `adapter` usable. After a failure its id is not used again."""

    async def unload(self, adapter: AdapterHandle) -> None:
        """Forget `adapter`; nothing when it is not loaded. No request may be using it."""

    async def generate(self, call: Call) -> EngineAnswer: ...

    def stream(self, call: Call) -> AsyncGenerator[str | Tally, None]:
        """Each chunk as the OpenAI API sends it, as JSON text (usage only when asked for), then one `Tally`.

        Closing the generator early frees the request before `aclose` returns.
        """

    async def likelihoods(self, call: Call) -> EngineAnswer:
        """How likely each of `continuations` is behind `messages` or `prompt`: the sum of its tokens' natural-log
        probabilities, their number, and whether each was the likeliest. Nothing is told of the prompt's tokens.

        `messages` are rendered as for a chat. Prompt and continuation are turned into tokens together, as they are in
        training; the continuation's are those from the first in which the two together differ from the prompt alone.
        An empty prompt stands for the beginning of a text. With `from_last_word` the white space that ends the prompt
        counts to each continuation.
        """

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        """Natural-log probability of each completion token after the prompt and the completion's earlier tokens."""

    async def tokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        """`prompt` or `messages` → `tokens`, `count`, `max_model_len`. `base` as in `Call`."""

    async def detokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        """`tokens` → `prompt`."""

    def structured_output(self) -> str:
        """Whether answers can be held to a schema or grammar now: `ok`, or a code that says why not."""

    async def metrics(self) -> bytes:
        """The engine's own series in Prometheus' text format."""
