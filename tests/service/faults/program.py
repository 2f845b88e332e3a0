"""The service as a process of its own: `python program.py '{"home": …, "config": …, "engine": "fake" | "vllm"}'`.

The fake engine obeys commands, a line each on standard input: `hold` and `release` what is generated, `die`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from lifecycle.errors import DabtError
from lifecycle.home import Home
from lifecycle.registry import database
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.engine.interface import Engine, EngineFacts
from service.server import serve


class CommandedEngine(FakeEngine):
    async def start(self) -> EngineFacts:
        asyncio.get_running_loop().add_reader(sys.stdin, self._obey)
        return await super().start()

    def _obey(self) -> None:
        command = sys.stdin.readline().strip()
        if command == "hold":
            self.faults.hold = asyncio.Event()
        elif command == "release" and self.faults.hold is not None:
            self.faults.hold.set()
        elif command == "die":
            self.die()
        print(f"did {command}", flush=True)
        if not command:  # the test has gone
            asyncio.get_running_loop().remove_reader(sys.stdin)


def _engine(kind: str, config: ServeConfig) -> Engine:
    if kind == "fake":
        return CommandedEngine()
    from service.engine.vllm.engine import VllmEngine

    return VllmEngine(config)


def main() -> None:
    given = json.loads(sys.argv[1])
    database._WAIT = given.get("lock_wait", database._WAIT)
    root = Path(given["home"])
    registry = given.get("registry", f"sqlite:///{root / 'registry.db'}")
    home = Home(root=root, registry_url=registry, artifacts_url=str(root / "artifacts"))
    config = ServeConfig.model_validate(given["config"])
    try:
        serve(config, home, _engine(given.get("engine", "fake"), config))
    except DabtError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
