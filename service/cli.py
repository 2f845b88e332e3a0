"""`dabt serve`."""

from __future__ import annotations

import os
import sys
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from lifecycle.home import Home
    from service.config import ServeConfig
    from service.engine.vllm.engine import VllmEngine
    from service.front import Front
    from service.served_bases import AskedBase

_APART = frozenset({"base", "bases", "home", "chat_template"})
"""Options that are no setting of `ServeConfig` as they are written."""


def serve(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    base: Annotated[
        list[str] | None,
        typer.Option(
            envvar="DABT_BASE",
            help="A folder, .gguf file, hub id (org/name), or a version with whole weights: triage:3. Several, each "
            "with an engine of its own, by writing it again; NAME=BASE names one.",
        ),
    ] = None,
    bases: Annotated[
        Path | None,
        typer.Option(envvar="DABT_BASES", help="A YAML file with several bases, each with settings of its own."),
    ] = None,
    base_name: Annotated[
        str, typer.Option(help="What callers write to reach the base; default: its hub id or folder's name.")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on; loopback only while there are no API keys.")] = "",
    keys: Annotated[str, typer.Option(help="auto: asked for once there is one; required; or off, on loopback.")] = "",
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Without keys, a name to answer to besides localhost; may be repeated.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="https://name:port whose pages may call the service; may be repeated.")
    ] = None,
    limits_url: Annotated[
        str, typer.Option(envvar="DABT_LIMITS_URL", help="Where limits are counted: memory://, or redis://…")
    ] = "",
    prefix_cache: Annotated[
        str, typer.Option(help="per-key, or shared: faster, and keys can tell what others asked.")
    ] = "",
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    max_loras: Annotated[int | None, typer.Option(help="Different adapters in one batch.")] = None,
    max_cpu_loras: Annotated[int | None, typer.Option(help="Adapters kept in memory.")] = None,
    max_lora_rank: Annotated[int | None, typer.Option(help="Largest rank served: 1, 8, 16, 32, 64, …")] = None,
    max_model_len: Annotated[int | None, typer.Option(help="Tokens of prompt and answer together.")] = None,
    kv_cache_gib: Annotated[
        float | None, typer.Option(help="Memory for the key-value cache; follows the base and the machine.")
    ] = None,
    gpu_memory: Annotated[float | None, typer.Option(help="Share of each GPU's memory, such as 0.5.")] = None,
    tensor_parallel: Annotated[int | None, typer.Option(help="GPUs that share each layer.")] = None,
    quantization: Annotated[
        str, typer.Option(help="How the base is packed, where config.json does not say; int8: rounded now, on a CPU.")
    ] = "",
    max_seqs: Annotated[int | None, typer.Option(help="Sequences that the engine works on at once.")] = None,
    speculative: Annotated[str, typer.Option(help="Speculative decoding: ngram, or vLLM's JSON object.")] = "",
    chat_template: Annotated[
        str | None,
        typer.Option(help="A file, or chatml, zephyr or alpaca, for the base's template; it makes another base of it."),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Requests in the engine before callers get 503.")] = None,
    preload: Annotated[
        list[str] | None, typer.Option(help="Load before ready: a version, or prod for all of them; may be repeated.")
    ] = None,
    pin: Annotated[list[str] | None, typer.Option(help="The same, and kept in memory; may be repeated.")] = None,
    cache_gib: Annotated[float | None, typer.Option(help="Local copies of a remote artifact store.")] = None,
    fetch_seconds: Annotated[float | None, typer.Option(help="Time for the store to give an adapter or index.")] = None,
    tool_parser: Annotated[
        str,
        typer.Option(
            "--tool-parser", "--tool-call-parser", help="How the base writes tool calls: hermes, llama3_json, …"
        ),
    ] = "",
    reasoning_parser: Annotated[
        str, typer.Option(help="How the base writes what it thinks: qwen3, deepseek_r1, …")
    ] = "",
    compile_seconds: Annotated[float | None, typer.Option(help="Time for a schema or grammar to be compiled.")] = None,
    embedding_model: Annotated[str, typer.Option(help="For /v1/embeddings: a hub id, a folder, or none.")] = "",
    classifier_gib: Annotated[float | None, typer.Option(help="Memory for the weights of classifiers.")] = None,
    golden_tolerance: Annotated[float | None, typer.Option(help="Nats per token an adapter may be off.")] = None,
    keep_alive_seconds: Annotated[
        float | None, typer.Option(help="Silence after which a stream says a comment, for proxies.")
    ] = None,
    drain_seconds: Annotated[float | None, typer.Option(help="Time for admitted requests after SIGTERM.")] = None,
    max_file_mib: Annotated[float | None, typer.Option(help="Of a file for fine-tuning in one request.")] = None,
    max_upload_mib: Annotated[float | None, typer.Option(help="Of a file for fine-tuning that comes in parts.")] = None,
    worker: Annotated[
        bool,
        typer.Option(
            "--worker/--no-worker", envvar="DABT_WORKER", help="Start a worker for jobs of the fine-tuning API."
        ),
    ] = True,
    checkpoint_days: Annotated[
        int | None, typer.Option(help="How long its worker keeps checkpoints of jobs; for ever by default.")
    ] = None,
    evals: Annotated[
        Path | None, typer.Option(envvar="DABT_EVALS", help="Folder of evaluations that jobs may ask for.")
    ] = None,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Show pages for people at /ui.")] = True,
    router_series: Annotated[
        bool, typer.Option("--router-series", help="Show adapters on /metrics as llm-d and other routers read them.")
    ] = False,
    grafana_url: Annotated[str, typer.Option(help="The pages link to this Grafana.")] = "",
    log_bodies: Annotated[bool, typer.Option("--log-bodies", help="Log what callers send; never their keys.")] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="logfmt, or json: one object a line.")] = None,
    otlp_endpoint: Annotated[
        str, typer.Option(envvar="OTEL_EXPORTER_OTLP_ENDPOINT", help="Send traces to this OpenTelemetry collector.")
    ] = "",
    otlp_protocol: Annotated[
        str | None,
        typer.Option(
            envvar=["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"], help="http/protobuf or grpc."
        ),
    ] = None,
    home: Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Registry, artifacts and runs.")] = None,
    engine_options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS OF VLLM]", help="Any other option of `vllm serve`.")
    ] = None,
) -> None:
    """Serve one base or several, and every version of the registry over them, over the OpenAI API.

    Example: `dabt serve --base examples/clinic/base_model --port 8000 -- --seed 7`
    """
    options = {key: value for key, value in locals().items() if key not in _APART and value not in (None, "")}
    from lifecycle.home import Home
    from service.base_folder import with_bases
    from service.first_answers import FirstAnswers

    place = Home.at(home)
    asked = _asked(base, bases, {**options, "shadow_folder": place.shadow}, chat_template)
    config = asked[0].config
    first = FirstAnswers(config.host, config.port)  # before what takes long: a base may have to be downloaded
    found = with_bases(asked, place)
    engines = vllm_engines([config for config, _ in found])
    from service.server import serve as run  # after that: it takes a second to import

    (config, engine), *others = engines
    show = pages(config, place)
    if not others:
        run(config, place, engine, first, found[0][1], show)
    else:
        from service.cluster.here import EnginesHere, ServedBase

        served = [ServedBase(*each, known) for each, (_, known) in zip(engines, found, strict=True)]
        every = EnginesHere(served)
        run(config, place, every, first, console=show, elsewhere=every.here())
    if any(each.is_being_built for _, each in engines):
        # Asked to stop during an engine's start: all else is in order, and that thread need not be waited for.
        from service.engine.vllm import forkserver

        forkserver.end()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _asked(
    base: list[str] | None, bases: Path | None, options: dict[str, Any], chat_template: str | None
) -> list[AskedBase]:
    from lifecycle.errors import InvalidConfig, Problem
    from service.served_bases import bases_named, bases_of_file

    if bases is None and base:
        return bases_named(base, options, chat_template or "")
    if bases is None or base or chat_template:
        fault = "names the bases, and so do others" if bases is not None else "is missing"
        cure = "give --base (or DABT_BASE), once for each, or --bases with a file of them and their templates"
        raise InvalidConfig(
            "The service cannot run like this:", [Problem("--bases" if bases else "--base", fault, cure)]
        )
    switches = {
        name: each.default for name, each in signature(serve).parameters.items() if isinstance(each.default, bool)
    }
    # A switch that stands as it does by itself was not given, and the file may say otherwise.
    given = {name: value for name, value in options.items() if value != switches.get(name) and value not in ([], ())}
    return bases_of_file(bases, given, switches)


def vllm_engines(configs: list[ServeConfig]) -> list[tuple[ServeConfig, VllmEngine]]:
    """An engine for each base, with its share of this machine; what takes long and needs nothing has begun."""
    from service.engine.memory import machine_memory, with_slots
    from service.engine.sharing import Share
    from service.engine.vllm import forkserver
    from service.engine.vllm.engine import VllmEngine
    from service.engine.vllm.flags import dtype_on_a_cpu

    if forkserver.is_cpu_build():
        memory = machine_memory().part(len(configs))
        configs = [with_slots(config, memory, dtype_on_a_cpu(config)) for config in configs]
    if len(configs) == 1:
        engine = VllmEngine(configs[0])
        engine.prepare()
        return [(configs[0], engine)]
    VllmEngine(configs[0], Share(len(configs))).prepare()
    from service.engine.vllm.sharing import share_out
    from service.engine_side import base_of

    base_of(configs[0], configs[1:])  # two of one kind are refused before any is loaded
    return [(config, VllmEngine(config, share)) for config, share in share_out(configs)]


def pages(config: ServeConfig, home: Home) -> Callable[[FastAPI], Front] | None:
    """What makes the pages at /ui of a service; None where it shows none."""
    if not config.ui:
        return None
    from console.app import Console

    return partial(Console, home=home)
