"""One evaluation, of the base and two adapters, by whatever answers at a URL; and one engine that does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.progress import Silent
from evals.run import evaluate
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.conftest import House


def evaluated(house: House, folder: Path, url: str, midway: Callable[[], object], key: str = "") -> dict[str, Any]:
    """Two adapters and the base over 60 items, 8 at once: every answer by its item, and what the report counts."""

    class Counting(Silent):
        done = 0

        def advance(self, arm: str, count: int) -> None:
            self.done += count
            if self.done - count < 60 <= self.done:
                midway()

    folder.mkdir()
    rows = folder / "rows.jsonl"
    lines = (json.dumps({"text": f"سؤال {at}", "label": ("good", "bad")[at % 2]}) for at in range(60))
    rows.write_text("\n".join(lines), encoding="utf-8")
    more = {"concurrency": 8, "chunk": 10, "examples": 60, "endpoint": url}
    config = EvalConfig.of_rows(str(rows), "base,a:1,b:1").model_copy(update=more)
    home = house.home.model_copy(update={"root": folder / "home"})
    endpoint = Endpoint(url=url, pause=0.05, retries=20, api_key=key)
    report = evaluate(config, house.registry, home, progress=Counting(), endpoint=endpoint).report
    return {
        "items": report.n_items,
        "errors": [arm.errors for arm in report.arms],
        "pairs": [gap.n for gap in report.comparisons],
        "answers": {example.item: example.answers for example in report.examples},
    }


@contextmanager
def one_engine(house: House) -> Iterator[str]:
    """The same versions by `dabt serve`'s own application, on a port."""
    config = ServeConfig.model_validate({"base": house.base, "embedding_model": "none"})
    app = create_app(config, FakeEngine(), house.registry, house.store)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()
