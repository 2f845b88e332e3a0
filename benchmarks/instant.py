"""A server that answers at once, in a process of its own: what is left of a client's time is the client's work.

    python -m benchmarks.instant versions.json

It speaks as much of the OpenAI API and of ours as `dabt eval` and lm-eval's models ask for, with canned replies. The
file says whose answers they are: {"deployment": {...}, "versions": {"triage:1": "sha256:…"}}. It prints its port.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.servers import BASE

_TEXT = "Cardiology, because the message speaks of a pain in the chest."


class Instant(asyncio.Protocol):
    """One connection: each request is answered in the turn of the loop in which its last byte comes."""

    def __init__(self, deployment: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        self._deployment, self._versions = deployment, versions
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + 4 + int(fields.get("content-length", "0"))
            if len(self._received) < whole:
                return
            content, self._received = self._received[end + 4 : whole], self._received[whole:]
            self._answer(first.split(" ")[1], json.loads(content) if content else {})

    def _answer(self, path: str, body: dict[str, Any]) -> None:
        said = json.dumps(self._said(path, body), separators=(",", ":")).encode()
        who = {"content-type": "application/json", "content-length": str(len(said)), "server-timing": "ttft;dur=9.70"}
        if digest := self._versions.get(str(body.get("model"))):
            who |= {"x-dabt-digest": digest, "x-dabt-deployment": str(self._deployment["digest"])}
        lines = "".join(f"{name}: {value}\r\n" for name, value in who.items())
        self._transport.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + said)

    def _said(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        usage = {"prompt_tokens": 43, "completion_tokens": 16, "total_tokens": 59, "prompt_tokens_details": None}
        match path:
            case "/v1/models":
                return {"object": "list", "data": [{"id": BASE, "object": "model"}]}
            case "/v1/dabt/deployment":
                return dict(self._deployment)
            case "/v1/dabt/likelihoods":
                count = len(body["continuations"])
                rows = [{"index": at, "logprob": -2.0 - at, "tokens": 2, "greedy": False} for at in range(count)]
                return {"object": "list", "data": rows, "usage": usage}
            case "/v1/chat/completions":
                message = {"role": "assistant", "content": _TEXT, "refusal": None, "tool_calls": None}
                choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
                told = {"version": body["model"], "passages": []}
                return {"object": "chat.completion", "choices": [choice], "usage": usage, "dabt": told}
        prompt = body["prompt"]
        several = isinstance(prompt, list) and isinstance(prompt[0], (str, list))
        choices = [_completed(at, text, body.get("echo")) for at, text in enumerate(prompt if several else [prompt])]
        return {"object": "text_completion", "choices": choices, "usage": usage}


def _completed(at: int, prompt: Any, echo: bool | None) -> dict[str, Any]:
    """With `echo`, a probability for each token of the prompt, and of the one behind it."""
    count = len(prompt) if echo else 0
    tokens, tops = [None, *[-2.0] * count], [None, *[{" a": -1.0}] * count]
    told = {"token_logprobs": tokens, "top_logprobs": tops} if echo else None
    return {"index": at, "text": _TEXT, "logprobs": told, "finish_reason": "stop"}


@contextmanager
def instant(deployment: Mapping[str, Any], versions: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Its address, while the block runs. `deployment` is as `/v1/dabt/deployment` tells it."""
    file = folder / "instant.json"
    file.write_text(json.dumps({"deployment": deployment, "versions": versions}), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.instant", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _serve(told: Mapping[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Instant(told["deployment"], told["versions"]), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
