"""How much later the first token comes from an adapter that is on disk and not in memory.

`python -m benchmarks.cold_load` starts the real engine in this process, over a base and adapters with random weights
made for it, each with golden prompts as a trainer records them. Asks each adapter once when it is cold and several
times when it is loaded, one request at a time, and prints both and where the difference goes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from lifecycle.adapter import ORIGIN_FILE, AdapterManifest, GoldenPrompt
from lifecycle.artifacts import ArtifactStore
from lifecycle.base import fingerprint, linear_shapes
from lifecycle.preflight import SERVED_MODULES
from lifecycle.registry import Registry
from lifecycle.version import Digest, VersionSpec
from service.adapters.residency import internal_name
from service.app import create_app
from service.config import ServeConfig
from service.engine.interface import AdapterHandle, Engine

PARTS = ("fetch_seconds", "room_seconds", "load_seconds", "verify_seconds")
GOLDEN_PROMPTS, GOLDEN_TOKENS = 4, 24
_FIRST_ID = 1_000_000


def make_adapter(base: Path, folder: Path, rank: int, seed: int) -> None:
    """A LoRA with small random weights on every layer that is served."""
    import numpy
    from safetensors.numpy import save_file

    dice = numpy.random.default_rng(seed)
    folder.mkdir(parents=True)
    tensors = {}
    for module, (out, into) in linear_shapes(base).items():
        if module.rpartition(".")[2] in SERVED_MODULES:
            name = f"base_model.model.{module}"
            tensors[f"{name}.lora_A.weight"] = (dice.standard_normal((rank, into)) / into**0.5).astype("float32")
            tensors[f"{name}.lora_B.weight"] = (dice.standard_normal((out, rank)) / 4).astype("float32")
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({name.split(".")[-3] for name in tensors})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": targets}))
    origin = {"base": fingerprint(base).model_dump(mode="json")}
    (folder / ORIGIN_FILE).write_text(json.dumps(origin))


async def golden(engine: Engine, at: int, digest: Digest, path: Path) -> tuple[GoldenPrompt, ...]:
    """What a trainer would have recorded, taken from the engine itself, under an id that the service does not reach."""
    handle = AdapterHandle(internal_name(digest), _FIRST_ID + at, path)
    await engine.load(handle)
    recorded = []
    for prompt in range(GOLDEN_PROMPTS):
        prompt_ids = tuple(range(10 + prompt, 42 + prompt))
        completion_ids = tuple(range(60 + prompt, 60 + prompt + GOLDEN_TOKENS))
        recorded.append(
            GoldenPrompt(
                prompt_ids=prompt_ids,
                completion_ids=completion_ids,
                adapter_logprobs=tuple(await engine.score(handle, prompt_ids, completion_ids)),
                base_logprobs=tuple(await engine.score(None, prompt_ids, completion_ids)),
            )
        )
    await engine.unload(handle)
    return tuple(recorded)


def manifest(base: Path, digest: Digest, rank: int, prompts: tuple[GoldenPrompt, ...]) -> AdapterManifest:
    return AdapterManifest(
        digest=digest,
        base=fingerprint(base).digest,
        base_name=base.name,
        rank=rank,
        alpha=rank,
        scale=1,
        target_modules=("q_proj",),
        parameters=1,
        bytes=1,
        golden=prompts,
        created_at=datetime.now(UTC),
    )


async def first_token(client: httpx.AsyncClient, model: str) -> float:
    """Milliseconds."""
    # This client hands over whole bodies, so the answer is one token long.
    body = {"model": model, "prompt": list(range(20, 52)), "max_tokens": 1}
    began = time.perf_counter()
    (await client.post("/v1/completions", json=body)).raise_for_status()
    return (time.perf_counter() - began) * 1000


async def measure(config: ServeConfig, engine: Engine, asked: argparse.Namespace, root: Path) -> None:
    from structlog.testing import capture_logs

    registry = Registry.open(f"sqlite:///{root / 'registry.db'}")
    store = ArtifactStore(str(root / "artifacts"), root / "cache")
    app = create_app(config, engine, registry, store)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=120) as client:
            while (await client.get("/ready")).status_code != 200:  # noqa: ASYNC110  (over HTTP, as any caller)
                await asyncio.sleep(0.1)
            for at in range(asked.adapters):
                make_adapter(config.base, root / "made" / str(at), asked.rank, at)
                digest = store.put(root / "made" / str(at))
                prompts = await golden(engine, at, digest, store.get(digest))
                registry.add_adapter(manifest(config.base, digest, asked.rank, prompts))
                version = registry.create_version(
                    f"m{at}", VersionSpec(base=fingerprint(config.base).digest, adapter=digest), actor="benchmark"
                )
                # As an evaluation calls it: promoting would load it ahead.
                assert version.number == 1
            app.state.parts.catalogue.refresh()
            client.headers["x-dabt-purpose"] = "evaluation"
            cold, loaded, logged = [], [], []
            for at in range(asked.adapters):
                store._verified.clear()  # as in a process that has not read these files yet
                with capture_logs() as logs:
                    cold.append(await first_token(client, f"m{at}:1"))
                logged += [entry for entry in logs if entry["event"] == "adapter loaded"]
                loaded += [await first_token(client, f"m{at}:1") for _ in range(3)]
    registry.close()
    report(cold, loaded, logged)


def report(cold: list[float], loaded: list[float], logged: list[Any]) -> None:
    print(f"first token, median of {len(cold)} adapters: cold {statistics.median(cold):.0f} ms, ", end="")
    print(f"loaded {statistics.median(loaded):.0f} ms", end="")
    print(f": {statistics.median(cold) - statistics.median(loaded):.0f} ms more (at most {max(cold):.0f} ms cold)")
    for part in PARTS:
        values = [entry[part] * 1000 for entry in logged]
        print(f"  {part.removesuffix('_seconds'):8} {statistics.median(values):6.1f} ms, at most {max(values):6.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="The first token from an adapter that is not loaded.")
    parser.add_argument("--base", type=Path, default=Path("examples/clinic/base_model"))
    parser.add_argument("--adapters", type=int, default=20)
    parser.add_argument("--rank", type=int, default=16)
    asked = parser.parse_args()
    from service.engine.vllm_engine import VllmEngine

    # Fewer places than adapters, so that evictions are among what is measured.
    config = ServeConfig(base=asked.base.resolve(), max_loras=4, max_cpu_loras=8, kv_cache_gib=0.25)
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(measure(config, VllmEngine(config), asked, Path(root)))


if __name__ == "__main__":
    main()
