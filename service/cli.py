"""`dabt serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    base: Annotated[str, typer.Option(help="The base model: a folder, or a hub id such as org/name.")],
    base_name: Annotated[
        str, typer.Option(help="What callers write to reach the base; default: the folder's name.")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on; loopback only while there are no API keys.")] = "",
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    max_loras: Annotated[int | None, typer.Option(help="Different adapters in one batch.")] = None,
    max_cpu_loras: Annotated[int | None, typer.Option(help="Adapters kept in memory.")] = None,
    max_lora_rank: Annotated[int | None, typer.Option(help="Largest rank served: 1, 8, 16, 32, 64, …")] = None,
    max_model_len: Annotated[int | None, typer.Option(help="Tokens of prompt and answer together.")] = None,
    kv_cache_gib: Annotated[float | None, typer.Option(help="Memory for the key-value cache.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Requests in the engine before callers get 503.")] = None,
    golden_tolerance: Annotated[float | None, typer.Option(help="Nats per token an adapter may be off.")] = None,
    drain_seconds: Annotated[float | None, typer.Option(help="Time for admitted requests after SIGTERM.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Registry, artifacts and runs.")] = None,
) -> None:
    """Serve the base and every version of the registry over the OpenAI API.

    Example: `dabt serve --base examples/clinic/base_model --port 8000`
    """
    options = {key: value for key, value in locals().items() if key not in ("base", "home") and value not in (None, "")}
    from lifecycle.base import resolve_base
    from lifecycle.home import Home
    from service.config import config_from
    from service.server import serve as run
    from service.vllm_engine import VllmEngine

    config = config_from({**options, "base": resolve_base(base)})
    run(config, Home.at(home), VllmEngine(config))
