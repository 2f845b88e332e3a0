"""`dabt cluster`: the service on Ray Serve. Read `settings.py` for its file, `ray_app.py` for what runs."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lifecycle.errors import InvalidConfig, Problem, Unavailable

app = typer.Typer(help="Gateways and engines on a Ray cluster.", no_args_is_help=True)

_NAME = "dabt"
"""Of the application on Ray Serve."""

File = Annotated[Path, typer.Argument(help="The cluster's YAML file, such as deploy/ray/cluster.yaml.")]
Address = Annotated[
    str, typer.Option(envvar="RAY_ADDRESS", help="Of a running Ray cluster; `local` starts one on this machine.")
]


@app.command()
def check(file: File) -> None:
    """Read the file and say everything that is wrong with it. Ray is not needed."""
    from service.cluster.settings import read_settings

    settings = read_settings(file)
    gateways = settings.gateways.replicas
    typer.echo(f"{gateways.least} to {gateways.most} gateways at http://{settings.host}:{settings.port}")
    for tier in settings.bases:
        typer.echo(f"{tier.replicas.least} to {tier.replicas.most} engines of {tier.base}")


@app.command()
def up(file: File, address: Address = "local") -> None:
    """Run it, or change what runs into it: replicas are there before others go. On `local` it runs until Ctrl-C.

    Example: `dabt cluster up deploy/ray/cluster.yaml`
    """
    from service.cluster.nodes import of_a_cluster_here
    from service.cluster.settings import read_settings

    settings = read_settings(file)
    if address == "local":
        _check_free(settings.host, settings.port)
        os.environ.update({**of_a_cluster_here(), **os.environ})
    serve = _serve(address)
    from service.cluster.ray_app import QUIET, build

    options = {"host": settings.host, "port": settings.port}
    serve.start(http_options=options, proxy_location="EveryNode", logging_config=QUIET)
    typer.echo("starting; engines that run vLLM take a minute or two")
    serve.run(build(settings), name=_NAME, route_prefix="/")
    typer.echo(f"ready at http://{settings.host}:{settings.port}")
    if address == "local":
        typer.echo("it runs until Ctrl-C, or until `dabt cluster down`")
        _until_it_ends(serve)
        typer.echo("stopped")


def _check_free(host: str, port: int) -> None:
    """Raises `InvalidConfig` where somebody listens there: Ray would start and never be ready."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is over does not take it
        try:
            probe.bind((host, port))
        except OSError as error:
            cure = "end what listens there (a killed cluster may have left its haproxy behind), or name another port"
            fault = Problem("port", f"{host}:{port} cannot be listened at ({error.strerror})", cure)
            raise InvalidConfig("The cluster cannot be started:", [fault]) from error


def _until_it_ends(serve: Any) -> None:
    """By a signal or by `down` from elsewhere. What was admitted is answered first."""
    import signal

    for each in (signal.SIGINT, signal.SIGTERM):  # a shell that starts it in the background has it ignore the first
        signal.signal(each, signal.default_int_handler)
    try:
        while _NAME in serve.status().applications:
            time.sleep(1)
    except KeyboardInterrupt:
        typer.echo("stopping")
        serve.delete(_NAME)


@app.command()
def down(address: Address = "auto") -> None:
    """End it: what was admitted is answered first."""
    _serve(address).delete(_NAME)
    typer.echo("stopped")


def _serve(address: str) -> Any:
    try:
        import ray
        from ray import serve
    except ImportError as error:
        fault = Problem("ray", f"is not installed here ({error})", "install the extra: pip install 'dabt[ray]'")
        raise InvalidConfig("A cluster needs Ray Serve:", [fault]) from error
    try:
        ray.init(address=address, logging_level="warning", log_to_driver=address == "local")
    except ConnectionError as error:
        raise Unavailable(
            f"no Ray cluster is to be reached at {address!r}; start its head with `ray start --head`, and set "
            "RAY_AUTH_MODE=token where it asks for a token"
        ) from error
    return serve
