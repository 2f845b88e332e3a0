"""The way from a gateway to the engine replicas of one deployment, by Ray Serve's handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextvars import Context
from typing import Any

import structlog
from grpc import RpcError
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from lifecycle.errors import Unavailable
from service.cluster.asking import Ask, Begun, Card, Frame
from service.cluster.fleet import NoRoomLeft, RoomGone
from service.cluster.rooms import rooms_of

log = structlog.get_logger(__name__)


class RayLine:
    """Implements `service.cluster.fleet.Line`."""

    def __init__(self, handle: DeploymentHandle[Any], patience: float) -> None:
        """`patience` is how long a request waits for a replica to come to be, in seconds."""
        self._deployment = handle.deployment_name
        # Straight to the replica's own socket: by default each frame would be an object of Ray's store, with a message
        # to its owner, and that costs more processor than a fake token.
        straight = {"request_serialization": "pickle", "response_serialization": "pickle", "_by_reference": False}
        self._answer = handle.options(stream=True, **straight).answer
        self._patience = patience

    async def ask(self, ask: Ask) -> AsyncGenerator[Frame, None]:
        # In a context of its own: Ray would give all asks of one HTTP request one id, and tell them apart by it.
        frames = Context().run(self._answer.remote, ask)
        try:
            yield await self._begun(frames)
            async for frame in frames:
                yield frame
        except NoRoomLeft:
            raise
        except (RayError, RayServeException, RpcError) as error:
            log.warning("an engine replica is gone", deployment=self._deployment, error=str(error).partition("\n")[0])
            raise RoomGone from error
        finally:
            frames.cancel()

    def cards(self) -> Sequence[Card]:
        return rooms_of(self._deployment).cards()

    async def _begun(self, frames: Any) -> Begun:
        try:
            async with asyncio.timeout(self._patience):
                begun: Begun = await anext(frames)
        except TimeoutError as error:
            raise Unavailable(
                f"no engine of this base has come up within {self._patience:g} s; it is being started, as a rule",
                retry_after=5.0,
            ) from error
        return begun
